//! The process itself, under the names that every program's metrics have: looked at when somebody asks. Read from Linux's
//! `/proc`; where there is none, nothing is told.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

#[derive(Debug)]
pub(super) struct Process;

/// What is told.
#[derive(Debug, PartialEq)]
struct Seen {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    threads: f64,
    started: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(seen) = seen() else { return Ok(()) };
        let cpu = ConstCounter::new(seen.cpu_seconds);
        let help = "Time of processors, of the user and of the system";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)?;
        let mut gauge = |name, help, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Memory in use", seen.resident_bytes)?;
        gauge("process_virtual_memory_bytes", "Addresses in use", seen.virtual_bytes)?;
        gauge("process_threads", "Threads", seen.threads)?;
        gauge("process_start_time_seconds", "When it was started, since 1970", seen.started)?;
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the folder that is being read.
            gauge("process_open_fds", "Open files and connections", number(open.count().saturating_sub(1)))?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            #[expect(clippy::cast_precision_loss, reason = "nobody opens as many")]
            gauge("process_max_fds", "Open files and connections that there may be", most as f64)?;
        }
        Ok(())
    }
}

fn seen() -> Option<Seen> {
    let [stat, machine] = ["/proc/self/stat", "/proc/stat"].map(|path| fs::read_to_string(path).ok());
    let booted = machine?.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
    parse(&stat?, number(usize::try_from(clock_ticks_per_second()).ok()?), number(page_size()), booted)
}

/// Of `/proc/self/stat`, whose second field is a name that may hold anything; see proc(5).
fn parse(stat: &str, ticks: f64, page: f64, booted: f64) -> Option<Seen> {
    let after_name: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The first of these is the third of all.
    let field = |number: usize| after_name.get(number - 3)?.parse::<f64>().ok();
    Some(Seen {
        cpu_seconds: (field(14)? + field(15)?) / ticks,
        threads: field(20)?,
        started: booted + field(22)? / ticks,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page,
    })
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 9 0 1000 4096000 300 18446744073709551615";
        let seen = parse(stat, 100.0, 4096.0, 1_000_000.0).unwrap();
        let wanted = Seen {
            cpu_seconds: 4.0,
            threads: 9.0,
            started: 1_000_010.0,
            virtual_bytes: 4_096_000.0,
            resident_bytes: 1_228_800.0,
        };
        assert_eq!(seen, wanted);
        assert_eq!(parse("7 (a) S 1", 100.0, 4096.0, 0.0), None);
    }
}
