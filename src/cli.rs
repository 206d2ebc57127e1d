//! The command line. To add a subcommand: a variant of [`Command`] with its help, and its arm in [`dispatch`].

use std::{
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    app::{self, Outcome},
    auth::{self, NewToken, Role},
    clock::Clock,
    config::{
        self, AuthFlags, Config, ConfigError, DataDirFlags, DatabaseFlags, Flags, NodesFlags, RetentionFlags,
        TelemetryConfig,
    },
    demo::{self, DemoArgs},
    doctor::{self, DoctorArgs},
    graphql,
    telemetry::{self, LogFormat, Telemetry, TraceSettings, Traces},
};

mod example;
mod maintenance;
mod settings;
mod user_data;

use settings::Given;

/// The version, and the commit that it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TASKWIRE_COMMIT"), ")");

const ABOUT: &str = "Keeps the history of background tasks and pushes every change to browsers the moment it commits";
const LONG_ABOUT: &str = "\
Keeps the history of background tasks in PostgreSQL. Workers report their steps through GraphQL mutations; browsers \
query, cancel and subscribe, and see every change the moment it commits.

Without a subcommand it serves. Without a database it brings its own: PostgreSQL's programs have to be installed, \
nothing has to be set up.";
const AFTER: &str = "\
Each option can be given as the environment variable named beside it, and in a settings file under its own name \
(--config FILE, or taskwire.toml in the working folder). An option on the command line weighs most, then TASKWIRE_…, then \
DATABASE_URL, then DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD (with DB_MIN_SIZE, DB_MAX_SIZE, DB_COMMAND_TIMEOUT for \
the pool), then the file. `taskwire config check` tells what counts, and where it comes from.

A start that fails says why in one line, ends with exit code 2, and has changed nothing.";

/// Reads the command line.
#[derive(Debug, Parser)]
#[command(name = "taskwire", version = VERSION, about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Settings file, as in taskwire.example.toml [default: taskwire.toml in the working folder, if there is one]
    #[arg(long, env = "TASKWIRE_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the GraphQL API until Ctrl-C or SIGTERM (what happens without a subcommand)
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to this version, and end; `serve` does it by itself
    Migrate(AloneArgs),
    /// Tell which settings count, or print a settings file to begin with
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at settings, database and machine as a server would find them; exit code 1 where something should be done
    Doctor(Box<DoctorCommand>),
    /// Print the GraphQL schema
    Schema,
    /// Print a token for development, signed with the server's secret (--jwt-secret, --jwt-secret-file)
    Token(TokenArgs),
    /// Write all that is kept of a user as JSON lines
    Export(Box<user_data::ExportArgs>),
    /// Remove all that is kept of a user, for good, as the mutation eraseUser does
    Erase(Box<user_data::EraseArgs>),
    /// Remove what is older than so many days, as the mutation cleanupOldTasks does; or count it
    Cleanup(Box<maintenance::CleanupArgs>),
    /// List the partitions of the history: their span, size and records
    Partitions(Box<maintenance::PartitionsArgs>),
    /// Play some users' workers against a running server, so that there is something to see
    Demo(DemoArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting as `serve` would have it, and where it comes from; exit code 2 where one cannot be used
    Check(Box<ServeArgs>),
    /// Print a settings file with all settings, their meaning and their defaults
    Example,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
struct DoctorCommand {
    #[command(flatten)]
    doctor: DoctorArgs,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// Whose token: the user's id, or a name for the worker or the admin
    #[arg(long, env = "TASKWIRE_TOKEN_SUB", value_name = "ID")]
    sub: String,
    /// What its holder may do: user, worker or admin
    #[arg(long, env = "TASKWIRE_TOKEN_ROLE", value_name = "ROLE", default_value_t)]
    role: Role,
    /// How long it is valid, as in 15min, 1h, 7d
    #[arg(long, env = "TASKWIRE_TOKEN_TTL", value_name = "DURATION", default_value = "1h", value_parser = config::duration)]
    ttl: Duration,
    #[command(flatten)]
    auth: AuthFlags,
}

#[derive(Debug, Args)]
struct LogArgs {
    /// What to log to standard error: error, warn, info, debug, trace, or one for a module as in `taskwire=debug,info`
    #[arg(long, env = "TASKWIRE_LOG", value_name = "FILTER", default_value = "info", value_parser = telemetry::check_filter)]
    log: String,
    /// How: `text` for people, `json` for programs, `auto`: text on a terminal, else JSON
    #[arg(long, env = "TASKWIRE_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
}

impl LogArgs {
    /// From now on there is a log; of traces it knows nothing.
    fn begin(&self) {
        telemetry::init_logging(&self.log, self.log_format, None);
    }
}

/// Of what works over the database alone.
#[derive(Debug, Args)]
struct AloneArgs {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    nodes: NodesFlags,
    #[command(flatten)]
    data_dir: DataDirFlags,
    #[command(flatten)]
    log: LogArgs,
}

impl AloneArgs {
    /// Does it by these settings.
    fn run<F, E>(self, retention: RetentionFlags, given: Given, work: impl FnOnce(Config) -> F) -> ExitCode
    where
        F: Future<Output = Result<Outcome, E>>,
        E: Display,
    {
        let Self { database, nodes, data_dir, log } = self;
        log.begin();
        given.say_file();
        match settle(Flags { database, nodes, data_dir, retention, ..Flags::default() }, given) {
            Ok(config) => run(work(config)),
            Err(error) => fail(&error.to_string()),
        }
    }
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::command();
    let matches = command.clone().get_matches();
    let file = match settings::file(&command, &matches) {
        Ok(file) => file,
        Err(errors) => return settings::refuse(&errors, &matches),
    };
    // Once more, with the file's word in the place of the defaults.
    let matches = file.feed(command).get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => dispatch(cli, Given::new(&matches, &file)),
        Err(error) => error.exit(),
    }
}

fn dispatch(cli: Cli, given: Given) -> ExitCode {
    match cli.command {
        None => serve(cli.serve, given),
        Some(Command::Serve(arguments)) => serve(*arguments, given),
        Some(Command::Migrate(arguments)) => arguments.run(RetentionFlags::default(), given, app::migrate),
        Some(Command::Config(ConfigCommand::Check(arguments))) => {
            settings::check(arguments.flags, &Cli::command(), given)
        }
        Some(Command::Config(ConfigCommand::Example)) => print(&example::example(&Cli::command())),
        Some(Command::Doctor(arguments)) => diagnose(*arguments, given),
        Some(Command::Schema) => print(&graphql::sdl()),
        Some(Command::Token(arguments)) => token(arguments, given),
        Some(Command::Export(arguments)) => user_data::export(*arguments, given),
        Some(Command::Erase(arguments)) => user_data::erase(*arguments, given),
        Some(Command::Cleanup(arguments)) => maintenance::cleanup(*arguments, given),
        Some(Command::Partitions(arguments)) => maintenance::partitions(*arguments, given),
        Some(Command::Demo(arguments)) => run(async move { demo::run(arguments).await.map(|()| Outcome::Finished) }),
    }
}

fn serve(arguments: ServeArgs, given: Given) -> ExitCode {
    match settle(arguments.flags, given) {
        Ok(config) => run(serve_and_tell(config, arguments.log, given)),
        Err(error) => fail(&error.to_string()),
    }
}

/// Serves, with a log and, where there is a collector, with traces.
async fn serve_and_tell(config: Config, log: LogArgs, given: Given<'_>) -> Result<Outcome, String> {
    let TelemetryConfig { otlp_service, otlp_sample, .. } = &config.telemetry;
    let settings = config.telemetry.otlp_url()?.map(|url| TraceSettings {
        url,
        service: otlp_service.clone(),
        sample: *otlp_sample,
    });
    let traces = settings.as_ref().map(Traces::start).transpose()?;
    telemetry::init_logging(&log.log, log.log_format, traces.as_ref());
    given.say_file();
    let outcome = app::run(config, Telemetry::new()).await;
    if let Some(traces) = traces {
        traces.end().await;
    }
    outcome.map_err(|error| error.to_string())
}

fn diagnose(arguments: DoctorCommand, given: Given) -> ExitCode {
    let DoctorCommand { doctor: wanted, serve } = arguments;
    serve.log.begin();
    given.say_file();
    let secrets = given.secrets(&serve.flags);
    let report = match settle(serve.flags, given) {
        Ok(config) => block_on(async { doctor::examine(&config, &secrets, &Clock::system(), &wanted).await }),
        Err(error) => Ok(doctor::unusable(&[error])),
    };
    report.map_or_else(|code| code, |report| settings::tell(&report, wanted.json))
}

fn token(arguments: TokenArgs, given: Given) -> ExitCode {
    let TokenArgs { sub, role, ttl, auth } = arguments;
    let config = match settle(Flags { auth, ..Flags::default() }, given) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    match auth::make_token(&config.auth, &NewToken { sub, role, ttl }, &Clock::system()) {
        Ok(token) => print(&format!("{token}\n")),
        Err(error) => fail(&error.to_string()),
    }
}

/// Makes settings of the flags, the environment and the file.
fn settle(mut flags: Flags, given: Given) -> Result<Config, ConfigError> {
    given.mark(&mut flags);
    Config::load(flags, |name| std::env::var(name).ok()).map_err(|error| given.file().locate(error))
}

/// Runs something to its end.
fn run<E: Display>(work: impl Future<Output = Result<Outcome, E>>) -> ExitCode {
    match block_on(work) {
        Ok(Ok(outcome)) => ExitCode::from(outcome.code()),
        Ok(Err(error)) => fail(&error.to_string()),
        Err(code) => code,
    }
}

/// Waits for something on all cores.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| fail(&format!("the system gives no threads: {error}")))?;
    Ok(runtime.block_on(work))
}

fn fail(reason: &str) -> ExitCode {
    // Where nobody reads standard error, there is nobody to tell.
    let _ = writeln!(io::stderr(), "taskwire: {reason}");
    ExitCode::from(2)
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests;
