//! status_rules
