//! Clients that mean harm, against the real program: what they cost it is given back, and nobody else notices.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpSocket;
use tokio::process::Child;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::api_server::{SAVE, report};
use super::socket_client::{Client, EVENTS, Got, TRANSPORT};
use super::support::TestDatabase;
use super::support::process::{memory_of, status_of, taskwire};

const PATIENCE: Duration = Duration::from_secs(30);
/// After the last of them has gone.
const REST: Duration = Duration::from_secs(10);
const MOST_MEMORY: u64 = 8 << 20;
/// Of each sort, at the same time.
const MANY: usize = 100;

/// `taskwire serve` over a database of the test's own.
struct Program {
    child: Child,
    address: SocketAddr,
    database: TestDatabase,
}

impl Program {
    async fn start() -> Self {
        let database = TestDatabase::new().await;
        // Few connections to the database: each keeps the statements it has prepared, which is not what is looked at here.
        let pool = ["--min-connections", "6", "--max-connections", "6"];
        let mut command = taskwire(&[], ["serve", "--listen", "127.0.0.1:0", "--database-url", &database.url]);
        let mut child = command.args(pool).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("a server that starts");
                if let Some(rest) = line.split("http://").nth(1) {
                    return rest.split('/').next().unwrap().parse().unwrap();
                }
            }
        };
        let address = timeout(PATIENCE, address).await.expect("it does not start");
        Self { child, address, database }
    }

    fn memory(&self) -> u64 {
        memory_of(self.child.id().unwrap())
    }

    /// How many files and sockets it has open, without its connections to the database: the pool closes one whose statement
    /// was given up, and opens another when it wants one.
    async fn descriptors(&self) -> usize {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.child.id().unwrap())).unwrap().count();
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'taskwire'";
        let session = &mut self.database.session().await;
        let to_database: i64 = sqlx::query_scalar(sql).fetch_one(session).await.unwrap();
        all - usize::try_from(to_database).unwrap()
    }

    async fn open(&self) -> Client {
        Client::at(self.address, TRANSPORT, None, TcpSocket::new_v4().unwrap()).await
    }

    async fn ready(&self) -> Client {
        let mut client = self.open().await;
        client.say_init(json!({})).await;
        client
    }

    /// One that has little room for what it does not read.
    async fn small(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = Client::at(self.address, TRANSPORT, None, socket).await;
        client.say_init(json!({})).await;
        client
    }
}

fn subscribe(id: usize) -> Message {
    let payload = json!({ "query": EVENTS, "variables": { "user": "hostile" } });
    Message::text(json!({ "id": id.to_string(), "type": "subscribe", "payload": payload }).to_string())
}

fn complete(id: usize) -> Message {
    Message::text(json!({ "id": id.to_string(), "type": "complete" }).to_string())
}

async fn not_json(program: &Program) {
    let mut client = program.ready().await;
    client.raw(Message::text("\u{0}\u{1f4a3} not JSON ".repeat(1_000))).await;
    assert_eq!(client.close_code().await, 4400);
}

async fn binary(program: &Program) {
    let mut client = program.ready().await;
    client.raw(Message::binary(vec![0xff; 100_000])).await;
    assert_eq!(client.close_code().await, 4400);
}

/// Ten megabytes in one frame. The close, or what is left of it where the system has thrown it away with what nobody read.
async fn large(program: &Program) {
    let mut client = program.ready().await;
    let _ = client.stream.send(Message::text("x".repeat(10 << 20))).await;
    assert!(matches!(client.next().await, Got::Closed(Some(1009), _) | Got::Lost));
}

/// The same in pieces, and before anybody is let in.
async fn large_knock(program: &Program) {
    let mut client = program.open().await;
    let piece = [&[0x01, 0xfe, 0x40, 0, 0, 0, 0, 0][..], &[b'x'; 16_384]].concat();
    client.bytes(&piece).await;
    client.bytes(&[0x00, 0x81, 0, 0, 0, 0, b'x']).await;
    assert_eq!(client.close_code().await, 1009);
}

/// Half of half a megabyte, then nothing more, as long as the others take.
async fn half(program: &Program) -> Client {
    let mut client = program.ready().await;
    client.bytes(&[0x81, 0xff, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0]).await;
    client.bytes(&vec![b'x'; 256 << 10]).await;
    client
}

/// A message as large as one may be, and then a socket like any other.
async fn once_large(program: &Program) -> Client {
    let mut client = program.ready().await;
    let ping = json!({ "type": "ping", "payload": { "x": "x".repeat(500 << 10) } });
    client.send(ping).await;
    assert_eq!(client.message().await, json!({ "type": "pong" }));
    client.raw(subscribe(1)).await;
    client.is_served().await;
    client
}

/// A socket like any other.
async fn usual(program: &Program) -> Client {
    let mut client = program.ready().await;
    client.raw(subscribe(1)).await;
    client.is_served().await;
    client
}

/// Ten thousand operations: all but the first hundred are refused. It reads nothing of that.
async fn many_operations(program: &Program) {
    let mut client = program.small().await;
    let _ = timeout(Duration::from_secs(5), async {
        for id in 0..10_000 {
            client.stream.feed(subscribe(id)).await.ok()?;
        }
        client.stream.flush().await.ok()
    })
    .await;
}

/// Begun and ended, over and over.
async fn restless(program: &Program) {
    let mut client = program.ready().await;
    for id in 0..2_000 {
        client.stream.feed(subscribe(id)).await.unwrap();
        client.stream.feed(complete(id)).await.unwrap();
    }
    client.stream.flush().await.unwrap();
    // Some may have been told that the database has more to do than it can.
    client.subscribe("served", "{ __typename }", json!({})).await;
    while client.message().await["id"] != "served" {}
}

/// A change, which the victim sees at once.
async fn is_unharmed(program: &Program, victim: &mut Client, position: &mut i64) {
    *position += 1;
    let input = report("victim", "t", 1, "RUNNING", json!({}));
    let body = json!({ "query": SAVE, "variables": { "input": input } });
    let url = format!("http://{}/graphql", program.address);
    let began = Instant::now();
    let saved: Value = reqwest::Client::new().post(url).json(&body).send().await.unwrap().json().await.unwrap();
    assert!(saved.get("errors").is_none(), "{saved}");
    let mut event = victim.message().await;
    // On a busy machine the server asks in between whether the victim is still there.
    while event["type"] == "ping" {
        victim.send(json!({ "type": "pong" })).await;
        event = victim.message().await;
    }
    assert_eq!(event["payload"]["data"]["taskEvents"]["record"]["position"], *position, "{event}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// All sorts of harm, so many of each at the same time, while the victim goes on. What is still open is handed back.
async fn harm(program: &Program, victim: &mut Client, position: &mut i64, many: usize) -> Vec<Client> {
    let few = many.div_ceil(10);
    let is_over = Cell::new(false);
    let harm = async {
        let halves = join_all((0..many).map(|_| half(program))).await;
        join_all((0..many).map(|_| not_json(program))).await;
        join_all((0..many).map(|_| binary(program))).await;
        join_all((0..many).map(|_| large_knock(program))).await;
        join_all((0..few).map(|_| large(program))).await;
        join_all((0..few).map(|_| many_operations(program))).await;
        join_all((0..few).map(|_| restless(program))).await;
        drop(halves);
        let stay = join_all((0..many).map(|_| once_large(program))).await;
        is_over.set(true);
        stay
    };
    let goes_on = async {
        while !is_over.get() {
            is_unharmed(program, victim, position).await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::join!(harm, goes_on).0
}

/// Waits until it is so, as long as a rest.
async fn at_rest(program: &Program, descriptors: usize, memory: u64) {
    let began = Instant::now();
    loop {
        let (now, used) = (program.descriptors().await, program.memory());
        if now == descriptors && used <= memory {
            return;
        }
        let (kib, most) = (used >> 10, memory >> 10);
        assert!(began.elapsed() < REST, "{now} descriptors of {descriptors}, {kib} KiB of {most}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn hostile_clients_leave_nothing_behind_and_the_others_unharmed() {
    let program = Program::start().await;
    assert_eq!(status_of(program.child.id().unwrap(), "THP_enabled"), 0, "memory comes and goes by huge pages");
    let (mut victim, mut position) = (program.ready().await, 0);
    victim.subscribe("1", EVENTS, json!({ "user": "victim", "fromStart": true })).await;
    is_unharmed(&program, &mut victim, &mut position).await;
    // What a server has that has seen as much already: its connections to the database, and what the allocator keeps of a
    // storm for the next one. What clients leave behind comes on top with each.
    drop(harm(&program, &mut victim, &mut position, MANY).await);
    sleep(REST / 2).await;
    let (descriptors, memory) = (program.descriptors().await, program.memory());
    let usual = join_all((0..MANY).map(|_| usual(&program))).await;
    sleep(REST / 2).await;
    let memory_of_usual = program.memory();
    drop(usual);

    let stay = harm(&program, &mut victim, &mut position, MANY).await;
    // Who has sent a large message costs what others cost.
    at_rest(&program, descriptors + MANY, memory_of_usual + MOST_MEMORY).await;
    drop(stay);
    at_rest(&program, descriptors, memory + MOST_MEMORY).await;
    is_unharmed(&program, &mut victim, &mut position).await;
}
