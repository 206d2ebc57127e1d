//! One socket's state machine: what comes in, what goes out, what is due. It is one task that never waits in the middle of
//! anything.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response, ServerError, Value as GraphQLValue};
use axum::http::HeaderValue;
use serde_json::Value;

use super::alarm::{Alarm, Call};
use super::clock::{Clock, Due};
use super::close::{Close, End};
use super::line::{Line, Message};
use super::operations::{Operations, Told};
use super::protocol::{self, Heard, Protocol};
use crate::auth::Viewer;
use crate::config::SocketConfig;
use crate::graphql::{Answer, Caller};
use crate::http::Shared;
use crate::http::answer::Refusal;
use crate::http::connections::{Connections, Ending, Seat};
use crate::http::request_id;
use crate::http::viewer::{self, SignInError};
use crate::telemetry::RemoteSpan;

/// Messages that wait until the client reads. While there are as many, nothing more is read from it.
const QUEUE: usize = 32;
/// How many messages are handled before other sockets have their turn.
const TURN: usize = 64;

/// A socket's conversation with its client.
pub(super) struct Conversation<'a> {
    line: &'a mut Line,
    shared: Shared,
    connections: Connections,
    protocol: Protocol,
    seat: Seat,
    /// `disconnectUser`, or the end of the server.
    ending: Alarm<Ending>,
    clock: Clock,
    handshake: Handshake,
    sign_in: Option<SignIn>,
    /// Who has signed in, and with that everything that they may do.
    member: Option<Member>,
    operations: Operations,
    queue: VecDeque<Waiting>,
    /// Whether something may have come from the client.
    client: Call,
}

/// What a socket keeps of the request that it began with.
pub(super) struct Handshake {
    /// Until somebody signs in.
    pub(super) authorization: Option<String>,
    /// What errors name.
    pub(super) request_id: Option<HeaderValue>,
    /// The trace of its operations; `connection_init` may name another one.
    pub(super) remote: Option<RemoteSpan>,
}

/// A message that waits until the client reads, and whose operation's it is.
struct Waiting {
    id: Option<Arc<str>>,
    text: Vec<u8>,
}

struct Member {
    viewer: Viewer,
    caller: Caller,
}

/// Somebody at the door.
struct SignIn {
    stage: Stage,
    /// How many pings wait for it, where somebody is in already and brings a new token.
    renewals: usize,
}

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Stage {
    /// The token is being looked at: its keys may have to be fetched.
    Token(Later<Result<Viewer, SignInError>>),
    /// It is good, and the connection counted as this user's: was the user disconnected since the token was issued?
    Admission(Later<(Viewer, Result<(), SignInError>)>),
}

type Step = Result<(), End>;

fn close(close: Close) -> Step {
    Err(End::Close(close))
}

impl<'a> Conversation<'a> {
    pub(super) fn new(
        line: &'a mut Line,
        shared: Shared,
        protocol: Protocol,
        seat: Seat,
        handshake: Handshake,
    ) -> Self {
        let connections = seat.connections().clone();
        Self {
            line,
            clock: Clock::new(connections.config()),
            ending: Alarm::new(seat.ending()),
            shared,
            connections,
            protocol,
            seat,
            handshake,
            sign_in: None,
            member: None,
            operations: Operations::default(),
            queue: VecDeque::new(),
            client: Call::new(),
        }
    }

    /// The seat, which is kept until the socket is closed.
    pub(super) fn into_seat(self) -> Seat {
        self.seat
    }

    fn config(&self) -> &SocketConfig {
        self.connections.config()
    }

    /// Goes on as far as possible, and says when and how it is over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        match self.step(context) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn step(&mut self, context: &mut Context<'_>) -> Step {
        self.check_ending(context)?;
        let mut moves = 0;
        loop {
            let is_free = self.send(context)?;
            let mut goes_on = self.listen(context)?;
            goes_on |= self.check_sign_in(context)?;
            if is_free && self.queue.is_empty() {
                goes_on |= self.ask(context);
            } else {
                self.operations.go_on(context);
            }
            if !goes_on {
                self.clock.operations_run(!self.operations.is_empty());
                if self.check_clock(context)? {
                    continue;
                }
                break;
            }
            moves += 1;
            if moves == TURN {
                context.waker().wake_by_ref();
                break;
            }
        }
        if self.line.blocked_since().is_none()
            && let Poll::Ready(flushed) = self.line.poll_flush(context)
        {
            return flushed;
        }
        // It has just become blocked: from now on another time counts.
        self.check_clock(context).map(|_| ())
    }

    fn check_ending(&mut self, context: &mut Context<'_>) -> Step {
        if self.clock.is_shutdown() {
            return Ok(());
        }
        match self.ending.poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ending::Disconnected) => close(Close::Disconnected),
            Poll::Ready(Ending::Shutdown) => {
                self.clock.shutdown(self.seat.turn());
                Ok(())
            }
        }
    }

    /// Sends what waits. Whether the client has taken it all.
    fn send(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let was_blocked = self.line.blocked_since().is_some();
        loop {
            match self.line.poll_ready(context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(end)) => return Err(end),
                Poll::Ready(Ok(())) if was_blocked => self.clock.unblocked(),
                Poll::Ready(Ok(())) => {}
            }
            match self.queue.pop_front() {
                Some(message) => self.line.send(message.text)?,
                None => return Ok(true),
            }
        }
    }

    /// Hears one message.
    fn listen(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        // A client of the older protocol starts operations before it is let in.
        let waits = self.protocol == Protocol::Legacy && self.sign_in.is_some();
        // What a renewal owes is as good as queued.
        let owed = self.sign_in.as_ref().map_or(0, |sign_in| sign_in.renewals);
        if waits || self.queue.len() + owed >= QUEUE || !self.client.has_come(context) {
            return Ok(false);
        }
        let heard = self.line.poll_next(&mut self.client.context());
        if heard.is_ready() {
            self.client.again();
        }
        match heard {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(end)) => Err(end),
            Poll::Ready(Ok(Message::Text(text))) => self.hear(&text).map(|()| true),
            Poll::Ready(Ok(Message::Binary)) => close(Close::BadMessage("a message is text".to_owned())).map(|()| true),
            Poll::Ready(Ok(Message::Pong)) => {
                // The answer of a client of the older protocol, which has no other. One of the newer protocol could go on
                // like that in the middle of a message that never ends.
                if self.protocol == Protocol::Legacy {
                    self.clock.ponged();
                }
                Ok(true)
            }
        }
    }

    fn hear(&mut self, text: &str) -> Step {
        let heard = self.protocol.read(text).map_err(|why| End::Close(Close::BadMessage(why)))?;
        match heard {
            Heard::Init(_) if self.sign_in.is_some() || self.member.is_some() => close(Close::SecondInit),
            Heard::Init(payload) => {
                self.begin_sign_in(payload);
                Ok(())
            }
            Heard::Ping(payload) => {
                self.ping(payload);
                Ok(())
            }
            Heard::Pong => {
                self.clock.ponged();
                Ok(())
            }
            Heard::Start { id, request } => self.start(&id, *request, text.len()),
            Heard::Stop { id } => {
                self.stop(&id);
                Ok(())
            }
            Heard::Terminate => close(Close::Terminated),
        }
    }

    /// Looks at the token of `connection_init`, or, where it brings none, at that of the handshake.
    fn begin_sign_in(&mut self, mut payload: Value) {
        self.handshake.remote = RemoteSpan::of(|name| payload.get(name)?.as_str()).or(self.handshake.remote.take());
        if let Some(authorization) = self.handshake.authorization.take()
            && !viewer::has_token(&payload)
        {
            payload = serde_json::json!({ "Authorization": authorization });
        }
        self.clock.begun();
        self.look_at(payload, 0);
    }

    /// Answers a ping. One that brings a token renews it, and is answered when the token was found good.
    fn ping(&mut self, payload: Value) {
        let is_open = self.shared.authenticator.is_open();
        if self.member.is_some() && !is_open && viewer::has_token(&payload) {
            // Of two in a row the later token counts, and both are answered.
            let before = self.sign_in.as_ref().map_or(0, |sign_in| sign_in.renewals);
            self.look_at(payload, before + 1);
        } else {
            self.say(protocol::pong());
        }
    }

    fn say(&mut self, text: Vec<u8>) {
        self.queue.push_back(Waiting { id: None, text });
    }

    fn say_of(&mut self, id: &Arc<str>, text: Vec<u8>) {
        self.queue.push_back(Waiting { id: Some(Arc::clone(id)), text });
    }

    /// Ends an operation. Nothing more is said of it: its id may be another one's next.
    fn stop(&mut self, id: &str) {
        self.operations.stop(id);
        self.queue.retain(|waiting| waiting.id.as_deref() != Some(id));
    }

    fn refuse_operation(&mut self, id: &str, mut error: ServerError) {
        self.name(std::slice::from_mut(&mut error));
        self.say_of(&Arc::from(id), self.protocol.error(id, &[error]));
    }

    fn name(&self, errors: &mut [ServerError]) {
        request_id::name(errors, self.handshake.request_id.as_ref());
    }

    fn look_at(&mut self, payload: Value, renewals: usize) {
        let authenticator = self.shared.authenticator.clone();
        let viewer = Box::pin(async move { viewer::of_payload(&authenticator, &payload).await });
        self.sign_in = Some(SignIn { stage: Stage::Token(viewer), renewals });
    }

    fn check_sign_in(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let Some(SignIn { stage, renewals }) = &mut self.sign_in else { return Ok(false) };
        let renewals = *renewals;
        match stage {
            Stage::Token(viewer) => {
                let Poll::Ready(viewer) = viewer.as_mut().poll(context) else { return Ok(false) };
                let viewer = match viewer {
                    Ok(viewer) => viewer,
                    Err(error) => return self.turn_away(error, renewals).map(|()| true),
                };
                self.check_member(&viewer)?;
                if renewals == 0 {
                    self.seat.sign_in(&viewer).map_err(|full| End::Close(Close::Full(full)))?;
                }
                let service = self.shared.api.service().clone();
                let admission = Box::pin(async move {
                    let admitted = viewer::admit(&service, &viewer).await;
                    (viewer, admitted)
                });
                self.sign_in = Some(SignIn { stage: Stage::Admission(admission), renewals });
            }
            Stage::Admission(admission) => {
                let Poll::Ready((viewer, admitted)) = admission.as_mut().poll(context) else { return Ok(false) };
                self.sign_in = None;
                match admitted {
                    Ok(()) => self.let_in(viewer, renewals),
                    Err(error) => self.turn_away(error, renewals)?,
                }
            }
        }
        Ok(true)
    }

    fn turn_away(&mut self, error: SignInError, renewals: usize) -> Step {
        self.sign_in = None;
        match error {
            SignInError::Disconnected => close(Close::Disconnected),
            // The old token still counts, and its end still closes. Without a pong the client tries again.
            error if error.is_passing() && renewals > 0 => Ok(()),
            error if error.is_passing() => close(Close::NotNow(error.to_string())),
            error => Err(self.refuse(&error.to_string())),
        }
    }

    /// A socket is not handed on: a renewed token is the same user's, in the same role.
    fn check_member(&mut self, viewer: &Viewer) -> Step {
        match &self.member {
            Some(Member { viewer: before, .. }) if before.user_id != viewer.user_id || before.role != viewer.role => {
                Err(self.refuse("the new token is somebody else's"))
            }
            _ => Ok(()),
        }
    }

    fn let_in(&mut self, viewer: Viewer, renewals: usize) {
        self.clock.token_expires_in(self.shared.authenticator.remaining(&viewer));
        if renewals == 0 {
            self.clock.opened();
            self.line.allow(self.connections.config().message_bytes);
            self.say(protocol::ack());
            if self.protocol == Protocol::Legacy {
                self.say(self.protocol.ping());
            }
        }
        for _ in 0..renewals {
            self.say(protocol::pong());
        }
        let caller = self.shared.api.caller(viewer.clone()).within(self.handshake.remote.clone());
        self.member = Some(Member { viewer, caller });
    }

    /// The close of who is not let in, and before it what the older protocol says.
    fn refuse(&mut self, why: &str) -> End {
        if let Some(refusal) = self.protocol.refusal(why)
            && self.queue.is_empty()
            && self.line.blocked_since().is_none()
            && let Err(end) = self.line.send(refusal)
        {
            return end;
        }
        End::Close(Close::Forbidden(why.to_owned()))
    }

    fn start(&mut self, id: &str, mut request: Request, bytes: usize) -> Step {
        let Some(Member { caller, .. }) = &self.member else { return close(Close::Unauthorized) };
        let caller = caller.clone();
        if self.operations.contains(id) {
            if self.protocol == Protocol::Transport {
                return close(Close::DuplicateId(id.to_owned()));
            }
            self.stop(id);
        }
        if self.clock.is_shutdown() {
            // The close that follows says it: the client starts it again wherever it comes back.
            return Ok(());
        }
        // Counted before anything of it is read, as it is over HTTP.
        let admitted = self.check_limits(bytes).and_then(|()| caller.admitted());
        let checked = admitted.and_then(|caller| self.shared.persisted.resolve(&mut request).map(|()| caller));
        let caller = match checked {
            Ok(caller) => caller,
            Err(error) => {
                self.refuse_operation(id, error);
                return Ok(());
            }
        };
        // What does not parse is refused by the caller.
        let is_subscription = matches!(self.shared.api.operation_type(&request), Ok(Some(OperationType::Subscription)));
        let stream = caller.answers(request);
        self.operations.start(id, bytes, is_subscription, stream);
        // It may have answered before the clock is looked at.
        self.clock.operations_run(true);
        self.connections.telemetry().socket_operations.inc();
        Ok(())
    }

    fn check_limits(&self, bytes: usize) -> Result<(), ServerError> {
        let (config, operations) = (self.config(), &self.operations);
        let refused = |limit: &str, max: usize, value: usize, message: String| {
            let refusal = Refusal::new(axum::http::StatusCode::OK, "LIMIT_EXCEEDED", message);
            Err(refusal.with("limit", limit).with("max", max).with("value", value).into_error())
        };
        let (max, value) = (config.operations, operations.len() + 1);
        if value > max {
            let message = format!("A socket may have {max} operations at the same time.");
            return refused("operations", max, value, message);
        }
        let (max, value) = (config.operation_bytes(), operations.bytes() + bytes);
        if value > max {
            let message = format!("The operations of a socket may take {max} bytes together.");
            return refused("operationBytes", max, value, message);
        }
        Ok(())
    }

    /// Asks the operations for something to say.
    fn ask(&mut self, context: &mut Context<'_>) -> bool {
        let Poll::Ready(told) = self.operations.poll_next(context) else { return false };
        match told {
            Told::Answer { id, answer: Answer::Own(mut answer), is_first } if is_first && is_refusal(&answer) => {
                self.operations.stop(&id);
                self.name(&mut answer.errors);
                self.say_of(&id, self.protocol.error(&id, &answer.errors));
            }
            Told::Answer { id, mut answer, .. } => {
                self.connections.telemetry().events_delivered.inc();
                if let Answer::Own(answer) = &mut answer {
                    self.name(&mut answer.errors);
                }
                self.say_of(&id, self.protocol.next(&id, &answer));
            }
            // The server ends it, not its source: a client that was told so would not start it again elsewhere.
            Told::Complete { is_subscription: true, .. } if self.seat.is_shutdown() => {}
            Told::Complete { id, .. } => self.say_of(&id, protocol::complete(&id)),
        }
        true
    }

    /// Whether something had to be done.
    fn check_clock(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let has_more = !self.operations.is_empty() || !self.queue.is_empty() || self.line.blocked_since().is_some();
        let blocked_since = self.line.blocked_since();
        let config = self.connections.config();
        let Poll::Ready(due) = self.clock.poll(config, blocked_since, has_more, context) else { return Ok(false) };
        match due {
            Due::Close(reason) => close(reason)?,
            Due::Shutdown => close(Close::Shutdown)?,
            Due::Ping => {
                self.clock.pinged();
                self.say(self.protocol.ping());
                if self.protocol == Protocol::Legacy {
                    self.line.send_ping()?;
                }
            }
        }
        Ok(true)
    }
}

/// Whether an operation was refused before it began: by the parser, by validation, by a limit.
fn is_refusal(answer: &Response) -> bool {
    !answer.errors.is_empty()
        && answer.data == GraphQLValue::Null
        && answer.errors.iter().all(|error| error.path.is_empty())
}
