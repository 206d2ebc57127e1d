//! Where a user's feed stands, as clients keep it: opaque, only ever given back.
//!
//! It holds no user id, only the beginning of its hash, and names the very record it stands on: position, moment and the
//! beginning of its id. So it lives on through a failover that lost nothing, and one from another database is refused.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::prelude::DateTimeUtc;
use sha2::{Digest, Sha256};

use crate::store::Head;

/// The layout below; a later one gets another number.
const VERSION: u8 = 1;
/// The end of the year 2999.
const LAST_SECOND: i64 = 32_503_680_000;
/// Version, user, position, microseconds, record.
const LENGTH: usize = 1 + 16 + 8 + 8 + 8;

/// A place in a user's feed: just after a record, or before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedCursor {
    user: [u8; 16],
    position: i64,
    recorded_at: DateTimeUtc,
    record: [u8; 8],
}

/// Why a text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not base64url, or not as long as one.
    #[error("this is no feedCursor: give back one that the server gave")]
    Malformed,
    /// A layout that this server does not know.
    #[error("this feedCursor comes from another version of the server")]
    Version,
}

/// The moment that so many microseconds stand for in what a client gives back; none where nothing can have been recorded
/// then. PostgreSQL could not even compare some of these.
#[must_use]
pub fn recorded_at(micros: i64) -> Option<DateTimeUtc> {
    DateTimeUtc::from_timestamp_micros(micros).filter(|at| (0..=LAST_SECOND).contains(&at.timestamp()))
}

impl FeedCursor {
    /// Just after a user's record.
    #[must_use]
    pub fn new(user_id: &str, head: &Head) -> Self {
        Self {
            user: user_hash(user_id),
            position: head.position,
            recorded_at: head.recorded_at,
            record: record_hint(head),
        }
    }

    /// Of the record that it stands on; 0 before the first.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// When that record was appended.
    #[must_use]
    pub fn recorded_at(&self) -> DateTimeUtc {
        self.recorded_at
    }

    /// Whether it was made for this user.
    #[must_use]
    pub fn is_of(&self, user_id: &str) -> bool {
        self.user == user_hash(user_id)
    }

    /// Whether it stands on this very record.
    #[must_use]
    pub fn stands_on(&self, head: &Head) -> bool {
        self.position == head.position && self.recorded_at == head.recorded_at && self.record == record_hint(head)
    }
}

fn user_hash(user_id: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(user_id.as_bytes())[..16]);
    short
}

fn record_hint(head: &Head) -> [u8; 8] {
    head.record_id.as_u64_pair().0.to_be_bytes()
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend(self.user);
        bytes.extend(self.position.to_be_bytes());
        bytes.extend(self.recorded_at.timestamp_micros().to_be_bytes());
        bytes.extend(self.record);
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for FeedCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        // By length first: a megabyte of garbage is not worth decoding.
        if text.len() != (LENGTH * 4).div_ceil(3) {
            return Err(CursorError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
        let (version, rest) = bytes.split_first().ok_or(CursorError::Malformed)?;
        if *version != VERSION {
            return Err(CursorError::Version);
        }
        let (user, rest) = rest.split_first_chunk::<16>().ok_or(CursorError::Malformed)?;
        let (position, rest) = rest.split_first_chunk::<8>().ok_or(CursorError::Malformed)?;
        let (micros, rest) = rest.split_first_chunk::<8>().ok_or(CursorError::Malformed)?;
        let record = <[u8; 8]>::try_from(rest).map_err(|_| CursorError::Malformed)?;
        let position = i64::from_be_bytes(*position);
        let recorded_at = recorded_at(i64::from_be_bytes(*micros)).ok_or(CursorError::Malformed)?;
        if position < 0 {
            return Err(CursorError::Malformed);
        }
        Ok(Self { user: *user, position, recorded_at, record })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn head(position: i64, micros: i64, id: u128) -> Head {
        Head {
            position,
            recorded_at: DateTimeUtc::from_timestamp_micros(micros).unwrap_or_default(),
            record_id: Uuid::from_u128(id),
        }
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(
            user in ".{0,255}", position in 0..i64::MAX, micros in 0..32_503_680_000_000_000_i64, id: u128,
        ) {
            let head = head(position, micros, id);
            let cursor = FeedCursor::new(&user, &head);
            let text = cursor.to_string();
            prop_assert!(text.len() <= 300);
            let back: FeedCursor = text.parse().map_err(|e: CursorError| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(back, cursor);
            prop_assert!(back.is_of(&user) && back.stands_on(&head));
            prop_assert!(!back.is_of(&(user + "x")));
        }

        #[test]
        fn garbage_is_refused_and_never_panics(text in ".{0,80}") {
            let _ = text.parse::<FeedCursor>();
        }
    }

    #[test]
    fn each_part_tells_records_apart() {
        let cursor = FeedCursor::new("u", &head(7, 9, 1 << 64));
        assert!(cursor.stands_on(&head(7, 9, 1 << 64)));
        for other in [head(8, 9, 1 << 64), head(7, 8, 1 << 64), head(7, 9, 1 << 65)] {
            assert!(!cursor.stands_on(&other));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for garbage in ["", "x", "eyJhIjoxfQ==", "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀"] {
            assert_eq!(garbage.parse::<FeedCursor>(), Err(CursorError::Malformed));
        }
        let mut other = FeedCursor::new("u", &Head::START).to_string();
        other.replace_range(0..1, "B");
        assert_eq!(other.parse::<FeedCursor>(), Err(CursorError::Version));
        assert_eq!(URL_SAFE_NO_PAD.encode([1_u8; 41]).parse::<FeedCursor>(), Err(CursorError::Malformed));
        let mut negative = [0_u8; 41];
        negative[0] = 1;
        negative[17] = 0xff;
        assert_eq!(URL_SAFE_NO_PAD.encode(negative).parse::<FeedCursor>(), Err(CursorError::Malformed));
    }
}
