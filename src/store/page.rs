//! Keyset paging: which page is asked for, and what a page holds.

/// Which side of a key a page lies on, and how many rows it may have.
#[derive(Clone, Debug)]
pub struct Keyset<K> {
    /// Only rows behind this key, in the list's order.
    pub after: Option<K>,
    /// Only rows before this key.
    pub before: Option<K>,
    /// At most so many.
    pub limit: u64,
    /// From the end of the range rather than from its beginning.
    pub backward: bool,
}

/// The rows of a page, in the list's order, and whether there are more in the direction that was read.
#[derive(Clone, Debug)]
pub struct Rows<T> {
    /// In the list's order.
    pub rows: Vec<T>,
    /// Behind the last one (reading backward: before the first one).
    pub has_more: bool,
}
