//! What the log shows of a document: its shape, on one line. Texts within it are left out, as variables are: they are
//! somebody's ids, messages and results.

/// Longer is cut.
const MOST: usize = 2_000;

/// The document on one line, without its texts and comments.
pub(crate) fn shown(document: &str) -> String {
    let mut shown = String::with_capacity(document.len().min(MOST) + 4);
    let mut rest = document;
    while let Some(first) = rest.chars().next() {
        if shown.len() >= MOST {
            shown.push('…');
            break;
        }
        if rest.starts_with('#') {
            rest = rest.find(['\n', '\r']).and_then(|end| rest.get(end..)).unwrap_or_default();
        } else if first == '"' {
            shown.push_str("\"…\"");
            rest = after_text(rest);
        } else if first.is_whitespace() || first == '\u{feff}' {
            rest = rest.trim_start_matches(|sign: char| sign.is_whitespace() || sign == '\u{feff}');
            if !shown.is_empty() && !shown.ends_with(' ') && !rest.is_empty() {
                shown.push(' ');
            }
        } else {
            shown.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    shown
}

/// What follows the text at the beginning; nothing where it has no end.
fn after_text(rest: &str) -> &str {
    let (mark, escape) = if rest.starts_with(r#"""""#) { (r#"""""#, r#"\""""#) } else { ("\"", "\\") };
    let mut rest = rest.get(mark.len()..).unwrap_or_default();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(escape) {
            // Of a text on one line: whatever is escaped.
            let skipped = if mark.len() == 1 { after.chars().next().map_or(0, char::len_utf8) } else { 0 };
            rest = after.get(skipped..).unwrap_or_default();
        } else if let Some(after) = rest.strip_prefix(mark) {
            return after;
        } else {
            let first = rest.chars().next().map_or(0, char::len_utf8);
            rest = rest.get(first..).unwrap_or_default();
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_shown_and_nobodys_words() {
        for (document, wanted) in [
            ("{\n  tasks(first: 3) # all of \"them\"\n  { nodes }\n}\n", "{ tasks(first: 3) { nodes } }"),
            (
                r#"{ task(userId: "anna", taskId: "a\"b\\") { status } }"#,
                r#"{ task(userId: "…", taskId: "…") { status } }"#,
            ),
            (r#"{ a(x: """say "hi" \""" and""" y: "") b }"#, r#"{ a(x: "…" y: "…") b }"#),
            (r#"{ a(x: "never ends) secret }"#, r#"{ a(x: "…""#),
            (r#"{ a(x: "\"#, r#"{ a(x: "…""#),
            ("# nothing", ""),
        ] {
            assert_eq!(shown(document), wanted, "{document}");
        }
        let long = shown(&"é".repeat(3_000));
        assert!(long.len() < MOST + 8 && long.ends_with('…'));
    }
}
