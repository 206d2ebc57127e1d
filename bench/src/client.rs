//! Lean clients: what they cost is not the server's, but it is the same machine's. A socket reads frames without looking
//! into them unless asked to; a save is one write and one read on a connection that stays open.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::Result;

/// The six fields of the measurements. From the start: a user who has one record already tells with it that the
/// subscription stands, and nothing that is saved later can be missed.
const EVENTS: &str = "subscription($user: ID!) { taskEvents(userId: $user, fromStart: true) { feedCursor isReplay \
    record { position message recordedAt status } } }";
/// The same, after a cursor.
const RESUMED: &str = "subscription($user: ID!, $after: FeedCursor!) { taskEvents(userId: $user, after: $after) { \
    feedCursor isReplay record { position message recordedAt status } } }";
const SAVE: &str = "mutation($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { record { position } } }";
const SAVE_BATCH: &str =
    "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
const FEED: &str = "query($user: ID!) { feed(userId: $user) { cursor } }";
const PATIENCE: Duration = Duration::from_mins(1);

/// A WebSocket, after its handshake.
pub(crate) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Read, and given out already.
    used: usize,
}

impl Socket {
    /// Connected, acknowledged, and subscribed to the events of `user`, who has one record: with it the server has shown
    /// that the subscription stands. (A pong would not: it comes while the server still reads where the feed stands.)
    pub(crate) async fn subscribed(address: &str, user: &str) -> Result<Self> {
        let mut socket = Self::asking(address, EVENTS, &json!({ "user": user })).await?;
        socket.until("next").await?;
        // What a socket holds while it rests is little.
        socket.buffer = Vec::new();
        socket.used = 0;
        Ok(socket)
    }

    /// Connected, acknowledged, and asking: whether the subscription stands is not known yet.
    pub(crate) async fn asking(address: &str, query: &str, variables: &Value) -> Result<Self> {
        let mut socket = Self::opened(TcpStream::connect(address).await?, address).await?;
        let payload = json!({ "query": query, "variables": variables });
        socket.send(&json!({ "id": "1", "type": "subscribe", "payload": payload })).await?;
        Ok(socket)
    }

    /// As [`Self::subscribed`], after a cursor and with a small buffer for what is not read: what comes next shows that it
    /// stands.
    pub(crate) async fn resumed(address: &str, user: &str, after: &str) -> Result<Self> {
        let connection = TcpSocket::new_v4()?;
        connection.set_recv_buffer_size(64 << 10)?;
        let mut socket = Self::opened(connection.connect(address.parse()?).await?, address).await?;
        let payload = json!({ "query": RESUMED, "variables": { "user": user, "after": after } });
        socket.send(&json!({ "id": "1", "type": "subscribe", "payload": payload })).await?;
        Ok(socket)
    }

    async fn opened(mut stream: TcpStream, address: &str) -> Result<Self> {
        stream.set_nodelay(true)?;
        let request = format!(
            "GET /graphql HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = Vec::new();
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if timeout(PATIENCE, stream.read_buf(&mut buffer)).await?? == 0 {
                return Err("the server closed during the handshake".into());
            }
        };
        if !buffer.starts_with(b"HTTP/1.1 101") {
            return Err(String::from_utf8_lossy(&buffer).into_owned().into());
        }
        let mut socket = Self { stream, buffer, used: head };
        socket.send(&json!({ "type": "connection_init" })).await?;
        socket.until("connection_ack").await?;
        Ok(socket)
    }

    async fn until(&mut self, kind: &str) -> Result<()> {
        let frame = timeout(PATIENCE, self.frame()).await??;
        let text = String::from_utf8_lossy(frame).into_owned();
        if text.contains(&format!("\"{kind}\"")) { Ok(()) } else { Err(format!("{kind} expected: {text}").into()) }
    }

    /// A client masks what it sends; with zeros it stays as it is.
    async fn send(&mut self, message: &Value) -> Result<()> {
        let text = message.to_string();
        let mut frame = vec![0x81];
        // The first bit says that it is masked; 126 (0x7e) that the length follows in two bytes.
        if let Ok(length @ 0..=125) = u8::try_from(text.len()) {
            frame.push(0x80 | length);
        } else {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(text.len())?.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        Ok(self.stream.write_all(&frame).await?)
    }

    /// The payload of the next text frame. A ping is answered: who does not is taken for dead.
    pub(crate) async fn frame(&mut self) -> Result<&[u8]> {
        let (begin, end) = loop {
            if let Some((begin, end)) = frame_in(self.buffer.get(self.used..).unwrap_or_default())? {
                let (first, begin, end) = (self.used, self.used + begin, self.used + end);
                if self.buffer.get(first).is_none_or(|first| first & 0x0f != 9) {
                    break (begin, end);
                }
                let mut pong = vec![0x8a, 0x80 | u8::try_from(end - begin)?, 0, 0, 0, 0];
                pong.extend_from_slice(self.buffer.get(begin..end).unwrap_or_default());
                self.used = end;
                self.stream.write_all(&pong).await?;
                continue;
            }
            if self.used > 0 {
                self.buffer.drain(..self.used);
                self.used = 0;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the socket".into());
            }
        };
        self.used = end;
        Ok(self.buffer.get(begin..end).unwrap_or_default())
    }
}

/// Where the payload of the first whole frame is.
fn frame_in(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & 0x0f == 8 {
        let code = rest.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
        return Err(format!("the server closes with {code}").into());
    }
    let (head, length) = match second & 0x7f {
        126 => match rest.first_chunk() {
            Some(length) => (4, usize::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(*length))?),
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    Ok((bytes.len() >= head + length).then_some((head, head + length)))
}

/// The text of a field in a frame, without reading the rest of it.
pub(crate) fn field<'a>(frame: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(frame).ok()?;
    let value = text.split_once(&format!("\"{name}\":"))?.1;
    Some(value.trim_start_matches('"').split(['"', ',', '}']).next().unwrap_or_default())
}

/// Reads the positions of one subscriber's events: each must be the next one. It remembers where in a frame the position
/// stood, for frames are alike, and to search in each would take the CPU that is measured.
#[derive(Default)]
pub(crate) struct Positions {
    last: u64,
    place: usize,
    /// Those that were not the next one.
    pub(crate) wrong: usize,
}

impl Positions {
    const MARK: &[u8] = b"\"position\":";

    /// After this one.
    pub(crate) fn after(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    /// Whether the event is the next one.
    pub(crate) fn take(&mut self, frame: &[u8]) -> bool {
        let is_here = |at: &usize| frame.get(*at..).is_some_and(|rest| rest.starts_with(Self::MARK));
        // `isReplay` may have become false: one byte more.
        let near = [self.place, self.place + 1].into_iter().find(is_here);
        let found = near.or_else(|| frame.windows(Self::MARK.len()).position(|window| window == Self::MARK));
        let position = found.and_then(|at| {
            self.place = at;
            let digits = frame.get(at + Self::MARK.len()..)?;
            let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
            std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
        });
        let is_next = position == Some(self.last + 1);
        self.wrong += usize::from(!is_next);
        self.last = position.unwrap_or(self.last);
        is_next
    }
}

/// A connection for mutations.
pub(crate) struct Saver {
    stream: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

impl Saver {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: address.to_owned(), buffer: Vec::new() })
    }

    pub(crate) async fn save(&mut self, record: Value) -> Result<()> {
        self.ask(&save(record)).await.map(drop)
    }

    pub(crate) async fn save_all(&mut self, records: Vec<Value>) -> Result<()> {
        self.ask(&json!({ "query": SAVE_BATCH, "variables": { "input": { "records": records } } })).await.map(drop)
    }

    /// One record for each of so many users, so that each has a head and something to tell its first subscriber.
    pub(crate) async fn begin(&mut self, users: impl IntoIterator<Item = String>) -> Result<()> {
        let mut records = users.into_iter().map(|user| report(&user, 0, &Value::Null)).peekable();
        while records.peek().is_some() {
            self.save_all(records.by_ref().take(500).collect()).await?;
        }
        Ok(())
    }

    /// Where a user's feed stands.
    pub(crate) async fn cursor(&mut self, user: &str) -> Result<String> {
        let answer = self.ask(&json!({ "query": FEED, "variables": { "user": user } })).await?;
        Ok(field(answer.as_bytes(), "cursor").ok_or("no cursor")?.to_owned())
    }

    /// The answer, where it is a good one.
    pub(crate) async fn ask(&mut self, body: &Value) -> Result<String> {
        let body = body.to_string();
        let request = format!(
            "POST /graphql HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await?? == 0 {
                return Err("the server closed the connection of a save".into());
            }
            let text = std::str::from_utf8(&self.buffer)?;
            let Some((head, answer)) = text.split_once("\r\n\r\n") else { continue };
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
            if answer.len() >= length.trim().parse::<usize>()? {
                let is_good = text.starts_with("HTTP/1.1 200") && !answer.contains("\"errors\"");
                return if is_good { Ok(answer.to_owned()) } else { Err(text.to_owned().into()) };
            }
        }
    }
}

/// The body of a save.
pub(crate) fn save(record: Value) -> Value {
    json!({ "query": SAVE, "variables": { "input": record } })
}

/// A report whose message says which one it is.
pub(crate) fn report(user: &str, number: usize, result: &Value) -> Value {
    json!({
        "userId": user, "taskId": "bench", "step": 1,
        "stepResult": { "stepName": "bench", "status": "RUNNING", "message": format!("n{number}"), "result": result },
    })
}

/// Sends the numbers from 0 at a constant spacing, each with the moment when it is due, from a thread of its own: timers of
/// the runtime are a millisecond off. Whoever takes one late counts from its due time.
pub(crate) fn pace(rate: f64, count: usize) -> mpsc::Receiver<(usize, Instant)> {
    let (sender, receiver) = mpsc::channel(count.max(1));
    std::thread::spawn(move || {
        let begin = Instant::now();
        for number in 0..count {
            let due = begin + Duration::from_secs_f64(crate::float(number) / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.blocking_send((number, due)).is_err() {
                return;
            }
        }
    });
    receiver
}
