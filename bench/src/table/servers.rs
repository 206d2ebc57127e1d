//! The same saves at the same rate through three servers and through one, in turn.

use super::data::Tasks;
use super::load::Span;
use super::report::{Bound, Claim, Round};
use super::saves::{self, is_all};
use super::taskwire::Taskwire;
use super::{Bench, Key, Row, steady};
use crate::{Result, float};

const SERVERS: usize = 3;
/// Saves a second, of all servers together.
const RATE: f64 = 3_000.0;
/// Of all servers together: enough that nobody waits for a connection while an answer takes 40 ms.
const CONNECTIONS: usize = 126;
const DATABASE: &str = "taskwire";

pub(super) async fn run(bench: &mut Bench, key: Key) -> Result<Row> {
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(round(bench, key, number).await));
    }
    let claim = |what: &str, of, over, bound| Claim { what: what.into(), of, over: Some(over), bound };
    let claims = vec![
        claim("p99 through three over p99 through one", p99(SERVERS), p99(1), Bound::AtMost(2.0)),
        // Not softened to "nearly": what is a moment late at the window's end is made up for by what was late at its begin.
        claim(
            "acknowledged of those sent, three servers",
            acknowledged(SERVERS),
            "sent".into(),
            Bound::AtLeast(1.0, None),
        ),
    ];
    let notes = vec![format!(
        "{RATE} saves a second at constant spacing over {CONNECTIONS} connections, spread evenly over the servers of one \
         database; one that is sent late counts from when it was due."
    )];
    Ok(Row { title: "3,000 saves a second through three servers".into(), notes, rounds, claims })
}

async fn round(bench: &Bench, key: Key, number: usize) -> Result<Round> {
    let mut round = Round::default();
    let Span { warm_up, measured } = bench.span;
    round.add("sent", (RATE * (warm_up + measured).as_secs_f64()).floor(), "");
    for count in [1, SERVERS] {
        bench.tell(key, number, &format!("taskwire, servers: {count}"))?;
        let mut servers = vec![Taskwire::start(&bench.arguments.server, &bench.cluster, DATABASE).await?];
        while servers.len() < count {
            servers.push(Taskwire::beside(&bench.arguments.server, &bench.cluster, DATABASE).await?);
        }
        bench.cluster.checkpoint().await?;
        let requests = servers.iter().map(|server| server.request(saves::GOOD)).collect();
        let source = move |client| saves::source(Tasks::new(format!("r{number}_{client}"), 1));
        let measured = steady::drive(requests, RATE, bench.span, CONNECTIONS / count, source).await?;
        for server in &servers {
            is_all("taskwire", measured.answers, server.records(&bench.cluster).await?)?;
        }
        round.add(acknowledged(count), float(measured.answers), "");
        round.add(format!("p50, servers: {count}"), measured.p50, "ms");
        round.add(p99(count), measured.p99, "ms");
        round.add(format!("acknowledged a second, servers: {count}"), measured.a_second, "/s");
        round.add(format!("the load generator's CPU, servers: {count}"), measured.own_cpu, "cores");
        for server in servers {
            server.stop().await?;
        }
    }
    Ok(round)
}

fn p99(servers: usize) -> String {
    format!("p99, servers: {servers}")
}

fn acknowledged(servers: usize) -> String {
    format!("acknowledged, servers: {servers}")
}
