//! Counts the tokens of a document, and the brackets within each other, before anything reads it: in one pass, by the
//! specification's lexical grammar. What is no token at all counts as one, and the parser refuses it.
//!
//! The library's parser bounds the depth of selections alone. A list of lists it follows as deep as it goes, with a kilobyte
//! and a half of the stack for each, so one of three kilobytes would end the program.

/// What a document is made of, as far as it was looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) tokens: usize,
    /// Brackets of whatever sort that are open at the same time.
    pub(crate) nesting: usize,
}

/// Looks at a document, no further than one past what there may be at the most.
pub(super) fn extent(text: &str, most: &Extent) -> Extent {
    let (bytes, mut at, mut open) = (text.as_bytes(), 0, 0_usize);
    let mut extent = Extent::default();
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xEF | 0xBB | 0xBF => {
                at += 1;
                continue;
            }
            b'#' => {
                at = after(bytes, at, |byte| !matches!(byte, b'\n' | b'\r'));
                continue;
            }
            b'"' if bytes[at..].starts_with(br#"""""#) => block_string(bytes, at + 3),
            b'"' => string(bytes, at + 1),
            b'.' => after(bytes, at, |byte| byte == b'.'),
            byte if is_word(*byte) => after(bytes, at, is_word),
            byte => {
                match byte {
                    b'[' | b'{' | b'(' => open += 1,
                    b']' | b'}' | b')' => open = open.saturating_sub(1),
                    _ => {}
                }
                at + 1
            }
        };
        extent.tokens += 1;
        extent.nesting = extent.nesting.max(open);
        if extent.tokens > most.tokens || extent.nesting > most.nesting {
            break;
        }
    }
    extent
}

/// Names and numbers.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+')
}

fn after(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().skip(from).position(|byte| !belongs(*byte)).map_or(bytes.len(), |length| from + length)
}

fn string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' | b'\n' | b'\r' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

fn block_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(br#"\""""#) {
            at += 4;
        } else if rest.starts_with(br#"""""#) {
            return at + 3;
        } else {
            at += 1;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::{Extent, extent};

    fn count(text: &str, most: usize) -> usize {
        extent(text, &Extent { tokens: most, nesting: 100 }).tokens
    }

    #[test]
    fn tokens_are_counted_as_the_grammar_has_them() {
        for (text, expected) in [
            ("", 0),
            (" ,\n# a comment { }\n", 0),
            ("{ a }", 3),
            ("query Q($n: Int! = -1) { a(first: $n) { ...F } }", 24),
            (r#"{ a(x: "b { c } \" d") }"#, 8),
            (r#"{ a(x: """ { "" \""" } """) b }"#, 9),
            ("{a@include(if:true)}", 10),
            ("\u{feff}{é}", 4),
            (r#"{ a(x: "never ends"#, 6),
        ] {
            assert_eq!(count(text, 100), expected, "{text}");
        }
        assert_eq!(count(&"a ".repeat(1_000), 10), 11);
    }

    #[test]
    fn brackets_within_each_other_are_counted_whatever_closes_them() {
        for (text, expected) in [
            ("a", 0),
            ("{ a(b: [1, [2], {c: 3}]) }", 4),
            ("]]]{[[", 3),
            ("[)[)[", 1),
            (r#"{ a(b: "[[[[", c: """ [[[[ """) # [[[["#, 2),
            ("[[[[[[[[[[[[", 11),
        ] {
            assert_eq!(extent(text, &Extent { tokens: 100, nesting: 10 }).nesting, expected, "{text}");
        }
    }
}
