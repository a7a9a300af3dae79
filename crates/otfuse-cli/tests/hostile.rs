//! Files that are made to do harm: a command ends soon, with an error or a right result, and within the memory that a file of that
//! size is worth.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use otfuse::formats::StateDict;
use otfuse::formats::safetensors::write_safetensors;
use otfuse::graph::{DataType, Tensor};
use support::shared;

/// Longer than any of these takes on a busy machine.
const SECONDS: u64 = 60;
/// Seconds that a command computes at most, on all cores together, and KiB that it holds.
const COMPUTED: f64 = 4.0;
const HELD: u64 = 1 << 20;

/// Runs the command with 3.5 GB of address space, if the shell can limit it.
fn run(arguments: &[&str], folder: &Path) -> Output {
    let script = "ulimit -v 3500000; exec \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_otfuse")])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let begin = Instant::now();
    while child.try_wait().expect("a process").is_none() {
        if let Some((computed, held)) = taken(child.id()) {
            assert!(computed < COMPUTED && held < HELD, "{arguments:?} takes {computed} s and {held} KiB");
        }
        if begin.elapsed() > Duration::from_secs(SECONDS) {
            child.kill().expect("a process");
            panic!("{arguments:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

/// Seconds that a process has computed and KiB that it has held at most, where the system says so.
fn taken(process: u32) -> Option<(f64, u64)> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).ok();
    // Hundredths of seconds of the user's and the system's time, behind the name in brackets.
    let fields = read("stat")?;
    let ticks = fields.rsplit_once(')')?.1.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok());
    let held = read("status")?;
    let held = held.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    Some((ticks.sum::<u64>() as f64 / 100.0, held?))
}

/// That a command ended as promised; returns what it said.
fn kept(arguments: &[&str], folder: &Path) -> String {
    let output = run(arguments, folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), None, "{arguments:?}: {said}");
    assert!(output.status.code().is_some_and(|code| code <= 2), "{arguments:?}: {said}");
    assert!(!said.contains("internal fault") && !said.contains("panicked"), "{arguments:?}: {said}");
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        let is_obeyed = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}');
        assert!(!text.chars().any(is_obeyed), "{arguments:?}: {text:?}");
    }
    said
}

/// What is typed for each command on a file.
fn lines(name: &str) -> [Vec<&str>; 5] {
    [
        vec!["inspect", name],
        vec!["verify", name],
        vec!["fuse", name, name, "-o", "fused.onnx"],
        vec!["convert", name, "converted.safetensors"],
        vec!["run", name, "-o", "outputs.npz"],
    ]
}

#[test]
fn files_of_strangers_end_soon() {
    let Some(files) = shared("cases/hostile") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(files).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.to_str().expect("text");
        for line in lines(name) {
            kept(&line, folder.path());
        }
    }
}

#[test]
fn pipes_are_refused_and_links_are_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = Command::new("mkfifo").arg(folder.path().join("pipe")).status();
    if !made.is_ok_and(|status| status.success()) {
        return;
    }
    for arguments in [
        &["inspect", "pipe"][..],
        &["fuse", "pipe", "-o", "x.pt"],
        &["fuse", "pipe", "pipe", "-o", "x.pt"],
        &["experiment", "pipe", "-o", "x"],
        &["eval", "pipe", "--data", "csv:pipe"],
    ] {
        let begin = Instant::now();
        kept(arguments, folder.path());
        assert!(begin.elapsed() < Duration::from_secs(SECONDS / 2), "{arguments:?}");
    }
}

#[test]
fn widths_beyond_all_memory_are_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = kept(&["train", "mlp:99999999999999", "--data", "digits", "-o", "x.pt"], folder.path());
    assert!(said.contains("fit in memory"), "{said}");
    assert!(fs::read_dir(folder.path()).expect("a folder").next().is_none());
}

#[test]
fn a_damaged_first_row_is_no_header() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.csv"), "0.1x,0.5,1\n0.2,0.5,0\n").expect("written");
    let said = kept(&["train", "mlp:2", "--data", "csv:a.csv", "--epochs", "1", "-o", "x.pt"], folder.path());
    assert!(said.contains("line 1, column 1") && said.contains("0.1x"), "{said}");
}

/// A perceptron's weights as a file, each tensor as `change` makes it.
fn perceptron(path: &Path, seed: u64, change: impl Fn(&str, Tensor) -> Tensor) {
    let network = otfuse::architecture("mlp:5", &[4], 3, seed).expect("a network");
    let mut changed = StateDict::new();
    for (name, tensor) in network.tensors(&network.graph).expect("tensors").iter() {
        changed.insert(name, change(name, tensor.clone())).expect("a name");
    }
    write_safetensors(path, &changed).expect("written");
}

#[test]
fn doubles_are_computed_in_single_precision_which_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let double =
        |_: &str, tensor: Tensor| Tensor::from_f32_as(DataType::F64, tensor.shape(), tensor.to_f32().expect("floats"));
    for (name, seed) in [("a.safetensors", 1), ("b.safetensors", 2)] {
        perceptron(&folder.path().join(name), seed, double);
    }
    let line = ["fuse", "a.safetensors", "b.safetensors", "--arch", "mlp", "-o", "f.safetensors", "--report", "f.html"];
    let said = kept(&line, folder.path());
    assert!(said.contains("weights of float64") && said.contains("in float32"), "{said}");
    let written = fs::read(folder.path().join("f.safetensors")).expect("written");
    assert!(String::from_utf8_lossy(&written).contains("\"F64\""));
    assert!(fs::read_to_string(folder.path().join("f.html")).expect("a page").contains("single, of double"));
}

#[test]
fn weights_are_finite_unless_others_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let infinite = |name: &str, tensor: Tensor| {
        // The last layer's bias, by which no neurons are matched.
        let mut values = tensor.to_f32().expect("floats");
        if name.ends_with("bias") && tensor.shape() == [3] {
            values[1] = f32::INFINITY;
        }
        Tensor::from_f32(tensor.shape(), values)
    };
    perceptron(&folder.path().join("a.safetensors"), 1, infinite);
    perceptron(&folder.path().join("b.safetensors"), 2, |_, tensor| tensor);
    let line = ["fuse", "a.safetensors", "b.safetensors", "--arch", "mlp", "--no-verify", "-o", "f.safetensors"];
    let said = kept(&line, folder.path());
    assert!(said.contains("--allow-nonfinite") && !folder.path().join("f.safetensors").exists(), "{said}");
    kept(&[&line[..], &["--allow-nonfinite"]].concat(), folder.path());
    let fused = otfuse::Model::open_as(folder.path().join("f.safetensors"), Some("mlp")).expect("written");
    let graph = fused.graph().expect("a network");
    for (id, tensor) in graph.initializers() {
        let is_finite = tensor.to_f32().expect("floats").iter().all(|value| value.is_finite());
        assert_eq!(is_finite, tensor.shape() != [3], "{}", graph.value(id).name);
    }
}

#[test]
fn groups_too_wide_to_be_matched_are_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, seed) in [("a.safetensors", 1), ("b.safetensors", 2)] {
        let network = otfuse::architecture("mlp:300000", &[1], 1, seed).expect("a network");
        network.save(&network.graph, &folder.path().join(name)).expect("written");
    }
    let line = ["fuse", "a.safetensors", "b.safetensors", "--arch", "mlp", "-o", "f.safetensors"];
    let said = kept(&line, folder.path());
    assert!(said.contains("matching 300000 neurons") && said.contains("--method average"), "{said}");
}
