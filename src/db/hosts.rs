//! One database on several hosts, of which one takes writes: a primary and its standbys. sqlx knows one host a URL, so the
//! URL is taken apart here, as libpq reads it, and each host is asked who it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::time::{Instant, timeout_at};

use super::error::{StartError, one_line};
use super::pool::{connect_options, place};

/// A host that takes longer to say who it is, is away.
const ANSWER: Duration = Duration::from_secs(3);
/// Once one has said that it takes writes: how long the others may take to say that they do, too.
const OTHERS: Duration = Duration::from_millis(250);

/// Who is at the other end of a session. The start of the postmaster tells one run of `PostgreSQL` from the next; the
/// timeline rises with each promotion.
const WHO: &str = "SELECT pid, backend_start, pg_postmaster_start_time(), \
        NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off', \
        CASE WHEN NOT pg_is_in_recovery() \
             THEN ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint END \
     FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/// What the other end of a session said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) pid: u32,
    pub(super) backend_start: DateTime<Utc>,
    pub(super) postmaster_start: DateTime<Utc>,
    pub(super) takes_writes: bool,
    /// Of a primary; 0 of a standby.
    pub(super) timeline: i64,
}

impl Met {
    pub(super) async fn at(session: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(WHO).fetch_one(session).await?;
        Ok(Self {
            pid: row.try_get::<i32, _>(0)?.cast_unsigned(),
            backend_start: row.try_get(1)?,
            postmaster_start: row.try_get(2)?,
            takes_writes: row.try_get(3)?,
            timeline: row.try_get::<Option<_>, _>(4)?.unwrap_or(0),
        })
    }
}

/// The hosts of one database, and which of them is taken for the primary. Clones share that.
#[derive(Debug, Clone)]
pub struct Hosts {
    all: Arc<[PgConnectOptions]>,
    at: Arc<AtomicUsize>,
    /// The highest that a primary among them was met with.
    timeline: Arc<AtomicI64>,
    setting: Arc<str>,
}

/// One host, of which nothing is to be found out.
impl From<PgConnectOptions> for Hosts {
    fn from(options: PgConnectOptions) -> Self {
        Self { all: Arc::new([options]), at: Arc::default(), timeline: Arc::default(), setting: "the database".into() }
    }
}

/// Why no host will do: of each what it said.
#[derive(Debug, thiserror::Error)]
#[error("{}", causes.join("; "))]
pub(super) struct NoPrimary {
    causes: Vec<String>,
    /// All of them answered.
    all_read_only: bool,
}

impl Hosts {
    /// The hosts that a URL names, which `setting` named.
    pub fn parse(url: &str, setting: &str) -> Result<Self, StartError> {
        let urls = split(url).map_err(|cause| StartError::BadUrl { setting: setting.to_owned(), cause })?;
        let all: Vec<_> = urls.iter().map(|url| connect_options(url, setting)).collect::<Result<_, _>>()?;
        Ok(Self { all: all.into(), at: Arc::default(), timeline: Arc::default(), setting: setting.into() })
    }

    /// Where the primary was when it was last looked for.
    #[must_use]
    pub fn current(&self) -> &PgConnectOptions {
        &self.all[self.index()]
    }

    pub(super) fn index(&self) -> usize {
        self.at.load(Ordering::Acquire)
    }

    /// Whether there is more than one.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// Each of them.
    pub(super) fn all(&self) -> &[PgConnectOptions] {
        &self.all
    }

    /// All of them, without passwords: for messages.
    #[must_use]
    pub fn place(&self) -> String {
        self.all.iter().map(place).collect::<Vec<_>>().join(", ")
    }

    /// Looks for the primary, for a start that must not wait for it. A single host is taken as it is.
    pub async fn primary(&self) -> Result<&PgConnectOptions, StartError> {
        if self.are_several() {
            let found = self.find().await.map_err(|missed| match missed {
                NoPrimary { all_read_only: true, .. } => StartError::ReadOnly,
                missed => StartError::Unreachable {
                    place: self.place(),
                    setting: self.setting.to_string(),
                    cause: missed.to_string(),
                },
            })?;
            self.settle(found);
        }
        Ok(self.current())
    }

    /// Where a new session is to be opened: of several hosts at the one that takes writes now.
    pub async fn located(&self) -> Result<&PgConnectOptions, sqlx::Error> {
        if self.are_several() {
            let found = self.find().await.map_err(|missed| io::Error::new(io::ErrorKind::NotConnected, missed))?;
            self.settle(found);
        }
        Ok(self.current())
    }

    /// Whether no primary of a later timeline was met before.
    pub(super) fn is_latest(&self, timeline: i64) -> bool {
        self.timeline.fetch_max(timeline, Ordering::AcqRel) <= timeline
    }

    /// The host that takes writes; where several do, the one that was promoted last, and nobody of an older timeline than
    /// was met before: that is a primary from before a failover, come back.
    pub(super) async fn find(&self) -> Result<usize, NoPrimary> {
        let mut asked: FuturesUnordered<_> =
            self.all.iter().enumerate().map(|(index, host)| async move { (index, who(host).await) }).collect();
        let mut until = Instant::now() + ANSWER;
        let mut best: Option<(i64, bool, usize)> = None;
        let mut missed = NoPrimary { causes: Vec::new(), all_read_only: true };
        while let Ok(Some((index, answer))) = timeout_at(until, asked.next()).await {
            let cause = match answer {
                Ok(met) if met.takes_writes && self.is_latest(met.timeline) => {
                    let is_current = index == self.index();
                    best = best.max(Some((met.timeline, is_current, index)));
                    until = until.min(Instant::now() + OTHERS);
                    continue;
                }
                Ok(met) if met.takes_writes => {
                    missed.all_read_only = false;
                    format!("is a primary of the time before a failover (timeline {})", met.timeline)
                }
                Ok(_) => "takes no writes (a standby)".to_owned(),
                Err(error) => {
                    missed.all_read_only = false;
                    one_line(&error.to_string())
                }
            };
            missed.causes.push(format!("{}: {cause}", place(&self.all[index])));
        }
        if !asked.is_empty() {
            missed.all_read_only = false;
            missed.causes.push(format!("no answer of {} within {} s", asked.len(), ANSWER.as_secs()));
        }
        best.map(|(_, _, index)| index).ok_or(missed)
    }

    /// This one is it now.
    pub(super) fn settle(&self, index: usize) {
        self.at.store(index, Ordering::Release);
    }

    pub(super) fn at(&self, index: usize) -> &PgConnectOptions {
        &self.all[index]
    }
}

async fn who(host: &PgConnectOptions) -> Result<Met, sqlx::Error> {
    let mut session = host.connect().await?;
    let met = Met::at(&mut session).await?;
    // Whether the good-bye arrives does not matter.
    let _ = session.close().await;
    Ok(met)
}

/// The URL of each host: of `user@host1:5432,host2/database`, or of `user@/database?host=host1,host2&port=5432,5433`.
fn split(url: &str) -> Result<Vec<String>, String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(vec![url.to_owned()]) };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.rfind('@').map_or(("", authority), |at| authority.split_at(at + 1));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut kept, mut lists) = (Vec::new(), [None, None]);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("target_session_attrs", "read-write" | "primary")) => {}
            Some(("target_session_attrs", _)) => {
                return Err("target_session_attrs can only be read-write: the primary is what is looked for".to_owned());
            }
            Some(("host", list)) if hosts.is_empty() => lists[0] = Some(parts(list)?),
            Some(("port", list)) if hosts.is_empty() => lists[1] = Some(parts(list)?),
            _ => kept.push(pair.to_owned()),
        }
    }
    let one = |host: &str, more: &[String]| {
        let query = kept.iter().chain(more).map(String::as_str).collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{scheme}://{user}{host}{path}{mark}{query}")
    };
    let [named, ports] = lists;
    let Some(named) = named else {
        let port = ports.unwrap_or_default().first().map(|port| format!("port={port}"));
        return Ok(parts(hosts)?.iter().map(|host| one(host, port.as_slice())).collect());
    };
    let ports = ports.unwrap_or_default();
    if ports.len() > 1 && ports.len() != named.len() {
        return Err(format!("{} hosts and {} ports", named.len(), ports.len()));
    }
    let port = |index: usize| ports.get(index).or(ports.first()).map(|port| format!("port={port}"));
    let urls = named.iter().enumerate().map(|(index, host)| {
        let more: Vec<String> = std::iter::once(format!("host={host}")).chain(port(index)).collect();
        one("", &more)
    });
    Ok(urls.collect())
}

fn parts(list: &str) -> Result<Vec<String>, String> {
    let list = list.replace("%2C", ",").replace("%2c", ",");
    let parts: Vec<String> = list.split(',').map(str::to_owned).collect();
    if parts.len() > 1 && parts.iter().any(String::is_empty) {
        return Err("a host between two commas has no name".to_owned());
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(url: &str) -> Vec<String> {
        split(url).unwrap()
    }

    #[test]
    fn a_url_of_several_hosts_is_taken_apart_as_libpq_does() {
        assert_eq!(urls("postgres://u:p@a/db?sslmode=disable"), ["postgres://u:p@a/db?sslmode=disable"]);
        assert_eq!(
            urls("postgres://u:p%2C@a:1,[::1]:2,%2Frun%2Fpg/db?sslmode=disable&target_session_attrs=read-write"),
            [
                "postgres://u:p%2C@a:1/db?sslmode=disable",
                "postgres://u:p%2C@[::1]:2/db?sslmode=disable",
                "postgres://u:p%2C@%2Frun%2Fpg/db?sslmode=disable"
            ]
        );
        assert_eq!(
            urls("postgres://u@/db?host=/run/a,/run/b&port=1,2"),
            ["postgres://u@/db?host=/run/a&port=1", "postgres://u@/db?host=/run/b&port=2"]
        );
        assert_eq!(
            urls("postgres:///db?host=a,b&port=7&user=u"),
            ["postgres:///db?user=u&host=a&port=7", "postgres:///db?user=u&host=b&port=7"]
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for url in
            ["postgres://a,,b/db", "postgres:///db?host=a,b&port=1,2,3", "postgres://a/?target_session_attrs=any"]
        {
            assert!(split(url).is_err(), "{url}");
        }
    }

    #[test]
    fn each_host_gets_its_own_port_and_all_are_named() {
        let hosts = Hosts::parse("postgres://u@a:1,b:2/db", "--database-url").unwrap();
        assert!(hosts.are_several());
        assert_eq!(hosts.place(), "a:1/db, b:2/db");
        assert_eq!(hosts.current().get_host(), "a");
        hosts.settle(1);
        assert_eq!(hosts.clone().current().get_port(), 2);
    }
}
