//! Why a socket ends, and the code that says so. Codes from 4000 on are those of the protocol document, the others are
//! WebSocket's own; a client library comes back after most of them (1001, 1013, 4403, 4408, 4499 …) and gives up after those
//! that it would only meet again: 1002, 4400, 4401, 4406, 4409, 4429.

use std::time::Duration;

use crate::http::connections::Full;

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum End {
    /// It is ours to close.
    Close(Close),
    /// The client has closed it, with this code.
    ByClient(Option<u16>),
    /// The connection broke off.
    Lost,
}

impl End {
    /// For the counter. Of a client's codes only those that mean something here: it could send thousands.
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Close(close) => close.code(),
            Self::ByClient(Some(code @ (1000 | 1001 | 1002 | 1006..=1011 | 4004 | 4005 | 4499 | 4504))) => *code,
            Self::ByClient(_) => 1005,
            Self::Lost => 1006,
        }
    }
}

/// Why we close it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Close {
    #[error("Invalid message: {0}")]
    BadMessage(String),
    #[error("Unauthorized")]
    Unauthorized,
    #[error("Forbidden: {0}")]
    Forbidden(String),
    #[error("Forbidden: the token has expired")]
    TokenExpired,
    #[error("Forbidden: the user was disconnected")]
    Disconnected,
    #[error("Subprotocol not acceptable: offer graphql-transport-ws or graphql-ws")]
    Subprotocol,
    #[error("Connection initialisation timeout")]
    InitTimeout,
    #[error("Subscriber for {0} already exists")]
    DuplicateId(String),
    #[error("Too many initialisation requests")]
    SecondInit,
    #[error("{0}")]
    Full(Full),
    /// Whether to let somebody in cannot be told at present.
    #[error("{0}")]
    NotNow(String),
    #[error("No operation for {} s", .0.as_secs_f32())]
    Idle(Duration),
    #[error("No pong within {} s", .0.as_secs_f32())]
    NoPong(Duration),
    #[error("Nothing was read for {} s: resume from the last cursor", .0.as_secs_f32())]
    SlowReader(Duration),
    #[error("The server is stopping")]
    Shutdown,
    #[error("Messages are up to {0} bytes: send what is larger over HTTP")]
    TooLarge(usize),
    #[error("Not UTF-8")]
    NotText,
    #[error("Against RFC 6455")]
    Protocol,
    /// `connection_terminate` of the older sub-protocol.
    #[error("")]
    Terminated,
}

impl Close {
    pub(super) fn code(&self) -> u16 {
        match self {
            // A client that has closed all its operations may come back whenever it likes.
            Self::Idle(_) | Self::Terminated => 1000,
            Self::Shutdown => 1001,
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::TooLarge(_) => 1009,
            Self::Full(_) | Self::NotNow(_) | Self::SlowReader(_) => 1013,
            Self::BadMessage(_) => 4400,
            Self::Unauthorized => 4401,
            Self::Forbidden(_) | Self::TokenExpired | Self::Disconnected => 4403,
            Self::Subprotocol => 4406,
            Self::InitTimeout => 4408,
            Self::DuplicateId(_) => 4409,
            Self::SecondInit => 4429,
            // As the npm package itself calls a socket that does not answer any more.
            Self::NoPong(_) => 4499,
        }
    }

    /// Up to 123 bytes, which is all that a close frame has room for.
    pub(super) fn reason(&self) -> String {
        let mut reason = self.to_string();
        let end = (0..=123).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or_default();
        reason.truncate(end);
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        let close = Close::DuplicateId("é".repeat(300));
        assert!(close.reason().starts_with("Subscriber for éé"));
        assert!(close.reason().len() <= 123);
        assert_eq!(Close::SecondInit.reason(), "Too many initialisation requests");
    }

    #[test]
    fn a_client_cannot_make_up_counters() {
        assert_eq!(End::ByClient(Some(4321)).code(), 1005);
        assert_eq!(End::ByClient(Some(1000)).code(), 1000);
    }
}
