//! Who runs the embedded PostgreSQL. It refuses root, so root lends it to another user, who has to be able to walk to
//! the data directory.

use std::{
    fs::{self, Metadata},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
};

use super::super::error::StartError;

/// In this order.
const NAMES: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// A user of this system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Who is to run a cluster in this folder instead of us: nobody, unless we are root; then the folder's owner, or
    /// the first of the users made for it.
    pub(super) fn for_cluster(cluster: &Path) -> Result<Option<Self>, StartError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        if let Ok(owner) = fs::metadata(cluster)
            && owner.uid() != 0
        {
            return Ok(Some(Self { name: name_of(&users, owner.uid()), uid: owner.uid(), gid: owner.gid() }));
        }
        NAMES.iter().find_map(|name| by_name(&users, name)).map(Some).ok_or(StartError::NoUser)
    }

    /// The closest folder on the way to `path`, or `path` itself, through which this user cannot walk.
    pub(super) fn stopped_at(&self, path: &Path) -> Option<PathBuf> {
        path.ancestors()
            .filter(|folder| fs::metadata(folder).is_ok_and(|metadata| metadata.is_dir() && !self.may_walk(&metadata)))
            .last()
            .map(Path::to_owned)
    }

    fn may_walk(&self, folder: &Metadata) -> bool {
        let shift = if folder.uid() == self.uid {
            6
        } else if folder.gid() == self.gid {
            3
        } else {
            0
        };
        (folder.mode() >> shift) & 1 == 1
    }

    /// Lets the command run as this user. The standard library drops root's further groups by itself.
    pub(super) fn lend(account: Option<&Self>, command: &mut std::process::Command) {
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
    }
}

fn by_name(users: &str, name: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let account =
            Account { name: (*fields.first()?).to_owned(), uid: id(fields.get(2)?)?, gid: id(fields.get(3)?)? };
        (account.name == name && account.uid != 0).then_some(account)
    })
}

fn name_of(users: &str, uid: u32) -> String {
    users
        .lines()
        .find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (id(fields.get(2)?)? == uid).then(|| fields[0].to_owned())
        })
        .unwrap_or_else(|| format!("number {uid}"))
}

/// A user's number; macOS writes nobody's as -2.
fn id(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().or_else(|| text.parse::<i32>().ok().map(i32::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::{Account, by_name, name_of};
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    const USERS: &str =
        "root:*:0:0:root:/root:/bin/sh\n# comment\nnobody:*:-2:-2:x:/:/bin/false\npg:x:101:104::/:/bin/sh\n";

    #[test]
    fn users_are_found() {
        let nobody = by_name(USERS, "nobody").unwrap();
        assert_eq!((nobody.uid, nobody.gid), (4_294_967_294, 4_294_967_294));
        assert_eq!(by_name(USERS, "root"), None);
        assert_eq!(by_name(USERS, "postgres"), None);
        assert_eq!(name_of(USERS, 101), "pg");
        assert_eq!(name_of(USERS, 5), "number 5");
    }

    #[test]
    fn the_folder_in_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        let [open, closed] = ["open", "closed"].map(|name| root.path().join(name));
        let below = closed.join("below");
        for folder in [&open, &below] {
            fs::create_dir_all(folder).unwrap();
        }
        for folder in [root.path(), &open, &below] {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        let stranger = Account { name: "pg".into(), uid: 54_321, gid: 54_321 };
        assert_eq!(stranger.stopped_at(&open), None);
        assert_eq!(stranger.stopped_at(&open.join("not/there/yet")), None);
        assert_eq!(stranger.stopped_at(&below.join("not/there/yet")), Some(closed));
    }
}
