//! Lists, from one client: a user's first page however many tasks there are, a page far down, under a filter, a count.

use serde_json::{Value, json};

use super::aiecs::Aiecs;
use super::load::{self, Bodies, Connection};
use super::old_table::OldTable;
use super::report::{Bound, Claim, Round};
use super::seed::{self, Seed, TAG};
use super::taskwire::Taskwire;
use super::{Bench, Key, Row};
use crate::Result;
use crate::client::field;

/// The first page of a user's tasks.
const FIRST: &str = "query($u:ID!){tasks(userId:$u,first:50){nodes{taskId status updatedAt}}}";
const AFTER: &str = "query($u:ID!,$a:String!){tasks(userId:$u,first:50,after:$a){nodes{taskId status updatedAt}}}";
const FAILED: &str =
    "query($u:ID!){tasks(userId:$u,first:50,filter:{statuses:[FAILED]}){nodes{taskId status updatedAt}}}";
const TAGGED: &str =
    "query($u:ID!,$g:String!){tasks(userId:$u,first:50,filter:{tags:[$g]}){nodes{taskId status updatedAt}}}";
const COUNT: &str = "query($u:ID!){tasks(userId:$u,first:0){count(limit:1000){value isExact}}}";
const WALK: &str =
    "query($u:ID!,$a:String,$n:Int!){tasks(userId:$u,first:$n,after:$a){nodes{taskId} pageInfo{endCursor}}}";
/// Of one user with so many tasks.
const MANY: usize = 100_000;
/// Tasks before the 1,000th page.
const BEFORE: usize = 999 * 50;
/// One task in so many has the tag, and one in so many has failed.
const RARE: usize = 5_000;
const FAILURES: usize = 10;

pub(super) async fn run(bench: &mut Bench, key: Key) -> Result<Row> {
    let steps = if bench.arguments.quick { 1 } else { 10 };
    let mut lists = Lists {
        taskwire: Taskwire::start(&bench.arguments.server, &bench.cluster, "taskwire").await?,
        aiecs: Aiecs::start(&bench.arguments.python, &bench.cluster, "aiecs").await?,
        sizes: vec![100, 10_000, MANY],
        pages: Vec::new(),
    };
    bench.note_versions(&lists.aiecs.versions);
    let mut old_table = OldTable::of(&bench.cluster, "aiecs").await?;
    let seeds: Vec<Seed> = lists.sizes.iter().flat_map(|size| user(*size, steps)).collect();
    seed::fill(bench, key, &seeds, &lists.taskwire, Some(&mut old_table)).await?;
    let mut notes = vec![format!(
        "Tasks of {steps} records; one in {FAILURES} has failed, one in {RARE} has the tag; a page has 50 tasks, and \
         aiecs is asked for 50 too. Times are medians of one client's requests."
    )];
    if bench.arguments.quick {
        notes.push("Without the user of 1,000,000 tasks.".into());
    } else {
        // One record a task: what a list looks at is tasks.
        lists.sizes.push(10 * MANY);
        seed::fill(bench, key, &user(10 * MANY, 1).collect::<Vec<_>>(), &lists.taskwire, None).await?;
        notes.push("The user of 1,000,000 tasks has one record a task, and is not in the old table.".into());
    }
    for size in lists.sizes.clone() {
        let page = Pages { cursor: lists.cursor(size).await?, size };
        lists.pages.push(page);
    }
    let mut rounds = Vec::new();
    for number in 0..bench.rounds {
        rounds.push(Round::of(lists.round(bench, key, number).await));
    }
    lists.taskwire.stop().await?;
    let claims = claims(&lists.sizes);
    Ok(Row { title: "Lists, one client".into(), notes, rounds, claims })
}

fn user(size: usize, steps: u32) -> impl Iterator<Item = Seed> {
    (0..size).map(move |number| Seed {
        user: format!("list_{size}"),
        task_id: format!("l_{number}"),
        steps,
        is_failed: number % FAILURES == 0,
        is_tagged: number % RARE == 1,
    })
}

fn claims(sizes: &[usize]) -> Vec<Claim> {
    let ratio = |what: &str, of, over, bound| Claim { what: what.into(), of, over: Some(over), bound };
    let first = |size: usize| format!("first page of {size}");
    let mut claims = vec![
        ratio("p50 at 100,000 tasks over p50 at 100", first(MANY), first(100), Bound::AtMost(1.3)),
        ratio(
            "aiecs' get_user_tasks over it, 100,000 tasks",
            format!("aiecs' list of {MANY}"),
            first(MANY),
            Bound::AtLeast(300.0, None),
        ),
        ratio("the 1,000th page over the first", format!("1,000th page of {MANY}"), first(MANY), Bound::AtMost(1.5)),
        ratio("a page by status over the first", format!("page by status of {MANY}"), first(MANY), Bound::AtMost(2.0)),
        Claim {
            what: "ms for a page by a tag that 1 in 5,000 has".into(),
            of: format!("page by tag of {MANY}"),
            over: None,
            bound: Bound::AtMost(15.0),
        },
        ratio("a count to 1,000 over the first page", format!("count of {MANY}"), first(MANY), Bound::AtMost(5.0)),
    ];
    let growths = [
        ("first page, 1,000,000 tasks over 100,000", "first page"),
        ("1,000th page, 1,000,000 tasks over 100,000", "1,000th page"),
        ("page by status, 1,000,000 tasks over 100,000", "page by status"),
        ("page by tag, 1,000,000 tasks over 100,000", "page by tag"),
        ("count to 1,000, 1,000,000 tasks over 100,000", "count"),
    ];
    if sizes.contains(&(10 * MANY)) {
        // "None growing": what two measurements of the same differ by is allowed for.
        claims.extend(growths.into_iter().map(|(what, name)| {
            ratio(what, format!("{name} of {}", 10 * MANY), format!("{name} of {MANY}"), Bound::AtMost(1.1))
        }));
    }
    claims
}

struct Lists {
    taskwire: Taskwire,
    aiecs: Aiecs,
    sizes: Vec<usize>,
    pages: Vec<Pages>,
}

/// A user, and where its 1,000th page begins.
struct Pages {
    size: usize,
    cursor: Option<String>,
}

impl Lists {
    /// Walks to the end of the 999th page.
    async fn cursor(&self, size: usize) -> Result<Option<String>> {
        if size < MANY {
            return Ok(None);
        }
        let mut connection = Connection::open(&self.taskwire.request("\"endCursor\":\"")).await?;
        let (mut seen, mut cursor) = (0, None);
        while seen < BEFORE {
            let next = (BEFORE - seen).min(500);
            let answer = connection.ask(&body(WALK, &json!({ "u": name(size), "a": cursor, "n": next }))).await?;
            cursor = Some(field(answer.as_bytes(), "endCursor").ok_or("no cursor")?.to_owned());
            seen += next;
        }
        Ok(cursor)
    }

    async fn round(&mut self, bench: &Bench, key: Key, number: usize) -> Result<Round> {
        let mut round = Round::default();
        bench.cluster.checkpoint().await?;
        for page in &self.pages {
            let size = page.size;
            let user = json!({ "u": name(size) });
            bench.tell(key, number, &format!("taskwire, {size} tasks"))?;
            let mut asked = vec![("first page", FIRST, user.clone(), "\"taskId\":")];
            if let Some(cursor) = &page.cursor {
                asked.extend([
                    ("1,000th page", AFTER, json!({ "u": name(size), "a": cursor }), "\"taskId\":"),
                    ("page by status", FAILED, user.clone(), "\"status\":\"FAILED\""),
                    ("page by tag", TAGGED, json!({ "u": name(size), "g": TAG }), "\"taskId\":"),
                    ("count", COUNT, user, "\"value\":1000"),
                ]);
            }
            for (what, query, variables, good) in asked {
                let body = body(query, &variables);
                let source: Bodies = Box::new(move |into| into.extend_from_slice(&body));
                let measured = load::drive(self.taskwire.request(good), bench.span, vec![source]).await?;
                round.add(format!("{what} of {size}"), measured.p50, "ms");
                round.add(format!("{what} of {size}, p99"), measured.p99, "ms");
            }
        }
        for size in self.sizes.iter().filter(|size| **size <= MANY) {
            bench.tell(key, number, &format!("aiecs, {size} tasks"))?;
            let called = self.aiecs.call("list", 1, bench.span, json!({ "user": name(*size) })).await?;
            round.add(format!("aiecs' list of {size}"), called.p50, "ms");
        }
        Ok(round)
    }
}

/// The first page of one of so many users that the reads know, at random.
pub(super) fn first_pages(users: usize) -> Bodies {
    let mut random = fastrand::Rng::new();
    Box::new(move |into| {
        into.extend_from_slice(&body(FIRST, &json!({ "u": format!("user_{}", random.usize(..users)) })));
    })
}

fn name(size: usize) -> String {
    format!("user_list_{size}")
}

fn body(query: &str, variables: &Value) -> Vec<u8> {
    json!({ "query": query, "variables": variables }).to_string().into_bytes()
}
