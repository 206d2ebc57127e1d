//! Status and history of tasks picked at random.

use serde_json::json;

use super::aiecs::Aiecs;
use super::data::{STEPS, USERS};
use super::load::Bodies;
use super::old_table::{self, OldTable};
use super::peers::{self, Kind, Peer};
use super::report::{Bound, Claim, Round};
use super::seed::{self, Seed};
use super::taskwire::Taskwire;
use super::{Bench, Key, Row};
use crate::Result;

const CALLERS: usize = 20;

/// What a read of this row asks for.
pub(super) struct Work {
    pub(super) clients: usize,
    title: &'static str,
    /// What aiecs' driver calls it.
    name: &'static str,
    query: &'static str,
    pub(super) good: String,
    claims: Vec<Claim>,
}

impl Work {
    pub(super) fn of(key: Key) -> Self {
        let times = |what: &str, over: &str, target, floor| Claim {
            what: what.into(),
            of: "taskwire".into(),
            over: Some(over.into()),
            bound: Bound::AtLeast(target, floor),
        };
        if key == Key::Status {
            return Self {
                clients: 256,
                title: "Status, 256 clients",
                name: "status",
                query: "query($u:ID!,$t:ID!){task(userId:$u,taskId:$t){status step updatedAt}}",
                good: "\"status\":\"COMPLETED\"".into(),
                claims: vec![
                    times("times aiecs", "aiecs", 2.5, Some(1.7)),
                    times("times PostGraphile", Kind::PostGraphile.name(), 6.0, None),
                ],
            };
        }
        Self {
            clients: 64,
            title: "History of 10 records, 64 clients",
            name: "history",
            query: "query($u:ID!,$t:ID!){taskHistory(userId:$u,taskId:$t,first:50){nodes{step result timestamp status}}}",
            good: format!("\"step\":{},", STEPS - 1),
            claims: vec![times("times aiecs' load_task_history", "aiecs", 1.5, None)],
        }
    }

    pub(super) fn source(&self, tasks: usize, users: usize) -> Bodies {
        let mut random = fastrand::Rng::new();
        let query = self.query;
        Box::new(move |body| {
            let text = format!(r#"{{"query":"{query}","variables":{}}}"#, variables(&mut random, tasks, users));
            body.extend_from_slice(text.as_bytes());
        })
    }
}

/// One of so many seeds.
fn variables(random: &mut fastrand::Rng, tasks: usize, users: usize) -> String {
    let task = random.usize(..tasks);
    format!(r#"{{"u":"user_{}","t":"seed_{task}"}}"#, task % users)
}

pub(super) async fn run(bench: &mut Bench, key: Key) -> Result<Row> {
    let work = Work::of(key);
    let tasks = if bench.arguments.quick { 10_000 } else { 100_000 };
    let mut systems = Systems {
        taskwire: Taskwire::start(&bench.arguments.server, &bench.cluster, "taskwire").await?,
        aiecs: Aiecs::start(&bench.arguments.python, &bench.cluster, "aiecs").await?,
        peers: Vec::new(),
        tasks,
    };
    bench.note_versions(&systems.aiecs.versions);
    let seed = |task: usize| Seed {
        user: (task % USERS).to_string(),
        task_id: format!("seed_{task}"),
        steps: STEPS,
        is_failed: false,
        is_tagged: false,
    };
    let seeds: Vec<Seed> = (0..tasks).map(seed).collect();
    let mut old_table = OldTable::of(&bench.cluster, "aiecs").await?;
    seed::fill(bench, key, &seeds, &systems.taskwire, Some(&mut old_table)).await?;
    if key == Key::Status {
        for kind in peers::KINDS {
            let mut peer = Peer::start(kind, &bench.arguments.strawberry, &bench.cluster).await?;
            bench.note_versions(&peer.versions);
            seed::copy(bench, &format!("{}: the same into {}'s", key.name(), kind.name()), &mut peer.old_table, &seeds)
                .await?;
            systems.peers.push(peer);
        }
    }
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(systems.round(bench, key, &work, number).await));
    }
    systems.taskwire.stop().await?;
    let mut notes =
        vec![format!("{} records of {tasks} tasks of {USERS} users in each.", seeds.len() * STEPS as usize)];
    if key == Key::Status {
        notes.push(format!(
            "SELECT by key: PostgreSQL itself, aiecs' question to the old table on {CALLERS} connections."
        ));
    }
    Ok(Row { title: work.title.to_owned(), notes, rounds, claims: work.claims })
}

struct Systems {
    taskwire: Taskwire,
    aiecs: Aiecs,
    peers: Vec<Peer>,
    tasks: usize,
}

impl Systems {
    async fn round(&mut self, bench: &Bench, key: Key, work: &Work, number: usize) -> Result<Round> {
        let mut round = Round::default();
        bench.tell(key, number, "taskwire")?;
        bench.cluster.checkpoint().await?;
        let sources = (0..work.clients).map(|_| work.source(self.tasks, USERS)).collect();
        self.taskwire.drive(work.good.clone(), 1, bench.span, sources, &mut round).await?;
        bench.tell(key, number, "aiecs")?;
        bench.cluster.checkpoint().await?;
        let called = self.aiecs.call(work.name, CALLERS, bench.span, json!({ "tasks": self.tasks })).await?;
        called.add_to(&mut round);
        let tasks = self.tasks;
        if key == Key::Status {
            bench.tell(key, number, "SELECT by key")?;
            bench.cluster.checkpoint().await?;
            old_table::select(&bench.cluster, "aiecs", CALLERS, bench.span, tasks, &mut round).await?;
        }
        for peer in &self.peers {
            bench.tell(key, number, peer.kind.name())?;
            bench.cluster.checkpoint().await?;
            peer.status(bench.span, work.clients, move |random| variables(random, tasks, USERS), &mut round).await?;
        }
        Ok(round)
    }
}
