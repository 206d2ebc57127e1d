//! Where everything meets: the parts of a server are made here, in order, and ended here, in order.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::Authenticator,
    cli::VERSION,
    clock::Clock,
    config::{Config, DatabaseSource},
    db::{self, Cluster, ClusterOptions, Database, Hosts, StartError},
    http::{self, Listening, Sockets, Tls, connections::Connections},
    service::Service,
    telemetry::Telemetry,
};

mod alone;
mod parts;
pub mod upkeep;
pub mod user_data;

pub use parts::Parts;

/// What accepted requests and writes may take after the end was called for: more than `--write-hold-timeout` by default,
/// so that who waits inside PostgreSQL for somebody's open transaction is told before we go.
const FINISH: Duration = Duration::from_millis(5500);
/// What open sockets may take to say good-bye, one after the other over `--close-spread`, at the most.
const SOCKETS: Duration = Duration::from_millis(2800);
/// When they must be through.
const SOCKETS_END: Duration = Duration::from_millis(6600);
/// What the feed and the duties may take to end.
const GOOD_BYE: Duration = Duration::from_millis(400);
/// What the pool may take to close.
const CLOSE: Duration = Duration::from_millis(500);
/// The same where PostgreSQL ends with us, and with it whatever goes on there.
const CLOSE_OWN: Duration = Duration::from_millis(200);

/// To who leaves a server open.
const INSECURE: &str = "nobody has to sign in, and everybody who can reach this server may read, change and cancel \
                        everybody's tasks; give a key by --jwt-secret-file, --jwks-file or --jwks-url";

/// What the whole end may take, all but a little for PostgreSQL to be cut short.
const ALL: Duration = Duration::from_secs(9);
/// What PostgreSQL has for its own end, whatever else was slow: cut short, it has to recover at the next start.
const POSTGRESQL: Duration = Duration::from_millis(1800);
const _: () = assert!(
    FINISH.as_millis() < SOCKETS_END.as_millis()
        && SOCKETS_END.as_millis() + GOOD_BYE.as_millis() + CLOSE_OWN.as_millis() + POSTGRESQL.as_millis()
            <= ALL.as_millis()
);

/// How a server ended that had started well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All work was finished.
    Finished,
    /// By a signal, before it was ready.
    Interrupted {
        /// 128 and the signal's number.
        code: u8,
    },
}

impl Outcome {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Finished => 0,
            Self::Interrupted { code } => code,
        }
    }
}

/// How the parts of a server hear that it ends. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// First: nothing new is accepted any more.
    pub accepting: CancellationToken,
    /// Then: subscriptions end.
    pub subscriptions: CancellationToken,
    /// Sockets that say good-bye to their clients. Waited for, shortly.
    pub sockets: TaskTracker,
}

/// A running server.
pub struct App {
    address: SocketAddr,
    database: Database,
    database_line: String,
    cluster: Option<Cluster>,
    parts: Parts,
    telemetry: Telemetry,
    connections: Connections,
    shutdown: Shutdown,
    listening: Listening,
    metrics: Option<Metrics>,
    is_encrypted: bool,
    is_exposed: bool,
}

/// What answers at `--metrics-listen`, until the very end.
struct Metrics {
    address: SocketAddr,
    listening: Listening,
    stop: CancellationToken,
}

impl App {
    /// Starts a server. When this returns it answers. The port comes first, so that a taken one changes nothing.
    pub async fn start(config: Config, telemetry: Telemetry) -> Result<Self, StartError> {
        http::check_documents(&config.documents).map_err(|cause| StartError::Documents { cause })?;
        let authenticator = authenticator(&config).await?;
        let tls = tls(&config)?;
        let listener = bind(config.http.listen).await?;
        let metrics = match config.telemetry.metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let (cluster, url, setting) = open(&config).await?;
        let started = Box::pin(Self::start_on(listener, tls, &config, authenticator, telemetry, &url, &setting)).await;
        match started {
            Ok(mut app) => {
                app.metrics = metrics.and_then(|listener| app.tell_metrics(listener, &config));
                let database_line = database_line(cluster.as_ref(), &setting, &app.database.options);
                Ok(Self { database_line, cluster, ..app })
            }
            Err(error) => {
                if let Some(cluster) = cluster {
                    cluster.stop().await;
                }
                Err(error)
            }
        }
    }

    async fn start_on(
        listener: TcpListener,
        tls: Option<Tls>,
        config: &Config,
        authenticator: Authenticator,
        telemetry: Telemetry,
        url: &str,
        setting: &str,
    ) -> Result<Self, StartError> {
        let address = listener.local_addr().map_err(|error| cannot_listen(config.http.listen, &error))?;
        let direct = direct(config)?;
        migrate_at(&direct, url, setting).await?;
        let database = db::connect(&config.database, url, setting).await?.listening_at(direct);
        let standbys = match &config.nodes.read_url {
            Some(url) => db::standbys(&config.database, url).await?,
            None => Vec::new(),
        };
        let shutdown = Shutdown::default();
        let subscriptions = shutdown.subscriptions.clone();
        let parts = Parts::start(&database, standbys, config, authenticator, &telemetry, subscriptions);
        let connections = Connections::new(config.socket.clone(), telemetry.clone(), shutdown.subscriptions.clone());
        let registry = connections.clone();
        parts.service.close_by(Box::new(move |user| registry.disconnect(user)));
        let sockets = Sockets { connections: connections.clone(), open: shutdown.sockets.clone() };
        let router = http::router(parts.api(), parts.authenticator().clone(), config, sockets);
        let is_encrypted = tls.is_some();
        let is_exposed = is_exposed(parts.authenticator(), config);
        let stop = shutdown.accepting.clone();
        let listening = Listening::start(listener, router, &config.listen, tls, &telemetry, stop);
        Ok(Self {
            address,
            database,
            database_line: String::new(),
            cluster: None,
            parts,
            telemetry,
            connections,
            shutdown,
            listening,
            metrics: None,
            is_encrypted,
            is_exposed,
        })
    }

    fn tell_metrics(&self, listener: TcpListener, config: &Config) -> Option<Metrics> {
        let (address, stop) = (listener.local_addr().ok()?, CancellationToken::new());
        let router = http::telemetry_router(&self.parts.service, self.shutdown.accepting.clone());
        let listening = Listening::start(listener, router, &config.listen, None, &self.telemetry, stop.clone());
        Some(Metrics { address, listening, stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells its metrics, if that is an address of their own.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|metrics| metrics.address)
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The embedded cluster, if it runs one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Its verbs.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.parts.service
    }

    /// Who tells by a token who is calling.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        self.parts.authenticator()
    }

    /// Who is connected.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Its metrics.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Ends it: accepts nothing more, finishes what was accepted, ends the subscriptions, closes the pool, stops the
    /// embedded cluster. Takes 10 s at the most.
    pub async fn stop(self) {
        let begin = Instant::now();
        let Self { database, cluster, parts, shutdown, listening, metrics, .. } = self;
        shutdown.accepting.cancel();
        parts.hurry();
        let finished = timeout(FINISH, async {
            listening.finished().await;
            parts.finish_writes().await;
        });
        if finished.await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        shutdown.subscriptions.cancel();
        shutdown.sockets.close();
        let sockets = SOCKETS.min(SOCKETS_END.saturating_sub(begin.elapsed()));
        let closed = async { tokio::join!(shutdown.sockets.wait(), listening.closed()) };
        if timeout(sockets, closed).await.is_err() {
            tracing::warn!("some sockets did not close in time");
        }
        listening.abort();
        if timeout(GOOD_BYE, parts.end()).await.is_err() {
            tracing::warn!("what runs by itself did not end in time");
        }
        if let Some(Metrics { listening, stop, .. }) = metrics {
            stop.cancel();
            listening.abort();
            if timeout(GOOD_BYE, listening.finished()).await.is_err() {
                tracing::warn!("some who read the metrics were not let go in time");
            }
        }
        let Some(cluster) = cluster else {
            if let Err(error) = database.close(CLOSE).await {
                tracing::warn!(%error, "some statements may go on in the database");
            }
            return;
        };
        if timeout(CLOSE_OWN, database.drain()).await.is_err() {
            tracing::debug!("some statements end with the embedded PostgreSQL");
        }
        cluster.stop_within(ALL.saturating_sub(begin.elapsed())).await;
    }

    /// What somebody wants to read who has just started a server.
    fn greeting(&self) -> String {
        let (scheme, socket) = if self.is_encrypted { ("https", "wss") } else { ("http", "ws") };
        let url = format!("{scheme}://{}/graphql", self.address);
        let psql = self
            .cluster
            .as_ref()
            .map_or_else(String::new, |cluster| format!("\n  psql       {}", cluster.psql_command()));
        let metrics = self
            .metrics_address()
            .map_or_else(String::new, |address| format!("\n  metrics    http://{address}/metrics"));
        // Here too, since a log can be turned down.
        let warning = if self.is_exposed { format!("\n  INSECURE   {INSECURE}") } else { String::new() };
        let pages = if http::has_pages() {
            format!("{scheme}://{}/", self.address)
        } else {
            "not in this program; scripts/web makes them".to_owned()
        };
        format!(
            "taskwire {VERSION} is ready{warning}\n  GraphQL    {url} (subscriptions: {socket}://{}/graphql)\n  \
             pages      {pages}{metrics}\n  database   {}{psql}\n  \
             try first  curl -s {url} -H 'content-type: application/json' -d '{{\"query\": \"{{ tasks(first: 3) {{ nodes \
             {{ userId taskId status }} }} }}\"}}'",
            self.address, self.database_line
        )
    }
}

/// Serves until a signal. A first one (Ctrl-C, SIGTERM) finishes what was accepted, a second one ends at once.
pub async fn run(config: Config, telemetry: Telemetry) -> Result<Outcome, StartError> {
    let mut signals = Signals::new()?;
    let app = tokio::select! {
        app = App::start(config, telemetry) => app?,
        code = signals.next() => return Ok(Outcome::Interrupted { code }),
    };
    say(app.greeting());
    signals.next().await;
    say("finishing what was accepted; a second signal ends at once");
    let postmaster = app.cluster().map(Cluster::postmaster);
    tokio::select! {
        () = app.stop() => Ok(Outcome::Finished),
        code = signals.next() => {
            // No destructor waits for anything from here on; PostgreSQL is told, and ends by itself.
            if let Some(pid) = postmaster.and_then(|postmaster| *postmaster.borrow()) {
                db::cluster::tell_to_end(pid);
            }
            std::process::exit(i32::from(code));
        }
    }
}

/// Brings the schema up to this build, and ends.
pub async fn migrate(config: Config) -> Result<Outcome, StartError> {
    let mut signals = Signals::new()?;
    let work = async {
        let (cluster, url, setting) = open(&config).await?;
        let result = async { migrate_at(&direct(&config)?, &url, &setting).await }.await;
        if let Some(cluster) = cluster {
            cluster.stop().await;
        }
        result
    };
    tokio::select! {
        steps = work => {
            say(match steps? {
                0 => "the schema is up to date".to_owned(),
                1 => "the schema is up to date; 1 step taken".to_owned(),
                steps => format!("the schema is up to date; {steps} steps taken"),
            });
            Ok(Outcome::Finished)
        }
        code = signals.next() => Ok(Outcome::Interrupted { code }),
    }
}

/// The keys come before everything else: a server that cannot tell who is calling must not start.
async fn authenticator(config: &Config) -> Result<Authenticator, StartError> {
    let authenticator = Authenticator::new(&config.auth, Clock::system())
        .await
        .map_err(|error| StartError::Keys { cause: error.to_string() })?;
    if is_exposed(&authenticator, config) {
        tracing::warn!(listen = %config.http.listen, "INSECURE: {INSECURE}");
    }
    Ok(authenticator)
}

/// Whether others than this machine's people are let in without a token: they reach it by its address, or by a proxy
/// that speaks for a public host.
fn is_exposed(authenticator: &Authenticator, config: &Config) -> bool {
    let is_reached = !config.http.listen.ip().to_canonical().is_loopback() || !config.http.public_hosts.is_empty();
    authenticator.is_open() && is_reached
}

fn tls(config: &Config) -> Result<Option<Tls>, StartError> {
    let files = config.listen.tls.as_ref();
    files.map(Tls::load).transpose().map_err(|error| StartError::Tls { cause: error.to_string() })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> StartError {
    match error.kind() {
        ErrorKind::AddrInUse => StartError::PortTaken { address: address.to_string() },
        _ => StartError::CannotListen { address: address.to_string(), cause: error.to_string() },
    }
}

/// The database: its URL, and the setting that named it. Starts the embedded cluster where it is the one.
async fn open(config: &Config) -> Result<(Option<Cluster>, String, String), StartError> {
    match &config.database.url {
        DatabaseSource::Url { url, setting } => Ok((None, url.clone(), setting.clone())),
        DatabaseSource::Embedded => {
            let mut options = ClusterOptions::new(config.data_dir.clone());
            // Room for the listener and people with psql besides.
            options.max_connections = options.max_connections.max(config.connections() + 30);
            let cluster = Cluster::start(options).await?;
            let url = cluster.url(cluster.database());
            Ok((Some(cluster), url, "the embedded PostgreSQL".into()))
        }
    }
}

/// Direct ways to the database, where the pool's is none.
fn direct(config: &Config) -> Result<Vec<Hosts>, StartError> {
    config.nodes.listen_urls.iter().map(|url| Hosts::parse(url, "--listen-url")).collect()
}

/// Migrates by the first direct way, or by the pool's.
async fn migrate_at(direct: &[Hosts], url: &str, setting: &str) -> Result<usize, StartError> {
    match direct.first() {
        Some(hosts) => db::migrate(hosts.primary().await?, "--listen-url").await,
        None => db::migrate(Hosts::parse(url, setting)?.primary().await?, setting).await,
    }
}

fn database_line(cluster: Option<&Cluster>, setting: &str, options: &PgConnectOptions) -> String {
    match cluster {
        Some(cluster) => {
            format!("embedded PostgreSQL in {} (no other one named, or --embedded)", cluster.data_dir().display())
        }
        None => format!("{} (by {setting})", db::place(options)),
    }
}

fn say(text: impl Display) {
    // Where nobody reads standard output, there is nobody to tell.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, StartError> {
        let listen = |kind| signal(kind).map_err(|error| StartError::System { cause: error.to_string() });
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The next one, as the exit code that it stands for.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
