//! Who may do what, executed: every row of [`table`] by each of the five, over HTTP and WebSocket with real tokens, on the
//! data of two users. `tests/hole` runs the same over a server that forgets one check.
//!
//! To add a field: its rows in the table; without them `every_field_has_a_row` fails.

pub(crate) mod table;
pub(crate) mod users_may_save;

use std::collections::BTreeSet;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, Type, TypeKind, TypeSystemDefinition};
use serde_json::{Value, json};
use taskwire::auth::Role;
use taskwire::config::{AuthConfig, Config, KeyConfig};
use taskwire::feed::FeedCursor;
use taskwire::store::Head;

use super::api_server::{ApiServer, SAVE, report, token};
use super::auth::keys::SECRET;
use table::{Before, Row, TABLE};

const NAMES: [&str; 5] = ["nobody", "anna", "ben", "worker", "admin"];
/// How long a stream that has nothing to tell is listened to.
const SILENCE: std::time::Duration = std::time::Duration::from_millis(150);

/// A server with Anna's two tasks and Ben's one; Anna's `stop` waits for its acknowledgement.
pub(crate) struct World {
    pub(crate) server: ApiServer,
    tokens: [Option<String>; 5],
    /// What stands in braces in a row.
    words: Vec<(&'static str, String)>,
}

impl World {
    pub(crate) async fn new(users_may_save: bool) -> Self {
        let auth = AuthConfig { key: KeyConfig::Secret(SECRET.into()), users_may_save, ..AuthConfig::default() };
        let server = ApiServer::with_config(Config { auth, ..Config::default() }).await;
        let some = |sub: &str, role| Some(token(sub, role));
        let tokens = [
            None,
            some("anna", Role::User),
            some("ben", Role::User),
            some("hand", Role::Worker),
            some("root", Role::Admin),
        ];
        let mut world = Self { server, tokens, words: Vec::new() };
        let first = world.save("anna", "t", 1, "COMPLETED", json!({ "task": { "name": "Anna's" } })).await;
        world.save("anna", "t", 2, "RUNNING", json!({})).await;
        world.save("ben", "t", 1, "COMPLETED", json!({ "task": { "name": "Ben's" } })).await;
        world.save("anna", "stop", 1, "RUNNING", json!({})).await;
        world.cancel("stop").await;
        let ids = r#"{ feed(userId: "anna") { cursor } task(userId: "anna", taskId: "t") { steps(first: 1) { nodes { id } } }
            users(first: 1) { nodes { id } } }"#;
        let ids = world.answer(4, ids).await.1;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        world.words = vec![
            ("{taskNode}", text(&first["task"]["id"])),
            ("{recordNode}", text(&first["record"]["id"])),
            ("{stepNode}", text(&ids["data"]["task"]["steps"]["nodes"][0]["id"])),
            ("{userNode}", text(&ids["data"]["users"]["nodes"][0]["id"])),
            ("{head}", text(&ids["data"]["feed"]["cursor"])),
            ("{start}", FeedCursor::new("anna", &Head::START).to_string()),
        ];
        world
    }

    /// Runs a table, and tells where an answer is not the one that stands there.
    pub(crate) async fn run(&self, table: &[Row]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, row) in table.iter().enumerate() {
            for (who, expected) in row.answers.iter().enumerate() {
                let task = format!("{}-{number}", NAMES[who]);
                self.prepare(row.before, &task).await;
                let before = self.position().await;
                let told = self.told(who, &self.fill(row.ask, &task)).await;
                let (told, expected) = (told, self.fill(expected, &task));
                if !is_like(&told, &expected) {
                    wrong.push(format!("{} for {}: {told} instead of {expected}", row.about, NAMES[who]));
                }
                if is_refusal(&expected) && self.position().await != before {
                    wrong.push(format!("{} for {}: refused, and done all the same", row.about, NAMES[who]));
                }
            }
        }
        wrong
    }

    async fn prepare(&self, before: Before, task: &str) {
        if before != Before::Nothing {
            self.save("anna", task, 1, "RUNNING", json!({})).await;
        }
        if before == Before::Cancelled {
            self.cancel(task).await;
        }
    }

    /// The root field's data, the code of its error, or SILENCE.
    async fn told(&self, who: usize, document: &str) -> String {
        if document.starts_with("subscription") && who > 0 {
            return self.event(who, document).await;
        }
        let (status, answer) = self.answer(who, document).await;
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(status == 401, code == "UNAUTHENTICATED", "{answer}");
        if who == 0 {
            assert!(answer.get("data").is_none(), "{answer}");
        }
        of(&answer)
    }

    /// What the first event of a subscription says.
    pub(crate) async fn event(&self, who: usize, document: &str) -> String {
        let mut socket = self.server.open_socket().await;
        let payload = json!({ "Authorization": format!("Bearer {}", self.tokens[who].as_deref().unwrap_or_default()) });
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(socket.next().await["type"], "connection_ack");
        socket.subscribe("1", document, json!({})).await;
        match tokio::time::timeout(SILENCE, socket.next()).await {
            Err(_) => "SILENCE".to_owned(),
            Ok(message) if message["type"] == "error" => of(&json!({ "errors": message["payload"] })),
            Ok(message) => of(&message["payload"]),
        }
    }

    pub(crate) async fn answer(&self, who: usize, document: &str) -> (u16, Value) {
        let mut request = self.server.client.post(self.server.url()).json(&json!({ "query": document }));
        if let Some(token) = &self.tokens[who] {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) async fn save(&self, user: &str, task: &str, step: i32, status: &str, more: Value) -> Value {
        let body = json!({ "query": SAVE, "variables": { "input": report(user, task, step, status, more) } });
        let request = self.server.client.post(self.server.url()).bearer_auth(self.tokens[4].as_deref().unwrap());
        let mut answer: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
        assert!(answer.get("errors").is_none(), "{answer}");
        answer["data"]["saveTaskHistory"].take()
    }

    async fn cancel(&self, task: &str) {
        let document =
            format!(r#"mutation {{ cancelTask(input: {{ userId: "anna", taskId: "{task}" }}) {{ outcome }} }}"#);
        assert_eq!(self.answer(4, &document).await.1["data"]["cancelTask"]["outcome"], "CANCELLED");
    }

    /// Where Anna's and Ben's feeds stand.
    async fn position(&self) -> Value {
        let document = r#"{ a: feed(userId: "anna") { position } b: feed(userId: "ben") { position } }"#;
        self.answer(4, document).await.1
    }

    fn fill(&self, text: &str, task: &str) -> String {
        let text = text.replace("{task}", task);
        self.words.iter().fold(text, |text, (word, value)| text.replace(word, value))
    }
}

/// What an answer says: the code of its error, or the root field's data.
fn of(answer: &Value) -> String {
    match answer["errors"][0]["extensions"]["code"].as_str() {
        Some(code) => code.to_owned(),
        None => answer["data"].as_object().and_then(|data| data.values().next()).unwrap_or(&Value::Null).to_string(),
    }
}

/// The same; where a text is expected to be `*` it may be any text.
fn is_like(told: &str, expected: &str) -> bool {
    match (serde_json::from_str::<Value>(told), serde_json::from_str::<Value>(expected)) {
        (Ok(told), Ok(expected)) => matches(&told, &expected),
        _ => told == expected,
    }
}

fn matches(told: &Value, expected: &Value) -> bool {
    match (told, expected) {
        (Value::String(_), Value::String(any)) if any == "*" => true,
        (Value::Object(told), Value::Object(expected)) => {
            told.len() == expected.len()
                && expected.iter().all(|(key, value)| told.get(key).is_some_and(|told| matches(told, value)))
        }
        (Value::Array(told), Value::Array(expected)) => {
            told.len() == expected.len() && told.iter().zip(expected).all(|(told, expected)| matches(told, expected))
        }
        _ => told == expected,
    }
}

fn is_refusal(expected: &str) -> bool {
    serde_json::from_str::<Value>(expected).is_err()
        || expected.contains("NOT_FOUND")
        || expected.contains(r#""cancelledCount":0"#)
}

/// The type that a field has, without lists and exclamation marks.
fn named(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name.as_str(),
        BaseType::List(inner) => named(inner),
    }
}

/// What of the schema needs rows: the fields of the roots, fields with arguments, those that lead from a task, a record or
/// a step to something else, and the types behind `node`.
fn needed(schema: &str) -> BTreeSet<String> {
    let subjects = ["Task", "TaskRecord", "TaskStep"];
    let mut needed = BTreeSet::new();
    let definitions = parse_schema(schema).unwrap().definitions;
    let objects: BTreeSet<String> = definitions
        .iter()
        .filter_map(|definition| match definition {
            TypeSystemDefinition::Type(ty) if matches!(ty.node.kind, TypeKind::Object(_)) => {
                Some(ty.node.name.node.to_string())
            }
            _ => None,
        })
        .collect();
    for definition in definitions {
        let TypeSystemDefinition::Type(ty) = definition else { continue };
        let name = ty.node.name.node.to_string();
        let TypeKind::Object(object) = ty.node.kind else { continue };
        let is_root = ["Query", "Mutation", "Subscription"].contains(&name.as_str());
        for field in &object.fields {
            let leads_on = subjects.contains(&name.as_str()) && objects.contains(named(&field.node.ty.node));
            if is_root || leads_on || !field.node.arguments.is_empty() {
                needed.insert(format!("{name}.{}", field.node.name.node));
            }
        }
        if object.implements.iter().any(|interface| interface.node == "Node") {
            needed.insert(format!("node:{name}"));
        }
    }
    needed
}

/// What of the schema has no row, or the other way round.
fn coverage(schema: &str, table: &[Row]) -> Vec<String> {
    let has: BTreeSet<String> = table.iter().map(|row| row.about.to_owned()).collect();
    needed(schema).symmetric_difference(&has).cloned().collect()
}

#[test]
fn every_field_has_a_row() {
    let schema = taskwire::graphql::sdl();
    assert_eq!(coverage(&schema, TABLE), Vec::<String>::new());
    let more = schema.replacen("type Query {", "type Query {\n  secrets: Int\n", 1);
    assert_eq!(coverage(&more, TABLE), ["Query.secrets"]);
    let owner = schema.replacen("type Task implements Node {", "type Task implements Node {\n  owner: [Viewer!]\n", 1);
    assert_eq!(coverage(&owner, TABLE), ["Task.owner"]);
    let node = format!("{schema}\ntype Secret implements Node {{ id: ID! }}");
    assert_eq!(coverage(&node, TABLE), ["node:Secret"]);
}

#[cfg_attr(feature = "planted-hole", ignore = "there is a hole in it")]
#[tokio::test]
async fn everybody_gets_what_stands_in_the_table() {
    let wrong = Box::pin(World::new(false)).await.run(TABLE).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[cfg_attr(feature = "planted-hole", ignore = "there is a hole in it")]
#[tokio::test]
async fn users_who_may_save_save_for_themselves() {
    let wrong = Box::pin(World::new(true)).await.run(users_may_save::USERS_MAY_SAVE).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}
