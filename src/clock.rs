//! The time, passed in.
