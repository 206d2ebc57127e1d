//! Settings, one section a file.
