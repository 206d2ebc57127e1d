//! Counts the tokens of a document, and the brackets within each other, before anything reads it: in one pass, by the
//! specification's lexical grammar. What is no token at all counts as one, and the parser refuses it.
//!
//! The library's parser bounds the depth of selections alone. A list of lists it follows as deep as it goes, with a kilobyte
//! and a half of the stack for each, so one of three kilobytes would end the program.

//!
//! Where that parser reads something otherwise than the grammar has it, what would be hidden from this count must not reach
//! it: a text without an end is refused, and what it takes for several values in a row counts as more than one.

/// What a document is made of, as far as it was looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) tokens: usize,
    /// It has a text without an end, so it is no document.
    pub(crate) is_broken: bool,
    /// Brackets of whatever sort that are open at the same time.
    pub(crate) nesting: usize,
}

/// Looks at a document, no further than one past what there may be at the most.
pub(super) fn extent(text: &str, most: &Extent) -> Extent {
    let (bytes, mut at, mut open) = (text.as_bytes(), 0, 0_usize);
    let mut extent = Extent::default();
    while let Some(byte) = bytes.get(at) {
        let (from, is_number) = (at, byte.is_ascii_digit() || matches!(byte, b'-' | b'+'));
        at = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xEF | 0xBB | 0xBF => {
                at += 1;
                continue;
            }
            b'#' => {
                at = after(bytes, at, |byte| !matches!(byte, b'\n' | b'\r'));
                continue;
            }
            b'"' => {
                let is_block = bytes[at..].starts_with(br#"""""#);
                let end = if is_block { block_string(bytes, at + 3) } else { string(bytes, at + 1) };
                let Some(end) = end else {
                    extent.is_broken = true;
                    break;
                };
                end
            }
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
        let word = &bytes[from..at];
        extent.tokens += if is_number { numbers(word) } else { 1 + values_behind(word) };
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

/// A word that begins as a number: one, or as many as it may be read as.
fn numbers(word: &[u8]) -> usize {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let (whole, exponent) = match digits.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&digits[..at], digits.get(at + 1..).unwrap_or_default()),
        None => (digits, &b""[..]),
    };
    let exponent = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
    let are_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    let is_one = are_digits(whole) && are_digits(exponent) && (whole.len() == 1 || !whole.starts_with(b"0"));
    if is_one { 1 } else { word.len().max(1) }
}

/// What a word that begins as a constant may be read as besides: `truetrue` is two values.
fn values_behind(word: &[u8]) -> usize {
    let is_constant = [&b"true"[..], b"false", b"null"].iter().any(|constant| word.starts_with(constant));
    if is_constant { (word.len() - 4) / 4 } else { 0 }
}

/// Behind a text; none where it has no end.
fn string(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            b'\n' | b'\r' => return None,
            _ => at += 1,
        }
    }
    None
}

fn block_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(br#"\""""#) {
            at += 4;
        } else if rest.starts_with(br#"""""#) {
            return Some(at + 3);
        } else {
            at += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Extent, extent};

    fn count(text: &str, most: usize) -> usize {
        extent(text, &Extent { tokens: most, ..self::most() }).tokens
    }

    fn most() -> Extent {
        Extent { tokens: 100, nesting: 10, is_broken: false }
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
            (r#"{ a(x: "never ends"#, 5),
            ("[1.05, -1e-9, 10, 0]", 9),
            ("[000]", 5),
            ("[1-1-1]", 7),
            ("[truetruetrue nullable]", 7),
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
            assert_eq!(extent(text, &most()).nesting, expected, "{text}");
        }
    }

    #[test]
    fn a_text_without_an_end_is_told() {
        for text in [
            r#"{ a(x: "never ends"#,
            "{ a(x: \"a\n\") }",
            r#"{ a(x: """" [[[["#,
            r#"{ a(x: """ \""")"#,
            r#"["\"""""\"""""x"]"#,
        ] {
            assert!(extent(text, &most()).is_broken, "{text}");
        }
        for text in [r#"{ a(x: "\"", y: "") }"#, r#"{ a(x: """ \""" """) }"#, r#"{ a(x: """""") }"#] {
            assert!(!extent(text, &most()).is_broken, "{text}");
        }
    }
}
