//! Text that `serde_json`'s own values take for text within text, to be read in turn, level by level, until the stack ends:
//! sent to the real program over a socket, as a result, as a stranger's record and as a key. It is what it is. And documents
//! whose values nest deeply, which the library's parser follows to the end of the stack.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::api_server::{SAVE, report};
use super::auth::keys::TestKey;
use super::support::process::{Logging, PATIENCE};
use super::support::{Folder, TestDatabase};

const MARK: &str = "$serde_json::private::RawValue";

/// As many texts within each other as fit, each within so many lists: their quotes and backslashes are spelt so that each
/// further one costs little.
fn bomb(bytes: usize, lists: usize) -> String {
    let (open, close) = ("[".repeat(lists), "]".repeat(lists));
    let mut text = "1".to_owned();
    loop {
        let quoted = text.replace('\\', "\\u005c").replace('"', "\\u0022");
        let next = format!("{open}{{\"{MARK}\":\"{quoted}\"}}{close}");
        if next.len() > bytes {
            return text;
        }
        text = next;
    }
}

/// What a program answers to messages, one each.
async fn told(program: &Logging, messages: &[String]) -> Vec<Value> {
    let mut request = format!("ws://{}/graphql", program.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let mut answers = Vec::new();
    for message in messages {
        socket.send(Message::text(message.as_str())).await.unwrap();
        let answer = timeout(PATIENCE, socket.next()).await.unwrap().expect("the program is there").unwrap();
        answers.push(serde_json::from_str(answer.to_text().unwrap()).unwrap());
    }
    answers
}

async fn ask(program: &Logging, body: String) -> String {
    let url = format!("http://{}/graphql", program.address);
    let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
    request.send().await.expect("the program is there").text().await.unwrap()
}

#[tokio::test]
async fn text_within_text_is_text() {
    let database = TestDatabase::new().await;
    let program = Logging::start(&database.url, &[], &[]).await;

    let of = |kind: &str, bytes| format!(r#"{{"type":"{kind}","payload":{{"a":{}}}}}"#, bomb(bytes, 120));
    let answers = told(&program, &[of("connection_init", 15_000), of("ping", 500_000)]).await;
    assert_eq!(answers, [json!({ "type": "connection_ack" }), json!({ "type": "pong" })]);

    // Of few values, so kept as it came, and of many, so kept as text; and with a number that is written anew.
    let bomb = bomb(100_000, 50);
    let many = format!("[{bomb}{}]", ",1".repeat(20));
    let long = format!("[{bomb},1e20]");
    for (step, result) in [&bomb, &many, &long].into_iter().enumerate() {
        let input =
            report("u", "t", i32::try_from(step).unwrap(), "RUNNING", json!({ "stepResult": { "result": "HERE" } }));
        let body = json!({ "query": SAVE, "variables": { "input": input } }).to_string();
        let answer = ask(&program, body.replace("\"HERE\"", result)).await;
        assert!(answer.contains("saveTaskHistory") && !answer.contains("errors"), "{answer}");
    }
    // As a stranger's jsonb spells it.
    let insert = "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status) \
                  VALUES ('u', 't', 3, jsonb_build_object('result', $1::jsonb), now(), 'running')";
    sqlx::query(insert).bind(&long).execute(&mut database.session().await).await.unwrap();

    let query = "{ taskHistory(userId: \"u\", taskId: \"t\", first: 10) { nodes { result } } }";
    let answer = ask(&program, json!({ "query": query }).to_string()).await;
    let mut marks = 0;
    let mut at = answer.as_str();
    while let Some((_, rest)) = at.split_once(&format!("{{\"{MARK}\":\"")) {
        (marks, at) = (marks + 1, rest);
    }
    // The outermost of each; those within are text.
    assert_eq!((marks, answer.contains("errors")), (4, false), "{} bytes", answer.len());
}

#[tokio::test]
async fn text_within_a_key_is_text() {
    let database = TestDatabase::new().await;
    let folder = Folder::new();
    let (path, good, bomb) = (folder.join("keys.json"), TestKey::ed().jwk("good"), bomb(250_000, 120));
    let keys = format!(r#"{{"keys":[{good},{{"kty":"AKP","kid":"a","more":{{"a":{bomb}}}}}]}}"#);
    std::fs::write(&path, keys).unwrap();
    let program = Logging::start(&database.url, &["--jwks-file", path.to_str().unwrap()], &[]).await;
    assert!(ask(&program, json!({ "query": "{ viewer { role } }" }).to_string()).await.contains("UNAUTHENTICATED"));
}

#[tokio::test]
async fn values_within_each_other_in_a_document_have_their_depth() {
    let database = TestDatabase::new().await;
    let program = Logging::start(&database.url, &[], &[]).await;
    for levels in [250, 1_500, 4_900, 200_000] {
        let nested = |open: &str, core: &str, close: &str| open.repeat(levels) + core + &close.repeat(levels);
        for document in [
            format!("{{ viewer(a: {}) {{ role }} }}", nested("[", "", "]")),
            format!("{{ viewer(a: {}) {{ role }} }}", nested("{a:", "1", "}")),
            format!("query($x: {}) {{ viewer {{ role }} }}", nested("[", "Int", "]")),
            format!("query($x: Int = {}) {{ viewer {{ role }} }}", nested("[", "", "]")),
            format!("{{ viewer @include(if: {}) {{ role }} }}", nested("[", "", "]")),
            format!("{{ viewer(a: {} ) {{ role }} }}", nested("[", "", "")),
        ] {
            let answer = ask(&program, json!({ "query": document }).to_string()).await;
            let told = ["tokens", "nesting"].iter().any(|limit| answer.contains(&format!("\"limit\":\"{limit}\"")));
            assert!(told || levels > 100_000 && answer.contains("documentBytes"), "{levels}: {answer}");
        }
    }
    // Hidden behind a text without an end, which the parser takes for an empty one and goes on; and such texts alone, for each of
    // which it would go to the end.
    for hidden in ["[".repeat(1_500) + &"]".repeat(1_500), "\\\"\"\"\"\"".repeat(10_000)] {
        let document = format!("{{ viewer(a: [\"\"\"\"{hidden}]) {{ role }} }}");
        let answer = ask(&program, json!({ "query": document }).to_string()).await;
        assert!(answer.contains("GRAPHQL_PARSE_FAILED"), "{answer}");
    }
    assert!(ask(&program, json!({ "query": "{ viewer { role } }" }).to_string()).await.contains("ADMIN"));
}
