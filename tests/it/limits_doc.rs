//! `docs/limits.md` is made from the table in `src/service/limits.rs`.

use taskwire::service::limits;

const FILE: &str = "docs/limits.md";
const HEAD: &str = "\
# Limits

What comes in is held to these limits. Nothing is shortened: what is beyond a limit is refused, and the error names the
field or the limit. A client can ask for the most important ones: `{ viewer { limits { pageSize batchRecords resultBytes
requestBytes } } }`.

Characters are Unicode code points; bytes are those of UTF-8. Limits that an option can move stand here with its default.

This page is made from `src/service/limits.rs`. To renew it: `UPDATE_LIMITS=1 cargo test --test it limits_doc`.

| What | Limit | Beyond it |
| --- | --- | --- |
";

#[test]
fn the_page_of_limits_says_what_the_table_says() {
    let row = |limit: limits::Limit| format!("| {} | {} | {} |\n", limit.what, limit.value, limit.beyond);
    let made = format!("{HEAD}{}", limits::table().into_iter().map(row).collect::<String>());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/limits.md");
    if std::env::var_os("UPDATE_LIMITS").is_some() {
        std::fs::write(path, &made).expect(FILE);
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        made == written,
        "{FILE} is out of date: run UPDATE_LIMITS=1 cargo test --test it limits_doc and commit it"
    );
}

#[test]
fn no_limit_stands_there_twice_or_breaks_the_page() {
    let mut seen = std::collections::BTreeSet::new();
    for limit in limits::table() {
        let text = format!("{}{}{}", limit.what, limit.value, limit.beyond);
        assert!(!text.contains(['|', '\n']), "{text} breaks the page's table");
        assert!(seen.insert(limit.what), "{} stands there twice", limit.what);
    }
}
