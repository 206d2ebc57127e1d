//! The messages of both sub-protocols. graphql-transport-ws is the one of the npm package `graphql-ws`, whose PROTOCOL.md is
//! followed to the letter; the older one, confusingly named graphql-ws, is that of `subscriptions-transport-ws`.

use std::borrow::Cow;

use async_graphql::{Request, ServerError};
use axum::http::HeaderMap;
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::graphql::Answer;
use crate::http::request::Params;
use crate::json;

/// Bytes of an operation's id. The document sets no limit; each message about an operation repeats it.
pub(super) const ID_BYTES: usize = 255;

/// What a message about an operation takes beside its id and its payload. Exactly: what has room to spare is allocated again
/// on its way.
const FRAME: usize = 34;

/// A sub-protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// graphql-transport-ws.
    Transport,
    /// graphql-ws, of subscriptions-transport-ws.
    Legacy,
}

/// What a client says.
pub(super) enum Heard<'a> {
    Init(Value),
    Ping(Value),
    Pong,
    Start {
        id: Cow<'a, str>,
        request: Box<Request>,
    },
    Stop {
        id: Cow<'a, str>,
    },
    /// `connection_terminate`.
    Terminate,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

impl Protocol {
    /// The first that the client offers and we speak.
    pub(super) fn offered(headers: &HeaderMap) -> Option<Self> {
        let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
        offers.flat_map(|value| value.split(',')).find_map(|name| {
            let name = name.trim();
            [Self::Transport, Self::Legacy].into_iter().find(|protocol| protocol.name() == name)
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Transport => "graphql-transport-ws",
            Self::Legacy => "graphql-ws",
        }
    }

    /// Reads a message; or says why it is none.
    pub(super) fn read(self, text: &str) -> Result<Heard<'_>, String> {
        // An array would be taken for the fields in their order.
        if !is_object(text) {
            return Err("a message is an object in JSON".to_owned());
        }
        let Envelope { kind, id, payload } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match (self, &*kind) {
            (_, "connection_init") => Ok(Heard::Init(details(payload)?)),
            (Self::Transport, "ping") => Ok(Heard::Ping(details(payload)?)),
            (Self::Transport, "pong") => details(payload).map(|_| Heard::Pong),
            (Self::Transport, "subscribe") | (Self::Legacy, "start") => {
                Ok(Heard::Start { id: checked(id)?, request: operation(payload)? })
            }
            (Self::Transport, "complete") | (Self::Legacy, "stop") => Ok(Heard::Stop { id: checked(id)? }),
            (Self::Legacy, "connection_terminate") => Ok(Heard::Terminate),
            // It may be of any length.
            (_, kind) => Err(format!("{:?} is no type of message here", kind.chars().take(40).collect::<String>())),
        }
    }

    /// Why nobody is let in; none where the close says it all.
    pub(super) fn refusal(self, reason: &str) -> Option<Vec<u8>> {
        let payload = serde_json::json!({ "message": reason });
        (self == Self::Legacy).then(|| write(&Message { id: None, kind: "connection_error", payload: Some(&payload) }))
    }

    /// What shows that the server is there. The older protocol has no answer to it.
    pub(super) fn ping(self) -> Vec<u8> {
        let kind = if self == Self::Transport { "ping" } else { "ka" };
        write(&Message::<()> { id: None, kind, payload: None })
    }

    pub(super) fn next(self, id: &str, answer: &Answer) -> Vec<u8> {
        let kind = if self == Self::Transport { "next" } else { "data" };
        match answer {
            Answer::Own(answer) => write(&Message { id: Some(id), kind, payload: Some(answer) }),
            Answer::Shared(payload) => {
                let mut text = Vec::with_capacity(payload.len() + id.len() + FRAME);
                write_into(&mut text, &Message::<()> { id: Some(id), kind, payload: None });
                // In the place of the brace that ends it.
                text.pop();
                text.extend_from_slice(br#","payload":"#);
                text.extend_from_slice(payload);
                text.push(b'}');
                text
            }
        }
    }

    pub(super) fn error(self, id: &str, errors: &[ServerError]) -> Vec<u8> {
        match self {
            Self::Transport => write(&Message { id: Some(id), kind: "error", payload: Some(&errors) }),
            // One error, there.
            Self::Legacy => write(&Message { id: Some(id), kind: "error", payload: errors.first() }),
        }
    }
}

/// The client is let in.
pub(super) fn ack() -> Vec<u8> {
    write(&Message::<()> { id: None, kind: "connection_ack", payload: None })
}

/// The same in both.
pub(super) fn complete(id: &str) -> Vec<u8> {
    write(&Message::<()> { id: Some(id), kind: "complete", payload: None })
}

/// The answer to a client's ping.
pub(super) fn pong() -> Vec<u8> {
    write(&Message::<()> { id: None, kind: "pong", payload: None })
}

#[derive(Serialize)]
struct Message<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a P>,
}

fn write<P: Serialize>(message: &Message<'_, P>) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    write_into(&mut text, message);
    text
}

fn write_into<P: Serialize>(text: &mut Vec<u8>, message: &Message<'_, P>) {
    if let Err(error) = serde_json::to_writer(&mut *text, message) {
        // GraphQL's values are all JSON; a message cut short would end the socket.
        tracing::error!(%error, "a message cannot be written as JSON");
        text.clear();
        text.extend_from_slice(br#"{"type":"pong"}"#);
    }
}

fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{')
}

/// An optional object.
fn details(payload: Option<&RawValue>) -> Result<Value, String> {
    match payload {
        None => Ok(Value::Null),
        Some(payload) if is_object(payload.get()) => json::read(payload.get()).map_err(|error| error.to_string()),
        Some(_) => Err("the payload must be an object".to_owned()),
    }
}

fn checked(id: Option<Cow<'_, str>>) -> Result<Cow<'_, str>, String> {
    let id = id.filter(|id| !id.is_empty()).ok_or("the id must be a text that is not empty")?;
    if id.len() > ID_BYTES { Err(format!("the id is longer than {ID_BYTES} bytes")) } else { Ok(id) }
}

fn operation(payload: Option<&RawValue>) -> Result<Box<Request>, String> {
    let payload = payload.map(RawValue::get).filter(|payload| is_object(payload));
    let payload = payload.ok_or("the payload must be an object with a query")?;
    let params: Params =
        serde_json::from_str(payload).map_err(|error| format!("the payload is no operation: {error}"))?;
    params.unresolved().map(Box::new).ok_or_else(|| "the payload is no operation: it has no query".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_valid_message_is_told_from_what_is() {
        let id = "i".repeat(ID_BYTES);
        for text in [
            r#"{"type":"connection_init"}"#,
            r#" {"type":"connection_init","payload":null,"more":1}"#,
            r#"{"type":"connection_init","payload":{"a":[1]}}"#,
            r#"{"type":"ping","payload":{}}"#,
            r#"{"type":"pong"}"#,
            r#"{"type":"complete","id":"1"}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":""}}"#,
            r#"{"type":"subscribe","id":"\n","payload":{"query":"{a}","operationName":null,"variables":null,"extensions":null}}"#,
            &format!(r#"{{"type":"complete","id":"{id}"}}"#),
        ] {
            assert!(Protocol::Transport.read(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "null",
            "[]",
            r#"["complete","1"]"#,
            "{",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"connection_ack"}"#,
            r#"{"type":"next","id":"1","payload":{}}"#,
            r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#,
            r#"{"type":"connection_init","payload":[]}"#,
            r#"{"type":"ping","payload":"x"}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"complete","id":""}"#,
            r#"{"type":"complete","id":1}"#,
            r#"{"type":"subscribe","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"1","payload":["{a}"]}"#,
            r#"{"type":"subscribe","id":"1","payload":{}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":1}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":[]}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","extensions":"x"}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","operationName":2}}"#,
            &format!(r#"{{"type":"complete","id":"{id}i"}}"#),
        ] {
            assert!(Protocol::Transport.read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn each_sub_protocol_has_its_own_words() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let own = Answer::Own(Box::new(async_graphql::Response::new(async_graphql::Value::from(1))));
        for answer in [own, Answer::Shared((*br#"{"data":1}"#).into())] {
            for (id, written) in [("a", "a"), ("\"\n", "\\\"\\n")] {
                for (protocol, kind) in [(Protocol::Transport, "next"), (Protocol::Legacy, "data")] {
                    let expected = format!(r#"{{"id":"{written}","type":"{kind}","payload":{{"data":1}}}}"#);
                    assert_eq!(text(protocol.next(id, &answer)), expected);
                }
            }
        }
        assert_eq!(text(Protocol::Transport.ping()), r#"{"type":"ping"}"#);
        assert_eq!(text(Protocol::Legacy.ping()), r#"{"type":"ka"}"#);
        assert!(Protocol::Legacy.read(r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#).is_ok());
        assert!(Protocol::Legacy.read(r#"{"type":"connection_terminate"}"#).is_ok());
        assert!(Protocol::Legacy.read(r#"{"type":"subscribe","id":"1","payload":{"query":"{a}"}}"#).is_err());
    }
}
