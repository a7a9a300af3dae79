//! `train`, `finetune` and `distill` as a user runs them, on the embedded digits.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn otfuse(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_otfuse")).args(arguments).current_dir(folder).output().unwrap()
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = otfuse(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const TRAIN: [&str; 6] = ["train", "mlp:48-24", "--data", "digits", "--batch-size", "16"];

#[test]
fn a_network_is_trained_tuned_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let report = json(folder, &[&TRAIN[..], &["-o", "a.pt", "--lr", "0.03", "--epochs", "6"]].concat());
    assert_eq!(report["held_out"].as_u64(), Some(144));
    assert_eq!(report["epochs"].as_array().unwrap().len(), 6);
    assert!(report["test"]["accuracy"].as_f64().unwrap() > 0.9, "{report}");
    assert!(!folder.join("a.pt.state").exists());

    let tuned = json(
        folder,
        &[
            "finetune",
            "a.pt",
            "--arch",
            "mlp",
            "--data",
            "digits",
            "-o",
            "b.pt",
            "--epochs",
            "2",
            "--optimizer",
            "adamw",
        ],
    );
    assert!(tuned["test"]["accuracy"].as_f64().unwrap() > 0.9, "{tuned}");
    let student = ["--student", "mlp:24", "--arch", "mlp", "--data", "digits", "-o", "c.onnx", "--epochs", "6"];
    let student = json(folder, &[&["distill", "a.pt", "b.pt"], &student[..]].concat());
    assert!(student["test"]["accuracy"].as_f64().unwrap() > 0.8, "{student}");
    let started = ["--start", "b.pt", "--arch", "mlp", "--data", "digits", "-o", "d.pt", "--epochs", "1"];
    json(folder, &[&["distill", "a.pt"], &started[..]].concat());

    let text = otfuse(folder, &[&TRAIN[..], &["-o", "e.pt", "--validation", "0", "--epochs", "2"]].concat());
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("none held out") && text.contains("test accuracy"), "{text}");
}

#[test]
fn a_killed_training_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let arguments = |output: &'static str| {
        [&TRAIN[..], &["-o", output, "--epochs", "40", "--schedule", "cosine", "--optimizer", "adam"]].concat()
    };
    assert!(otfuse(folder, &arguments("whole.pt")).status.success());
    let state = folder.join("cut.pt.state");
    let mut child = Command::new(env!("CARGO_BIN_EXE_otfuse"))
        .args(arguments("cut.pt"))
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !state.exists() && child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    // SIGKILL: nothing can be put in order any more.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(state.exists() || folder.join("cut.pt").exists());
    assert!(otfuse(folder, &arguments("cut.pt")).status.success());
    let read = |name| std::fs::read(folder.join(name)).unwrap();
    assert_eq!(read("whole.pt"), read("cut.pt"));
}

#[test]
fn bad_training_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let output = otfuse(folder, arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty());
        assert!(parts.iter().all(|part| message.contains(part)), "{arguments:?}: {message}");
    };
    let train = |more: &[&'static str]| [&TRAIN[..], &["-o", "x.pt"], more].concat();
    refused(&train(&["--lr", "-1"]), &["learning_rate", "a positive number", "-1"]);
    refused(&train(&["--momentum", "1"]), &["momentum", "hint"]);
    refused(&train(&["--validation", "1"]), &["validation"]);
    refused(&train(&["--schedule", "step:x"]), &["step:EPOCHS,FACTOR"]);
    refused(&["train", "mlp:0", "--data", "digits", "-o", "x.pt"], &["mlp"]);
    refused(&["train", "alexnet", "--data", "digits", "-o", "x.pt"], &["alexnet", "hint"]);
    refused(&["distill", "nowhere.pt", "--student", "mlp:8", "--data", "digits", "-o", "x.pt"], &["nowhere.pt"]);
    refused(&["distill", "a.pt", "--data", "digits", "-o", "x.pt"], &["--student", "--start"]);
    std::fs::write(folder.join("x.pt.state"), b"not a state").unwrap();
    refused(&train(&[]), &["x.pt.state", "--restart"]);
    assert!(otfuse(folder, &train(&["--restart", "--epochs", "1"])).status.success());
    assert!(!folder.join("x.pt.state").exists());
}
