//! The WebSocket itself, with bounded buffers that are there only while something is in them.
//!
//! A long message goes out in fragments, so that what is written at once stays small. While a client does not read,
//! [`Line::poll_ready`] says so and nothing more is taken.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};

use super::close::{Close, End};
use super::input::{Incoming, Input, Wrong};
use crate::telemetry::Telemetry;

/// What is read at once.
const READ: usize = 4 << 10;
/// What is gathered before it is written.
const WRITE: usize = 4 << 10;
/// What goes into one frame.
const FRAGMENT: usize = 16 << 10;
/// A buffer for writing that is not larger is kept: with the next event it would be there again.
const KEPT: usize = 1 << 10;
/// What a client may take to answer a close.
const CLOSE: Duration = Duration::from_millis(500);
/// What one that has not been reading may take to see it.
const LATE_CLOSE: Duration = Duration::from_secs(10);
/// What is read and thrown away of a client that talks on after an error.
const DISCARDED: usize = 16 << 20;

/// What a client says.
pub(super) enum Message {
    Text(String),
    Binary,
    /// The answer to a ping of WebSocket itself.
    Pong,
}

/// A socket.
pub(super) struct Line {
    stream: TokioIo<Upgraded>,
    input: Input,
    /// What waits to be written: a frame or two.
    output: Vec<u8>,
    /// How much of it is written.
    written: usize,
    /// What is still to be sent of a message that goes out in fragments.
    rest: Bytes,
    /// The answer to the last ping of WebSocket itself: a client may send any number.
    pong: Option<Vec<u8>>,
    blocked_since: Option<Instant>,
    /// Something was written that the layers below (TLS) may not have sent yet.
    is_unflushed: bool,
    /// What comes cannot be understood any more.
    is_broken: bool,
    most_message: usize,
    telemetry: Telemetry,
}

impl Line {
    pub(super) fn new(upgraded: Upgraded, most_message: usize, telemetry: Telemetry) -> Self {
        Self {
            stream: TokioIo::new(upgraded),
            input: Input::default(),
            output: Vec::new(),
            written: 0,
            rest: Bytes::new(),
            pong: None,
            blocked_since: None,
            is_unflushed: false,
            is_broken: false,
            most_message,
            telemetry,
        }
    }

    /// From now on a message may have so many bytes.
    pub(super) fn allow(&mut self, most_message: usize) {
        self.most_message = most_message;
    }

    /// Since when the client has not taken what it was sent.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// Whether another message can be sent.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if self.blocked_since.is_some() {
                ready!(self.poll_flush(context))?;
            } else if self.output.len() >= WRITE {
                ready!(self.poll_write_out(context))?;
            }
            if self.rest.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.send_fragment(Data::Continue)?;
        }
    }

    /// Sends a text. Only after [`Line::poll_ready`] has said so.
    pub(super) fn send(&mut self, text: Vec<u8>) -> Result<(), End> {
        self.rest = Bytes::from(text);
        self.send_fragment(Data::Text)
    }

    /// Sends a ping of WebSocket itself, which browsers answer without their pages.
    pub(super) fn send_ping(&mut self) -> Result<(), End> {
        self.start(Frame::ping(Bytes::new()))
    }

    fn send_fragment(&mut self, kind: Data) -> Result<(), End> {
        let fragment = self.rest.split_to(self.rest.len().min(FRAGMENT));
        let is_final = self.rest.is_empty();
        if is_final {
            // The text is not kept by what was cut off last.
            self.rest = Bytes::new();
        }
        self.start(Frame::message(fragment, OpCode::Data(kind), is_final))
    }

    fn start(&mut self, frame: Frame) -> Result<(), End> {
        self.output.reserve(frame.len());
        // Writing into memory does not fail.
        frame.format(&mut self.output).map_err(|_| End::Lost)
    }

    /// Brings on its way what was sent.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        ready!(self.poll_write_out(context))?;
        while let Some(pong) = self.pong.take() {
            self.start(Frame::pong(pong))?;
            ready!(self.poll_write_out(context))?;
        }
        if self.is_unflushed {
            let flushed = Pin::new(&mut self.stream).poll_flush(context);
            ready!(self.note(flushed)).map_err(|_| End::Lost)?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        while let Some(waiting) = self.output.get(self.written..).filter(|waiting| !waiting.is_empty()) {
            let written = Pin::new(&mut self.stream).poll_write(context, waiting);
            match ready!(self.note(written)) {
                Ok(written @ 1..) => self.written += written,
                Ok(0) | Err(_) => return Poll::Ready(Err(End::Lost)),
            }
            self.is_unflushed = true;
        }
        self.written = 0;
        if self.output.capacity() > KEPT {
            self.output = Vec::new();
        }
        self.output.clear();
        Poll::Ready(Ok(()))
    }

    /// Remembers since when the client has not been reading.
    fn note<T>(&mut self, state: Poll<T>) -> Poll<T> {
        match (&state, self.blocked_since) {
            (Poll::Pending, None) => {
                self.blocked_since = Some(Instant::now());
                self.telemetry.blocked_connections.inc();
            }
            (Poll::Ready(_), Some(_)) => self.unblocked(),
            _ => {}
        }
        state
    }

    fn unblocked(&mut self) {
        if self.blocked_since.take().is_some() {
            self.telemetry.blocked_connections.dec();
        }
    }

    /// The next message.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, End>> {
        loop {
            match self.input.take(self.most_message) {
                Ok(Some(Incoming::Text(text))) => return Poll::Ready(Ok(Message::Text(text))),
                Ok(Some(Incoming::Binary)) => return Poll::Ready(Ok(Message::Binary)),
                Ok(Some(Incoming::Pong)) => return Poll::Ready(Ok(Message::Pong)),
                Ok(Some(Incoming::Ping(payload))) => self.pong = Some(payload),
                Ok(Some(Incoming::Close(code))) => return Poll::Ready(Err(End::ByClient(code))),
                Ok(None) => {
                    if !ready!(self.poll_read(context)) {
                        return Poll::Ready(Err(End::Lost));
                    }
                }
                Err(wrong) => {
                    self.is_broken = true;
                    return Poll::Ready(Err(End::Close(match wrong {
                        Wrong::TooLarge => Close::TooLarge(self.most_message),
                        Wrong::NotText => Close::NotText,
                        Wrong::Protocol => Close::Protocol,
                    })));
                }
            }
        }
    }

    /// Takes in what has come; false at the connection's end.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut bytes = [MaybeUninit::uninit(); READ];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut bytes));
        self.input.extend(bytes.filled());
        Poll::Ready(read.is_ok() && !bytes.filled().is_empty())
    }

    /// Closes it with this code, and waits a moment for the answer: a socket dropped before that would be reset, and the
    /// close lost.
    pub(super) async fn close(mut self, close: &Close, slow_reader_time: Duration) {
        let patience = if self.blocked_since.is_some() { LATE_CLOSE.min(slow_reader_time).max(CLOSE) } else { CLOSE };
        let frame = CloseFrame { code: close.code().into(), reason: close.reason().into() };
        let said = timeout(patience, async {
            // A message half sent has to come first.
            poll_fn(|context| self.poll_ready(context)).await?;
            self.start(Frame::close(Some(frame)))?;
            poll_fn(|context| self.poll_flush(context)).await
        });
        if !matches!(said.await, Ok(Ok(()))) {
            return;
        }
        let _ = timeout(CLOSE, async {
            if self.is_broken {
                self.discard().await;
            } else {
                while poll_fn(|context| self.poll_next(context)).await.is_ok() {}
            }
        })
        .await;
    }

    /// The client has closed it: its close is answered, after what was being written.
    pub(super) async fn answer_close(mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame { code: code.into(), reason: "".into() });
        if self.start(Frame::close(frame)).is_ok() {
            let _ = timeout(CLOSE, poll_fn(|context| self.poll_flush(context))).await;
        }
    }

    async fn discard(&mut self) {
        let mut buffer = [0; 1 << 10];
        let mut room = DISCARDED;
        while let Ok(read @ 1..) = self.stream.read(&mut buffer).await {
            let Some(left) = room.checked_sub(read) else { return };
            room = left;
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.unblocked();
    }
}
