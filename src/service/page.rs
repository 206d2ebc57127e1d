//! Pages as Relay's connections want them: what is asked for, and what comes back.

/// The four arguments of a connection.
#[derive(Clone, Debug, Default)]
pub struct PageArgs {
    /// The first so many.
    pub first: Option<i32>,
    /// Behind this cursor.
    pub after: Option<String>,
    /// The last so many.
    pub last: Option<i32>,
    /// Before this cursor.
    pub before: Option<String>,
}

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the list's order.
    pub edges: Vec<Edge<T>>,
    /// Whether something follows.
    pub has_next: bool,
    /// Whether something goes before.
    pub has_previous: bool,
    /// Where the user's feed stood before the first of these pages was read.
    pub feed_cursor: Option<String>,
}

/// One entry of a page, and where it stands.
#[derive(Clone, Debug)]
pub struct Edge<T> {
    /// For `after` and `before` of the same list.
    pub cursor: String,
    /// The entry.
    pub node: T,
}

/// A count that stops at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedCount {
    /// So many were found.
    pub value: i64,
    /// There are no more.
    pub is_exact: bool,
}
