//! Logging, and the name of every metric.
