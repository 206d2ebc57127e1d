//! Why a start-up failed.

use std::path::PathBuf;

/// Why a start-up failed. Each text is one line that names the cause and the remedy; nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody listens on the address.
    #[error(
        "{address} is taken by another process; end that one, or choose another port by --listen (TASKWIRE_LISTEN)"
    )]
    PortTaken {
        /// What was to be listened on.
        address: String,
    },
    /// The address is not this machine's, or not ours to use.
    #[error("cannot listen on {address}: {cause}; choose another address by --listen (TASKWIRE_LISTEN)")]
    CannotListen {
        /// What was to be listened on.
        address: String,
        /// What the system says.
        cause: String,
    },
    /// The keys that tokens are checked with cannot be used.
    #[error("{cause}")]
    Keys {
        /// Names the setting, and says what is wrong.
        cause: String,
    },
    /// The certificate that is to be served cannot be used.
    #[error("--tls-cert, --tls-key: {cause}")]
    Tls {
        /// Names the file, and says what is wrong.
        cause: String,
    },
    /// No rights on the data directory.
    #[error("the data directory {} cannot be written: {cause}; make it writable, or choose another one by --data-dir (TASKWIRE_DATA_DIR)", path.display())]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// Root's cluster runs as another user, who cannot get there.
    #[error("the data directory {} cannot be reached by user {user}, who runs PostgreSQL for root: {} is closed to others; open it by chmod o+x, or choose another data directory by --data-dir (TASKWIRE_DATA_DIR), as /var/lib/taskwire", path.display(), closed.display())]
    Closed {
        /// The data directory.
        path: PathBuf,
        /// The folder in the way.
        closed: PathBuf,
        /// Who cannot walk there.
        user: String,
    },
    /// Another server works there.
    #[error("the data directory {} is in use by another Taskwire server{holder}; stop that one, or choose another data directory by --data-dir (TASKWIRE_DATA_DIR)", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// ` (process 123)`, where known.
        holder: String,
    },
    /// No room for a cluster, or for its start.
    #[error("the disk that holds {} is full; make room (a new database needs about 100 MiB), or choose another data directory by --data-dir (TASKWIRE_DATA_DIR)", path.display())]
    DiskFull {
        /// The folder.
        path: PathBuf,
    },
    /// Another major version made the cluster.
    #[error("{} was made by PostgreSQL {found}, but only {installed} is installed; install PostgreSQL {found}, or move the folder away, or convert it by pg_upgrade", path.display())]
    OtherMajor {
        /// The cluster's folder.
        path: PathBuf,
        /// Who made it.
        found: String,
        /// What there is.
        installed: String,
    },
    /// No server programs.
    #[error(
        "PostgreSQL's server programs (initdb, postgres; version 15 or newer) are not installed{found}; install them by `apt install postgresql` on Debian, `dnf install postgresql-server postgresql-contrib` on Fedora, `brew install postgresql@17` on macOS, or name a database by --database-url (TASKWIRE_DATABASE_URL)"
    )]
    NoBinaries {
        /// ` (found only 13 in /usr/lib/…)`, where there is something.
        found: String,
    },
    /// Root cannot run PostgreSQL and there is nobody else.
    #[error(
        "PostgreSQL refuses to run as root and there is neither a user postgres nor a user nobody; make one by `useradd --system postgres`, or start Taskwire as another user"
    )]
    NoUser,
    /// initdb or postgres ended.
    #[error("the embedded PostgreSQL does not start: {cause}; its messages are in {}", log.display())]
    Embedded {
        /// Its last complaint.
        cause: String,
        /// Where to read on.
        log: PathBuf,
    },
    /// The URL cannot be read.
    #[error(
        "{setting} is no PostgreSQL URL that can be read ({cause}); write postgres://user:password@host:5432/database"
    )]
    BadUrl {
        /// The flag or variable.
        setting: String,
        /// What is wrong.
        cause: String,
    },
    /// No answer, or a refusal.
    #[error(
        "cannot connect to the database ({place}, by {setting}): {cause}; check that it runs, and the host, the user and the password in {setting}"
    )]
    Unreachable {
        /// Host, port and database.
        place: String,
        /// The flag or variable.
        setting: String,
        /// What is wrong.
        cause: String,
    },
    /// An old server.
    #[error("the database is PostgreSQL {found}, but Taskwire needs 15 or newer; upgrade it, or name another one")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// A standby.
    #[error(
        "the database takes no writes (it is a standby, or default_transaction_read_only is on); name its primary instead"
    )]
    ReadOnly,
    /// Not UTF-8.
    #[error(
        "the database's encoding is {found}, but Taskwire needs UTF8; make another one by CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// Its encoding.
        found: String,
    },
    /// A table or view of our name that is not ours.
    #[error(
        "the database has a {what} named {name} that is not Taskwire's, and it will not be touched; rename it (ALTER {what} {name} RENAME TO {name}_old), or name another database"
    )]
    Foreign {
        /// `TABLE`, `VIEW` …
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A newer build has been here.
    #[error(
        "the database's schema is newer than this build (it has the step {step}, unknown here); start the newer version, or restore a backup of before"
    )]
    NewerSchema {
        /// A step that this build does not know.
        step: String,
    },
    /// The role may not do it.
    #[error("the role {role} {lacks}; as the database's owner run: {remedy}")]
    NoRights {
        /// Our role.
        role: String,
        /// What it may not.
        lacks: String,
        /// A statement.
        remedy: String,
    },
    /// Another server migrates, or hangs in it.
    #[error(
        "another process has been changing the schema for {seconds} s; wait for it, or end it (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
    )]
    MigrationLocked {
        /// How long.
        seconds: u64,
    },
    /// The system refuses something that every program gets.
    #[error("the system refuses: {cause}; look at its limits (ulimit -a)")]
    System {
        /// What it says.
        cause: String,
    },
    /// Whatever else the database says.
    #[error("the database refused: {0}; nothing has been changed")]
    Database(String),
}

impl From<sqlx::Error> for StartError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(one_line(&error.to_string()))
    }
}

impl From<sea_orm::DbErr> for StartError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Database(one_line(&error.to_string()))
    }
}

/// Makes one line of a message of several.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
