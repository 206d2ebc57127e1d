//! A subscriber to `taskEvents` by graphql-transport-ws. It keeps every event in order of arrival, and whenever the
//! connection is lost it comes back with the last cursor that it has.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

use crate::{PATIENCE, client::Record};

const SUBSCRIBE: &str = "subscription($user: ID!, $after: FeedCursor, $fromStart: Boolean!) { taskEvents(userId: $user, \
                         after: $after, fromStart: $fromStart) { feedCursor isReplay record { recordId position userId \
                         taskId step message } task { taskId position } } }";

/// One event of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) record: Record,
    pub(crate) cursor: String,
    pub(crate) is_replay: bool,
    pub(crate) task_position: i64,
    pub(crate) at: Instant,
}

/// What a message of the server means.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Event(Box<Event>),
    /// `next` with `errors`, or `error`: the first code.
    Refused(String),
    Complete,
    Closed(Option<u16>),
    /// The connection broke off.
    Lost(#[expect(dead_code, reason = "read by whoever reads why a test failed")] String),
}

/// An open subscription.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Subscribes to a user: after a cursor, or from the oldest record on.
    pub(crate) async fn open(address: SocketAddr, user: &str, after: Option<&str>) -> Result<Self, String> {
        let variables = json!({ "user": user, "after": after, "fromStart": after.is_none() });
        Box::pin(Self::subscribe(address, SUBSCRIBE, &variables)).await
    }

    /// Subscribes to whatever is asked.
    pub(crate) async fn subscribe(address: SocketAddr, query: &str, variables: &Value) -> Result<Self, String> {
        let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let opened = timeout(Duration::from_secs(10), connect_async(request)).await.map_err(|error| text(&error))?;
        let mut socket = Self { stream: opened.map_err(|error| text(&error))?.0 };
        socket.send(&json!({ "type": "connection_init" })).await?;
        let acknowledged =
            timeout(Duration::from_secs(10), socket.stream.next()).await.map_err(|error| text(&error))?;
        match acknowledged {
            Some(Ok(Message::Text(answer))) if answer.contains("connection_ack") => {}
            other => return Err(format!("no connection_ack: {other:?}")),
        }
        let payload = json!({ "query": query, "variables": variables });
        socket.send(&json!({ "type": "subscribe", "id": "1", "payload": payload })).await?;
        Ok(socket)
    }

    /// Subscribes to a user from the oldest record on, with little room for what comes and nobody to read it.
    pub(crate) async fn open_and_never_read(address: SocketAddr, user: &str) -> Self {
        let small = TcpSocket::new_v4().unwrap();
        small.set_recv_buffer_size(4 << 10).unwrap();
        let stream = MaybeTlsStream::Plain(small.connect(address).await.unwrap());
        let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let mut socket = Self { stream: client_async(request, stream).await.unwrap().0 };
        socket.send(&json!({ "type": "connection_init" })).await.unwrap();
        let variables = json!({ "user": user, "after": null, "fromStart": true });
        let payload = json!({ "query": SUBSCRIBE, "variables": variables });
        socket.send(&json!({ "type": "subscribe", "id": "1", "payload": payload })).await.unwrap();
        socket
    }

    async fn send(&mut self, message: &Value) -> Result<(), String> {
        self.stream.send(Message::text(message.to_string())).await.map_err(|error| error.to_string())
    }

    /// The next thing that happens, where `taskEvents` was asked for.
    pub(crate) async fn next(&mut self) -> Heard {
        match self.message().await {
            Ok(data) => Heard::Event(Box::new(Event::read(&data["taskEvents"]))),
            Err(heard) => heard,
        }
    }

    /// The `data` of the next event, or the code of the error.
    pub(crate) async fn data(&mut self) -> Result<Value, String> {
        match self.message().await {
            Ok(data) => Ok(data),
            Err(Heard::Refused(code)) => Err(code),
            Err(other) => panic!("neither an event nor an error: {other:?}"),
        }
    }

    async fn message(&mut self) -> Result<Value, Heard> {
        loop {
            let text = match self.stream.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(frame))) => return Err(Heard::Closed(frame.map(|frame| frame.code.into()))),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(Heard::Lost(error.to_string())),
                None => return Err(Heard::Lost("the stream has ended".to_owned())),
            };
            let message: Value = serde_json::from_str(&text).unwrap();
            let payload = &message["payload"];
            match message["type"].as_str().unwrap() {
                "next" if payload["errors"].is_array() => return Err(Heard::Refused(code(&payload["errors"][0]))),
                "next" => return Ok(payload["data"].clone()),
                "error" => return Err(Heard::Refused(code(&payload[0]))),
                "complete" => return Err(Heard::Complete),
                "ping" => drop(self.send(&json!({ "type": "pong" })).await),
                other => panic!("an unexpected message: {other}: {message}"),
            }
        }
    }

    /// The next event, within some time.
    pub(crate) async fn event_within(&mut self, time: Duration) -> Event {
        match timeout(time, self.next()).await {
            Ok(Heard::Event(event)) => *event,
            other => panic!("no event within {time:?}: {other:?}"),
        }
    }

    /// That nothing happens for a while.
    pub(crate) async fn silent_for(&mut self, time: Duration) {
        if let Ok(heard) = timeout(time, self.next()).await {
            panic!("it is not silent: {heard:?}");
        }
    }
}

fn code(error: &Value) -> String {
    error["extensions"]["code"].as_str().map_or_else(|| error.to_string(), str::to_owned)
}

impl Event {
    fn read(value: &Value) -> Self {
        Self {
            record: Record::read(&value["record"]),
            cursor: value["feedCursor"].as_str().unwrap().to_owned(),
            is_replay: value["isReplay"].as_bool().unwrap(),
            task_position: value["task"]["position"].as_i64().unwrap(),
            at: Instant::now(),
        }
    }
}

/// What a subscriber has seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) events: Vec<Event>,
    /// How often it has subscribed.
    pub(crate) subscribed: usize,
    /// Codes of refusals, in order.
    pub(crate) refused: Vec<String>,
    /// How often the server ended the stream without an error.
    pub(crate) completed: usize,
}

/// A browser that always comes back.
pub(crate) struct Subscriber {
    pub(crate) user_id: String,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Subscribes from the oldest record on.
    pub(crate) fn start(address: SocketAddr, user: &str) -> Self {
        let (mut tell, seen) = watch::channel(Seen::default());
        let user_id = user.to_owned();
        let task = tokio::spawn(async move {
            loop {
                follow(address, &user_id, &mut tell).await;
                sleep(Duration::from_millis(50)).await;
            }
        });
        Self { user_id: user.to_owned(), seen, task }
    }

    /// Waits until it has seen this position, and returns all that it has seen.
    pub(crate) async fn reaches(&mut self, position: i64) -> Seen {
        let is_there = |seen: &Seen| seen.events.last().is_some_and(|event| event.record.position >= position);
        if timeout(PATIENCE, self.seen.wait_for(is_there)).await.is_err() {
            let seen = self.seen.borrow();
            let last = seen.events.last().map(|event| event.record.position);
            panic!(
                "{}: stands at {last:?} instead of {position}; subscribed {} times, refused {:?}, completed {}",
                self.user_id, seen.subscribed, seen.refused, seen.completed
            )
        }
        self.seen()
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One subscription, until it ends in whatever way.
async fn follow(address: SocketAddr, user: &str, tell: &mut watch::Sender<Seen>) {
    let after = tell.borrow().events.last().map(|event| event.cursor.clone());
    let Ok(mut socket) = Socket::open(address, user, after.as_deref()).await else { return };
    tell.send_modify(|seen| seen.subscribed += 1);
    loop {
        match socket.next().await {
            Heard::Event(event) => tell.send_modify(|seen| seen.events.push(*event)),
            Heard::Refused(code) => return tell.send_modify(|seen| seen.refused.push(code)),
            Heard::Complete => return tell.send_modify(|seen| seen.completed += 1),
            Heard::Closed(_) | Heard::Lost(_) => return,
        }
    }
}
