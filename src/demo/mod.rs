//! `taskwire demo`: some users' workers, played against a running server so that a newcomer sees things move.
//!
//! A client like any other: it imports nothing but outside crates, and knows the server by its public API alone.
//!
//! - `script`: what happens in a task, made up from the seed · `worker`: plays scripts, heeds cancellations
//! - `client`: requests, and what is tried again · `clean`: ends what a demo has left unfinished · `stage`: what all
//!   workers share: the pace, the counters, the lines that people read
//!
//! To add an outcome: an arm in `script`'s `Outcome`.

mod clean;
mod client;
mod script;
mod stage;
mod worker;

use std::{sync::Arc, time::Duration};

use clap::Args;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use client::{CallError, Client};
use stage::Stage;
use worker::Worker;

/// The users whose workers are played. `--clean` looks after the same ones.
const USERS: [&str; 5] = ["demo-anna", "demo-ben", "demo-chen", "demo-dora", "demo-emil"];

const MAKE_ONE: &str = "taskwire token --sub demo --role worker";
/// Above so many reports a second nobody could read a line each.
const READABLE_RATE: f64 = 50.0;

/// What `taskwire demo` can be told.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// GraphQL address of the running server; plain HTTP, so not one with --tls-cert
    #[arg(
        long,
        env = "TASKWIRE_DEMO_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000/graphql",
        value_parser = plain_http
    )]
    pub url: String,
    /// A worker's or an admin's token, where the server wants one, as `taskwire token --sub demo --role worker` makes it; on a
    /// command line other users can read it
    #[arg(long, env = "TASKWIRE_DEMO_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<SecretString>,
    /// Reports per second of all workers together
    #[arg(long, env = "TASKWIRE_DEMO_RATE", value_name = "NUMBER", default_value_t = 5.0, value_parser = usable_rate)]
    pub rate: f64,
    /// End after so many seconds [default: play until Ctrl-C]
    #[arg(long, env = "TASKWIRE_DEMO_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
    /// Play the same users, tasks and outcomes as another run with this number; only the end of the task ids differs
    /// [default: another number each time, shown in the first line]
    #[arg(long, env = "TASKWIRE_DEMO_SEED", value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Cancel all unfinished tasks of the demo's users (demo-anna and others), answer their cancellations, and end.
    /// Their history stays: the server cannot erase a user yet
    #[arg(long, env = "TASKWIRE_DEMO_CLEAN", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub clean: bool,
}

/// Why the demo ended before its time. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Nobody answered.
    #[error("no server answers at {url} ({cause}); start one with: taskwire serve")]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// What the system said.
        cause: String,
    },
    /// Somebody answered, but not as a Taskwire server does.
    #[error("{url} is no GraphQL address of a Taskwire server: {answer}")]
    NotTaskwire {
        /// The address that was tried.
        url: String,
        /// What came back, in short.
        answer: String,
    },
    /// The server does not take what a worker says.
    #[error("the server refused: {0}")]
    Refused(String),
    /// It answered at first, and then no more.
    #[error("the server at {url} has not answered for {seconds} seconds: {cause}")]
    Lost {
        /// The address that was tried.
        url: String,
        /// How long.
        seconds: u64,
        /// What the last attempt said.
        cause: String,
    },
    /// The system did not do its part.
    #[error("the system refused: {0}")]
    System(String),
}

/// Plays until its time is over, or a signal comes; or cleans up.
pub async fn run(args: DemoArgs) -> Result<(), DemoError> {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let client = Arc::new(Client::new(&args.url, args.token.as_ref(), stop.clone())?);
    greet(&client).await?;
    if args.clean {
        return tokio::select! {
            done = clean::clean(&client, &USERS) => done,
            () = signals.next() => Ok(()),
        };
    }

    let seed = args.seed.unwrap_or_else(|| fastrand::u64(1..1_000_000));
    let stage = Arc::new(Stage::new(args.rate, args.rate <= READABLE_RATE, stop.clone()));
    stage.say(&format!(
        "playing {} users' workers at {}, {} reports a second, --seed {seed}; Ctrl-C ends it",
        USERS.len(),
        args.url,
        args.rate
    ));
    let mut workers = JoinSet::new();
    for _ in 0..tasks_at_once(args.rate) {
        let worker = Worker { client: Arc::clone(&client), stage: Arc::clone(&stage), seed };
        workers.spawn(worker.work());
    }
    let ended = wait(&mut workers, &stage, args.seconds, &mut signals).await;
    stage.sum_up();
    ended
}

/// Waits for the end: by time, by a signal, or because the server is gone. The reports under way are finished; a second
/// signal does not wait for them.
async fn wait(
    workers: &mut JoinSet<Result<(), CallError>>,
    stage: &Stage,
    seconds: Option<u64>,
    signals: &mut Signals,
) -> Result<(), DemoError> {
    let time_is_up = async {
        match seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time_is_up);
    let mut ended = Ok(());
    loop {
        tokio::select! {
            worker = workers.join_next() => match worker {
                None => return ended,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    stage.stop();
                    ended = ended.and(Err(error.into()));
                }
                Some(Err(error)) => {
                    stage.stop();
                    ended = ended.and(Err(DemoError::System(error.to_string())));
                }
            },
            () = &mut time_is_up, if !stage.is_over() => stage.stop(),
            () = signals.next() => {
                if stage.is_over() {
                    return ended;
                }
                stage.stop();
            }
            () = sleep(Duration::from_secs(1)), if !stage.is_chatty() && !stage.is_over() => stage.say_progress(),
        }
    }
}

/// Whether there is a server, and whether workers may report to it.
async fn greet(client: &Client) -> Result<(), DemoError> {
    #[derive(Deserialize)]
    struct Data {
        viewer: Viewer,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Viewer {
        may_save: bool,
    }
    let data: Data = client.call("{ viewer { maySave } }", &json!({})).await.map_err(|error| match error {
        CallError::NoAnswer(cause) => DemoError::Unreachable { url: client.url().to_owned(), cause },
        CallError::Refused { code, message, .. } if code == "UNAUTHENTICATED" => {
            DemoError::Refused(format!("{message} Give TASKWIRE_DEMO_TOKEN or --token: {MAKE_ONE}"))
        }
        other => other.into(),
    })?;
    if data.viewer.may_save {
        Ok(())
    } else {
        Err(DemoError::Refused(format!("this viewer may not save task history; try one of: {MAKE_ONE}")))
    }
}

/// So many that a task reports every second or two, and that a high rate does not wait for answers.
fn tasks_at_once(rate: f64) -> u32 {
    match rate {
        ..10.0 => 8,
        ..100.0 => 16,
        ..1_000.0 => 64,
        _ => 256,
    }
}

fn plain_http(text: &str) -> Result<String, String> {
    match text.parse::<reqwest::Url>() {
        Ok(url) if url.scheme() == "http" => Ok(text.to_owned()),
        _ => Err("write an address as in http://127.0.0.1:8000/graphql".into()),
    }
}

fn usable_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("must be 0.1 to 10000".into()),
    }
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, DemoError> {
        let listen = |kind| signal(kind).map_err(|error| DemoError::System(error.to_string()));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
