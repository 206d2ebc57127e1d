//! The embedded cluster under the real program: started, stopped, killed, adopted, restarted, as root and not as root.

use std::{path::Path, time::Instant};

use rustix::process::Signal;
use sqlx::{ConnectOptions, Connection, Executor, Row};

use crate::support::{
    Folder, eventually, is_root, left_out,
    process::{Server, as_nobody, is_alive, kill, postmaster, user_of},
};

async fn note(server: &Server, text: &str) {
    let mut session = server.options().connect().await.unwrap();
    session.execute("CREATE TABLE IF NOT EXISTS note (text text)").await.unwrap();
    sqlx::query("INSERT INTO note VALUES ($1)").bind(text).execute(&mut session).await.unwrap();
    session.close().await.unwrap();
}

async fn notes(server: &Server) -> Vec<String> {
    let mut session = server.options().connect().await.unwrap();
    let rows = session.fetch_all("SELECT text FROM note ORDER BY text").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn gone(pid: u32) {
    eventually("the process ends", async || (!is_alive(pid)).then_some(())).await;
}

#[tokio::test]
async fn starts_on_an_empty_folder_stops_and_starts_again() {
    let folder = Folder::new();
    let data = folder.join("data");
    let begin = Instant::now();
    let server = Server::start(&data).await;
    assert!(begin.elapsed().as_secs() < 30, "not ready within 30 s");
    assert!(server.answers().await);
    assert!(server.greeting.contains(&data.display().to_string()), "{}", server.greeting);
    note(&server, "kept").await;

    let pid = server.postmaster().unwrap();
    let socket = server.socket();
    assert!(socket.join(".s.PGSQL.5432").as_os_str().len() < 107);
    let mut session = server.options().connect().await.unwrap();
    let settings = session
        .fetch_one(
            "SELECT current_setting('listen_addresses'), current_setting('fsync'), current_setting('shared_preload_libraries'),
                    current_setting('unix_socket_permissions'), (SELECT count(*) FROM pg_stat_statements)",
        )
        .await
        .unwrap();
    assert_eq!(settings.get::<&str, _>(0), "", "it listens on TCP");
    assert_eq!(settings.get::<&str, _>(1), "on");
    assert_eq!(settings.get::<&str, _>(2), "pg_stat_statements");
    assert_eq!(settings.get::<&str, _>(3), "0700");

    // A session that stays open does not keep it from ending.
    let begin = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(0));
    assert!(begin.elapsed().as_secs() < 10, "took {:?}", begin.elapsed());
    assert!(!is_alive(pid), "PostgreSQL was left behind");
    assert!(!socket.exists(), "the socket's folder was left behind");
    assert_eq!(postmaster(&data), None);

    let server = Server::start(&data).await;
    assert_eq!(notes(&server).await, ["kept"]);
    assert_eq!(server.interrupt().await, Some(0));
}

#[tokio::test]
async fn a_killed_servers_cluster_is_taken_over() {
    let folder = Folder::new();
    let data = folder.join("data");
    let server = Server::start(&data).await;
    note(&server, "acknowledged").await;
    let pid = server.postmaster().unwrap();
    server.kill().await;
    assert!(is_alive(pid));

    let server = Server::start(&data).await;
    assert_eq!(server.postmaster(), Some(pid), "a new one was started beside the old one");
    assert_eq!(notes(&server).await, ["acknowledged"]);

    // An adopted one is watched and stopped like one of the server's own.
    kill(pid, Signal::KILL);
    let next = eventually("it runs again", async || {
        let next = server.postmaster().filter(|next| *next != pid && is_alive(*next))?;
        server.answers().await.then_some(next)
    })
    .await;
    assert_eq!(server.interrupt().await, Some(0));
    assert!(!is_alive(next));
}

#[tokio::test]
async fn an_adopted_cluster_ends_with_the_server() {
    let folder = Folder::new();
    let data = folder.join("data");
    let server = Server::start(&data).await;
    let pid = server.postmaster().unwrap();
    server.kill().await;
    let server = Server::start(&data).await;
    assert_eq!(server.interrupt().await, Some(0));
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn after_everything_was_killed_the_next_start_recovers() {
    let folder = Folder::new();
    let data = folder.join("data");
    let server = Server::start(&data).await;
    note(&server, "acknowledged").await;
    let pid = server.postmaster().unwrap();
    kill(pid, Signal::STOP);
    server.kill().await;
    kill(pid, Signal::KILL);
    // At once: the backends of the dead postmaster are still there.
    let server = Server::start(&data).await;
    assert_ne!(server.postmaster(), Some(pid));
    assert_eq!(notes(&server).await, ["acknowledged"]);
    assert_eq!(server.interrupt().await, Some(0));
}

#[tokio::test]
async fn a_postmaster_that_dies_is_started_again_under_the_running_server() {
    let folder = Folder::new();
    let data = folder.join("data");
    let server = Server::start(&data).await;
    for (round, signal) in [Signal::KILL, Signal::INT, Signal::KILL].into_iter().enumerate() {
        note(&server, &format!("before {round}")).await;
        let pid = server.postmaster().unwrap();
        kill(pid, signal);
        gone(pid).await;
        eventually("it answers again", async || {
            let next = server.postmaster()?;
            (next != pid && server.answers().await).then_some(())
        })
        .await;
    }
    assert_eq!(notes(&server).await, ["before 0", "before 1", "before 2"]);
    assert_eq!(server.interrupt().await, Some(0));
}

#[tokio::test]
async fn a_cluster_without_its_socket_is_started_anew() {
    let folder = Folder::new();
    let data = folder.join("data");
    let server = Server::start(&data).await;
    note(&server, "kept").await;
    let (pid, socket) = (server.postmaster().unwrap(), server.socket());
    server.kill().await;
    std::fs::remove_dir_all(&socket).unwrap();
    let server = Server::start(&data).await;
    assert_ne!(server.postmaster(), Some(pid));
    assert!(!is_alive(pid));
    assert_eq!(notes(&server).await, ["kept"]);
    assert_eq!(server.interrupt().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let folder = Folder::new();
    let data = folder.join("data");
    let mut server = Server::start(&data).await;
    let pid = server.postmaster().unwrap();
    // One that does not react: the first signal waits for it.
    kill(pid, Signal::STOP);
    server.signal(Signal::TERM);
    let line = server.next_line().await;
    assert!(line.contains("a second signal ends at once"), "{line}");
    let begin = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(143));
    assert!(begin.elapsed().as_millis() < 1000, "took {:?}", begin.elapsed());
    // It was told, and ends as soon as it can.
    kill(pid, Signal::CONT);
    gone(pid).await;
}

#[tokio::test]
async fn a_number_given_to_another_process_does_no_harm() {
    let folder = Folder::new();
    let data = folder.join("data");
    let server = Server::start(&data).await;
    note(&server, "kept").await;
    let pid = server.postmaster().unwrap();
    server.kill().await;
    kill(pid, Signal::KILL);
    gone(pid).await;
    // As after a restart of the machine: the number in the file is now some other program's.
    let file = data.join("postgres/postmaster.pid");
    let text = std::fs::read_to_string(&file).unwrap();
    let other = text.replacen(&pid.to_string(), &std::process::id().to_string(), 1);
    std::fs::write(&file, other).unwrap();
    let server = Server::start(&data).await;
    assert_eq!(notes(&server).await, ["kept"]);
    assert_eq!(server.interrupt().await, Some(0));
}

#[tokio::test]
async fn as_root_another_user_runs_it() {
    if !is_root() {
        return left_out("only root lends PostgreSQL to another user");
    }
    let folder = Folder::new();
    let server = Server::start(&folder.join("data")).await;
    assert_eq!(user_of(server.pid()), 0);
    assert_ne!(user_of(server.postmaster().unwrap()), 0);
    assert_eq!(mode(&server.socket()), 0o700);
    assert_eq!(server.interrupt().await, Some(0));
}

#[tokio::test]
async fn another_user_runs_it_alone() {
    if !is_root() {
        return left_out("only root can become another user; the other tests ran as one already");
    }
    let folder = Folder::new();
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    rustix::fs::chown(&data, Some(rustix::fs::Uid::from_raw(65534)), None).unwrap();
    let nobody = as_nobody(folder.path());
    let server = Server::start_by(&nobody, &data).await;
    let pid = server.postmaster().unwrap();
    assert_eq!((user_of(server.pid()), user_of(pid)), (65534, 65534));
    note(&server, "nobody's").await;
    server.kill().await;
    let server = Server::start_by(&nobody, &data).await;
    assert_eq!(server.postmaster(), Some(pid));
    assert_eq!(server.interrupt().await, Some(0));

    // Root then runs it as its owner.
    let server = Server::start(&data).await;
    assert_eq!(user_of(server.postmaster().unwrap()), 65534);
    assert_eq!(notes(&server).await, ["nobody's"]);
    assert_eq!(server.interrupt().await, Some(0));
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).unwrap().mode() & 0o777
}
