//! What clients do that are slow, greedy or many, and how the listener ends.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use taskwire::config::ListenConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::accept::{Accepting, PATIENCE, one_answer, to_the_end};
use super::support::eventually;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const SHORT: Duration = Duration::from_millis(400);

/// Sends `text` a byte at a time, faster than any gap would be noticed, until the server has enough of it.
async fn drip(server: &Accepting, start: &str) -> (Duration, String) {
    let stream = server.sent(start).await;
    let (mut read, mut write) = stream.into_split();
    let begin = Instant::now();
    let dripping = tokio::spawn(async move {
        while write.write_all(b"a").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    let answer = to_the_end(&mut read).await;
    dripping.abort();
    (begin.elapsed(), answer)
}

#[tokio::test]
async fn a_header_that_drips_in_is_cut_off() {
    let server = Accepting::start(ListenConfig { header_timeout: SHORT, ..ListenConfig::default() }).await;
    let (took, answer) = drip(&server, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await;
    assert!(took >= SHORT && took < PATIENCE / 2, "{took:?}");
    assert_eq!(answer, "");
    // Nothing at all is no better, and neither is a second header on a connection that was good before.
    assert_eq!(to_the_end(&mut server.connect().await).await, "");
    let mut stream = server.sent(GET).await;
    one_answer(&mut stream, "here").await;
    stream.write_all(b"GET").await.unwrap();
    assert_eq!(to_the_end(&mut stream).await, "");
}

#[tokio::test]
async fn a_connection_may_rest_longer_between_two_requests() {
    let config = ListenConfig { header_timeout: SHORT, idle_timeout: SHORT * 4, ..ListenConfig::default() };
    let server = Accepting::start(config).await;
    let post = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
    let mut stream = server.sent(post).await;
    stream.write_all(b"body").await.unwrap();
    one_answer(&mut stream, "body").await;
    sleep(SHORT * 2).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    one_answer(&mut stream, "here").await;
    let begin = Instant::now();
    assert_eq!(to_the_end(&mut stream).await, "");
    assert!(begin.elapsed() >= SHORT * 3, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_body_that_drips_in_is_answered_408() {
    let server = Accepting::start(ListenConfig { body_timeout: SHORT, ..ListenConfig::default() }).await;
    for start in [
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    ] {
        let (took, answer) = drip(&server, start).await;
        assert!(took >= SHORT && took < PATIENCE / 2, "{took:?}");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#""code":"TIMEOUT""#) && answer.contains(r#""limit":"body time""#), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        let id = answer.split("x-request-id: ").nth(1).and_then(|rest| rest.split('\r').next()).expect("an id");
        assert!(answer.contains(&format!(r#""requestId":"{id}""#)), "{answer}");
    }
    // A handler that wants no body is not held up by it.
    let (took, answer) = drip(&server, "POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && took < PATIENCE / 2, "{answer}");
}

#[tokio::test]
async fn a_handler_has_its_time_and_a_stream_or_socket_any() {
    let server = Accepting::start(ListenConfig { handler_timeout: SHORT, ..ListenConfig::default() }).await;
    let mut stream =
        server.sent("GET /slow HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine-1\r\nConnection: close\r\n\r\n").await;
    let answer = to_the_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""limit":"handler time""#), "{answer}");
    assert!(answer.contains("x-request-id: mine-1\r\n") && answer.contains(r#""requestId":"mine-1""#), "{answer}");

    let mut events = server.sent("GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    one_answer(&mut events, "data: first\n\n\r\n").await;
    let url = format!("ws://{}/socket", server.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    sleep(SHORT * 2).await;
    server.go_on.add_permits(1);
    one_answer(&mut events, "data: last\n\n\r\n0\r\n\r\n").await;
    socket.send(Message::text("still there")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("still there"));
}

#[tokio::test]
async fn a_header_that_is_too_large_is_answered_431() {
    let server = Accepting::start(ListenConfig { header_bytes: 8 << 10, ..ListenConfig::default() }).await;
    let with =
        |length| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Large: {}\r\n\r\n", "x".repeat(length));
    assert!(to_the_end(&mut server.sent(&with(7 << 10)).await).await.starts_with("HTTP/1.1 200 "));
    assert!(to_the_end(&mut server.sent(&with(9 << 10)).await).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn who_takes_nothing_of_the_answer_is_cut_off() {
    let server = Accepting::start(ListenConfig { answer_stall_timeout: SHORT, ..ListenConfig::default() }).await;
    let stream = server.sent("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    eventually("the connection", async || (server.telemetry.tcp_connections.get() == 1).then_some(())).await;
    eventually("its end", async || (server.telemetry.tcp_connections.get() == 0).then_some(())).await;
    drop(stream);
}

#[tokio::test]
async fn beyond_the_number_of_connections_new_ones_are_closed_and_counted() {
    let server = Accepting::start(ListenConfig { connections: 2, ..ListenConfig::default() }).await;
    let mut first = server.sent(GET).await;
    one_answer(&mut first, "here").await;
    // A socket keeps its place after the upgrade.
    let url = format!("ws://{}/socket", server.address);
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    assert_eq!(to_the_end(&mut server.connect().await).await, "");
    assert_eq!((server.telemetry.refused_connections.get(), server.telemetry.tcp_connections.get()), (1, 2));
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    eventually("a free place", async || (server.telemetry.tcp_connections.get() == 1).then_some(())).await;
    one_answer(&mut server.sent(GET).await, "here").await;
}

#[tokio::test]
async fn at_the_end_idle_connections_close_at_once_and_requests_finish() {
    let server = Accepting::start(ListenConfig::default()).await;
    let mut fresh = server.connect().await;
    let mut idle = server.sent(GET).await;
    one_answer(&mut idle, "here").await;
    let mut slow = server.sent("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    timeout(PATIENCE, server.begun.notified()).await.unwrap();
    eventually("three connections", async || (server.telemetry.tcp_connections.get() == 3).then_some(())).await;
    server.stop.cancel();
    let begin = Instant::now();
    assert_eq!(to_the_end(&mut idle).await + &to_the_end(&mut fresh).await, "");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "it still listens");
    assert!(timeout(SHORT, server.listening.finished()).await.is_err(), "it did not wait for the request");
    server.go_on.add_permits(1);
    assert!(to_the_end(&mut slow).await.ends_with("at last"));
    timeout(PATIENCE, server.listening.finished()).await.unwrap();
    timeout(PATIENCE, server.listening.closed()).await.unwrap();
}

/// On one thread, and without a turn for anything that would close it only afterwards.
#[tokio::test]
async fn when_all_is_finished_nobody_can_connect() {
    let server = Accepting::start(ListenConfig::default()).await;
    drop(server.connect().await);
    server.stop.cancel();
    timeout(PATIENCE, server.listening.finished()).await.unwrap();
    assert!(std::net::TcpStream::connect(server.address).is_err(), "it still listens");
}

#[tokio::test]
async fn at_the_end_a_stream_is_waited_for_only_after_the_requests() {
    let server = Accepting::start(ListenConfig::default()).await;
    let mut events = server.sent("GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    one_answer(&mut events, "data: first\n\n\r\n").await;
    server.stop.cancel();
    timeout(PATIENCE, server.listening.finished()).await.expect("it waits for a stream");
    assert!(timeout(SHORT, server.listening.closed()).await.is_err(), "the stream was cut");
    server.go_on.add_permits(1);
    assert!(to_the_end(&mut events).await.contains("data: last"));
    timeout(PATIENCE, server.listening.closed()).await.unwrap();
    let events = Accepting::start(ListenConfig::default()).await;
    let mut endless = events.sent("GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await;
    one_answer(&mut endless, "data: first\n\n\r\n").await;
    events.listening.abort();
    assert_eq!(to_the_end(&mut endless).await, "");
    events.stop.cancel();
}
