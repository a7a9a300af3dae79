//! One meaning for each word, nothing worse than it was, and what a newcomer types first.

mod workbench;

use serde_json::Value;
use workbench::Workbench;

fn json(bench: &Workbench, line: &str) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    serde_json::from_str(&bench.succeed(&words)).expect("JSON")
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

#[test]
fn halfway_is_what_fuse_writes() {
    let bench = Workbench::new();
    let data = "--data npz:data.npz --samples 60";
    let fused = json(&bench, &format!("fuse a.onnx b.onnx -o f.onnx {data} --check 1000 --json"));
    let walk = json(&bench, &format!("interpolate a.onnx b.onnx --steps 0.5 --as-fuse {data} --json"));
    for key in ["loss", "accuracy"] {
        let expected = number(&fused, &format!("/comparison/fused/{key}"));
        assert_eq!(number(&walk, &format!("/points/0/repaired/{key}")).to_bits(), expected.to_bits(), "{key}");
    }
    assert!(walk.pointer("/settings/halfway").is_none());
    // Otherwise it is said what differs.
    let text = bench.succeed(&["interpolate", "a.onnx", "b.onnx", "--steps", "0.5", "--data", "npz:data.npz"]);
    assert!(text.contains("halfway (0.5) is not what otfuse fuse writes") && text.contains("repair none"), "{text}");
    let text = bench.succeed(&["fuse", "a.onnx", "b.onnx", "--sweep", "0.5", "--data", "npz:data.npz"]);
    assert!(text.contains("halfway (0.5) is not what") && text.contains("otfuse interpolate --as-fuse"), "{text}");
    // With all that differs said, the three agree.
    let common = "--mode weights --data npz:data.npz";
    let fused = json(&bench, &format!("fuse a.onnx b.onnx -o g.onnx --repair none {common} --json"));
    let walk = json(&bench, &format!("interpolate a.onnx b.onnx --steps 0.5 {common} --repair none --json"));
    let swept = json(&bench, &format!("fuse a.onnx b.onnx --sweep 0.5 --repair none {common} --json"));
    let expected = number(&fused, "/comparison/fused/loss").to_bits();
    assert_eq!(number(&walk, "/points/0/ot/loss").to_bits(), expected);
    assert_eq!(number(&swept, "/points/0/ot/loss").to_bits(), expected);
    assert!(walk.pointer("/settings/halfway").is_none() && swept.pointer("/halfway").is_none());
}

#[test]
fn the_start_of_a_finetuning_is_a_candidate() {
    let bench = Workbench::new();
    bench.succeed(&["train", "mlp:16", "--data", "digits", "-o", "good.onnx", "--epochs", "4", "--seed", "1"]);
    let before = json(&bench, "eval good.onnx --data digits --json");
    for line in [
        "finetune good.onnx --data digits -o same.onnx --epochs 2 --lr 8 --momentum 0 --json",
        "distill good.onnx --start good.onnx --data digits -o same.onnx --epochs 2 --lr 8 --momentum 0 --json",
    ] {
        let tuned = json(&bench, line);
        assert_eq!(number(&tuned, "/best_epoch"), 0.0, "{tuned}");
        assert!(number(&tuned, "/start/accuracy") > number(&tuned, "/epochs/1/validation/accuracy"));
        assert_eq!(number(&tuned, "/test/accuracy"), number(&before, "/models/0/accuracy"));
        assert_eq!(bench.bytes("same.onnx"), bench.bytes("good.onnx"));
    }
    let line = ["finetune", "good.onnx", "--data", "digits", "-o", "same.onnx", "--epochs", "1", "--lr", "8"];
    let text = bench.succeed(&[&line[..], &["--momentum", "0"]].concat());
    assert!(text.contains("no epoch is better on the samples held out than the start"), "{text}");
    // Nothing is kept that nobody chose.
    let output = bench.run(&[&line[..], &["--lr", "0.01", "--validation", "0"]].concat());
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be used multiple times"));
    let line = ["finetune", "good.onnx", "--data", "digits", "-o", "last.onnx", "--epochs", "1", "--validation", "0"];
    let output = bench.run(&line);
    assert!(String::from_utf8_lossy(&output.stderr).contains("note: --validation 0: no samples are held out"));
}

#[test]
fn an_interrupted_finetuning_ends_the_same() {
    let bench = Workbench::new();
    bench.succeed(&["train", "mlp:16", "--data", "digits", "-o", "good.onnx", "--epochs", "2", "--seed", "1"]);
    let tuned = json(&bench, "finetune good.onnx --data digits -o one.onnx --epochs 3 --json");
    assert!(number(&tuned, "/best_epoch") >= 1.0, "{tuned}");
    assert!(number(&tuned, "/start/loss") > 0.0);
}

#[test]
fn a_dry_run_checks_and_writes_nothing() {
    let bench = Workbench::new();
    let before = bench.snapshot();
    let line =
        ["fuse", "a.onnx", "b.onnx", "-o", "f.onnx", "--data", "npz:data.npz", "--report", "page.html", "--dry-run"];
    let text = bench.succeed(&line);
    assert!(text.contains("would be fused") && text.contains("parameters in 1 neuron group"), "{text}");
    assert_eq!(bench.snapshot(), before);
    let found = json(&bench, "fuse a.onnx b.onnx -o f.onnx --dry-run --json");
    assert_eq!((number(&found, "/groups"), number(&found, "/anchor")), (1.0, 1.0));
    assert_eq!(bench.run(&["fuse", "a.onnx", "missing.onnx", "-o", "f.onnx", "--dry-run"]).status.code(), Some(2));
    let line = ["fuse", "a.onnx", "b.onnx", "-o", "f.onnx", "--data", "digits", "--normalize", "cifar10", "--dry-run"];
    assert_eq!(bench.run(&line).status.code(), Some(2));
    assert_eq!(bench.snapshot(), before);
}

#[test]
fn completions_and_pages_are_written() {
    let bench = Workbench::new();
    for (shell, part) in [("bash", "_otfuse()"), ("zsh", "#compdef otfuse"), ("fish", "complete -c otfuse")] {
        let script = bench.succeed(&["completions", shell]);
        assert!(script.contains(part) && script.contains("interpolate"), "{shell}");
    }
    assert!(bench.succeed(&["man"]).contains(".TH otfuse 1"));
    let page = bench.succeed(&["man", "fuse"]);
    assert!(page.contains(".TH otfuse-fuse 1") && page.contains("width\\-budget"), "{page:.400}");
    assert_eq!(bench.run(&["man", "nothing"]).status.code(), Some(2));
}

#[test]
fn short_help_is_short_and_long_help_has_headings() {
    let bench = Workbench::new();
    let short = bench.succeed(&["fuse", "-h"]);
    assert!(short.lines().count() <= 48 && short.matches("\n  otfuse fuse").count() == 3, "{short}");
    assert!(short.contains("`otfuse fuse --help` shows all options"), "{short}");
    let long = bench.succeed(&["fuse", "--help"]);
    for heading in ["Input and output:", "Data:", "Matching of neurons:", "Merging and repair:", "Converged matching:"]
    {
        assert!(long.contains(heading), "{heading}: {long}");
    }
}

#[test]
fn the_ensemble_says_whose_it_is() {
    let bench = Workbench::new();
    let text = bench.succeed(&["eval", "a.onnx", "b.onnx", "--ensemble", "--data", "npz:data.npz"]);
    assert!(text.contains("ensemble of a.onnx, b.onnx"), "{text}");
}
