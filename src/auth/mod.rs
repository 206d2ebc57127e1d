//! Token to viewer.
