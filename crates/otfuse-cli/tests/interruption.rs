//! A command that is told to end leaves no part of a result, and what was there before as it was.
#![cfg(unix)]

mod workbench;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use workbench::Workbench;

/// How often each command is interrupted.
const MOMENTS: u32 = 20;

/// Commands that write, and what: all of it new or all of it as before.
const CASES: &[(&str, &[&str])] = &[
    (
        "fuse a.onnx b.onnx --data npz:data.npz -o out.onnx --save-alignment plan.json --report page.html --figures figures",
        &["out.onnx", "plan.json", "page.html"],
    ),
    ("fuse h1 h2 -o out", &["out/config.json"]),
    ("align a.onnx b.onnx -o out.onnx --save-alignment plan.json", &["out.onnx", "plan.json"]),
    ("apply known.json a.onnx -o out.onnx", &["out.onnx"]),
    ("compare a.onnx b.onnx --report page.html --csv groups.csv", &["page.html", "groups.csv"]),
    ("interpolate a.onnx b.onnx --data npz:data.npz --report page.html --csv points.csv", &["page.html", "points.csv"]),
    ("prune a.onnx -o out.onnx", &["out.onnx"]),
    ("eval a.onnx --data npz:data.npz --report page.html", &["page.html"]),
    ("inspect a.onnx --svg a.svg --dot a.dot", &["a.svg", "a.dot"]),
    ("run a.onnx --inputs x.npz -o y.npz", &["y.npz"]),
    ("convert a.onnx out.pt", &["out.pt"]),
    ("train mlp:16 --data npz:data.npz --epochs 2 -o out.onnx", &["out.onnx"]),
    ("finetune a.onnx --data npz:data.npz --epochs 2 -o out.onnx", &["out.onnx"]),
    ("distill a.onnx --student mlp:8 --data npz:data.npz --epochs 2 -o out.onnx", &["out.onnx"]),
    ("experiment experiment.yml -o folder", &["folder/results.csv", "folder/run.md"]),
];

/// The state of a training, and what an experiment keeps of each step, are there to be gone on with.
fn is_kept(path: &str) -> bool {
    path.ends_with(".state") || path.starts_with("folder")
}

/// Names of all files here, but for what is kept.
fn names(bench: &Workbench) -> Vec<PathBuf> {
    let root = bench.path("");
    let relative = |path: PathBuf| path.strip_prefix(&root).expect("below").to_owned();
    bench.snapshot().into_keys().map(relative).filter(|path| !is_kept(&path.to_string_lossy())).collect()
}

/// Text that is the same in all runs: times are not.
fn is_whole(name: &str, found: &[u8], complete: &[u8]) -> bool {
    match name.ends_with(".html") {
        true => found.trim_ascii_end().ends_with(b"</html>"),
        false => found == complete || name.ends_with(".md"),
    }
}

#[test]
fn what_is_interrupted_leaves_no_part_of_a_result() {
    let bench = Workbench::new().with_folders();
    bench.succeed(&["align", "a.onnx", "b.onnx", "-o", "unused.onnx", "--save-alignment", "known.json"]);
    let graph = otfuse::Model::open(bench.path("a.onnx")).expect("a network");
    let graph = graph.graph().expect("a graph");
    let input = graph.value(graph.inputs()[0]).name.clone();
    let arrays = BTreeMap::from([(input, otfuse::graph::Tensor::from_f32(&[2, 64], vec![0.5; 128]))]);
    otfuse::formats::npz::write_npz(&bench.path("x.npz"), &arrays).expect("written");
    bench.put(
        "experiment.yml",
        "title: three\ndata: {source: 'npz:data.npz'}\nnetworks:\n- {name: a, file: a.onnx}\n- {name: b, file: b.onnx}\n\
         - {name: f, fuse: [a, b]}\n",
    );
    let mut state = 1_u32;
    for &(line, outputs) in CASES {
        let words: Vec<&str> = line.split_whitespace().collect();
        let clear = || {
            for name in ["out", "figures", "folder"] {
                let _ = fs::remove_dir_all(bench.path(name));
            }
            for name in ["out.onnx.state", "out.onnx", "out.pt", "plan.json", "page.html", "y.npz"] {
                let _ = fs::remove_file(bench.path(name));
            }
            outputs.iter().for_each(|name| drop(fs::remove_file(bench.path(name))));
        };
        clear();
        let start = Instant::now();
        bench.succeed(&words);
        let duration = start.elapsed();
        let complete: Vec<Vec<u8>> = outputs.iter().map(|name| bench.bytes(name)).collect();
        let all = names(&bench);
        for moment in 0..MOMENTS {
            clear();
            // Every other time there is an older result.
            let is_replaced = moment % 2 == 0 && !line.contains("-o out ") && !line.ends_with("-o out");
            if is_replaced {
                for name in outputs {
                    fs::create_dir_all(bench.path(name).parent().expect("a folder")).expect("made");
                    bench.put(name, "older");
                }
            }
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wait = duration.mul_f64(f64::from(state >> 8) / f64::from(1_u32 << 24));
            let child = bench.command(&words).spawn().expect("the command starts");
            std::thread::sleep(wait.max(Duration::from_millis(1)));
            let signal = if moment % 4 < 2 { "-INT" } else { "-TERM" };
            let _ = Command::new("kill").args([signal, &child.id().to_string()]).status();
            let ended = child.wait_with_output().expect("it ends");
            let at = format!("otfuse {line} after {wait:?}: {}", ended.status);
            let found: Vec<Option<Vec<u8>>> = outputs.iter().map(|name| fs::read(bench.path(name)).ok()).collect();
            let is_older = |found: &Option<Vec<u8>>| match is_replaced {
                true => found.as_deref() == Some(b"older"),
                false => found.is_none(),
            };
            let is_new = |at: usize| found[at].as_ref().is_some_and(|it| is_whole(outputs[at], it, &complete[at]));
            let whole = found.iter().all(is_older) || (0..outputs.len()).all(is_new);
            assert!(whole, "{at}: a part of the result");
            let strange: Vec<PathBuf> = names(&bench).into_iter().filter(|name| !all.contains(name)).collect();
            assert!(strange.is_empty(), "{at}: left {strange:?}");
        }
        clear();
    }
}
