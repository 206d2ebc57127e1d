//! HTTPS: the handshake, HTTP/2 by ALPN, who cannot do it, and a new certificate on SIGHUP.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use taskwire::config::{ListenConfig, TlsFiles};
use taskwire::http::Tls;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::accept::{Accepting, PATIENCE, to_the_end};
use super::support::process::{kill, taskwire};
use super::support::{Folder, TestDatabase, eventually};

/// A new certificate in the folder's files.
pub(crate) fn write_pair(folder: &Folder) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

pub(crate) fn files(folder: &Folder) -> TlsFiles {
    TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") }
}

/// A client that trusts this certificate alone.
async fn connect(
    address: std::net::SocketAddr,
    trusted: &CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

fn request(path: &str) -> hyper::Request<Body> {
    hyper::Request::get(format!("https://localhost{path}")).header("host", "localhost").body(Body::empty()).unwrap()
}

async fn text(response: hyper::Response<hyper::body::Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn https_speaks_http_2_to_who_offers_it_and_http_1_1_to_the_others() {
    let folder = Folder::new();
    let certificate = write_pair(&folder);
    let server = Accepting::start(ListenConfig { tls: Some(files(&folder)), ..ListenConfig::default() }).await;

    let stream = connect(server.address, &certificate, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(text(client.send_request(request("/version")).await.unwrap()).await, "HTTP/2.0");
    assert_eq!(text(client.send_request(request("/peer")).await.unwrap()).await, "127.0.0.1");

    let stream = connect(server.address, &certificate, &["http/1.1"]).await.unwrap();
    let (mut old, driver) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    assert_eq!(text(old.send_request(request("/version")).await.unwrap()).await, "HTTP/1.1");

    // A socket over TLS.
    let stream = connect(server.address, &certificate, &[]).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async("wss://localhost/socket", stream).await.unwrap();
    socket.close(None).await.unwrap();

    // At the end the client is told to go, and what it has asked is answered.
    let slow = tokio::spawn(client.send_request(request("/slow")));
    timeout(PATIENCE, server.begun.notified()).await.unwrap();
    server.stop.cancel();
    server.go_on.add_permits(1);
    assert_eq!(text(slow.await.unwrap().unwrap()).await, "at last");
    timeout(PATIENCE, connection).await.expect("it stays open").unwrap().unwrap();
    timeout(PATIENCE, server.listening.finished()).await.unwrap();
}

/// An HTTP/2 client whose windows are so large, and that opens them only as it reads.
async fn narrow(
    server: &Accepting,
    trusted: &CertificateDer<'static>,
    stream_window: u32,
    connection_window: u32,
) -> http2::SendRequest<Body> {
    let stream = connect(server.address, trusted, &["h2"]).await.unwrap();
    let (client, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn who_takes_nothing_of_an_http_2_answer_is_cut_off() {
    let folder = Folder::new();
    let certificate = write_pair(&folder);
    let short = Duration::from_millis(400);
    let config = ListenConfig { answer_stall_timeout: short, ..ListenConfig::default() };
    let server = Accepting::start(ListenConfig { tls: Some(files(&folder)), ..config }).await;
    // Nothing at all, and a first byte: with that the whole answer is in our hands. A stream beside it changes nothing.
    for window in [0, 1] {
        let begin = Instant::now();
        let mut client = narrow(&server, &certificate, window, 1 << 20).await;
        let events = client.send_request(request("/events")).await.unwrap();
        let answer = client.send_request(request("/large")).await.unwrap();
        assert_eq!(answer.status(), 200);
        eventually("its end", async || (server.telemetry.tcp_connections.get() == 0).then_some(())).await;
        assert!(begin.elapsed() >= short, "{:?}", begin.elapsed());
        drop((client, events, answer));
    }
}

#[tokio::test]
async fn who_reads_an_http_2_answer_slowly_gets_all_of_it() {
    let folder = Folder::new();
    let certificate = write_pair(&folder);
    let short = Duration::from_millis(400);
    let config = ListenConfig { answer_stall_timeout: short, idle_timeout: short, ..ListenConfig::default() };
    let server = Accepting::start(ListenConfig { tls: Some(files(&folder)), ..config }).await;
    let begin = Instant::now();
    let mut client = narrow(&server, &certificate, 64 << 10, 64 << 10).await;
    let mut body = client.send_request(request("/large")).await.unwrap().into_body();
    let (mut length, mut rests) = (0, 0);
    while let Some(frame) = body.frame().await {
        length += frame.expect("it breaks off").into_data().unwrap().len();
        if length >> 22 > rests {
            rests += 1;
            tokio::time::sleep(short / 4).await;
        }
    }
    assert_eq!(length, 64 << 20);
    assert!(begin.elapsed() > short * 3, "{:?}", begin.elapsed());
    // Then it rests, and only so long.
    eventually("its end", async || (server.telemetry.tcp_connections.get() == 0).then_some(())).await;
}

#[tokio::test]
async fn who_speaks_plain_http_to_it_is_told_so() {
    let folder = Folder::new();
    let certificate = write_pair(&folder);
    let server = Accepting::start(ListenConfig { tls: Some(files(&folder)), ..ListenConfig::default() }).await;
    let answer = to_the_end(&mut server.sent("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("ask with https://.\n"), "{answer}");
    let length: usize = answer.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    assert_eq!(answer.split("\r\n\r\n").nth(1).unwrap().len(), length);
    // What begins like a handshake and is none ends, and the server goes on.
    let _ = to_the_end(&mut server.sent("\u{16}nonsense that is no handshake at all").await).await;
    assert!(connect(server.address, &certificate, &["h2"]).await.is_ok());
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let folder = Folder::new();
    write_pair(&folder);
    let short = Duration::from_millis(300);
    let config = ListenConfig { tls: Some(files(&folder)), tls_handshake_timeout: short, ..ListenConfig::default() };
    let server = Accepting::start(config).await;
    for start in ["", "\u{16}"] {
        let begin = Instant::now();
        assert_eq!(to_the_end(&mut server.sent(start).await).await, "");
        assert!(begin.elapsed() >= short, "{:?}", begin.elapsed());
    }
}

#[test]
fn a_pair_that_cannot_be_served_names_its_file() {
    let (folder, other) = (Folder::new(), Folder::new());
    write_pair(&folder);
    write_pair(&other);
    let error =
        |cert: &Path, key: &Path| Tls::load(&TlsFiles { cert: cert.into(), key: key.into() }).unwrap_err().to_string();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    assert!(error(&folder.join("none.pem"), &key).contains("none.pem"));
    assert!(error(&key, &key).contains("key.pem holds no certificate"));
    assert!(error(&cert, &cert).contains("cert.pem"));
    let mixed = error(&cert, &other.join("key.pem"));
    assert!(mixed.contains("cannot be used together"), "{mixed}");
}

#[tokio::test]
async fn sighup_brings_a_new_certificate_and_a_bad_one_changes_nothing() {
    let (folder, database) = (Folder::new(), TestDatabase::new().await);
    let first = write_pair(&folder);
    let mut command = taskwire(&[], ["serve", "--listen", "127.0.0.1:0", "--database-url", &database.url]);
    command.arg("--tls-cert").arg(folder.join("cert.pem")).arg("--tls-key").arg(folder.join("key.pem"));
    let mut child = command.env("TASKWIRE_LOG", "info").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = timeout(PATIENCE, async {
        loop {
            let line = lines.next_line().await.unwrap().expect("a server that starts");
            if let Some(rest) = line.split("https://").nth(1) {
                assert!(line.contains("wss://"), "{line}");
                return rest.split('/').next().unwrap().parse().unwrap();
            }
        }
    })
    .await
    .expect("it does not start");
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told = async |what: &str| {
        let find = async { while !log.next_line().await.unwrap().expect("its log").contains(what) {} };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("the log does not say {what}"));
    };
    let pid = child.id().unwrap();
    let before = connect(address, &first, &["http/1.1"]).await.unwrap();

    let second = write_pair(&folder);
    assert!(connect(address, &second, &[]).await.is_err(), "nobody has told it yet");
    kill(pid, Signal::HUP);
    told("certificate read again").await;
    assert!(connect(address, &second, &[]).await.is_ok());
    assert!(connect(address, &first, &[]).await.is_err());

    std::fs::write(folder.join("key.pem"), "nonsense").unwrap();
    kill(pid, Signal::HUP);
    told("the one before it stays").await;
    assert!(connect(address, &second, &[]).await.is_ok());

    // Who was there before has noticed nothing.
    let (mut client, driver) = http1::handshake(TokioIo::new(before)).await.unwrap();
    tokio::spawn(driver);
    assert_eq!(text(client.send_request(request("/health")).await.unwrap()).await, "ok");
    drop(client);
    kill(pid, Signal::TERM);
    assert!(timeout(PATIENCE, child.wait()).await.expect("it does not end").unwrap().success());
    eventually("the port to be free", async || TcpStream::connect(address).await.err().map(drop)).await;
}
