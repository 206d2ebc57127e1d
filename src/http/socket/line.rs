//! The WebSocket itself, with bounded buffers.
//!
//! A long message goes out in fragments, so that the buffer for writing, which keeps its size, stays small. While a client
//! does not read, [`Line::poll_ready`] says so and nothing more is taken.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::close::{Close, End};

/// What is read at once. Allocated for each socket as long as it lives.
const READ_BUFFER: usize = 4 << 10;
/// What is gathered before it is written.
const WRITE_BUFFER: usize = 4 << 10;
/// What goes into one frame.
const FRAGMENT: usize = 16 << 10;
/// What may wait to be written: a frame, and the answers to WebSocket's own pings, of which a client may send any number.
const MOST_WRITE_BUFFER: usize = 64 << 10;
/// What a client may take to answer a close.
const CLOSE: Duration = Duration::from_millis(500);
/// What one that has not been reading may take to see it.
const LATE_CLOSE: Duration = Duration::from_secs(10);
/// What is read and thrown away of a client that talks on after an error.
const DISCARDED: usize = 16 << 20;

/// A socket.
pub(super) struct Line {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    /// What is still to be sent of a message that goes out in fragments.
    rest: Bytes,
    blocked_since: Option<Instant>,
    /// Something was given to the socket that may not be on its way yet.
    is_unflushed: bool,
    /// Reading has failed: what comes cannot be understood any more.
    is_broken: bool,
    most_message: usize,
}

impl Line {
    pub(super) async fn new(upgraded: Upgraded, most_message: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(MOST_WRITE_BUFFER)
            .max_message_size(Some(most_message))
            .max_frame_size(Some(most_message));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Self { socket, rest: Bytes::new(), blocked_since: None, is_unflushed: false, is_broken: false, most_message }
    }

    /// Since when the client has not taken what it was sent.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// Whether another message can be sent.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        if self.blocked_since.is_some() {
            ready!(self.poll_flush(context))?;
        }
        loop {
            let ready = Pin::new(&mut self.socket).poll_ready(context);
            ready!(self.note(ready))?;
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
        self.start(Message::Ping(Bytes::new()))
    }

    fn send_fragment(&mut self, kind: Data) -> Result<(), End> {
        let fragment = self.rest.split_to(self.rest.len().min(FRAGMENT));
        let is_final = self.rest.is_empty();
        if is_final {
            // The text is not kept by what was cut off last.
            self.rest = Bytes::new();
        }
        self.start(Message::Frame(Frame::message(fragment, OpCode::Data(kind), is_final)))
    }

    fn start(&mut self, message: Message) -> Result<(), End> {
        self.is_unflushed = true;
        self.socket.start_send_unpin(message).map_err(|_| End::Lost)
    }

    /// Brings on its way what was sent.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        if !self.is_unflushed && self.blocked_since.is_none() {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        ready!(self.note(flushed))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Remembers since when the client has not been reading.
    fn note(&mut self, state: Poll<Result<(), Error>>) -> Poll<Result<(), End>> {
        match state {
            Poll::Pending => {
                self.blocked_since.get_or_insert_with(Instant::now);
                Poll::Pending
            }
            Poll::Ready(result) => {
                self.blocked_since = None;
                Poll::Ready(result.map_err(|_| End::Lost))
            }
        }
    }

    /// The next message.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, End>> {
        let next = ready!(Pin::new(&mut self.socket).poll_next(context));
        self.is_broken |= matches!(next, Some(Err(_)));
        Poll::Ready(match next {
            Some(Ok(Message::Close(frame))) => Err(End::ByClient(frame.map(|frame| frame.code.into()))),
            Some(Ok(message)) => Ok(message),
            None => Err(End::Lost),
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                Err(End::Close(Close::TooLarge(self.most_message)))
            }
            Some(Err(Error::Utf8(_))) => Err(End::Close(Close::NotText)),
            Some(Err(
                Error::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
                | Error::Io(_),
            )) => Err(End::Lost),
            Some(Err(_)) => Err(End::Close(Close::Protocol)),
        })
    }

    /// Closes it with this code, and waits a moment for the answer: a socket dropped before that would be reset, and the
    /// close lost.
    pub(super) async fn close(mut self, close: &Close, slow_reader_time: Duration) {
        let patience = if self.blocked_since.is_some() { LATE_CLOSE.min(slow_reader_time).max(CLOSE) } else { CLOSE };
        let said = timeout(patience, async {
            // A message half sent has to come first.
            if poll_fn(|context| self.poll_ready(context)).await.is_err() {
                return false;
            }
            let frame = CloseFrame { code: close.code().into(), reason: close.reason().into() };
            self.socket.send(Message::Close(Some(frame))).await.is_ok()
        });
        if said.await != Ok(true) {
            return;
        }
        let _ = timeout(CLOSE, async {
            if self.is_broken {
                self.discard().await;
            } else {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        })
        .await;
    }

    /// The client has closed it: its close is answered.
    pub(super) async fn answer_close(mut self) {
        let _ = timeout(CLOSE, async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
    }

    async fn discard(&mut self) {
        let stream = self.socket.get_mut();
        let mut buffer = [0; 1 << 10];
        let mut room = DISCARDED;
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let Some(left) = room.checked_sub(read) else { return };
            room = left;
        }
    }
}
