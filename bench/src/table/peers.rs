//! The peers that speak GraphQL over HTTP, each over the old table in a database of its own: `PostGraphile`, and what a team
//! would write in Python. Each is a program in `bench/peers/` that says in a line of JSON where it listens.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::cluster::Cluster;
use super::data::Tasks;
use super::load::{self, Bodies, Measured, Request, Span};
use super::old_table::OldTable;
use super::report::Round;
use crate::Result;

const PATIENCE: Duration = Duration::from_mins(1);
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    PostGraphile,
    Strawberry,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::PostGraphile, Kind::Strawberry];

/// What a peer calls its operations. A record is written as the old table has it.
struct Operations {
    save: [&'static str; 2],
    status: [&'static str; 2],
    saved: &'static str,
}

impl Kind {
    /// As its figures name it; the name of its database too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PostGraphile => "postgraphile",
            Self::Strawberry => "strawberry",
        }
    }

    fn command(self, strawberry: &Path) -> Command {
        match self {
            Self::PostGraphile => {
                let mut command = Command::new(format!("{HERE}/postgraphile/node_modules/.bin/node"));
                command.arg(format!("{HERE}/postgraphile/server.mjs"));
                command.env("NODE_ENV", "production").env("GRAPHILE_ENV", "production");
                command
            }
            Self::Strawberry => {
                let mut command = Command::new(strawberry);
                command.arg(format!("{HERE}/strawberry/server.py"));
                command
            }
        }
    }

    fn operations(self) -> Operations {
        match self {
            Self::PostGraphile => Operations {
                save: [
                    r#"{"query":"mutation($i:CreateTaskHistoryInput!){createTaskHistory(input:$i){taskHistory{rowId status}}}","variables":{"i":{"taskHistory":"#,
                    "}}}",
                ],
                status: [
                    r#"{"query":"query($u:String!,$t:String!){allTaskHistories(condition:{userId:$u,taskId:$t},orderBy:[STEP_DESC],first:1){nodes{status step timestamp}}}","variables":"#,
                    "}",
                ],
                saved: "\"rowId\":",
            },
            Self::Strawberry => Operations {
                save: [r#"{"query":"mutation($i:Save!){saveTaskHistory(save:$i){id status}}","variables":{"i":"#, "}}"],
                status: [
                    r#"{"query":"query($u:ID!,$t:ID!){task(userId:$u,taskId:$t){status step updatedAt}}","variables":"#,
                    "}",
                ],
                saved: "\"id\":",
            },
        }
    }
}

pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) address: String,
    pub(crate) versions: Value,
    pub(crate) old_table: OldTable,
    _child: Child,
    /// Kept open: who writes to a closed one ends.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    pub(crate) async fn start(kind: Kind, strawberry: &Path, cluster: &Cluster) -> Result<Self> {
        let old_table = OldTable::make(cluster, kind.name()).await?;
        let mut child = kind
            .command(strawberry)
            .arg(cluster.socket())
            .arg(kind.name())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}; run make bench, which installs it", kind.name()))?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let line = timeout(PATIENCE, lines.next_line()).await??.ok_or("a peer does not start")?;
        let mut told: Value = serde_json::from_str(&line)?;
        let address = told["address"].as_str().ok_or("no address")?.to_owned();
        Ok(Self { kind, address, versions: told["versions"].take(), old_table, _child: child, _lines: lines })
    }

    /// A round of single saves.
    pub(crate) async fn save(&self, span: Span, clients: usize, prefix: &str, round: &mut Round) -> Result<Measured> {
        let Operations { save: [before, after], saved, .. } = self.kind.operations();
        let source = |client: usize| -> Bodies {
            let (mut tasks, kind) = (Tasks::new(format!("{prefix}_{client}"), 1), self.kind);
            Box::new(move |body| {
                let step = tasks.next();
                body.extend_from_slice(before.as_bytes());
                match kind {
                    Kind::PostGraphile => tasks.write_row_as_json(step, body),
                    Kind::Strawberry => tasks.write_old_input(step, body),
                }
                body.extend_from_slice(after.as_bytes());
            })
        };
        self.drive(saved, span, (0..clients).map(source).collect(), round).await
    }

    /// A round of statuses; `variables` writes those of one request.
    pub(crate) async fn status(
        &self,
        span: Span,
        clients: usize,
        variables: impl Fn(&mut fastrand::Rng) -> String + Clone + Send + 'static,
        round: &mut Round,
    ) -> Result<Measured> {
        let Operations { status: [before, after], .. } = self.kind.operations();
        let source = |_| -> Bodies {
            let (mut random, variables) = (fastrand::Rng::new(), variables.clone());
            Box::new(move |body| {
                body.extend_from_slice(before.as_bytes());
                body.extend_from_slice(variables(&mut random).as_bytes());
                body.extend_from_slice(after.as_bytes());
            })
        };
        self.drive("\"status\":\"completed\"", span, (0..clients).map(source).collect(), round).await
    }

    async fn drive(&self, good: &str, span: Span, sources: Vec<Bodies>, round: &mut Round) -> Result<Measured> {
        let request = Request { address: self.address.clone(), path: "/graphql", good: good.to_owned() };
        let measured = load::drive(request, span, sources).await?;
        let name = self.kind.name();
        round.add(name, measured.a_second, "/s");
        round.add(format!("{name} p50"), measured.p50, "ms");
        round.add(format!("{name} p99"), measured.p99, "ms");
        round.add(format!("the load generator's CPU for {name}"), measured.own_cpu, "cores");
        Ok(measured)
    }
}
