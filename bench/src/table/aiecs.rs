//! The system that Taskwire replaces: `bench/peers/aiecs/driver.py`, over a database of the cluster.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::cluster::Cluster;
use super::load::Span;
use super::taskwire::count;
use crate::{Result, float};

/// To import itself it takes some seconds.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Aiecs {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    database: &'static str,
    pub(crate) versions: Value,
}

/// What came of a round.
pub(crate) struct Called {
    pub(crate) calls: usize,
    pub(crate) a_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Aiecs {
    /// Over an empty database of this name, in which it makes its table and indexes.
    pub(crate) async fn start(python: &Path, cluster: &Cluster, database: &'static str) -> Result<Self> {
        cluster.database(database).await?;
        let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/aiecs/driver.py");
        let mut child = Command::new(python)
            .args(["-W", "ignore", driver])
            .arg(cluster.socket())
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}; run make bench, which installs it", python.display()))?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let mut started = Self { _child: child, input, output, database, versions: Value::Null };
        started.versions = started.line().await?["versions"].take();
        Ok(started)
    }

    /// Further words say what the work needs to know.
    pub(crate) async fn call(&mut self, work: &str, callers: usize, span: Span, further: Value) -> Result<Called> {
        let mut order = json!({
            "work": work, "callers": callers,
            "warm_up": span.warm_up.as_secs_f64(), "seconds": span.measured.as_secs_f64(),
        });
        if let (Some(order), Value::Object(further)) = (order.as_object_mut(), further) {
            order.extend(further);
        }
        self.input.write_all(format!("{order}\n").as_bytes()).await?;
        let outcome = self.line().await?;
        let number = |name: &str| outcome[name].as_f64().ok_or_else(|| format!("aiecs: {outcome}"));
        let calls = outcome["calls"].as_u64().ok_or_else(|| format!("aiecs: {outcome}"))?;
        Ok(Called {
            calls: usize::try_from(calls)?,
            a_second: number("a_second")?,
            p50: number("p50")?,
            p99: number("p99")?,
        })
    }

    pub(crate) async fn records(&self, cluster: &Cluster) -> Result<usize> {
        count(&mut cluster.session(self.database).await?, "task_history").await
    }

    async fn line(&mut self) -> Result<Value> {
        let line = timeout(PATIENCE, self.output.next_line()).await??.ok_or("aiecs' driver has ended")?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Called {
    /// Its figures.
    pub(crate) fn add_to(&self, round: &mut super::report::Round) {
        round.add("aiecs", self.a_second, "/s");
        round.add("aiecs p50", self.p50, "ms");
        round.add("aiecs p99", self.p99, "ms");
        round.add("aiecs calls", float(self.calls), "");
    }
}
