//! `otfuse experiment` as a user runs it, on the embedded digits.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const FILE: &str = "
title: Two small perceptrons
variables: {epochs: 3, widths: '16'}
data: {source: digits}
seeds: [0, 1]
networks:
  - {name: A, train: 'mlp:${widths}-nobias', options: &training {epochs: '${epochs}', batch-size: 16}}
  - {name: B, train: 'mlp:${widths}-nobias', options: *training}
  - {name: both, ensemble: [A, B], published: 91.34}
  - {name: vanilla, fuse: [A, B], options: {method: average}}
  - {name: OT, fuse: [A, B], published: 85.98, options: {preset: paper}}
  - {name: small, prune: A, options: {amount: 0.25}}
  - {name: tuned, finetune: OT, options: {epochs: 1, batch-size: 16}}
  - {name: scratch, distill: [A, B], options: {student: 'mlp:${widths}', epochs: 3, watch-test: true}}
  - {name: led, distill: [A, B], start: OT, reaches: scratch, options: {epochs: 3, watch-test: true}}
published: {source: a table, parents: [90.31, 90.50]}
variants:
  small: {about: one epoch, variables: {epochs: 1}, seeds: [0]}
";

const CURVE: &str = "
title: Averaging weights
data: {source: digits}
axis: w
for: {w: [0, 0.5, 1], rest: [1, 0.5, 0]}
networks:
  - {name: A, train: 'mlp:16', options: {epochs: 2, batch-size: 16}}
  - {name: B, train: 'mlp:16', options: {epochs: 2, batch-size: 16}}
  - {name: fused, fuse: [A, B], options: {preset: forward, weights: ['${rest}', '${w}']}}
";

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otfuse"));
    command.arg("experiment").args(arguments).current_dir(folder);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The files of results, which depend on nothing but file, data and seeds.
fn results(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| !name.starts_with("run."))
        .collect();
    files.sort();
    assert!(
        files.iter().any(|(name, _)| name == "results.csv") && files.iter().any(|(name, _)| name.ends_with(".svg"))
    );
    files
}

fn accuracy(results: &Value, network: &str, seed: usize) -> f64 {
    let row = results["rows"].as_array().unwrap().iter().find(|row| row["network"] == network).unwrap();
    row["runs"][seed]["accuracy"].as_f64().unwrap()
}

#[test]
fn an_experiment_is_done_once_and_says_what_came_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("e.yml"), FILE).unwrap();
    let found: Value = serde_json::from_str(&done(folder, &["e.yml", "-o", "out", "--json"])).unwrap();
    let better = accuracy(&found, "A", 1).max(accuracy(&found, "B", 1));
    let tuned = found["rows"].as_array().unwrap().iter().find(|row| row["network"] == "tuned").unwrap();
    let gap = tuned["runs"][1]["gap"].as_f64().unwrap();
    assert!((gap - (accuracy(&found, "tuned", 1) - better)).abs() < 1e-12);
    assert!(accuracy(&found, "led", 0) > 0.8 && tuned["accuracy"]["deviation"].as_f64().is_some());
    let text = std::fs::read_to_string(folder.join("out/results.md")).unwrap();
    for part in
        ["| OT |", "-4.52", "Epochs until led has", "a table; parents 90.31 / 90.50", "`fuse A B --preset paper`"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let table = std::fs::read_to_string(folder.join("out/results.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 9 * 2);
    assert!(std::fs::read_to_string(folder.join("out/run.md")).unwrap().contains("otfuse experiment e.yml -o out"));

    // Nothing is done again, nor for fewer seeds.
    let units = |name: &str| {
        let mut files: Vec<_> = std::fs::read_dir(folder.join("out/units"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(name))
            .map(|entry| (entry.file_name(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        files.sort();
        files
    };
    let (before, first) = (units(".json"), results(&folder.join("out")));
    done(folder, &["e.yml", "-o", "out"]);
    assert_eq!((&before, &first), (&units(".json"), &results(&folder.join("out"))));
    done(folder, &["e.yml", "-o", "out", "--seeds", "1"]);
    assert_eq!(before, units(".json"));
}

#[test]
fn a_curve_has_a_point_for_each_value() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("e.yml"), CURVE).unwrap();
    let found: Value = serde_json::from_str(&done(folder, &["e.yml", "-o", "out", "--json"])).unwrap();
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 5, "the parents are the same at all points");
    let fused: Vec<f64> = rows[2..].iter().map(|row| row["accuracy"]["mean"].as_f64().unwrap()).collect();
    assert_eq!(fused[2], accuracy(&found, "B", 0), "the weight 1 gives the anchor");
    assert_eq!(fused[0], accuracy(&found, "A", 0), "the weight 0 gives the other one, its neurons in another order");
    assert_eq!(rows[3]["point"]["w"], 0.5);
}

#[test]
fn a_killed_experiment_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("e.yml"), FILE.replace("epochs: 3", "epochs: 12")).unwrap();
    done(folder, &["e.yml", "-o", "whole"]);
    let mut kills = 0;
    for units in [1, 4, 8, 15, 23] {
        let mut child =
            command(folder, &["e.yml", "-o", "cut"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        let written = || std::fs::read_dir(folder.join("cut/units")).map_or(0, Iterator::count);
        while written() < units && start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 2, "killed {kills} times only");
    assert!(!folder.join("cut/results.md").exists() || kills < 5);
    done(folder, &["e.yml", "-o", "cut"]);
    assert_eq!(results(&folder.join("whole")), results(&folder.join("cut")));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("e.yml"), FILE).unwrap();
    for threads in ["1", "2"] {
        let arguments = ["e.yml", "-o", threads, "--variant", "small"];
        let output = command(folder, &arguments).env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success());
    }
    assert_eq!(results(&folder.join("1")), results(&folder.join("2")));
}

#[test]
fn a_file_that_is_wrong_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let changed = |from: &str, to: &str| {
        assert!(FILE.contains(from), "{from}");
        FILE.replacen(from, to, 1)
    };
    let cases = [
        (changed("title:", "titel:"), "did you mean 'title'?"),
        (changed("finetune: OT", "fintune: OT"), "did you mean 'finetune'?"),
        (changed("preset: paper", "presett: paper"), "did you mean 'preset'?"),
        (changed("preset: paper", "preset: papier"), "papier"),
        (changed("amount: 0.25", "amount: much"), "much"),
        (changed("seeds: [0, 1]", "seeds: [-1]"), "seeds[0]"),
        (changed("finetune: OT", "finetune: OTT"), "did you mean 'OT'?"),
        (changed("name: B", "name: A"), "stands above"),
        (changed("prune: A", "prune: A, fuse: [A, B]"), "exactly one"),
        (changed("prune: A, options: {amount: 0.25}", "file: none.pt"), "none.pt"),
        (changed("student: 'mlp:${widths}', ", ""), "expected one of start"),
        (changed("fuse: [A, B], options: {method: average}", "file: e.yml, options: {lr: 1}"), "takes no option 'lr'"),
        (changed("${widths}", "${width}"), "did you mean 'widths'?"),
        (changed("source: digits", "source: 'mnist:nowhere'"), "nowhere"),
        (changed("networks:", "networks: ["), "not valid YAML"),
        (changed("networks:", "for: {w: [1, 1]}\nnetworks:"), "stands twice"),
        (changed("networks:", "for: {w: [1, 2], v: [1]}\nnetworks:"), "for.w"),
        (changed("networks:", "for: {w: [1, 2], v: [1, 2]}\nnetworks:"), "axis"),
        (changed("ensemble: [A, B]", "ensemble: [A, B], options: {weights: [1]}"), "2 numbers"),
        (changed("widths: '16'", "widths: {a: 1}"), "mlp:"),
    ];
    for (text, expected) in cases {
        std::fs::write(folder.join("e.yml"), &text).unwrap();
        let output = run(folder, &["e.yml", "-o", "out"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{expected}: {error}");
        assert!(error.contains(expected) && error.contains("hint:") && error.contains("e.yml"), "{expected}: {error}");
        assert!(output.stdout.is_empty() && !folder.join("out/results.md").exists());
    }
    std::fs::write(folder.join("e.yml"), FILE).unwrap();
    let wrong: [&[&str]; 6] = [
        &["none.yml", "-o", "out"],
        &["e.yml", "-o", "e.yml"],
        &["e.yml", "-o", "out", "--variant", "tiny"],
        &["e.yml", "-o", "out", "--set", "epoch=1"],
        &["e.yml", "-o", "out", "--set", "epochs"],
        &["e.yml", "-o", "out", "--seeds", "0"],
    ];
    for arguments in wrong {
        assert_eq!(run(folder, arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_experiments_of_the_project_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut tried = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read_to_string(&path).unwrap().contains("\n  quick:") {
            let lines = done(&folder, &[path.to_str().unwrap(), "-o", "none", "--variant", "quick", "--dry-run"]);
            assert!(lines.lines().count() > 4, "{lines}");
            tried += 1;
        }
    }
    assert!(tried >= 4 && !folder.join("none").exists());
}
