//! Single saves: one record a call, each acknowledged only when it is durable.

use serde_json::json;

use super::aiecs::Aiecs;
use super::data::Tasks;
use super::load::Bodies;
use super::peers::{self, Kind, Peer};
use super::report::{Bound, Claim, Round};
use super::taskwire::Taskwire;
use super::{Bench, Key, Row};
use crate::Result;

/// As many callers as its pool has connections: with more it is no faster.
const CALLERS: usize = 20;
const BEFORE: &str = r#"{"query":"mutation($i:SaveTaskHistoryInput!){saveTaskHistory(input:$i){record{position} task{status}}}","variables":{"i":"#;
const AFTER: &[u8] = b"}}";
pub(super) const GOOD: &str = "\"position\":";

pub(super) async fn run(bench: &mut Bench, key: Key, clients: usize) -> Result<Row> {
    let mut systems = Systems {
        taskwire: Taskwire::start(&bench.arguments.server, &bench.cluster, "taskwire").await?,
        aiecs: Aiecs::start(&bench.arguments.python, &bench.cluster, "aiecs").await?,
        peers: Vec::new(),
    };
    bench.note_versions(&systems.aiecs.versions);
    if key == Key::Save256 {
        for kind in peers::KINDS {
            let peer = Peer::start(kind, &bench.arguments.strawberry, &bench.cluster).await?;
            bench.note_versions(&peer.versions);
            systems.peers.push(peer);
        }
    }
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(systems.round(bench, key, clients, number).await));
    }
    systems.taskwire.stop().await?;
    let times = |what: &str, over: &str, bound| Claim {
        what: what.into(),
        of: "taskwire".into(),
        over: Some(over.into()),
        bound,
    };
    let claims = if key == Key::Save256 {
        vec![
            times("times aiecs", "aiecs", Bound::AtLeast(3.0, Some(2.0))),
            times("times PostGraphile's create mutation", Kind::PostGraphile.name(), Bound::AtLeast(10.0, None)),
        ]
    } else {
        vec![times("times aiecs", "aiecs", Bound::AtLeast(1.2, None))]
    };
    Ok(Row { title: format!("Single saves, {clients} clients"), notes: Vec::new(), rounds, claims })
}

struct Systems {
    taskwire: Taskwire,
    aiecs: Aiecs,
    peers: Vec<Peer>,
}

impl Systems {
    async fn round(&mut self, bench: &Bench, key: Key, clients: usize, number: usize) -> Result<Round> {
        let mut round = Round::default();
        bench.tell(key, number, "taskwire")?;
        bench.cluster.checkpoint().await?;
        let before = self.taskwire.records(&bench.cluster).await?;
        let sources = (0..clients).map(|client| source(Tasks::new(format!("r{number}_{client}"), 1))).collect();
        let measured = self.taskwire.drive(GOOD, 1, bench.span, sources, &mut round).await?;
        let stored = self.taskwire.records(&bench.cluster).await? - before;
        is_all("taskwire", measured.answers, stored)?;

        bench.tell(key, number, "aiecs")?;
        bench.cluster.checkpoint().await?;
        let before = self.aiecs.records(&bench.cluster).await?;
        let prefix = json!({ "prefix": format!("r{number}") });
        let called = self.aiecs.call("save", CALLERS, bench.span, prefix).await?;
        is_all("aiecs", called.calls, self.aiecs.records(&bench.cluster).await? - before)?;
        called.add_to(&mut round);
        for peer in &mut self.peers {
            let name = peer.kind.name();
            bench.tell(key, number, name)?;
            bench.cluster.checkpoint().await?;
            let before = peer.old_table.records().await?;
            let measured = peer.save(bench.span, clients, &format!("r{number}"), &mut round).await?;
            is_all(name, measured.answers, peer.old_table.records().await? - before)?;
        }
        Ok(round)
    }
}

/// The saves of a worker.
pub(super) fn source(mut tasks: Tasks) -> Bodies {
    Box::new(move |body| {
        let step = tasks.next();
        body.extend_from_slice(BEFORE.as_bytes());
        tasks.write_input(step, body);
        body.extend_from_slice(AFTER);
    })
}

/// What was acknowledged is in the table.
pub(super) fn is_all(system: &str, acknowledged: usize, stored: usize) -> Result<()> {
    if acknowledged == stored {
        return Ok(());
    }
    Err(format!("{system} acknowledged {acknowledged} records, and {stored} are in the table").into())
}
