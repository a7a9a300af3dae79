//! What the results do not depend on: when and where they were computed, and how long it took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use serde::Serialize;

use super::plan::{Plan, Task};
use super::result::point_text;
use super::work::Done;

/// Kept beside the results, in files of its own.
#[derive(Serialize)]
pub struct Record {
    /// This program's version.
    pub version: &'static str,
    /// What was asked for.
    pub command: String,
    /// When the last part was done.
    pub date: String,
    /// The processor's name.
    pub processor: String,
    /// Threads that run at a time.
    pub threads: usize,
    /// How long each network took, as measured when it was made.
    pub times: Vec<Time>,
}

/// How long a network took.
#[derive(Serialize)]
pub struct Time {
    /// Its name.
    pub network: String,
    /// Where on the curve.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub point: String,
    /// The seed.
    pub seed: u64,
    /// Seconds by stage: the whole command, its stages, the evaluation.
    pub seconds: BTreeMap<String, f64>,
}

impl Record {
    /// Of this run.
    pub(crate) fn new(plan: &Plan, done: &[Done], command: &str) -> Self {
        let same = |a: &Task, b: &Task| a.network == b.network && a.seed == b.seed;
        let time = |(task, done): (&Task, &Done)| {
            let is_constant = plan.tasks.iter().filter(|other| same(task, other)).all(|other| other.key == task.key);
            // Once is enough for what is the same at all points.
            (!is_constant || task.point == 0).then(|| Time {
                network: task.described.name.clone(),
                point: match is_constant {
                    true => String::new(),
                    false => point_text(plan.axis.as_deref(), &plan.points[task.point]),
                },
                seed: task.seed,
                seconds: done.seconds.clone(),
            })
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            command: command.to_owned(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            processor: processor(),
            threads: std::thread::available_parallelism().map_or(1, Into::into),
            times: plan.tasks.iter().zip(done).filter_map(time).collect(),
        }
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# Run\n\n- command: `{}`\n- otfuse {}, {}\n- {}, {} threads\n\nSeconds, each as measured when the work was \
             done:\n\n",
            self.command, self.version, self.date, self.processor, self.threads
        );
        for time in &self.times {
            let seconds: Vec<String> =
                time.seconds.iter().map(|(stage, seconds)| format!("{stage} {seconds:.2}")).collect();
            let point = if time.point.is_empty() { String::new() } else { format!(", {}", time.point) };
            let _ = writeln!(text, "- {}{point}, seed {}: {}", time.network, time.seed, seconds.join(", "));
        }
        text
    }
}

/// The processor's name, where the system tells it.
fn processor() -> String {
    let of_linux = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    of_linux.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
