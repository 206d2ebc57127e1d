//! Group commit across requests.

/// Lanes for single saves.
#[derive(Clone)]
pub struct Lanes;
