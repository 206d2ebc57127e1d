//! The accept loop over routes of the test's own: no database. `accept_*.rs` ask it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::http::Version;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::routing::{any, get, post};
use taskwire::config::ListenConfig;
use taskwire::http::{Listening, Peer, Tls};
use taskwire::telemetry::Telemetry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes that goes well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Accepting {
    pub(crate) address: SocketAddr,
    pub(crate) listening: Listening,
    pub(crate) stop: CancellationToken,
    pub(crate) telemetry: Telemetry,
    /// `/slow` has begun.
    pub(crate) begun: Arc<Notify>,
    /// A permit lets one `/slow`, or one event of `/events`, go on.
    pub(crate) go_on: Arc<Semaphore>,
}

impl Accepting {
    pub(crate) async fn start(config: ListenConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
        let routes = routes(&begun, &go_on);
        let tls = config.tls.as_ref().map(|files| Tls::load(files).unwrap());
        let (telemetry, stop) = (Telemetry::new(), CancellationToken::new());
        let listening = Listening::start(listener, routes, &config, tls, &telemetry, stop.clone());
        Self { address, listening, stop, telemetry, begun, go_on }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection on which this has been sent.
    pub(crate) async fn sent(&self, text: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

fn routes(begun: &Arc<Notify>, go_on: &Arc<Semaphore>) -> Router {
    let (begun, slow_go_on, events_go_on) = (Arc::clone(begun), Arc::clone(go_on), Arc::clone(go_on));
    let slow = move || async move {
        begun.notify_one();
        slow_go_on.acquire().await.unwrap().forget();
        "at last"
    };
    let events = move || async move {
        let events = async_stream::stream! {
            yield Ok::<_, Infallible>(Bytes::from_static(b"data: first\n\n"));
            if let Ok(permit) = events_go_on.acquire().await { permit.forget() }
            yield Ok(Bytes::from_static(b"data: last\n\n"));
        };
        ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events))
    };
    let socket = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    };
    Router::new()
        .route("/", get(|| async { "here" }))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/ignore", post(|| async { "not read" }))
        .route("/peer", get(|peer: Peer| async move { peer.0.to_string() }))
        .route("/version", get(|version: Version| async move { format!("{version:?}").into_response() }))
        .route("/large", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/slow", get(slow))
        .route("/events", get(events))
        .route("/socket", any(socket))
}

/// Everything until the other side closes; what a reset cuts off is left out.
pub(crate) async fn to_the_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is never closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer whose body is `length` bytes long.
pub(crate) async fn one_answer(stream: &mut (impl tokio::io::AsyncRead + Unpin), ends_with: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.ends_with(ends_with.as_bytes()) {
            assert_ne!(
                stream.read_buf(&mut bytes).await.unwrap(),
                0,
                "closed after {:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    };
    timeout(PATIENCE, read).await.expect("no answer");
    String::from_utf8(bytes).unwrap()
}
