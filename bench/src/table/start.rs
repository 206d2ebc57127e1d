//! From starting the server until it has answered, against a running PostgreSQL; and its memory ten seconds later.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::load::{Connection, Request};
use super::report::{Bound, Claim, Round};
use super::{Bench, Key, Row};
use crate::Result;
use crate::server::memory_of;

/// The database of this row.
const DATABASE: &str = "started";
const REST: Duration = Duration::from_secs(10);

pub(super) async fn run(bench: &mut Bench, key: Key) -> Result<Row> {
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(round(bench, key, number).await));
    }
    let claim = |what: &str, of: &str, target| Claim {
        what: what.into(),
        of: of.into(),
        over: None,
        bound: Bound::AtMost(target),
    };
    let claims = vec![
        claim("s to the first answer, empty database", "empty database", 1.0),
        claim("s to the first answer, tables are there", "tables are there", 1.0),
        claim("MiB 10 s later, pool of 10", "memory 10 s later", 40.0),
    ];
    let notes = vec!["The first start of a database makes its tables; memory is `VmRSS` after the second.".to_owned()];
    Ok(Row { title: "Start and memory".into(), notes, rounds, claims })
}

async fn round(bench: &Bench, key: Key, number: usize) -> Result<Round> {
    let mut round = Round::default();
    bench.cluster.database(DATABASE).await?;
    for name in ["empty database", "tables are there"] {
        bench.tell(key, number, name)?;
        bench.cluster.checkpoint().await?;
        let begin = Instant::now();
        let mut child = Command::new(&bench.arguments.server)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            .args(["--min-connections", "10", "--max-connections", "10"])
            .arg("--database-url")
            .arg(bench.cluster.url(DATABASE))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let address = loop {
            let line = timeout(REST, lines.next_line()).await??.ok_or("the server does not start")?;
            if let Some(rest) = line.split("http://").nth(1) {
                break rest.split([' ', '/']).next().unwrap_or_default().to_owned();
            }
        };
        let request = Request { address, path: "/graphql", good: "\"role\":".into() };
        Connection::open(&request).await?.ask(br#"{"query":"{viewer{role}}"}"#).await?;
        round.add(name, begin.elapsed().as_secs_f64(), "s");
        let pid = child.id().ok_or("the server has ended")?;
        if name == "tables are there" {
            sleep(REST).await;
            round.add("memory 10 s later", memory_of(pid)? / 1024.0, "MiB");
        }
        Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await?;
        timeout(Duration::from_secs(20), child.wait()).await??;
    }
    Ok(round)
}
