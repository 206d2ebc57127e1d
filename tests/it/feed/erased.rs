//! What becomes of subscriptions and cursors when their user is erased.

use taskwire::auth::Viewer;

use super::*;
use crate::support::TestDatabase;

async fn erase(server: &Server, user: &str) {
    let erased = server.service.erase_user(&Viewer::admin(), user.to_owned(), user, PATIENCE).await.unwrap();
    assert!(!erased.has_more);
}

/// Waits until a stream of changes tells of this position of the user's: others before it may be told once more.
async fn tells_of(changes: &mut Changes, user: &str, position: i64) {
    while !next(changes).await.unwrap().task().is_some_and(|task| task.user_id == user && task.position == position) {}
}

#[tokio::test]
async fn subscriptions_of_the_user_end_on_every_server_and_all_others_go_on() {
    let database = TestDatabase::new().await;
    let (here, there) = (Server::start(&database.url, NO_CHECK).await, Server::start(&database.url, NO_CHECK).await);
    here.save("u", &["a", "b", "a"]).await;
    here.save("v", &["a"]).await;
    let mut events = Vec::new();
    let mut changes = Vec::new();
    let mut others = Vec::new();
    let mut everybodys = Vec::new();
    for server in [&here, &there] {
        events.push(server.events("u", None).await);
        events.push(server.try_events("u", Some("a"), None, false).await.unwrap());
        for task in [None, Some("a")] {
            let mut stream = server.changes(Some("u"), task, None).await;
            while next(&mut stream).await.unwrap().task().is_some() {}
            changes.push(stream);
        }
        others.push(server.events("v", None).await);
        let mut everybody = server.changes(None, None, None).await;
        assert!(next(&mut everybody).await.unwrap().task().is_none());
        everybodys.push(everybody);
    }
    here.save("u", &["a"]).await;
    for stream in &mut events {
        assert_eq!(positions(stream, 1).await, [4]);
    }
    for stream in changes.iter_mut().chain(&mut everybodys) {
        tells_of(stream, "u", 4).await;
    }
    erase(&there, "u").await;
    for stream in &mut events {
        ends_with(stream, "CURSOR_EXPIRED").await;
    }
    for stream in &mut changes {
        ends_with(stream, "CURSOR_EXPIRED").await;
    }
    // Whoever saves afterwards begins at position 1, and is heard by those who watch everybody or begin anew.
    let mut anew = [here.events("u", None).await, there.events("u", None).await];
    here.save("u", &["c"]).await;
    for stream in &mut anew {
        assert_eq!(positions(stream, 1).await, [1]);
    }
    for stream in &mut everybodys {
        tells_of(stream, "u", 1).await;
    }
    there.save("v", &["a"]).await;
    for stream in &mut others {
        assert_eq!(positions(stream, 1).await, [2]);
    }
}

#[tokio::test]
async fn old_cursors_are_refused_however_much_is_saved_afterwards() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    let start = server.cursor("u", 0).await;
    server.save("u", &["a", "b", "c"]).await;
    let mut cursors = Vec::new();
    for position in 1..=3 {
        cursors.push(server.cursor("u", position).await);
    }
    erase(&server, "u").await;
    for saved in [0, 1, 3, 5] {
        while server.store.feed_of("u").await.unwrap().0.position < saved {
            server.save("u", &["a"]).await;
        }
        for cursor in &cursors {
            let refused = server.try_events("u", None, Some(cursor.clone()), false).await.err().unwrap();
            assert_eq!(refused.code(), "CURSOR_EXPIRED");
            assert!(server.try_changes(Some("u"), None, Some(cursor.clone())).await.is_err());
        }
    }
    // Before the first record nothing has been told: from there everything is.
    let mut events = server.events("u", Some(start)).await;
    assert_eq!(positions(&mut events, 5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn who_is_live_notices_though_as_much_has_been_saved_since() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    server.save("u", &["a", "b"]).await;
    let mut events = server.events("u", None).await;
    let mut session = database.session().await;
    // In one transaction, so that all notifications come at once.
    run(&mut session, "BEGIN; SELECT taskwire_erase_v1('u', 100, 1000, true)").await;
    for task in ["a", "b", "c", "d"] {
        insert(&mut session, "u", task).await;
    }
    run(&mut session, "COMMIT").await;
    ends_with(&mut events, "CURSOR_EXPIRED").await;
}

#[tokio::test]
async fn a_lost_notification_is_made_up_for_by_the_check() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, Duration::from_millis(200)).await;
    server.save("u", &["a", "b"]).await;
    let mut events = server.events("u", None).await;
    // Of somebody without records nothing has gone.
    let mut nobodys = server.events("nobody", None).await;
    run(&mut database.session().await, "SELECT taskwire_erase_v1('u', 100, 1000, false)").await;
    ends_with(&mut events, "CURSOR_EXPIRED").await;
    server.save("nobody", &["a"]).await;
    assert_eq!(positions(&mut nobodys, 1).await, [1]);
}

#[tokio::test]
async fn anybodys_notification_ends_nothing() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database.url, NO_CHECK).await;
    server.save("u", &["a", "b"]).await;
    let mut events = server.events("u", None).await;
    let mut everybodys = server.changes(None, None, None).await;
    assert!(next(&mut everybodys).await.unwrap().task().is_none());
    let mut session = database.session().await;
    for payload in [r#"{"erased":"u"}"#, r#"{"erased":7}"#, r#"{"erased":"nobody"}"#] {
        run(&mut session, &format!("SELECT pg_notify('taskwire_control', '{payload}')")).await;
    }
    insert(&mut session, "u", "c").await;
    assert_eq!(positions(&mut events, 1).await, [3]);
    server.save("u", &["d"]).await;
    assert_eq!(positions(&mut events, 1).await, [4]);
    tells_of(&mut everybodys, "u", 4).await;
}
