//! `fuse --into`: one task after another, as a user runs it, on the embedded digits.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use otfuse::formats::npz::write_npz;
use otfuse::graph::Tensor;
use serde_json::Value;

fn otfuse(folder: &Path, arguments: &str) -> Output {
    let arguments = arguments.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_otfuse")).args(arguments).current_dir(folder).output().unwrap()
}

fn json(folder: &Path, arguments: &str) -> Value {
    let output = otfuse(folder, &format!("{arguments} --json"));
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The message of a command that is refused, which leaves nothing behind.
fn refused(folder: &Path, arguments: &str) -> String {
    let before = fs::read_dir(folder).unwrap().count();
    let output = otfuse(folder, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments}: {message}");
    assert_eq!(fs::read_dir(folder).unwrap().count(), before, "{arguments}");
    message
}

const TRAINING: &str = "--epochs 8 --batch-size 16 --validation 0 --own-classes";

fn task(at: usize) -> String {
    format!("--data digits --partition labels:0-4/5-9 --part {at}")
}

/// A network that knows the first five digits, `k0.onnx`, and one that began there and learned the others, `n1.onnx`.
fn begun(folder: &Path) {
    json(folder, &format!("train mlp:32-32 {} {TRAINING} -o n0.onnx", task(0)));
    json(folder, &format!("fuse --into new n0.onnx {} -o k0.onnx", task(0)));
    json(folder, &format!("finetune k0.onnx {} {TRAINING} --lr 0.05 --hold 100 -o n1.onnx", task(1)));
}

fn accuracy(folder: &Path, model: &str) -> f64 {
    json(folder, &format!("eval {model} --data digits"))["models"][0]["accuracy"].as_f64().unwrap()
}

#[test]
fn a_second_task_is_learned_without_losing_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    begun(folder);
    let report = json(folder, &format!("fuse --into k0.onnx n1.onnx {} -o k1.onnx", task(1)));
    assert_eq!((report["tasks"].as_u64(), report["fitted_layers"].as_u64()), (Some(2), Some(3)));
    assert_eq!(report["known_classes"].as_array().map(Vec::len), Some(10));
    let (before, tuned, after) =
        (accuracy(folder, "k0.onnx"), accuracy(folder, "n1.onnx"), accuracy(folder, "k1.onnx"));
    assert!(after > 0.85 && after > before + 0.2 && after > tuned, "{before} {tuned} {after}");
    for recall in ["fisher", "counts", "none"] {
        let report =
            json(folder, &format!("fuse --into k0.onnx n1.onnx {} --recall {recall} -o {recall}.onnx", task(1)));
        assert_eq!(report["fitted_layers"].as_u64(), Some(0));
    }
    // What is not fitted does not change.
    assert_eq!(accuracy(folder, "none.onnx"), tuned);
}

#[test]
fn neurons_of_a_network_from_elsewhere_are_brought_into_order() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    json(folder, "train mlp:32-32 --data digits --epochs 8 --batch-size 16 -o a.onnx");
    json(folder, "fuse --into new a.onnx --data digits -o k.onnx");
    json(folder, "train mlp:32-32 --data digits --epochs 8 --batch-size 16 --seed 1 -o b.onnx");
    let plain = "fuse --into k.onnx b.onnx --data digits --recall counts";
    json(folder, &format!("{plain} -o aligned.onnx"));
    json(folder, &format!("{plain} --method average -o unaligned.onnx"));
    let (aligned, unaligned) = (accuracy(folder, "aligned.onnx"), accuracy(folder, "unaligned.onnx"));
    assert!(aligned > unaligned, "{aligned} {unaligned}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    begun(folder);
    for threads in ["1", "2", "3"] {
        let arguments = format!("fuse --into k0.onnx n1.onnx {} -o t{threads}.onnx", task(1));
        let output = Command::new(env!("CARGO_BIN_EXE_otfuse"))
            .args(arguments.split_whitespace())
            .env("RAYON_NUM_THREADS", threads)
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(output.status.success());
    }
    for threads in ["2", "3"] {
        for suffix in ["", ".knowledge"] {
            let read = |threads| fs::read(folder.join(format!("t{threads}.onnx{suffix}"))).unwrap();
            assert!(read("1") == read(threads), "{threads} threads{suffix}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    begun(folder);
    let says = |arguments: &str, expected: &str| {
        let message = refused(folder, arguments);
        assert!(message.contains(expected), "{arguments}: {message}");
    };
    says(&format!("fuse --into n0.onnx n1.onnx {} -o x.onnx", task(1)), "n0.onnx.knowledge");
    says(&format!("fuse --into k0.onnx n1.onnx {} -o x.onnx --disjoint", task(0)), "0, 1, 2, 3, 4 were learned before");
    says(&format!("fuse --into k0.onnx n1.onnx {} -o k0.onnx", task(1)), "k0.onnx");
    says(&format!("fuse --into k0.onnx n1.onnx {} -o n1.onnx", task(1)), "n1.onnx");
    says(&format!("fuse --into k0.onnx n1.onnx n0.onnx {} -o x.onnx", task(1)), "one network");
    says("fuse --into k0.onnx n1.onnx -o x.onnx", "--data");
    says(&format!("fuse --into k0.onnx n1.onnx {} -o x.onnx --repair bn", task(1)), "repair");
    says(&format!("fuse --into k0.onnx n1.onnx {} -o x.onnx --weights 1", task(1)), "two numbers");
    says(&format!("finetune n0.onnx {} -o x.onnx --hold 1", task(1)), "n0.onnx.knowledge");
    says(&format!("train mlp:32-32 {} -o x.onnx --hold 1", task(1)), "learned nothing yet");
    says("eval n0.onnx --data digits --pixel-order two", "seeds");

    // Four inputs in place of 64.
    let numbers = (0..80).map(|at| (at % 7) as f32).collect();
    let labels = Tensor::from_i64(&[20], (0..20).map(|at| at % 10).collect());
    let arrays = BTreeMap::from([("x".to_owned(), Tensor::from_f32(&[20, 4], numbers)), ("y".to_owned(), labels)]);
    write_npz(&folder.join("other.npz"), &arrays).unwrap();
    json(folder, "train mlp:32-32 --data npz:other.npz --epochs 1 -o other.onnx");
    says(&format!("fuse --into k0.onnx other.onnx {} -o x.onnx", task(1)), "other.onnx");

    let path = folder.join("k0.onnx.knowledge");
    let bytes = fs::read(&path).unwrap();
    let into = format!("fuse --into k0.onnx n1.onnx {} -o x.onnx", task(1));
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    says(&into, "k0.onnx.knowledge");
    let old = br#"\"version\":1"#;
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    let mut newer = bytes.clone();
    newer[at + old.len() - 1] = b'7';
    fs::write(&path, newer).unwrap();
    says(&into, "version 7");
    fs::write(&path, &bytes).unwrap();
    fs::copy(folder.join("n1.onnx"), folder.join("k0.onnx")).unwrap();
    says(&into, "another network");
}
