//! PostgreSQL's server programs: where they are, and of which version.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::super::error::StartError;

/// The oldest version that will do.
const OLDEST: u32 = 15;

/// A folder with `initdb` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    /// The major version.
    pub(super) major: u32,
}

impl Binaries {
    /// Finds the ones that made a cluster (`made_by`), or the best there are: PATH's, else the newest.
    pub(super) fn find(made_by: Option<&str>, cluster: &Path) -> Result<Self, StartError> {
        let all: Vec<Self> = candidates().iter().filter_map(|folder| Self::at(folder)).collect();
        let usable: Vec<&Self> = all.iter().filter(|found| found.major >= OLDEST).collect();
        match made_by {
            None => usable.first().map(|found| (*found).clone()).ok_or_else(|| StartError::NoBinaries {
                found: all.first().map_or_else(String::new, |found| {
                    format!(" (found only {} in {})", found.major, found.folder.display())
                }),
            }),
            Some(_) if usable.is_empty() => Self::find(None, cluster),
            Some(made_by) => {
                usable.iter().find(|found| found.major.to_string() == made_by).map(|found| (*found).clone()).ok_or_else(
                    || StartError::OtherMajor {
                        path: cluster.to_owned(),
                        found: made_by.to_owned(),
                        installed: usable.iter().map(|found| found.major.to_string()).collect::<Vec<_>>().join(", "),
                    },
                )
            }
        }
    }

    /// A program of the folder.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn at(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres")).arg("--version").env_clear().output().ok()?;
        Some(Self { folder: folder.to_owned(), major: major(&String::from_utf8_lossy(&output.stdout))? })
    }
}

/// The 15 of `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`, also of `16beta1`.
fn major(version: &str) -> Option<u32> {
    let version = version.split("(PostgreSQL) ").nth(1)?;
    let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().ok()
}

/// Where they may be: PATH, then Debian's, the PostgreSQL project's and Homebrew's folders, the newest first.
fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.extend(versions("/usr/lib/postgresql", "", "bin"));
    folders.extend(versions("/usr", "pgsql-", "bin"));
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        folders.extend(versions(homebrew, "postgresql@", "bin"));
    }
    folders
}

/// `<parent>/<prefix><number>/<below>`, by falling number.
fn versions(parent: &str, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(below)))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::{major, versions};

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 17\n"), Some(17));
        assert_eq!(major("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(major("postgres (EnterpriseDB) 9.6\n"), None);
    }

    #[test]
    fn the_newest_comes_first_by_number_not_by_letter() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["9.6", "9", "15", "17", "common"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let found = versions(folder.path().to_str().unwrap(), "", "bin");
        let expected = ["17/bin", "15/bin", "9/bin"].map(|name| folder.path().join(name));
        assert_eq!(found, expected);
    }
}
