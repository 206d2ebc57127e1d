//! held
