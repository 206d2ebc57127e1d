//! Routes and transports.
