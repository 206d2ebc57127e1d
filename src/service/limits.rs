//! What a client may ask for at once.

/// What a client may ask for at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of a page.
    pub page_size: i32,
    /// Records of one batch.
    pub batch_records: i32,
    /// Bytes of one result, as JSON text.
    pub result_bytes: i32,
    /// Bytes of one request's body.
    pub request_bytes: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { page_size: 500, batch_records: 10_000, result_bytes: 262_144, request_bytes: 16 * 1024 * 1024 }
    }
}
