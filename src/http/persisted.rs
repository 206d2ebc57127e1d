//! Documents that are asked for by name: those that a client has sent once and then asks for by their SHA-256 (automatic
//! persisted queries), and those that the operator trusts.
//!
//! Every road into the schema takes its document through [`Persisted::resolve`], so where only trusted documents may run
//! there is no way around it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::parser::parse_query;
use async_graphql::{Request, ServerError, Value};
use sha2::{Digest as _, Sha256};

use crate::config::DocumentsConfig;
use crate::graphql::Api;

/// A part of the memory that one document may take, so that a single client does not push out all others at once.
const SHARE: usize = 64;
/// What an entry costs besides its text.
const ENTRY_BYTES: usize = 128;

/// The name under which a request carries its `documentId`.
pub(super) const DOCUMENT_ID: &str = "documentId";
const PERSISTED_QUERY: &str = "persistedQuery";

type Hash = [u8; 32];

/// Documents by their names.
pub(super) struct Persisted {
    api: Api,
    trusted: HashMap<String, Arc<str>>,
    trusted_only: bool,
    seen: Mutex<Seen>,
}

/// What a request asks for.
struct Asked {
    /// As it was written.
    id: String,
    /// Where it is the SHA-256 of its document, and not just a name.
    hash: Option<Hash>,
}

impl Persisted {
    pub(super) fn new(config: &DocumentsConfig, api: Api) -> Self {
        let trusted = config.trusted.iter().map(|(id, text)| (id.clone(), Arc::from(text.as_str()))).collect();
        let seen = Seen { room: config.persisted_bytes, ..Seen::default() };
        Self { api, trusted, trusted_only: config.trusted_only, seen: Mutex::new(seen) }
    }

    /// Puts the document that a request asks for into it; or says why it may not be executed.
    pub(super) fn resolve(&self, request: &mut Request) -> Result<(), ServerError> {
        let Some(asked) = asked(request)? else {
            return if self.trusted_only { Err(only_trusted()) } else { Ok(()) };
        };
        if let Some(text) = self.trusted(&asked.id) {
            if !request.query.is_empty() && *request.query != **text {
                return Err(not_its_hash());
            }
            request.query = text.to_string();
            return Ok(());
        }
        let Some(hash) = asked.hash.filter(|_| !self.trusted_only) else {
            return Err(not_found());
        };
        if request.query.is_empty() {
            let text = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).ok_or_else(not_found)?;
            request.query = text.to_string();
            return Ok(());
        }
        if Hash::from(Sha256::digest(&request.query)) != hash {
            return Err(not_its_hash());
        }
        // What is not GraphQL, or beyond a limit, is not worth remembering, and is refused with its own error later. The
        // schema's door reads it, since that looks at its length first.
        if self.api.operation_type(request).is_ok() {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).put(hash, &request.query);
        }
        Ok(())
    }

    fn trusted(&self, id: &str) -> Option<&Arc<str>> {
        let bare = id.strip_prefix("sha256:").unwrap_or(id);
        self.trusted.get(id).or_else(|| self.trusted.get(bare))
    }
}

/// Whether the request names its document.
pub(super) fn is_asked(request: &Request) -> bool {
    [PERSISTED_QUERY, DOCUMENT_ID].iter().any(|name| request.extensions.contains_key(*name))
}

/// What the request asks for by name: none where it brings its document, and nothing else.
fn asked(request: &Request) -> Result<Option<Asked>, ServerError> {
    if let Some(Value::Object(persisted)) = request.extensions.get(PERSISTED_QUERY) {
        let is_ours = persisted.get("version").is_some_and(|version| *version == Value::from(1));
        let Some(Value::String(id)) = persisted.get("sha256Hash").filter(|_| is_ours) else {
            return Err(bad("extensions.persistedQuery", "It needs version 1 and a sha256Hash."));
        };
        return Ok(Some(Asked { id: id.clone(), hash: hash(id) }));
    }
    match request.extensions.get(DOCUMENT_ID) {
        None => Ok(None),
        Some(Value::String(id)) => Ok(Some(Asked { id: id.clone(), hash: None })),
        Some(_) => Err(bad(DOCUMENT_ID, "It must be a string.")),
    }
}

fn hash(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// What clients have sent: so many bytes, and what was not asked for the longest goes first.
#[derive(Debug, Default)]
struct Seen {
    texts: HashMap<Hash, (u64, Arc<str>)>,
    /// By when they were last asked for.
    order: BTreeMap<u64, Hash>,
    now: u64,
    bytes: usize,
    room: usize,
}

impl Seen {
    fn get(&mut self, hash: &Hash) -> Option<Arc<str>> {
        let (used, text) = self.texts.get_mut(hash)?;
        self.now += 1;
        self.order.remove(used);
        self.order.insert(self.now, *hash);
        *used = self.now;
        Some(Arc::clone(text))
    }

    fn put(&mut self, hash: Hash, text: &str) {
        let cost = text.len() + ENTRY_BYTES;
        if cost > self.room / SHARE || self.get(&hash).is_some() {
            return;
        }
        while self.bytes + cost > self.room {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some((_, text)) = self.texts.remove(&oldest) {
                self.bytes -= text.len() + ENTRY_BYTES;
            }
        }
        self.now += 1;
        self.bytes += cost;
        self.order.insert(self.now, hash);
        self.texts.insert(hash, (self.now, Arc::from(text)));
    }
}

/// Clients know this very message and code: they send the document along the next time.
fn not_found() -> ServerError {
    coded("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")
}

fn only_trusted() -> ServerError {
    let message = "Only trusted documents are executed here: ask for one by documentId or by \
                   extensions.persistedQuery.sha256Hash.";
    coded(message, "FORBIDDEN")
}

fn not_its_hash() -> ServerError {
    bad("extensions.persistedQuery.sha256Hash", "The query is not the document of this hash.")
}

fn bad(field: &str, message: &str) -> ServerError {
    let mut error = coded(message, "BAD_USER_INPUT");
    error.extensions.get_or_insert_default().set("field", field);
    error
}

fn coded(message: &str, code: &str) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.extensions.get_or_insert_default().set("code", code);
    error
}

/// Whether the operator's documents are GraphQL: who starts a server wants to hear that, not who uses it.
pub fn check_documents(config: &DocumentsConfig) -> Result<(), String> {
    for (id, document) in &config.trusted {
        if let Err(error) = parse_query(document) {
            let text = error.to_string();
            let why = text.lines().next_back().unwrap_or_default().trim().trim_start_matches("= ");
            return Err(format!("--trusted-documents: the document {id:?} is not GraphQL: {why}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_takes_no_more_than_its_room() {
        let mut seen = Seen { room: 64 * 1024, ..Seen::default() };
        let hash = |number: u32| Hash::from(Sha256::digest(number.to_be_bytes()));
        let text = "x".repeat(800);
        for number in 0..1000 {
            seen.put(hash(number), &text);
            assert!(seen.get(&hash(0)).is_some(), "the one that is in use went after {number}");
            assert!(seen.bytes <= seen.room && seen.texts.len() == seen.order.len());
        }
        assert_eq!(seen.texts.len(), 64 * 1024 / (800 + ENTRY_BYTES));
        assert!(seen.get(&hash(1)).is_none() && seen.get(&hash(999)).is_some());
        seen.put(hash(2000), &"x".repeat(1000));
        assert!(seen.get(&hash(2000)).is_none(), "larger than its share");
        let mut none = Seen::default();
        none.put(hash(1), "");
        assert!(none.texts.is_empty());
    }

    #[test]
    fn a_hash_is_64_hex_digits() {
        assert_eq!(hash(&"0f".repeat(32)), Some([15; 32]));
        for wrong in ["", "0f", &"0g".repeat(32), &"0f".repeat(33), &"é".repeat(32), &"+f".repeat(32)] {
            assert_eq!(hash(wrong), None, "{wrong}");
        }
    }
}
