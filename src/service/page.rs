//! Pages as Relay's connections want them: what is asked for, what comes back, and the cursors between.
//!
//! A page's cursor holds the list it belongs to (order and filter), the entry's key, and the feed's position before the
//! first page: it is opaque to clients and refused by every other list.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Limits, ServiceError, input, limits};
use crate::feed::FeedCursor;
use crate::store::Keyset;

/// The four arguments of a connection.
#[derive(Clone, Debug, Default)]
pub struct PageArgs {
    /// The first so many.
    pub first: Option<i32>,
    /// Behind this cursor.
    pub after: Option<String>,
    /// The last so many.
    pub last: Option<i32>,
    /// Before this cursor.
    pub before: Option<String>,
}

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the list's order.
    pub edges: Vec<Edge<T>>,
    /// Whether something follows.
    pub has_next: bool,
    /// Whether something goes before.
    pub has_previous: bool,
    /// Where to go on when the page ended before it was full; else the last edge's cursor.
    pub end_cursor: Option<String>,
    /// Where to go on backward; the first edge's cursor.
    pub start_cursor: Option<String>,
    /// Where the user's feed stood before the first of these pages was read.
    pub feed_cursor: Option<String>,
}

/// One entry of a page, and where it stands.
#[derive(Clone, Debug)]
pub struct Edge<T> {
    /// The entry.
    pub node: T,
    /// Where it stands.
    pub place: CursorOf<T>,
}

impl<T> Edge<T> {
    /// For `after` and `before` of the same list.
    #[must_use]
    pub fn cursor(&self) -> String {
        self.place.cursor(&self.node)
    }
}

/// Makes the cursors of a page's entries: only of those that are asked for, and mostly none is.
pub struct CursorOf<T>(Arc<dyn Fn(&T) -> String + Send + Sync>);

impl<T> CursorOf<T> {
    /// The cursor of an entry of that page.
    #[must_use]
    pub fn cursor(&self, node: &T) -> String {
        (self.0)(node)
    }
}

impl<T> Clone for CursorOf<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for CursorOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorOf")
    }
}

/// A count that stops at a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedCount {
    /// So many were found.
    pub value: i64,
    /// There are no more.
    pub is_exact: bool,
}

/// What a cursor holds.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor<K, F = String> {
    /// Which list: a cursor belongs to its order and filter.
    #[serde(rename = "l")]
    list: u64,
    #[serde(rename = "k")]
    key: K,
    #[serde(rename = "f", skip_serializing_if = "Option::is_none")]
    feed: Option<F>,
}

/// The page that is asked for, with its cursors read.
pub(super) struct Asked<K> {
    pub(super) keyset: Keyset<K>,
    /// Of the first page of this walk, carried on by the cursor.
    pub(super) feed_cursor: Option<String>,
    list: u64,
}

impl<K: Serialize + DeserializeOwned + 'static> Asked<K> {
    /// Reads the arguments of a connection over the list that `list` stands for.
    pub(super) fn read(args: PageArgs, list: u64, limits: &Limits) -> Result<Self, ServiceError> {
        let most = limits.page_size;
        let (limit, backward) = match (args.first, args.last) {
            (Some(_), Some(_)) => {
                return Err(ServiceError::bad_input("last", "Give first or last, not both."));
            }
            (None, Some(count)) => (size("last", count, most)?, true),
            (first, None) => (size("first", first.unwrap_or(limits::DEFAULT_PAGE_SIZE.min(most)), most)?, false),
        };
        let after = args.after.map(|cursor| decode("after", &cursor, list)).transpose()?;
        let before = args.before.map(|cursor| decode("before", &cursor, list)).transpose()?;
        let feed_cursor = [&after, &before].into_iter().flatten().find_map(|cursor| cursor.feed.clone());
        let keyset =
            Keyset { after: after.map(|cursor| cursor.key), before: before.map(|cursor| cursor.key), limit, backward };
        Ok(Self { keyset, feed_cursor, list })
    }

    /// The position before which nothing may be missing: the first page of this walk has shown what there was up to it.
    pub(super) fn shown_up_to(&self) -> i64 {
        let cursor = self.feed_cursor.as_deref().and_then(|cursor| cursor.parse::<FeedCursor>().ok());
        cursor.map_or(0, |cursor| cursor.position())
    }

    /// Puts a page together. `ended_at` is where the look ended before the page was full, if it did.
    pub(super) fn page<T>(
        self,
        rows: Vec<T>,
        has_more: bool,
        ended_at: Option<K>,
        feed_cursor: Option<String>,
        key_of: impl Fn(&T) -> K + Send + Sync + 'static,
    ) -> Page<T> {
        let (list, feed) = (self.list, feed_cursor.clone());
        let encode = move |key: K| encode(&Cursor { list, key, feed: feed.as_deref() });
        let ended_at = ended_at.map(&encode);
        let place = CursorOf(Arc::new(move |node: &T| encode(key_of(node))));
        let edges: Vec<Edge<T>> = rows.into_iter().map(|node| Edge { node, place: place.clone() }).collect();
        let mut start_cursor = edges.first().map(Edge::cursor);
        let mut end_cursor = edges.last().map(Edge::cursor);
        if ended_at.is_some() {
            *(if self.keyset.backward { &mut start_cursor } else { &mut end_cursor }) = ended_at;
        }
        let (has_next, has_previous) = if self.keyset.backward {
            (self.keyset.before.is_some(), has_more)
        } else {
            (has_more, self.keyset.after.is_some())
        };
        Page { edges, has_next, has_previous, end_cursor, start_cursor, feed_cursor }
    }
}

fn size(field: &str, value: i32, most: i32) -> Result<u64, ServiceError> {
    input::between(field, value.into(), 0, most.into())?;
    Ok(u64::try_from(value).unwrap_or(0))
}

fn encode<K: Serialize>(cursor: &Cursor<K, &str>) -> String {
    // Numbers and texts always serialise.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

fn decode<K: DeserializeOwned>(field: &str, cursor: &str, list: u64) -> Result<Cursor<K>, ServiceError> {
    let wrong = || {
        let message = format!("{field} is no cursor of this list. A cursor belongs to its list, order and filter.");
        ServiceError::bad_input(field, message)
    };
    input::characters(field, cursor, limits::CURSOR_CHARACTERS)?;
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let cursor: Cursor<K> = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    if cursor.list == list { Ok(cursor) } else { Err(wrong()) }
}

/// A number that stands for a list: equal for equal parts, on every server and in every build.
pub(super) fn list_number(parts: &[&str]) -> u64 {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    // JSON readers keep 53 bits.
    digest.iter().take(6).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
