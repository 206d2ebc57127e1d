//! After a run: what was acknowledged is stored, once; a user's positions are 1, 2, 3 …; every subscriber got exactly
//! them, in order, each as it was acknowledged.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::{
    client::Record,
    load::Outcome,
    server::Server,
    socket::{Seen, Subscriber},
};

/// All records in the table, by user, by position.
pub(crate) async fn stored(session: &mut PgConnection) -> BTreeMap<String, Vec<Record>> {
    let rows = sqlx::query(
        "SELECT user_id, position, record_id, task_id, step, result ->> 'message' AS message FROM task_record \
         ORDER BY user_id, position",
    )
    .fetch_all(session)
    .await
    .unwrap();
    let mut stored: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for row in rows {
        let record = Record {
            id: row.get("record_id"),
            position: row.get("position"),
            user_id: row.get("user_id"),
            task_id: row.get("task_id"),
            step: i64::from(row.get::<i32, _>("step")),
            message: row.get::<Option<String>, _>("message").unwrap_or_default(),
        };
        stored.entry(record.user_id.clone()).or_default().push(record);
    }
    stored
}

/// That positions are dense, and no id is there twice.
pub(crate) fn dense(stored: &BTreeMap<String, Vec<Record>>) {
    for (user, records) in stored {
        let positions = records.iter().map(|record| record.position);
        assert!(positions.eq(1..=i64::try_from(records.len()).unwrap()), "{user}: positions have holes");
        let mut ids: Vec<Uuid> = records.iter().map(|record| record.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), records.len(), "{user}: a record is there twice");
    }
}

/// That a subscriber got just what is stored.
pub(crate) fn received(user: &str, seen: &Seen, stored: &[Record]) {
    for (index, event) in seen.events.iter().enumerate() {
        let expected = i64::try_from(index).unwrap() + 1;
        assert_eq!(event.record.position, expected, "{user}: a gap or a repeat");
        assert_eq!(Some(&event.record), stored.get(index), "{user}: told something else than is stored");
        assert!(event.task_position >= event.record.position, "{user}: a task older than its record: {event:?}");
    }
    assert_eq!(seen.events.len(), stored.len(), "{user}: something is missing");
}

/// Everything, once the load has finished: a record is stored exactly if it was acknowledged, since every worker repeats
/// until it is. Returns how many there are, and what each subscriber saw.
pub(crate) async fn run(server: &Server, outcome: &Outcome, subscribers: &mut [Subscriber]) -> Vec<Seen> {
    over(&mut server.psql().await, outcome, subscribers).await
}

/// The same over any database.
pub(crate) async fn over(session: &mut PgConnection, outcome: &Outcome, subscribers: &mut [Subscriber]) -> Vec<Seen> {
    let stored = stored(session).await;
    dense(&stored);
    let mut acknowledged: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in &outcome.acknowledged {
        acknowledged.entry(&record.user_id).or_default().push(record);
    }
    for records in acknowledged.values_mut() {
        records.sort_unstable_by_key(|record| record.position);
    }
    for (user, records) in &stored {
        let acknowledged = acknowledged.get(user.as_str()).map(Vec::as_slice).unwrap_or_default();
        let differs = records.iter().zip(acknowledged).find(|(stored, acknowledged)| stored != *acknowledged);
        assert_eq!(differs, None, "{user}: stored otherwise than acknowledged");
        assert_eq!(records.len(), acknowledged.len(), "{user}: stored and acknowledged");
    }
    assert_eq!(stored.len(), acknowledged.len(), "a user was lost");
    let mut all = Vec::new();
    for subscriber in subscribers {
        let records = &stored[&subscriber.user_id];
        let seen = subscriber.reaches(i64::try_from(records.len()).unwrap()).await;
        received(&subscriber.user_id, &seen, records);
        all.push(seen);
    }
    println!("{} records, faults {:?}", outcome.acknowledged.len(), outcome.faults);
    all
}
