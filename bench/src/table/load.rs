//! The load generator: connections with one request in flight each, HTTP/1.1 kept alive, on one thread. It is to cost
//! little, for it takes from the same two cores: requests are written by hand and answers are looked at, not parsed.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::{Result, float, percentile, server};

/// How long a round takes.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// Writes the body of the next request of one connection.
pub(crate) type Bodies = Box<dyn FnMut(&mut Vec<u8>) + Send>;

/// What every request of a round has in common.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) address: String,
    pub(crate) path: &'static str,
    /// What stands in each good answer.
    pub(crate) good: String,
}

/// What came of a round.
pub(crate) struct Measured {
    /// Answers, those of the warm-up and the last ones too.
    pub(crate) answers: usize,
    /// Answers a second while it was measured.
    pub(crate) a_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Of a core.
    pub(crate) own_cpu: f64,
}

/// One connection for each source of bodies. The first answer that is not good ends it.
pub(crate) async fn drive(request: Request, span: Span, sources: Vec<Bodies>) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::spawn_blocking(move || runtime.block_on(all(request, span, sources))).await?
}

async fn all(request: Request, span: Span, sources: Vec<Bodies>) -> Result<Measured> {
    let mut opened = Vec::new();
    for source in sources {
        opened.push((Connection::open(&request).await?, source));
    }
    let begin = Instant::now() + span.warm_up;
    let window = (begin, begin + span.measured);
    let mut connections = JoinSet::new();
    for (connection, source) in opened {
        connections.spawn(connection.run(source, window));
    }
    tokio::time::sleep_until(begin.into()).await;
    let cpu = server::cpu_of(std::process::id())?;
    tokio::time::sleep_until(window.1.into()).await;
    let own_cpu = (server::cpu_of(std::process::id())? - cpu) / span.measured.as_secs_f64();
    let (mut answers, mut times) = (0, Vec::new());
    while let Some(ended) = connections.join_next().await {
        let (all, measured) = ended??;
        answers += all;
        times.extend(measured);
    }
    let a_second = float(times.len()) / span.measured.as_secs_f64();
    Ok(Measured { answers, a_second, p50: percentile(&mut times, 0.5), p99: percentile(&mut times, 0.99), own_cpu })
}

pub(crate) struct Connection {
    stream: TcpStream,
    request: Request,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(request: &Request) -> Result<Self> {
        let stream = TcpStream::connect(&request.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request: request.clone(), buffer: Vec::with_capacity(16 << 10) })
    }

    /// Returns how many answers there were, and how many milliseconds each took that came within the window.
    async fn run(mut self, mut source: Bodies, window: (Instant, Instant)) -> Result<(usize, Vec<f64>)> {
        let (mut body, mut answers, mut times) = (Vec::new(), 0, Vec::new());
        loop {
            body.clear();
            source(&mut body);
            let sent = Instant::now();
            if sent >= window.1 {
                return Ok((answers, times));
            }
            self.ask(&body).await?;
            let now = Instant::now();
            answers += 1;
            if now >= window.0 && now < window.1 {
                times.push((now - sent).as_secs_f64() * 1_000.0);
            }
        }
    }

    /// The body of the answer, where it is a good one.
    pub(crate) async fn ask(&mut self, body: &[u8]) -> Result<&str> {
        let Request { address, path, .. } = &self.request;
        self.buffer.clear();
        self.buffer.extend_from_slice(
            format!(
                "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
                 Accept: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        self.buffer.extend_from_slice(body);
        self.stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        let (head, end) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed a connection".into());
            }
            if let Some(places) = whole(&self.buffer)? {
                break places;
            }
        };
        let text = std::str::from_utf8(&self.buffer)?;
        let answer = text.get(head..end).unwrap_or_default();
        let is_good = text.starts_with("HTTP/1.1 200") && !answer.contains("\"errors\"");
        if !is_good || !answer.contains(&self.request.good) {
            return Err(format!("not a good answer: {}", text.chars().take(600).collect::<String>()).into());
        }
        Ok(answer)
    }
}

/// Where the body of a whole answer begins and ends.
fn whole(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(bytes.get(..head).unwrap_or_default())?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let end = head + 4 + length.ok_or_else(|| format!("an answer without Content-Length: {text}"))??;
    Ok((bytes.len() >= end).then_some((head + 4, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\nabc";
        assert_eq!(whole(&answer[..20]).unwrap(), None);
        assert_eq!(whole(&answer[..answer.len() - 1]).unwrap(), None);
        assert_eq!(whole(answer).unwrap(), Some((38, 41)));
        assert!(whole(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
