//! Every command on sound input: exit code 0, a silent stderr, and the documented keys in its JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use otfuse::formats::npz::{read_npz, write_npz};
use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::formats::pytorch::write_pytorch;
use otfuse::formats::safetensors::write_safetensors;
use otfuse::formats::{StateDict, read_state_dict};
use otfuse::graph::{Graph, Tensor};
use otfuse::runtime::mlp;
use serde_json::Value;

/// A folder with the networks `a` and `b` and a wider `c` in every format, and inputs `x.npz`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("temporary folder"));
        for (name, hidden, seed) in [("a", 12, 1), ("b", 12, 2), ("c", 16, 3), ("d", 12, 4)] {
            let graph = mlp(&[64, hidden, 8, 10], seed).expect("sound widths");
            let proto = to_proto(&graph).expect("sound");
            write_onnx(&folder.path(&format!("{name}.onnx")), proto, &WriteOptions::default()).expect("written");
            write_safetensors(&folder.path(&format!("{name}.safetensors")), &state_dict(&graph)).expect("written");
            write_pytorch(&folder.path(&format!("{name}.pt")), &state_dict(&graph)).expect("written");
        }
        let x = Tensor::from_f32(&[3, 64], (0..192).map(|at| at as f32 / 192.0).collect());
        write_npz(&folder.path("x.npz"), &BTreeMap::from([("input".into(), x)])).expect("written");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("read")
    }

    fn run(&self, line: &str, threads: Option<usize>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otfuse"));
        command.args(line.split_whitespace()).current_dir(self.0.path());
        if let Some(threads) = threads {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
        let output = command.output().expect("the command starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "otfuse {line}: {}: {errors}", output.status);
        // The networks here are untrained, which `eval` notes.
        let is_expected = |line: &&str| line.starts_with("note: ") && line.contains("is near chance");
        let errors: Vec<&str> = errors.lines().filter(|line| !is_expected(line)).collect();
        let errors = errors.join("\n");
        assert!(errors.is_empty(), "otfuse {line}: {errors}");
        output
    }

    /// The text that a command prints.
    fn text(&self, line: &str) -> String {
        String::from_utf8(self.run(line, None).stdout).expect("text")
    }

    /// The JSON that a command prints.
    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"), None);
        serde_json::from_slice(&output.stdout).expect("JSON alone on stdout")
    }
}

fn state_dict(graph: &Graph) -> StateDict {
    let mut dict = StateDict::new();
    for (id, tensor) in graph.initializers() {
        dict.insert(graph.value(id).name.clone(), tensor.clone()).expect("one of each name");
    }
    dict
}

/// The keys of an object, sorted.
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

#[test]
fn inspect() {
    let folder = Folder::new();
    for model in ["a.onnx", "a.pt --arch mlp", "a.safetensors --arch a.onnx"] {
        let report = folder.json(&format!("inspect {model}"));
        let expected = [
            "blocks",
            "format",
            "groups",
            "inputs",
            "layers",
            "name",
            "nodes",
            "operators",
            "outputs",
            "parameters",
            "path",
            "pinned",
        ];
        assert_eq!(keys(&report), expected);
        let sizes: Vec<_> = report["groups"].as_array().expect("groups").iter().map(|group| &group["size"]).collect();
        assert_eq!(sizes, [12, 8], "{report}");
        assert_eq!(report["parameters"], 64 * 12 + 12 + 12 * 8 + 8 + 8 * 10 + 10);
        assert!(!report["pinned"][0]["reason"].as_str().expect("a reason").is_empty());
        let text = folder.text(&format!("inspect {model}"));
        assert!(text.contains("2 neuron groups") && text.contains("fc1.weight[0]"), "{text}");
    }
}

#[test]
fn verify() {
    let folder = Folder::new();
    let report = folder.json("verify a.onnx");
    for key in ["ok", "max_abs_error", "max_rel_error", "groups", "free_groups", "pinned"] {
        assert!(report.get(key).is_some(), "{key} in {report}");
    }
    assert_eq!(report["ok"], true);
    assert_eq!(report["free_groups"], 2);
    assert!(number(&report["max_rel_error"]) < 1e-3);
    let pinned = report["pinned"].as_array().expect("pinned groups");
    assert_eq!(number(&report["groups"]) as usize, 2 + pinned.len());
    assert!(pinned.iter().all(|group| group["reason"].is_string()));
    assert!(folder.text("verify c.pt --arch mlp").starts_with("c.pt: ok\n"));
}

#[test]
fn fuse() {
    let folder = Folder::new();
    let report = folder.json("fuse a.onnx c.onnx b.onnx -o fused.onnx --save-alignment plan.json --weights 1,1,2");
    let expected =
        ["comparison", "coverage", "groups", "made", "method", "models", "output", "seconds", "settings", "sweeps"];
    assert_eq!(keys(&report), expected);
    assert_eq!(report["comparison"], Value::Null);
    assert_eq!(report["settings"]["verified"], true);
    assert_eq!(report["settings"]["anchor"], 2);
    assert_eq!(report["models"][1]["weight"], 0.25);
    assert_eq!(report["models"][0]["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(report["groups"].as_array().map(Vec::len), Some(4));
    let plan: Value = serde_json::from_slice(&folder.bytes("plan.json")).expect("JSON");
    assert_eq!(plan.as_array().map(Vec::len), Some(2));
    assert_eq!(folder.json("inspect fused.onnx")["groups"][0]["size"], 12);
    let text =
        folder.text("fuse a.pt b.pt -o fused.pt --arch mlp --mode activations --data digits --samples 50 --check 0");
    assert!(text.contains("fused.pt: 2 models fused into the shape of model 1 (b.pt)"), "{text}");
    let names = |name: &str| -> Vec<String> {
        read_state_dict(&folder.path(name), None).expect("read").names().map(str::to_owned).collect()
    };
    assert_eq!(names("fused.pt"), names("b.pt"));
}

#[test]
fn fuse_of_unequal_depth() {
    let folder = Folder::new();
    let deep = mlp(&[64, 12, 12, 8, 8, 10], 5).expect("sound widths");
    write_pytorch(&folder.path("deep.pt"), &state_dict(&deep)).expect("written");
    let proto = to_proto(&deep).expect("sound");
    write_onnx(&folder.path("deep.onnx"), proto, &WriteOptions::default()).expect("written");
    let sizes = |name: &str| -> Vec<Value> {
        let report = folder.json(&format!("inspect {name} --arch mlp"));
        report["groups"].as_array().expect("groups").iter().map(|group| group["size"].clone()).collect()
    };
    for (order, depth, expected) in [
        ("a.pt deep.pt", "anchor", vec![12, 12, 8, 8]),
        ("deep.pt a.pt", "anchor", vec![12, 8]),
        ("deep.pt a.pt", "deep", vec![12, 12, 8, 8]),
        ("a.pt c.pt deep.pt", "shallow", vec![16, 8]),
    ] {
        let line = format!("fuse {order} -o fused.pt --arch mlp --depth {depth} --data digits --samples 60 --check 0");
        let results = [1, 2].map(|threads| {
            let report = folder.run(&format!("{line} --json"), Some(threads)).stdout;
            (serde_json::from_slice::<Value>(&report).expect("JSON alone on stdout"), folder.bytes("fused.pt"))
        });
        assert!(results[0].1 == results[1].1, "{line}");
        assert_eq!(sizes("fused.pt"), expected, "{line}");
        let depth = &results[0].0["depth"];
        assert_eq!(keys(&depth["models"][0]), ["blocks", "error", "inserted", "likeness", "model", "pairs", "path"]);
        assert_eq!(depth["models"][0]["inserted"].as_array().map(Vec::len), Some(2), "{depth}");
        assert!(number(&depth["models"][0]["error"]) < 1e-5);
        assert_eq!(depth["result_blocks"], expected.len() + 1);
    }
    let line = "fuse a.onnx deep.onnx -o fused.onnx --samples-from none";
    let report = folder.run(&format!("{line} --json --report page.html"), None).stdout;
    std::fs::write(folder.path("report.json"), &report).expect("written");
    let first = folder.bytes("fused.onnx");
    std::fs::remove_file(folder.path("fused.onnx")).expect("removed");
    let text = folder.text(&format!("{line} --pairs report.json"));
    assert!(text.contains("2 blocks put in that change nothing"), "{text}");
    assert!(
        folder.bytes("fused.onnx") == first && String::from_utf8_lossy(&folder.bytes("page.html")).contains("put in")
    );
}

#[test]
fn fuse_gives_the_same_bytes() {
    let folder = Folder::new();
    for extension in ["onnx", "safetensors", "pt"] {
        for options in ["", "--solver sinkhorn", "--data digits --samples 40 --check 0"] {
            let inputs = format!("a.{extension} c.{extension} b.{extension} --arch mlp {options}");
            let results = [1, 2, 2].map(|threads| {
                let output = format!("fused.{extension}");
                let _ = std::fs::remove_file(folder.path(&output));
                folder.run(&format!("fuse {inputs} -o {output} --save-alignment plan.json"), Some(threads));
                (folder.bytes(&output), folder.bytes("plan.json"))
            });
            assert!(results[0] == results[1] && results[1] == results[2], "{inputs}");
        }
    }
}

#[test]
fn fuse_compares_parents_and_result_where_there_are_labels() {
    let folder = Folder::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_otfuse"));
    command.args("fuse a.onnx b.onnx -o fused.onnx --data digits --samples 200 --check 100 --json".split(' '));
    let output = command.current_dir(folder.0.path()).output().expect("the command starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON alone on stdout");
    let settings = &report["settings"];
    assert_eq!((&settings["mode"], &settings["repair"]), (&"activations".into(), &"least-squares".into()));
    let comparison = &report["comparison"];
    assert_eq!((&comparison["samples"], &comparison["split"]), (&100.into(), &"test".into()));
    for (row, path) in comparison["parents"].as_array().expect("parents").iter().zip(["a.onnx", "b.onnx"]) {
        assert_eq!(row["path"], path);
        let evaluated = folder.json(&format!("eval {path} --data digits"));
        assert!((number(&row["accuracy"]) - number(&evaluated["models"][0]["accuracy"])).abs() < 0.1);
    }
    assert!(comparison["ensemble"]["loss"].is_number() && comparison["vanilla"]["loss"].is_number());
    let best = comparison["parents"].as_array().expect("parents").iter().map(|row| number(&row["accuracy"]));
    let gain = number(&comparison["fused"]["accuracy"]) - best.fold(0.0, f64::max);
    assert!((gain - number(&comparison["gain"])).abs() < 1e-9);
    let warned = String::from_utf8_lossy(&output.stderr).contains("below the best parent");
    assert_eq!(warned, gain < 0.0, "{comparison}");
}

#[test]
fn the_order_of_three_models_does_not_matter_unless_an_anchor_is_asked_for() {
    let folder = Folder::new();
    for options in ["", "--consensus mean", "--data digits --samples 100 --check 0"] {
        let outputs = |models: &str, more: &str| -> Vec<f32> {
            folder.json(&format!("fuse {models} -o fused.onnx {options} {more}"));
            folder.json("run fused.onnx --inputs x.npz -o y.npz");
            let arrays = read_npz(&folder.path("y.npz")).expect("read");
            arrays.values().next().and_then(Tensor::to_f32).expect("floats")
        };
        let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        let first = outputs("a.onnx b.onnx d.onnx", "--weights 1,2,3");
        for (models, weights) in [("d.onnx a.onnx b.onnx", "3,1,2"), ("b.onnx d.onnx a.onnx", "2,3,1")] {
            let other = outputs(models, &format!("--weights {weights}"));
            assert!(distance(&first, &other) < 1e-5, "{options}: {models}");
        }
        let anchored = outputs("a.onnx b.onnx d.onnx", "--weights 1,2,3 --anchor 1");
        let other = outputs("a.onnx d.onnx b.onnx", "--weights 1,3,2 --anchor 2");
        assert!(distance(&anchored, &other) < 1e-4, "{options}: the anchor decides");
    }
}

#[test]
fn partial_fusion_leads_from_one_network_to_the_ensemble() {
    let folder = Folder::new();
    let outputs = |model: &str| -> Vec<f32> {
        folder.json(&format!("run {model} --inputs x.npz -o y.npz"));
        let arrays = read_npz(&folder.path("y.npz")).expect("read");
        arrays.values().next().and_then(Tensor::to_f32).expect("floats")
    };
    for (budget, sizes) in [("1", [12, 8]), ("1.25", [15, 10]), ("2", [24, 16])] {
        folder.json(&format!("fuse a.onnx b.onnx -o fused.onnx --width-budget {budget} --weights 1,3"));
        let groups = folder.json("inspect fused.onnx")["groups"].clone();
        assert_eq!([&groups[0]["size"], &groups[1]["size"]], sizes);
        assert_eq!(folder.json("verify fused.onnx")["ok"], true);
    }
    let (a, b, fused) = (outputs("a.onnx"), outputs("b.onnx"), outputs("fused.onnx"));
    let mean = a.iter().zip(&b).map(|(a, b)| 0.25 * a + 0.75 * b);
    assert!(mean.zip(&fused).all(|(mean, fused)| (mean - fused).abs() < 1e-5), "all apart: the mean of the outputs");
    folder.json("fuse a.onnx b.onnx -o one.onnx --width-budget 1");
    folder.json("fuse a.onnx b.onnx -o plain.onnx --repair none");
    let (one, plain) = (outputs("one.onnx"), outputs("plain.onnx"));
    assert!(one.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-5), "none apart: the average");
}

#[test]
fn prune() {
    let folder = Folder::new();
    for (extension, arch) in [("onnx", ""), ("pt", "--arch mlp"), ("safetensors", "--arch mlp")] {
        let report = folder.json(&format!("prune c.{extension} -o small.{extension} {arch} --amount 0.25"));
        let expected =
            ["amount", "global", "groups", "kept_parameters", "norm", "output", "parameters", "path", "pinned"];
        assert_eq!(keys(&report), expected);
        let kept: Vec<_> = report["groups"].as_array().expect("groups").iter().map(|group| &group["kept"]).collect();
        assert_eq!(kept, [12, 6], "{report}");
        assert_eq!(report["groups"][0]["neurons"].as_array().map(Vec::len), Some(12));
        let inspected = folder.json(&format!("inspect small.{extension} {arch}"));
        assert_eq!(inspected["parameters"], report["kept_parameters"]);
        assert_eq!(inspected["parameters"], 64 * 12 + 12 + 12 * 6 + 6 + 6 * 10 + 10);
        assert_eq!(folder.json(&format!("verify small.{extension} {arch}"))["ok"], true);
    }
    // The wide network goes into the shape of the pruned one.
    folder.json("fuse c.onnx small.onnx -o fused.onnx");
    assert_eq!(folder.json("inspect fused.onnx")["groups"][0]["size"], 12);
    for (options, expected) in [
        ("--groups 0", [8, 8]),
        ("--groups fc2", [16, 4]),
        ("--exclude fc1.weight", [16, 4]),
        ("--norm l2", [8, 4]),
        ("--amount 0", [16, 8]),
        ("--amount 0.999", [2, 2]),
    ] {
        let report = folder.json(&format!("prune c.onnx -o x.onnx {options}"));
        let kept: Vec<_> = report["groups"].as_array().expect("groups").iter().map(|group| &group["kept"]).collect();
        assert_eq!(kept, expected, "{options}");
    }
    let report = folder.json("prune c.onnx -o x.onnx --global");
    let kept = report["groups"].as_array().expect("groups").iter().map(|group| number(&group["kept"])).sum::<f64>();
    assert_eq!(kept, 12.0);
    assert!(folder.text("prune c.onnx -o x.onnx").contains("pinned: left as they are"));
}

#[test]
fn sweep() {
    let folder = Folder::new();
    let report = folder.json("fuse a.onnx b.onnx --sweep 3 --data digits --limit 60 --csv sweep.csv");
    assert_eq!(keys(&report), ["anchor", "barrier", "data", "halfway", "models", "points", "samples"]);
    let points = report["points"].as_array().expect("points");
    assert_eq!(points.iter().map(|point| number(&point["weight"])).collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
    // At the ends there is one of the parents alone, aligned or not.
    for kind in ["vanilla", "ensemble", "ot"] {
        for (point, parent) in [(0, 0), (2, 1)] {
            let (found, expected) = (&points[point][kind]["loss"], &report["models"][parent]["loss"]);
            assert!((number(found) - number(expected)).abs() < 1e-5, "{kind}: {report}");
        }
    }
    let csv = String::from_utf8(folder.bytes("sweep.csv")).expect("text");
    assert_eq!(csv.lines().count(), 4);
    assert!(csv.lines().all(|line| line.split(',').count() == 7), "{csv}");
    assert_eq!(report, folder.json("fuse a.onnx b.onnx --sweep 0,0.5,1 --data digits --limit 60"));
    let unequal = folder.json("fuse c.onnx b.onnx --sweep 2 --data digits --limit 60");
    assert!(unequal["points"][0]["vanilla"].is_null() && unequal["barrier"]["vanilla"].is_null());
    let text = folder.text("fuse a.onnx b.onnx --sweep 2 --data digits --limit 60");
    assert!(text.contains("loss barrier: vanilla"), "{text}");
}

#[test]
fn partitions() {
    let folder = Folder::new();
    let samples = |partition: &str| {
        let report = folder.json(&format!("eval a.onnx --data digits --split train --partition {partition}"));
        number(&report["models"][0]["samples"])
    };
    assert_eq!(samples("split:0.5 --part 0") + samples("split:0.5 --part 1"), 1438.0);
    assert_eq!(samples("labels:0-4/5-9 --part 0") + samples("labels:0-4/5-9 --part 1"), 1438.0);
    assert_eq!(samples("dirichlet:0.5,2 --part 1 --partition-seed 3 --limit 7"), 7.0);
}

#[test]
fn eval() {
    let folder = Folder::new();
    let report = folder.json("eval a.onnx c.onnx --data digits --ensemble --limit 50");
    let rows = report["models"].as_array().expect("models");
    assert_eq!(rows.len(), 2);
    assert_eq!(keys(&rows[0]), ["accuracy", "loss", "path", "samples"]);
    assert_eq!(rows[1]["path"], "c.onnx");
    for row in rows.iter().chain([&report["ensemble"]]) {
        assert_eq!(row["samples"], 50);
        assert!((0.0..=1.0).contains(&number(&row["accuracy"])) && number(&row["loss"]) > 0.0, "{row}");
    }
    assert!(folder.json("eval a.onnx --data digits")["ensemble"].is_null());
    let text = folder.text("eval b.safetensors --arch mlp --data digits --split train --limit 7");
    assert!(text.contains("b.safetensors") && text.contains("7 samples of digits"), "{text}");
}

#[test]
fn run() {
    let folder = Folder::new();
    let report = folder.json("run a.onnx --inputs x.npz -o y.npz");
    assert_eq!(keys(&report), ["output", "outputs", "path"]);
    assert_eq!(report["outputs"][0]["shape"], serde_json::json!([3, 10]));
    let outputs = read_npz(&folder.path("y.npz")).expect("read");
    let name = report["outputs"][0]["name"].as_str().expect("a name");
    assert_eq!(outputs[name].shape(), [3, 10]);
    folder.run("run a.onnx --inputs x.npz -o again.npz", Some(1));
    assert_eq!(folder.bytes("again.npz"), folder.bytes("y.npz"));
}

#[test]
fn convert() {
    let folder = Folder::new();
    let tensors = |name: &str| {
        let dict = read_state_dict(&folder.path(name), None).expect("read");
        dict.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect::<BTreeMap<_, _>>()
    };
    let report = folder.json("convert a.onnx x.safetensors");
    assert_eq!(keys(&report), ["format", "input", "output", "parameters"]);
    assert_eq!(report["format"], "safetensors");
    folder.text("convert a.safetensors x.pt --arch mlp");
    assert_eq!(tensors("x.pt"), tensors("a.pt"));
    assert_eq!(tensors("x.safetensors"), tensors("a.safetensors"));
    folder.text("convert a.pt x.onnx --arch mlp");
    folder.text("run x.onnx --inputs x.npz -o of_x.npz");
    folder.text("run a.onnx --inputs x.npz -o of_a.npz");
    let values = |name: &str| {
        let outputs = read_npz(&folder.path(name)).expect("read");
        outputs.into_values().map(|tensor| tensor.to_f32()).collect::<Vec<_>>()
    };
    assert_eq!(values("of_x.npz"), values("of_a.npz"));
}

#[test]
fn demo() {
    let folder = Folder::new();
    let report = folder.json("demo");
    let rows = report["rows"].as_array().expect("rows");
    let expected = ["model_a", "model_b", "ensemble", "vanilla", "fused", "vanilla_finetuned", "fused_finetuned"];
    assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap_or_default()).collect::<Vec<_>>(), expected);
    assert!(rows.iter().all(|row| number(&row["seconds"]) >= 0.0));
    let accuracy = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name).expect("a row");
        number(&row["accuracy"])
    };
    assert!(accuracy("fused") > accuracy("vanilla"), "{report}");
    assert!(accuracy("model_a") > 0.9 && accuracy("fused_finetuned") > 0.9, "{report}");
}

#[test]
fn help_and_version() {
    let folder = Folder::new();
    assert!(folder.text("--version").starts_with("otfuse "));
    for command in ["", "inspect", "verify", "fuse", "prune", "eval", "run", "convert", "demo"] {
        assert!(folder.text(&format!("{command} --help")).contains("Usage: otfuse"), "{command}");
    }
    assert!(!Path::new(&folder.path("fused.onnx")).exists());
}
