//! The data directory on disk: its lock, what lies in it, whom it belongs to, and the folder of the socket.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Gid, Uid};
use sha2::{Digest, Sha256};

use super::super::error::StartError;
use super::account::Account;

/// What a new cluster takes, with a little room; the message of a full disk says the same.
const NEW_CLUSTER_BYTES: u64 = 100 << 20;

/// A data directory that nobody else can use while this value lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked; the system lets go of it when the process ends, however it ends.
    _lock: File,
    /// The folders that were not there before, the outermost first.
    made: Vec<PathBuf>,
}

impl Folder {
    /// Makes the directory where there is none, and locks it.
    pub(super) fn open(path: &Path, account: Option<&Account>) -> Result<Self, StartError> {
        let made = make(path).map_err(|error| trouble(path, &error))?;
        let path = path.canonicalize().map_err(|error| trouble(path, &error))?;
        let undo = |error| {
            remove_empty(&made);
            error
        };
        // A link on the way may have led to a closed place.
        if let Some(account) = account
            && let Some(closed) = account.stopped_at(&path)
        {
            return Err(undo(StartError::Closed { path, closed, user: account.name.clone() }));
        }
        let lock = lock(&path).map_err(undo)?;
        Ok(Self { path, _lock: lock, made })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the cluster lies.
    pub(super) fn cluster(&self) -> PathBuf {
        self.path.join("postgres")
    }

    /// Where a cluster is made, to be moved when it is whole.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.path.join("postgres.new")
    }

    /// What PostgreSQL says.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("postgres.log")
    }

    /// The major version that made the cluster, if there is one.
    pub(super) fn made_by(&self) -> Option<String> {
        let version = fs::read_to_string(self.cluster().join("PG_VERSION")).ok()?;
        Some(version.trim().to_owned())
    }

    /// Whether the cluster can be used by us, or made.
    pub(super) fn check(&self, account: Option<&Account>) -> Result<(), StartError> {
        let cluster = self.cluster();
        let us = account.map_or_else(|| rustix::process::geteuid().as_raw(), |account| account.uid);
        match fs::metadata(&cluster) {
            Ok(metadata) if metadata.uid() != us => Err(StartError::NotWritable {
                path: self.path.clone(),
                cause: format!("{} belongs to another user (number {})", cluster.display(), metadata.uid()),
            }),
            Ok(_) if self.made_by().is_none() => Err(StartError::NotWritable {
                path: self.path.clone(),
                cause: format!("{} is there, but holds no cluster", cluster.display()),
            }),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let room = rustix::fs::statvfs(&self.path).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
                if room.is_ok_and(|room| room < NEW_CLUSTER_BYTES) {
                    return Err(StartError::DiskFull { path: self.path.clone() });
                }
                Ok(())
            }
            Err(error) => Err(trouble(&self.path, &error)),
        }
    }

    /// Makes an empty folder for the user who runs PostgreSQL.
    pub(super) fn make_for(&self, folder: &Path, account: Option<&Account>) -> Result<(), StartError> {
        make_private(folder, account).map_err(|error| trouble(&self.path, &error))
    }

    /// Leaves things as they were before: for a start that failed before there was a cluster.
    pub(super) fn undo(&self) {
        if self.made_by().is_some() {
            return;
        }
        let _ = fs::remove_dir_all(self.unfinished());
        let _ = fs::remove_file(self.log());
        let _ = fs::remove_file(self.path.join("lock"));
        remove_empty(&self.made);
    }

    /// The folder of the socket: short, since the system takes no more than 107 bytes with the socket's name, and
    /// closed to everybody else, since whoever gets at the socket gets in. Its name follows from the data directory,
    /// so a server that was killed leaves one such folder behind, not many.
    pub(super) fn socket_folder(&self, account: Option<&Account>) -> Result<PathBuf, StartError> {
        let hash = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        let name = hash[..4].iter().fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
        let us = account.map_or_else(|| rustix::process::geteuid().as_raw(), |account| account.uid);
        let mut last = io::Error::from(ErrorKind::AlreadyExists);
        // Where somebody else took the name first, the next one will do.
        for attempt in 0..20 {
            let folder = match attempt {
                0 => PathBuf::from(format!("/tmp/taskwire-{name}")),
                _ => PathBuf::from(format!("/tmp/taskwire-{name}-{attempt}")),
            };
            match make_private(&folder, account) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let is_ours = fs::symlink_metadata(&folder)
                        .is_ok_and(|found| found.is_dir() && found.uid() == us && found.mode() & 0o777 == 0o700);
                    if is_ours {
                        return Ok(folder);
                    }
                    last = error;
                }
                Err(error) => last = error,
            }
        }
        Err(trouble(Path::new("/tmp"), &last))
    }
}

/// The data directory that is meant: the one that was chosen; else the default, unless root's helper cannot get there.
pub(super) fn resolve(path: &Path, chosen: bool, account: Option<&Account>) -> Result<PathBuf, StartError> {
    let absolute = std::path::absolute(path).map_err(|error| trouble(path, &error))?;
    let Some(account) = account else {
        return Ok(absolute);
    };
    match account.stopped_at(&absolute) {
        None => Ok(absolute),
        Some(_) if !chosen => Ok(PathBuf::from("/var/lib/taskwire")),
        Some(closed) => Err(StartError::Closed { path: absolute, closed, user: account.name.clone() }),
    }
}

/// What the system's refusal means for somebody who starts a server.
pub(super) fn trouble(path: &Path, error: &io::Error) -> StartError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StartError::DiskFull { path: path.to_owned() },
        _ => StartError::NotWritable { path: path.to_owned(), cause: error.to_string() },
    }
}

/// Makes a folder and those above it, and says which are new. Open to be walked through, whatever the umask says:
/// what is secret lies in folders below.
fn make(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    for (done, folder) in missing.iter().enumerate() {
        let made = fs::create_dir(folder).and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)));
        if let Err(error) = made
            && error.kind() != ErrorKind::AlreadyExists
        {
            remove_empty(&missing[..done]);
            return Err(error);
        }
    }
    if !path.is_dir() {
        return Err(io::Error::from(ErrorKind::NotADirectory));
    }
    Ok(missing)
}

fn make_private(folder: &Path, account: Option<&Account>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    if let Some(account) = account {
        rustix::fs::chown(folder, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid)))?;
    }
    Ok(())
}

/// Removes those that are empty, the innermost first.
fn remove_empty(folders: &[PathBuf]) {
    for folder in folders.iter().rev() {
        let _ = fs::remove_dir(folder);
    }
}

fn lock(folder: &Path) -> Result<File, StartError> {
    let path = folder.join("lock");
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| trouble(folder, &error))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            return Err(StartError::InUse {
                path: folder.to_owned(),
                holder: if holder.is_empty() { String::new() } else { format!(" (process {holder})") },
            });
        }
        // A start that failed removes its lock: what we have locked may no longer be what lies there.
        let is_current =
            fs::metadata(&path).and_then(|there| Ok(there.ino() == file.metadata()?.ino())).unwrap_or(false);
        if is_current {
            // Only for the message above, so it does not matter when it fails.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{StartError, resolve};
    use crate::db::cluster::account::Account;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    #[test]
    fn only_the_default_gives_way() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let closed = root.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        let stranger = Account { name: "pg".into(), uid: 54_321, gid: 54_321 };
        let [open, below] = [root.path().join("data"), closed.join("data")];
        assert_eq!(resolve(&open, false, Some(&stranger)).unwrap(), open);
        assert_eq!(resolve(&below, false, None).unwrap(), below, "not root: it is our own folder");
        assert_eq!(resolve(&below, false, Some(&stranger)).unwrap(), Path::new("/var/lib/taskwire"));
        let refusal = resolve(&below, true, Some(&stranger)).unwrap_err();
        assert!(matches!(refusal, StartError::Closed { closed: found, .. } if found == closed));
    }
}
