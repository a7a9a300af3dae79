//! `train`, `finetune` and `distill` as a user runs them, on the embedded digits.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use otfuse::formats::npz::write_npz;
use otfuse::graph::Tensor;
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

/// 300 images of 1 x 8 x 8 pixels: gratings in three directions, under noise.
fn images(path: &Path) {
    let labels: Vec<i64> = (0..300).map(|index| index % 3).collect();
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as f32 / 256.0 - 0.5
    };
    let mut pixels = Vec::new();
    for label in &labels {
        for (row, column) in (0..64).map(|at| (at / 8, at % 8)) {
            let phase = [row, column, row + column][*label as usize];
            pixels.push(if phase % 4 < 2 { 1.0 } else { 0.0 } + noise());
        }
    }
    let (x, y) = (Tensor::from_f32(&[300, 1, 8, 8], pixels), Tensor::from_i64(&[300], labels));
    write_npz(path, &BTreeMap::from([("x".to_owned(), x), ("y".to_owned(), y)])).unwrap();
}

/// Runs a command that trains to `OUT`; kills it as soon as there is a state and runs it again, `kills` times, with one
/// thread and two in turn.
fn run_and_kill(folder: &Path, arguments: &[&str], output: &str, kills: usize) {
    let command = |threads: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otfuse"));
        let arguments = arguments.iter().map(|argument| if *argument == "OUT" { output } else { argument });
        command.args(arguments).env("RAYON_NUM_THREADS", threads.to_string()).current_dir(folder).stdout(Stdio::null());
        command
    };
    let state = folder.join(format!("{output}.state"));
    for kill in 0..kills {
        let before = std::fs::read(&state).ok();
        let mut child = command(1 + kill % 2).spawn().unwrap();
        let start = Instant::now();
        let waits = |child: &mut std::process::Child| {
            std::fs::read(&state).ok() == before && child.try_wait().unwrap().is_none()
        };
        while waits(&mut child) && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(2));
        }
        // SIGKILL: nothing can be put in order any more.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(state.exists() || folder.join(output).exists());
    }
    assert!(command(2).status().unwrap().success());
    assert!(!state.exists());
}

#[test]
fn what_was_killed_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    images(&folder.join("images.npz"));
    let train = ["train", "mlp:24", "--data", "npz:images.npz", "-o", "parent.pt", "--epochs", "2"];
    assert!(otfuse(folder, &train).status.success());
    let data = ["--data", "npz:images.npz", "--partition", "dirichlet:0.5,2", "--part", "1", "-o", "OUT"];
    let busy = ["--crop", "1", "--flip", "--batch-size", "8", "--epochs", "30", "--schedule", "cosine"];
    let options = [&data[..], &busy[..]].concat();
    let cases = [
        ("train.pt", [&["train", "mlp:24", "--optimizer", "adam"], &options[..]].concat()),
        ("tune.pt", [&["finetune", "parent.pt", "--arch", "mlp", "--nesterov"], &options[..]].concat()),
        ("distil.pt", [&["distill", "parent.pt", "--student", "mlp:24", "--arch", "mlp"], &options[..]].concat()),
    ];
    for (output, arguments) in cases {
        run_and_kill(folder, &arguments, output, 0);
        let cut = format!("cut-{output}");
        run_and_kill(folder, &arguments, &cut, 3);
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        assert_eq!(read(output), read(&cut), "{output}");
    }
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
    refused(&train(&["--device", "gpu"]), &["'gpu'", "cuda:N", "hint"]);
    if cfg!(not(feature = "cuda")) {
        refused(&train(&["--device", "cuda:1"]), &["'cuda:1'", "feature 'cuda'", "--features cuda"]);
    }
    if cfg!(not(feature = "wgpu")) {
        refused(&["--device", "wgpu", "eval", "a.pt", "--data", "digits"], &["'wgpu'", "feature 'wgpu'"]);
    }
    refused(&train(&["--image-size", "8"]), &["image size", "a folder of images", "digits"]);
    refused(&["train", "mlp:0", "--data", "digits", "-o", "x.pt"], &["mlp"]);
    refused(&["train", "alexnet", "--data", "digits", "-o", "x.pt"], &["alexnet", "hint"]);
    refused(&["distill", "nowhere.pt", "--student", "mlp:8", "--data", "digits", "-o", "x.pt"], &["nowhere.pt"]);
    assert!(otfuse(folder, &[&TRAIN[..], &["-o", "a.pt", "--epochs", "1"]].concat()).status.success());
    let nobody = ["distill", "a.pt", "--arch", "mlp", "--data", "digits", "-o", "x.pt"];
    refused(&nobody, &["--student", "--start"]);
    std::fs::write(folder.join("x.pt.state"), b"not a state").unwrap();
    refused(&train(&[]), &["x.pt.state", "--restart"]);
    assert!(otfuse(folder, &train(&["--restart", "--epochs", "1"])).status.success());
    assert!(!folder.join("x.pt.state").exists());
}
