//! The command line. To add a subcommand: a variant of [`Command`] with its help, and its arm in [`dispatch`].

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};

use crate::{
    app::{self, Outcome},
    auth::{self, NewToken, Role},
    clock::Clock,
    config::{self, AuthFlags, Config, ConfigError, DataDirFlags, DatabaseFlags, Flags, NodesFlags, Origin},
    demo::{self, DemoArgs},
    graphql,
    telemetry::{self, Telemetry},
};

/// The version, and the commit that it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TASKWIRE_COMMIT"), ")");

const ABOUT: &str = "Keeps the history of background tasks and pushes every change to browsers the moment it commits";
const LONG_ABOUT: &str = "\
Keeps the history of background tasks in PostgreSQL. Workers report their steps through GraphQL mutations; browsers \
query, cancel and subscribe, and see every change the moment it commits.

Without a subcommand it serves. Without a database it brings its own: PostgreSQL's programs have to be installed, \
nothing has to be set up.";
const AFTER: &str = "\
Each option can be given as the environment variable named beside it. An option on the command line weighs more, then \
TASKWIRE_…, then DATABASE_URL, then DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD (with DB_MIN_SIZE, DB_MAX_SIZE, \
DB_COMMAND_TIMEOUT for the pool).

A start that fails says why in one line, ends with exit code 2, and has changed nothing.";

/// Reads the command line.
#[derive(Debug, Parser)]
#[command(name = "taskwire", version = VERSION, about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the GraphQL API until Ctrl-C or SIGTERM (what happens without a subcommand)
    Serve(Box<ServeArgs>),
    /// Bring the database's schema up to this version, and end; `serve` does it by itself
    Migrate(MigrateArgs),
    /// Print the GraphQL schema
    Schema,
    /// Print a token for development, signed with the server's secret (--jwt-secret, --jwt-secret-file)
    Token(TokenArgs),
    /// Play some users' workers against a running server, so that there is something to see
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseFlags,
    #[command(flatten)]
    nodes: NodesFlags,
    #[command(flatten)]
    data_dir: DataDirFlags,
    #[command(flatten)]
    log: LogArgs,
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
    #[arg(long, env = "TASKWIRE_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => dispatch(cli, &matches),
        Err(error) => error.exit(),
    }
}

fn dispatch(cli: Cli, matches: &ArgMatches) -> ExitCode {
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    match cli.command {
        None => serve(cli.serve, matches),
        Some(Command::Serve(arguments)) => serve(*arguments, matches),
        Some(Command::Migrate(arguments)) => migrate(arguments, matches),
        Some(Command::Schema) => print(&graphql::sdl()),
        Some(Command::Token(arguments)) => token(arguments, matches),
        Some(Command::Demo(arguments)) => run(async move { demo::run(arguments).await.map(|()| Outcome::Finished) }),
    }
}

fn serve(arguments: ServeArgs, matches: &ArgMatches) -> ExitCode {
    telemetry::init_logging(&arguments.log.log);
    match settle(arguments.flags, matches) {
        Ok(config) => run(async move { app::run(config, Telemetry::new()).await }),
        Err(error) => fail(&error.to_string()),
    }
}

fn migrate(arguments: MigrateArgs, matches: &ArgMatches) -> ExitCode {
    telemetry::init_logging(&arguments.log.log);
    let MigrateArgs { database, nodes, data_dir, .. } = arguments;
    let flags = Flags { database, nodes, data_dir, ..Flags::default() };
    match settle(flags, matches) {
        Ok(config) => run(async move { app::migrate(config).await }),
        Err(error) => fail(&error.to_string()),
    }
}

fn token(arguments: TokenArgs, matches: &ArgMatches) -> ExitCode {
    let TokenArgs { sub, role, ttl, auth } = arguments;
    let config = match settle(Flags { auth, ..Flags::default() }, matches) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string()),
    };
    match auth::make_token(&config.auth, &NewToken { sub, role, ttl }, &Clock::system()) {
        Ok(token) => print(&format!("{token}\n")),
        Err(error) => fail(&error.to_string()),
    }
}

/// Makes settings of the flags and the environment.
fn settle(mut flags: Flags, matches: &ArgMatches) -> Result<Config, ConfigError> {
    // Not every subcommand has these.
    let origin = |id: &str| match matches.try_contains_id(id).is_ok().then(|| matches.value_source(id)) {
        Some(Some(ValueSource::CommandLine)) => Origin::CommandLine,
        _ => Origin::Environment,
    };
    flags.database.database_url_origin = origin("database_url");
    flags.database.embedded_origin = origin("embedded");
    Config::load(flags, |name| std::env::var(name).ok())
}

/// Runs something to its end on all cores.
fn run<E: Display>(work: impl Future<Output = Result<Outcome, E>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the system gives no threads: {error}")),
    };
    match runtime.block_on(work) {
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(error) => fail(&error.to_string()),
    }
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
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_readme_names_every_setting() {
        let readme = include_str!("../README.md");
        let command = Cli::command();
        for argument in command.get_arguments().filter(|argument| argument.get_env().is_some()) {
            let (flag, variable) = (argument.get_long().unwrap(), argument.get_env().unwrap().to_str().unwrap());
            let row = format!("| `--{flag}` | `{variable}` |");
            assert!(readme.contains(&row), "README.md, Configuration: no row begins with {row}");
        }
    }

    #[test]
    fn the_command_line_is_sound_and_every_option_has_help_and_a_variable() {
        let command = Cli::command();
        command.clone().debug_assert();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                if ["help", "version"].contains(&id) {
                    continue;
                }
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.len() >= 12, "{id}: no help");
                let variable = argument.get_env().unwrap_or_else(|| panic!("{id}: no variable"));
                assert!(variable.to_str().unwrap().starts_with("TASKWIRE_"), "{id}");
            }
        }
    }
}
