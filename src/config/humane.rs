//! Durations and sizes as people write them: `1500ms`, `60s`, `5min`, `64MiB`.

use std::time::Duration;

/// Reads a duration with its unit: `ms`, `s`, `m` or `min`, `h`, `d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err("a duration is a number and its unit, as in 1500ms, 60s, 5min, 2h, 7d".into()),
    };
    seconds_from(number, seconds)
}

/// Reads a number of seconds without a unit, as the replaced system has them.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    seconds_from(text.trim(), 1.0)
}

/// Reads a number of bytes with its unit: none, `KiB`, `MiB`, `GiB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err("a size is a whole number and its unit, as in 512KiB, 64MiB, 1GiB".into()),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "a size is a whole number and its unit, as in 512KiB, 64MiB, 1GiB".into())
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn seconds_from(number: &str, unit: f64) -> Result<Duration, String> {
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * unit).ok())
        .ok_or_else(|| format!("{number:?} is not a number of a usable size"))
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, seconds};
    use std::time::Duration;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration(" 1 s "), Ok(Duration::from_secs(1)));
        assert_eq!(duration("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5min"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        for wrong in ["", "5", "s", "5 parsecs", "-1s", "1.2.3s", "1e999s", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong:?} was taken");
        }
        assert_eq!(seconds("60"), Ok(Duration::from_mins(1)));
        assert!(seconds("-1").is_err());
        assert!(seconds("60s").is_err());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("1024"), Ok(1024));
        assert_eq!(bytes("1 GiB"), Ok(1 << 30));
        for wrong in ["", "1.5MiB", "MiB", "64 apples", "99999999999999999999", "18446744073709551615GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
