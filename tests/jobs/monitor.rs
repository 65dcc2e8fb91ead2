//! The job `monitor`, with the real rrdtool.

use super::appliance::{sh, under_each_shell};
use serde_json::Value;

/// Creates a history of one hour, with a sample per minute. Processor and network are counters that grow evenly.
const FILL: &str = r"
end=$(($(date +%s) / 60 * 60))
at=$((end - 3600))
rrdtool create admin/lib/history.rrd --start $((at - 1)) --step 60 \
    DS:cpu:DERIVE:180:0:100 DS:memory:GAUGE:180:0:100 DS:disk:GAUGE:180:0:100 \
    DS:network_in:DERIVE:180:0:U DS:network_out:DERIVE:180:0:U RRA:AVERAGE:0.5:1:62
while [ $at -le $end ]; do
    rrdtool update admin/lib/history.rrd $at:$((at * 25)):40:7:$((at * 1000)):$((at * 3))
    at=$((at + 60))
done";

#[test]
fn the_history_is_what_was_sampled() {
    under_each_shell(|appliance| {
        sh(&appliance.root, FILL);
        let text = appliance.succeed("monitor 1h").stdout;
        let history: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!((&history["range"], &history["step"]), (&"1h".into(), &60.into()));
        for (name, value) in
            [("cpu", 25.0), ("memory", 40.0), ("disk", 7.0), ("network_in", 1000.0), ("network_out", 3.0)]
        {
            let values = history["series"][name].as_array().unwrap();
            // A rate needs two samples, so the first value is unknown. So is the last, if a new minute has begun.
            let known: Vec<&Value> = values.iter().filter(|value| !value.is_null()).collect();
            assert!(values.len() == 60 && known.len() >= 57, "{name}: {values:?}");
            assert!(known.iter().all(|known| known.as_f64() == Some(value)), "{name}: {values:?}");
        }
    });
}

#[test]
fn a_sample_creates_the_history_with_every_range() {
    under_each_shell(|appliance| {
        appliance.refuse("monitor 1h", "There is no history yet: the first sample comes within a minute");
        let sample = appliance.path("admin/bin/jobs/monitor");
        assert!(appliance.command(&sample).arg("sample").status().unwrap().success());
        for (range, n_steps) in [("1h", 60), ("1d", 288), ("1w", 336), ("1m", 372), ("1y", 366)] {
            let history: Value = serde_json::from_str(&appliance.succeed(&format!("monitor {range}")).stdout).unwrap();
            assert_eq!(history["series"]["disk"].as_array().unwrap().len(), n_steps, "{range}");
        }
        // A broken history is replaced by a new one.
        appliance.write("admin/lib/history.rrd", "half of a history");
        assert!(appliance.command(&sample).arg("sample").status().unwrap().success());
        appliance.succeed("monitor 1d");
    });
}

#[test]
fn an_appliance_without_rrdtool_says_so() {
    under_each_shell(|appliance| {
        // A PATH with everything that the job needs except rrdtool.
        sh(
            &appliance.root,
            "mkdir only; for tool in date stat tr cut flock mkdir rm sed awk df sleep id cat env; do ln -s \"$(command -v $tool)\" only/; done",
        );
        let sample = appliance.path("admin/bin/jobs/monitor");
        let run = |argument: &str| {
            appliance.command(&sample).arg(argument).env("PATH", appliance.path("only")).output().unwrap()
        };
        assert!(run("sample").status.success());
        let told = String::from_utf8(run("1h").stdout).unwrap();
        assert_eq!(told, "Reason: rrdtool is not installed on this appliance\n");
    });
}
