//! graphql-transport-ws, rule by rule, as the protocol document of the npm package `graphql-ws` has them.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use taskwire::config::SocketConfig;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::api_server::ApiServer;
use super::socket_client::{Client, EVENTS, Got, TRANSPORT, server};

const SOME: Duration = Duration::from_millis(300);

#[tokio::test]
async fn what_is_no_valid_message_closes_with_4400() {
    let server = ApiServer::start().await;
    for text in [
        "",
        "no JSON",
        "[]",
        "{}",
        r#"{"type":"nonsense"}"#,
        r#"{"type":"connection_ack"}"#,
        r#"{"type":"connection_init","payload":"x"}"#,
        r#"{"type":"subscribe","id":"","payload":{"query":"{__typename}"}}"#,
        r#"{"type":"subscribe","id":"1","payload":{"query":"{__typename}","variables":7}}"#,
        r#"{"type":"complete"}"#,
        r#"{"type":"ping","payload":[]}"#,
    ] {
        let mut client = Client::open(&server, TRANSPORT).await;
        client.raw(Message::text(text)).await;
        assert_eq!(client.close_code().await, 4400, "{text}");
    }
    let mut client = Client::ready(&server).await;
    client.raw(Message::binary(&br#"{"type":"ping"}"#[..])).await;
    assert_eq!(client.close_code().await, 4400);
}

#[tokio::test]
async fn a_socket_that_does_not_say_connection_init_is_closed_with_4408() {
    let server = server(SocketConfig { init_time: SOME, ..SocketConfig::default() }).await;
    let mut silent = Client::open(&server, TRANSPORT).await;
    let mut given = Client::ready(&server).await;
    assert_eq!(silent.next().await, Got::Closed(Some(4408), "Connection initialisation timeout".into()));
    given.is_served().await;
}

#[tokio::test]
async fn what_is_no_websocket_closes_with_its_own_codes() {
    let server = ApiServer::start().await;
    let frames: [(&[u8], u16); 7] = [
        // Not masked; a bit that means nothing; an opcode of nobody; the middle of no message.
        (&[0x81, 0x01, b'x'], 1002),
        (&[0xc1, 0x81, 0, 0, 0, 0, b'x'], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),
        // Not UTF-8, in one frame and in two.
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        (&[0x01, 0x81, 0, 0, 0, 0, 0xc3, 0x80, 0x81, 0, 0, 0, 0, b'x'], 1007),
        // A message of 2^62 bytes.
        (&[0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
    ];
    for (frame, code) in frames {
        for is_in in [false, true] {
            let mut client = Client::open(&server, TRANSPORT).await;
            if is_in {
                client.say_init(json!({})).await;
            }
            client.bytes(frame).await;
            assert_eq!(client.close_code().await, code, "{frame:?}");
        }
    }
}

#[tokio::test]
async fn messages_come_in_fragments_with_pings_between_them_too() {
    let server = ApiServer::start().await;
    let mut client = Client::ready(&server).await;
    client.bytes(&[0x01, 0x88, 0, 0, 0, 0]).await;
    client.bytes(br#"{"type":"#).await;
    client.bytes(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).await;
    client.bytes(&[0x80, 0x87, 0, 0, 0, 0]).await;
    client.bytes(br#""ping"}"#).await;
    let both = [client.stream.next().await.unwrap().unwrap(), client.stream.next().await.unwrap().unwrap()];
    assert!(
        both.contains(&Message::Pong("hi".into())) && both.contains(&Message::text(r#"{"type":"pong"}"#)),
        "{both:?}"
    );
    // A close is answered with the same code.
    let frame = CloseFrame { code: 4005.into(), reason: "enough".into() };
    client.stream.close(Some(frame)).await.unwrap();
    assert_eq!(client.next().await, Got::Closed(Some(4005), String::new()));
}

#[tokio::test]
async fn operations_wait_for_the_acknowledgement_or_the_socket_is_closed_with_4401() {
    let server = ApiServer::start().await;
    let mut client = Client::open(&server, TRANSPORT).await;
    client.subscribe("1", "{ __typename }", json!({})).await;
    assert_eq!(client.next().await, Got::Closed(Some(4401), "Unauthorized".into()));
}

#[tokio::test]
async fn another_sub_protocol_is_accepted_and_closed_with_4406() {
    let server = ApiServer::start().await;
    for protocol in [None, Some("graphql"), Some("GRAPHQL-TRANSPORT-WS, mqtt")] {
        let mut client = Client::unheard(&server, protocol).await;
        assert_eq!(client.close_code().await, 4406, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_id_belongs_to_one_operation_at_a_time() {
    let server = ApiServer::start().await;
    let mut client = Client::ready(&server).await;
    client.subscribe("1", EVENTS, json!({ "user": "u" })).await;
    client.send(json!({ "id": "1", "type": "complete" })).await;
    // Free again.
    client.subscribe("1", EVENTS, json!({ "user": "u" })).await;
    client.is_served().await;
    client.is_served().await;
    client.subscribe("1", "{ __typename }", json!({})).await;
    assert_eq!(client.next().await, Got::Closed(Some(4409), "Subscriber for 1 already exists".into()));
}

#[tokio::test]
async fn a_second_connection_init_closes_with_4429() {
    let server = ApiServer::start().await;
    let mut client = Client::ready(&server).await;
    client.send(json!({ "type": "connection_init" })).await;
    assert_eq!(client.next().await, Got::Closed(Some(4429), "Too many initialisation requests".into()));
}

#[tokio::test]
async fn what_fails_before_it_begins_gets_error_and_nothing_more() {
    let server = ApiServer::start().await;
    let mut client = Client::ready(&server).await;
    for (query, code) in [
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (
            r#"subscription { a: taskEvents(userId: "u") { feedCursor } b: taskEvents(userId: "u") { feedCursor } }"#,
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
    ] {
        client.subscribe("1", query, json!({})).await;
        let error = client.message().await;
        assert_eq!((&error["id"], &error["type"]), (&json!("1"), &json!("error")), "{error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{error}");
        assert_eq!(error["payload"][0]["extensions"]["requestId"], client.request_id, "{error}");
        // Nothing comes between, and the id is free.
        client.is_served().await;
    }
}

#[tokio::test]
async fn queries_and_mutations_run_over_the_socket_too() {
    let server = ApiServer::start().await;
    let mut client = Client::ready(&server).await;
    let save = r#"mutation { saveTaskHistory(input: { userId: "u", taskId: "t", step: 1,
        stepResult: { stepName: "", status: RUNNING } }) { record { position } } }"#;
    let saved = client.ask("1", save).await;
    assert_eq!(saved, json!({ "data": { "saveTaskHistory": { "record": { "position": 1 } } } }));
    let read = client.ask("1", r#"{ task(userId: "u", taskId: "t") { position } }"#).await;
    assert_eq!(read, json!({ "data": { "task": { "position": 1 } } }));
    // A field that fails is no failure of the operation.
    let failed = client.ask("1", r#"{ task(userId: "", taskId: "t") { position } }"#).await;
    assert_eq!((&failed["data"]["task"], failed["errors"][0]["path"][0].as_str()), (&Value::Null, Some("task")));
    assert_eq!(failed["errors"][0]["extensions"]["requestId"], client.request_id, "{failed}");
}

#[tokio::test]
async fn nothing_comes_after_the_clients_complete() {
    let server = ApiServer::start().await;
    let mut client = Client::ready(&server).await;
    client.subscribe("1", EVENTS, json!({ "user": "u" })).await;
    client.is_served().await;
    client.send(json!({ "id": "1", "type": "complete" })).await;
    client.is_served().await;
    server.save("u", "t", 1, "RUNNING", json!({})).await;
    client.subscribe("2", EVENTS, json!({ "user": "u", "fromStart": true })).await;
    assert_eq!(client.message().await["id"], "2");
    // Of an operation that nobody knows, or that is over.
    for id in ["1", "2", "nobody's"] {
        client.send(json!({ "id": id, "type": "complete" })).await;
    }
    client.is_served().await;
}

#[tokio::test]
async fn pings_are_answered_at_any_time_and_pongs_are_welcome() {
    let server = ApiServer::start().await;
    let mut client = Client::open(&server, TRANSPORT).await;
    let ping = json!({ "type": "ping", "payload": { "any": 1 } });
    client.send(ping.clone()).await;
    assert_eq!(client.message().await, json!({ "type": "pong" }));
    client.send(json!({ "type": "pong" })).await;
    client.say_init(json!({ "kept": true })).await;
    client.send(ping).await;
    assert_eq!(client.message().await, json!({ "type": "pong" }));
    client.send(json!({ "type": "pong", "payload": { "any": 1 } })).await;
    client.is_served().await;
}

#[tokio::test]
async fn who_does_not_answer_pings_is_closed_and_who_answers_stays() {
    let socket = SocketConfig { ping_interval: SOME / 3, pong_time: SOME, ..SocketConfig::default() };
    let server = server(socket).await;
    let mut silent = Client::ready(&server).await;
    let mut lively = Client::ready(&server).await;
    let (mut pings, closed) = (0, silent.close_code());
    tokio::pin!(closed);
    let code = loop {
        tokio::select! {
            code = &mut closed => break code,
            message = lively.message() => {
                assert_eq!(message, json!({ "type": "ping" }));
                pings += 1;
                lively.send(json!({ "type": "pong" })).await;
            }
        }
    };
    assert_eq!(code, 4499);
    assert!(pings >= 2, "{pings} pings");
    // Past the time in which the last one had to be answered.
    for _ in 0..4 {
        assert_eq!(lively.message().await, json!({ "type": "ping" }));
        lively.send(json!({ "type": "pong" })).await;
    }
}

#[tokio::test]
async fn pongs_of_websocket_itself_do_not_count_where_the_protocol_has_its_own() {
    let socket = SocketConfig { ping_interval: SOME / 3, pong_time: SOME, ..SocketConfig::default() };
    let server = server(socket).await;
    let client = Client::ready(&server).await;
    let (mut say, mut hear) = client.stream.split();
    // In the middle of a message that does not end nobody can say `pong`.
    let close = loop {
        tokio::select! {
            () = tokio::time::sleep(SOME / 10) => say.send(Message::Pong("".into())).await.unwrap(),
            message = hear.next() => if let Message::Close(frame) = message.unwrap().unwrap() { break frame },
        }
    };
    assert_eq!(u16::from(close.unwrap().code), 4499);
}

#[tokio::test]
async fn operations_that_answer_at_once_count_as_well() {
    let idle_time = Duration::from_secs(1);
    let server = server(SocketConfig { idle_time, ..SocketConfig::default() }).await;
    let mut client = Client::ready(&server).await;
    let began = Instant::now();
    while began.elapsed() < 2 * idle_time {
        tokio::time::sleep(idle_time / 5).await;
        client.is_served().await;
    }
    assert_eq!(client.close_code().await, 1000);
}

#[tokio::test]
async fn a_socket_without_any_operation_is_closed_with_1000() {
    let server = server(SocketConfig { idle_time: SOME, ..SocketConfig::default() }).await;
    let mut used = Client::ready(&server).await;
    used.subscribe("1", EVENTS, json!({ "user": "u" })).await;
    let mut idle = Client::ready(&server).await;
    // Pings are not operations.
    idle.send(json!({ "type": "ping" })).await;
    assert_eq!(idle.close_code().await, 1000);
    used.is_served().await;
    used.send(json!({ "id": "1", "type": "complete" })).await;
    assert_eq!(used.close_code().await, 1000);
}

#[tokio::test]
async fn a_busy_operation_keeps_no_other_one_waiting() {
    let server = ApiServer::start().await;
    fill(&server, "u", 3_000, "").await;
    let mut client = Client::ready(&server).await;
    client.subscribe("busy", EVENTS, json!({ "user": "u", "fromStart": true })).await;
    assert_eq!(client.message().await["id"], "busy");
    client.subscribe("quick", "{ __typename }", json!({})).await;
    let mut before = 0;
    while client.message().await["id"] != "quick" {
        before += 1;
    }
    assert!(before < 2_900, "it came after {before} events");
}

#[tokio::test]
async fn at_the_end_of_the_server_everything_outstanding_comes_and_then_1001() {
    let server = ApiServer::start().await;
    let mut client = Client::ready(&server).await;
    // From the start: the first saves may come before it stands.
    client.subscribe("1", EVENTS, json!({ "user": "u", "fromStart": true })).await;
    client.is_served().await;
    for step in 1..=20 {
        server.save("u", "t", step, "RUNNING", json!({})).await;
    }
    let (app, _database) = server.into_parts();
    let stopped = tokio::spawn(app.stop());
    for position in 1..=20 {
        let event = client.message().await;
        assert_eq!(event["payload"]["data"]["taskEvents"]["record"]["position"], position, "{event}");
    }
    // No `complete`: a client library would take the subscription for finished, and not start it again elsewhere.
    assert_eq!(client.next().await, Got::Closed(Some(1001), "The server is stopping".into()));
    stopped.await.unwrap();
}

#[tokio::test]
async fn at_the_end_of_the_server_sockets_are_not_all_closed_in_one_instant() {
    const MANY: u32 = 200;
    let server = ApiServer::start().await;
    let mut closes = Vec::new();
    for _ in 0..MANY {
        let mut client = Client::ready(&server).await;
        closes.push(tokio::spawn(async move { (client.close_code().await, Instant::now()) }));
    }
    let (app, _database) = server.into_parts();
    let began = Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let mut times = Vec::new();
    for close in closes {
        let (code, at) = close.await.unwrap();
        assert_eq!(code, 1001);
        times.push(at);
    }
    times.sort();
    // 2 ms for each: 0.4 s for all of them, and no half of them within a fourth of that.
    let spread = 2 * MANY;
    let all = times[times.len() - 1] - times[0];
    assert!(all > Duration::from_millis((spread / 2).into()), "all within {all:?}");
    let half = times.windows(times.len() / 2).map(|some| some[some.len() - 1] - some[0]).min().unwrap();
    assert!(half > Duration::from_millis((spread / 4).into()), "half of them within {half:?}");
}

/// Saves many records with a message.
pub(crate) async fn fill(server: &ApiServer, user: &str, records: usize, message: &str) {
    let save = "mutation($input: SaveTaskHistoryBatchInput!) { saveTaskHistoryBatch(input: $input) { savedCount } }";
    let one = |step: usize| {
        json!({ "userId": user, "taskId": "t", "step": step,
            "stepResult": { "stepName": "", "status": "RUNNING", "message": message } })
    };
    for batch in (1..=records).collect::<Vec<_>>().chunks(500) {
        let records: Vec<_> = batch.iter().copied().map(one).collect();
        let saved = server.data(save, json!({ "input": { "records": records } })).await;
        assert_eq!(saved["saveTaskHistoryBatch"]["savedCount"], batch.len());
    }
}
