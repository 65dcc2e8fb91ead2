//! Measures the load of the machine. `health` prints the body of `GET /health`, `sample` prints the argument of
//! `rrdtool update`, and `history` converts the output of `rrdtool fetch` to JSON.

use crate::appliance::Appliance;
use crate::root::commands::Arguments;
use crate::values::json::quote;
use rustix::fs::statvfs;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write as _};
use std::process::ExitCode;

/// Maximum bytes of the rows of a range.
const MAX_ROWS: u64 = 1 << 20;

/// `health`
pub fn health(_: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let (disk, memory, processors) = (Disk::of_root()?, Memory::read()?, Processors::read()?);
    let load = read("/proc/loadavg")?;
    let load: Vec<&str> = load.split_ascii_whitespace().take(3).collect();
    // In hundredths, because the kernel prints two digits.
    let load5 = load.get(1).map_or(0, |load| hundredths(load));
    print(&format!(
        "{{\"disk\":{{\"used\":\"{}\",\"total\":\"{}\",\"percentage\":{}}},\
         \"memory\":{{\"used\":\"{}M\",\"total\":\"{}M\",\"percentage\":{}}},\
         \"cpu\":{{\"num\":{},\"load\":{},\"cpu5min\":{}}}}}\n",
        human(disk.used),
        human(disk.total),
        share(disk.used, disk.total),
        // Always in whole MiB: the API documents "1000M".
        memory.used / 1024,
        memory.total / 1024,
        share(memory.used, memory.total),
        processors.n,
        quote(&load.join(", ")),
        load5 / processors.n,
    ))
}

/// `sample`
pub fn sample(_: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let (disk, memory, processors) = (Disk::of_root()?, Memory::read()?, Processors::read()?);
    let (received, sent) = network(&read("/proc/net/dev")?);
    print(&format!(
        "N:{}:{}:{}:{received}:{sent}\n",
        processors.busy / processors.n,
        with_tenth(per_mille(memory.used, memory.total)),
        with_tenth(per_mille(disk.used, disk.used + disk.free)),
    ))
}

/// `history RANGE STEP`: reads the rows from standard input.
pub fn history(arguments: Arguments<'_>, _: &Appliance) -> Result<ExitCode, String> {
    let mut next = || arguments.next()?.into_string().ok();
    let (Some(range), Some(step)) = (next(), next()) else { return Err("expected a range and a step".to_owned()) };
    let mut rows = String::new();
    io::stdin().lock().take(MAX_ROWS).read_to_string(&mut rows).map_err(|error| error.to_string())?;
    print(&series(&range, &step, &rows).ok_or("rrdtool printed no rows")?)
}

/// Converts rows: the first line names the series, the others are `TIME: VALUE...`.
fn series(range: &str, step: &str, rows: &str) -> Option<String> {
    let mut lines = rows.lines().filter(|line| !line.trim().is_empty());
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let mut start = None;
    let mut series = vec![String::new(); names.len()];
    for line in lines {
        let (time, values) = line.split_once(':')?;
        start.get_or_insert(time.trim().parse::<u64>().ok()?);
        let mut values = values.split_ascii_whitespace();
        for text in &mut series {
            if !text.is_empty() {
                text.push(',');
            }
            match values.next().and_then(rounded) {
                Some(value) => text.push_str(&value),
                None => text.push_str("null"),
            }
        }
    }
    let mut json =
        format!("{{\"range\":{},\"step\":{step},\"start\":{},\"series\":{{", quote(range), start.unwrap_or(0));
    for (at, (name, values)) in names.iter().zip(&series).enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(json, "{comma}{}:[{values}]", quote(name)).ok()?;
    }
    Some(json + "}}\n")
}

/// Rounds a number of rrdtool (`1.5000000000e+00`) to one decimal place; `None` if it is unknown.
fn rounded(value: &str) -> Option<String> {
    let (mantissa, exponent) = value.split_once('e')?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: u64 = format!("{whole}{fraction}").parse().ok()?;
    // Tenths are digits times ten to this.
    let power = exponent.parse::<i32>().ok()? - i32::try_from(fraction.len()).ok()? + 1;
    let scale = 10_u64.checked_pow(power.unsigned_abs());
    let tenths = match (power < 0, scale) {
        (false, scale) => digits.checked_mul(scale?)?,
        (true, Some(scale)) => (digits + scale / 2) / scale,
        (true, None) => 0,
    };
    Some(format!("{}{}", if tenths == 0 { "" } else { sign }, with_tenth(tenths)))
}

/// KiB of the filesystem of `/`.
struct Disk {
    total: u64,
    used: u64,
    free: u64,
}

impl Disk {
    fn of_root() -> Result<Disk, String> {
        let stat = statvfs("/").map_err(|error| error.to_string())?;
        let kib = |blocks: u64| blocks.saturating_mul(stat.f_frsize) / 1024;
        let used = kib(stat.f_blocks.saturating_sub(stat.f_bfree));
        Ok(Disk { total: kib(stat.f_blocks), used, free: kib(stat.f_bavail) })
    }
}

/// KiB.
struct Memory {
    total: u64,
    used: u64,
}

impl Memory {
    fn read() -> Result<Memory, String> {
        let text = read("/proc/meminfo")?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        let total = value("MemTotal").unwrap_or(0);
        // Old kernels do not have MemAvailable.
        let loose = || ["MemFree", "Buffers", "Cached"].into_iter().filter_map(value).sum();
        Ok(Memory { total, used: total.saturating_sub(value("MemAvailable").unwrap_or_else(loose)) })
    }
}

struct Processors {
    n: u64,
    /// Busy time of all processors, in hundredths of a second.
    busy: u64,
}

impl Processors {
    fn read() -> Result<Processors, String> {
        let text = read("/proc/stat")?;
        let times = text.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
        let times: Vec<u64> = times.split_ascii_whitespace().filter_map(|time| time.parse().ok()).collect();
        // Without idle time and waiting for a disk.
        let busy = [0, 1, 2, 5, 6, 7].into_iter().filter_map(|at| times.get(at)).sum();
        let is_one =
            |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let n = u64::try_from(text.lines().filter(is_one).count()).unwrap_or(1).max(1);
        Ok(Processors { n, busy })
    }
}

/// Bytes received and sent on all interfaces except loopback.
fn network(text: &str) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for (_, values) in text.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo") {
        let mut values = values.split_ascii_whitespace().map(|value| value.parse::<u64>().unwrap_or(0));
        sum.0 += values.next().unwrap_or(0);
        sum.1 += values.nth(7).unwrap_or(0);
    }
    sum
}

/// KiB in a readable unit: `3.4G`, `260M`, `234G`.
fn human(kib: u64) -> String {
    let (unit, letter) = match kib {
        0..1024 => return format!("{kib}K"),
        1024..1_048_576 => (1 << 10, 'M'),
        1_048_576..1_073_741_824 => (1 << 20, 'G'),
        _ => (1 << 30, 'T'),
    };
    if kib / unit < 10 {
        format!("{}{letter}", with_tenth((kib * 10 + unit / 2) / unit))
    } else {
        format!("{}{letter}", (kib + unit / 2) / unit)
    }
}

fn with_tenth(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn share(part: u64, whole: u64) -> u64 {
    (part * 100 + whole / 2).checked_div(whole).unwrap_or(0)
}

fn per_mille(part: u64, whole: u64) -> u64 {
    (part * 1000 + whole / 2).checked_div(whole).unwrap_or(0)
}

/// `1.25` with two places is 125.
fn hundredths(text: &str) -> u64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<2.2}").parse().unwrap_or(0)
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn print(text: &str) -> Result<ExitCode, String> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_people_read_them() {
        for (kib, wanted) in [
            (0, "0K"),
            (1023, "1023K"),
            (1024, "1.0M"),
            (266_240, "260M"),
            (3_565_158, "3.4G"),
            (245_366_784, "234G"),
            (10_485_759, "10.0G"),
            (5_368_709_120, "5.0T"),
        ] {
            assert_eq!(human(kib), wanted, "{kib}");
        }
        assert_eq!((share(1, 3), share(1, 0), share(2, 3)), (33, 0, 67));
        assert_eq!(["0.14", "1.5", "12", "0.00", "x"].map(hundredths), [14, 150, 1200, 0, 0]);
    }

    #[test]
    fn numbers_of_rrdtool_have_one_digit_behind_the_point() {
        for (value, wanted) in [
            ("1.5000000000e+00", Some("1.5")),
            ("2.5000000000e+01", Some("25.0")),
            ("9.9960000000e+01", Some("100.0")),
            ("1.0000000000e+09", Some("1000000000.0")),
            ("4.9999999999e-02", Some("0.0")),
            ("5.0000000000e-02", Some("0.1")),
            ("1.0000000000e-30", Some("0.0")),
            ("-1.0400000000e+00", Some("-1.0")),
            ("0.0000000000e+00", Some("0.0")),
            ("-nan", None),
            ("nan", None),
            ("1.0000000000e+30", None),
        ] {
            assert_eq!(rounded(value).as_deref(), wanted, "{value}");
        }
    }

    #[test]
    fn rows_become_series() {
        let rows = "   cpu   disk\n\n1432140960: 1.5000000000e+00 -nan\n1432141020: nan 2.0000000000e+00\n";
        let wanted =
            "{\"range\":\"1h\",\"step\":60,\"start\":1432140960,\"series\":{\"cpu\":[1.5,null],\"disk\":[null,2.0]}}\n";
        assert_eq!(series("1h", "60", rows).as_deref(), Some(wanted));
        assert_eq!(series("1h", "60", ""), None);
    }

    #[test]
    fn traffic_is_that_of_all_interfaces_but_the_own() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n\
                    eth0:1000 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n  wl0: 1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n";
        assert_eq!(network(text), (1001, 202));
    }
}
