//! The verbs, and the only place that decides who may.
