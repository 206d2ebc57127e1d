//! From a change to its subscriber: beside the least that PostgreSQL can do, and beside `PostGraphile`'s subscriptions, at
//! the highest rate at which these keep up.

use serde_json::{Value, json};
use sqlx::Executor as _;

use super::peers::{Kind, Peer};
use super::report::{Bound, Claim, Round};
use super::saves::is_all;
use super::taskwire::Taskwire;
use super::{Bench, Key, Row};
use crate::client::{Saver, Socket, field};
use crate::latency::{Language, OURS, RATE, USERS, Watchers, baseline};
use crate::{Result, float, idle, percentile, server};

/// Where the search for the peer's highest rate begins, and where it ends at the latest.
const RATES: (f64, f64) = (200.0, 3_200.0);
/// How often what lies between a rate that holds and one that does not is halved.
const HALVINGS: usize = 3;
/// At which the peer's subscriptions are shown to stand: as fast as they can for all that matters.
const SLOW: f64 = 200.0;

/// As its documentation advises: a trigger tells a channel of each user which row is new.
const TRIGGER: &str = "
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_notify('task_history:' || NEW.user_id, json_build_object('id', NEW.id)::text);
        RETURN NEW;
    END $$;
    CREATE TRIGGER tell AFTER INSERT ON task_history FOR EACH ROW EXECUTE FUNCTION tell()";
const SUBSCRIPTION: &str =
    "subscription($u:String!){taskHistoryAdded(userId:$u){taskHistory{rowId step timestamp status}}}";
const MUTATION: &str = "mutation($i:CreateTaskHistoryInput!){createTaskHistory(input:$i){taskHistory{rowId}}}";

/// `PostGraphile`'s: a change is a row, and its number the step.
const THEIRS: Language = Language {
    mutation: |number| {
        let timestamp = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        let result = json!({ "step": "bench", "status": "running", "message": format!("n{number}"), "result": null });
        let row = json!({
            "userId": format!("u{}", number % USERS), "taskId": "bench", "step": number, "result": result,
            "timestamp": timestamp, "status": "running",
        });
        json!({ "query": MUTATION, "variables": { "i": { "taskHistory": row } } })
    },
    number: |frame| field(frame, "step")?.parse().ok(),
};

pub(super) async fn run(bench: &mut Bench, key: Key) -> Result<Row> {
    bench.progress.step("live: 1,000 subscribers of postgraphile")?;
    let mut peer = Peer::start(Kind::PostGraphile, &bench.arguments.strawberry, &bench.cluster).await?;
    bench.note_versions(&peer.versions);
    bench.cluster.session(Kind::PostGraphile.name()).await?.execute(TRIGGER).await?;
    let mut theirs = Watchers::new(&peer.address, THEIRS, subscribed(&peer.address).await?);
    stand(&mut theirs).await?;
    let rate = highest(bench, &mut theirs).await?;

    let taskwire = Taskwire::start(&bench.arguments.server, &bench.cluster, "taskwire").await?;
    let address = &taskwire.server().address;
    Saver::connect(address).await?.begin((0..USERS).map(|user| format!("u{user}"))).await?;
    let ours = Watchers::new(address, OURS, idle::connect_all(address, USERS).await?);
    let mut systems = Systems { taskwire, ours, theirs, rate };
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(systems.round(bench, key, number, &mut peer).await));
    }
    systems.taskwire.stop().await?;
    let ratio = |what: &str, of: &str, over: &str, bound| Claim {
        what: what.into(),
        of: of.into(),
        over: Some(over.into()),
        bound,
    };
    let claims = vec![
        ratio("p50 over the baseline's, 1,000 changes a second", "taskwire p50", "baseline p50", Bound::AtMost(3.0)),
        ratio("p99 over the baseline's, 1,000 changes a second", "taskwire p99", "baseline p99", Bound::AtMost(6.0)),
        ratio(
            "PostGraphile's p50 over it, at its highest rate",
            "postgraphile p50",
            SLOWER_50,
            Bound::AtLeast(5.0, None),
        ),
        ratio(
            "PostGraphile's p99 over it, at its highest rate",
            "postgraphile p99",
            SLOWER_99,
            Bound::AtLeast(5.0, None),
        ),
    ];
    let notes = vec![
        format!(
            "{USERS} subscribers of one user each. Taskwire and PostGraphile: from when a mutation is due until its event is \
             read, so the save is in it; the baseline: from when the COMMIT of `INSERT; NOTIFY` is due until LISTEN has read it."
        ),
        format!(
            "PostGraphile's highest rate at which its backlog does not grow was searched up to {} a second before the rounds: \
             {rate:.0}. It grows where events of the last quarter take half as long again as those of the second.",
            RATES.1
        ),
    ];
    Ok(Row { title: "Commit to subscriber, 1,000 subscribers".into(), notes, rounds, claims })
}

const SLOWER_50: &str = "taskwire p50 at PostGraphile's rate";
const SLOWER_99: &str = "taskwire p99 at PostGraphile's rate";

struct Systems {
    taskwire: Taskwire,
    ours: Watchers,
    theirs: Watchers,
    /// The peer's highest.
    rate: f64,
}

impl Systems {
    async fn round(&mut self, bench: &Bench, key: Key, number: usize, peer: &mut Peer) -> Result<Round> {
        let mut round = Round::default();
        bench.tell(key, number, "INSERT; NOTIFY → LISTEN")?;
        bench.cluster.checkpoint().await?;
        let count = changes(bench, RATE);
        told(
            "baseline",
            ["baseline p50", "baseline p99"],
            baseline(self.taskwire.server(), RATE, count).await?,
            &mut round,
        )?;

        let names = [(RATE, ["taskwire p50", "taskwire p99"]), (self.rate, [SLOWER_50, SLOWER_99])];
        for (rate, names) in names {
            bench.tell(key, number, &format!("taskwire, {rate:.0} changes a second"))?;
            bench.cluster.checkpoint().await?;
            let (begin, cpu) = (std::time::Instant::now(), server::cpu_of(std::process::id())?);
            let before = self.taskwire.records(&bench.cluster).await?;
            let count = changes(bench, rate);
            told("taskwire", names, self.ours.run(rate, count).await?, &mut round)?;
            let own = (server::cpu_of(std::process::id())? - cpu) / begin.elapsed().as_secs_f64();
            round.add(format!("the load generator's CPU, {rate:.0} changes a second"), own, "cores");
            is_all("taskwire", count, self.taskwire.records(&bench.cluster).await? - before)?;
        }

        bench.tell(key, number, &format!("postgraphile, {:.0} changes a second", self.rate))?;
        bench.cluster.checkpoint().await?;
        let before = peer.old_table.records().await?;
        let count = changes(bench, self.rate);
        let theirs = self.theirs.run(self.rate, count).await?;
        round.add("postgraphile's rate", self.rate, "/s");
        round.add("its backlog grows", f64::from(u8::from(grows(&theirs.0))), "");
        told("postgraphile", ["postgraphile p50", "postgraphile p99"], theirs, &mut round)?;
        is_all("postgraphile", count, peer.old_table.records().await? - before)?;
        Ok(round)
    }
}

/// So many in a round.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousands")]
fn changes(bench: &Bench, rate: f64) -> usize {
    (rate * bench.span.measured.as_secs_f64()) as usize
}

fn told(system: &str, names: [&str; 2], (mut times, missing): (Vec<f64>, usize), round: &mut Round) -> Result<()> {
    if missing > 0 {
        return Err(format!("{system}: {missing} events are missing").into());
    }
    for (name, share) in names.into_iter().zip([0.5, 0.99]) {
        round.add(name, percentile(&mut times, share), "ms");
    }
    Ok(())
}

/// One socket for each user, asking.
async fn subscribed(address: &str) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for user in 0..USERS {
        let variables: Value = json!({ "u": format!("u{user}") });
        sockets.push(Socket::asking(address, SUBSCRIPTION, &variables).await?);
    }
    Ok(sockets)
}

/// All of them have got an event: nothing else shows that they stand.
async fn stand(watchers: &mut Watchers) -> Result<()> {
    for _ in 0..5 {
        if watchers.run(SLOW, USERS).await?.1 == 0 {
            return Ok(());
        }
    }
    Err("not all of the peer's subscriptions stand".into())
}

/// The highest rate, about, at which it keeps up.
async fn highest(bench: &Bench, watchers: &mut Watchers) -> Result<f64> {
    let (mut good, mut bad) = (0.0, None);
    let mut rate = RATES.0;
    let mut halvings = 0;
    while halvings <= HALVINGS && rate <= RATES.1 {
        bench.progress.step(&format!("live: does postgraphile keep up with {rate:.0} a second?"))?;
        let (times, missing) = watchers.run(rate, changes(bench, rate)).await?;
        if missing > 0 || grows(&times) {
            bad = Some(rate);
        } else {
            good = rate;
        }
        rate = bad.map_or(rate * 2.0, |bad| f64::midpoint(good, bad));
        halvings += usize::from(bad.is_some());
    }
    if good > 0.0 { Ok(good) } else { Err("postgraphile keeps up with no rate that was tried".into()) }
}

/// Whether events take longer and longer; by their order of arrival.
fn grows(times: &[f64]) -> bool {
    let quarter = times.len() / 4;
    let median = |from: usize| percentile(&mut times.iter().skip(from).take(quarter).copied().collect::<Vec<_>>(), 0.5);
    median(times.len().saturating_sub(quarter)) > median(quarter) * 1.5 + float(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_grows_is_told_from_one_that_does_not() {
        let steady = |number: u32| 4.0 + f64::from(number % 7);
        assert!(!grows(&(0..1_000).map(steady).collect::<Vec<_>>()));
        // One in twenty too much: after ten seconds half a second behind.
        let behind = |number: u32| steady(number) + f64::from(number) * 0.05 * 2.0;
        assert!(grows(&(0..5_000).map(behind).collect::<Vec<_>>()));
        // A stall that is made up for.
        let stalled = |number: u32| steady(number) + if number < 100 { f64::from(100 - number) } else { 0.0 };
        assert!(!grows(&(0..1_000).map(stalled).collect::<Vec<_>>()));
    }

    #[test]
    fn its_event_says_which_change_it_was() {
        let frame = br#"{"id":"1","type":"next","payload":{"data":{"taskHistoryAdded":{"taskHistory":{"rowId":7,"step":42}}}}}"#;
        assert_eq!((THEIRS.number)(frame), Some(42));
        assert_eq!((THEIRS.number)(br#"{"type":"ping"}"#), None);
    }
}
