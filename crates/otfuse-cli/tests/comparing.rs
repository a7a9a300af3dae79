//! Comparing networks and walking between them, through the command line; the pages that commands write, in a browser.
#![allow(clippy::print_stderr)]

#[path = "../../otfuse-report/tests/browser/mod.rs"]
mod browser;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::graph::{Graph, NeuronGroups, permute};
use otfuse::random_orders;
use otfuse::runtime::dataset::{DataKind, DataSpec, Split};
use otfuse::runtime::mlp;
use otfuse::runtime::train::{TrainSettings, train};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;
use tempfile::TempDir;

/// A name that is markup.
const HOSTILE: &str = "<img src=x onerror=console.error(1)>&'.onnx";

/// A folder with trained networks.
struct Folder(TempDir);

impl Folder {
    /// `a` and `b` of one shape, `permuted` is `a` in another order, `wide` and `deep` have other shapes.
    fn new() -> Self {
        let folder = Self(TempDir::new().expect("a folder"));
        for (name, widths, seed) in [
            ("a.onnx", &[64, 24, 16, 10][..], 1),
            ("b.onnx", &[64, 24, 16, 10], 2),
            ("wide.onnx", &[64, 32, 16, 10], 3),
            ("deep.onnx", &[64, 24, 16, 16, 10], 4),
            (HOSTILE, &[64, 24, 16, 10], 5),
        ] {
            folder.write(name, &trained(widths, seed));
        }
        let a = trained(&[64, 24, 16, 10], 1);
        let groups = NeuronGroups::of(&a).expect("sound");
        let orders = random_orders(&groups, &mut ChaCha8Rng::seed_from_u64(0));
        folder.write("permuted.onnx", &permute(&a, &groups, &orders).expect("sound"));
        folder
    }

    fn write(&self, name: &str, graph: &Graph) {
        write_onnx(&self.path(name), to_proto(graph).expect("sound"), &WriteOptions::default()).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otfuse"));
        command.args(arguments).current_dir(self.0.path()).output().expect("the command starts")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn trained(widths: &[usize], seed: u64) -> Graph {
    let digits = DataSpec { kind: DataKind::Digits, path: "".into(), length: None, image_size: None };
    let samples = digits.load(Split::Train, None, None).expect("embedded");
    let settings = TrainSettings { epochs: 4, batch_size: 32, learning_rate: 0.05, seed, ..TrainSettings::default() };
    train(&mlp(widths, seed).expect("sound"), &samples, &settings, &otfuse::runtime::Host::default(), &mut |_| {})
        .expect("trained")
        .graph
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

/// The page in a browser: nothing on its console, its cells as in its JSON, which is `report` but for times.
fn assert_page(path: &Path, report: &Value, profile: &Path) {
    let html = std::fs::read_to_string(path).expect("a page");
    let (_, data) = html.split_once("id=\"data\">").expect("its numbers");
    let data: Value = serde_json::from_str(data.split("</script>").next().expect("JSON")).expect("JSON");
    assert_eq!(&data, report, "{}", path.display());
    assert!(!html.contains("<img"));
    let Some(browser) = browser::installed() else {
        eprintln!("skipped: no browser is installed");
        return;
    };
    let (document, console) = browser::rendered(&browser, path, profile);
    assert_eq!(console, Vec::<String>::new(), "{}", path.display());
    assert!(browser::compared(&document, &data) > 0);
}

#[test]
fn a_walk_ends_at_its_parents() {
    let folder = Folder::new();
    let walk = [
        "interpolate",
        "a.onnx",
        "b.onnx",
        "--data",
        "digits",
        "--steps",
        "5",
        "--train",
        "100",
        "--repair",
        "repair",
        "--plane",
        "3",
        "--csv",
        "points.csv",
        "--report",
        "walk.html",
        "--figures",
        "figures",
    ];
    let report = folder.json(&walk);
    let parents = folder.json(&["eval", "a.onnx", "b.onnx", "--data", "digits"]);
    let points = report["points"].as_array().expect("points");
    assert_eq!(points.len(), 5);
    for (point, parent) in [(&points[0], &parents["models"][0]), (&points[4], &parents["models"][1])] {
        for kind in ["vanilla", "ensemble", "ot", "repaired"] {
            for key in ["loss", "accuracy"] {
                let (found, expected) = (number(&point[kind][key]), number(&parent[key]));
                assert!((found - expected).abs() < 1e-6, "{kind} {key}: {found} is not {expected}");
            }
        }
    }
    let (before, after) = (number(&report["barrier"]["vanilla"]["loss"]), number(&report["barrier"]["ot"]["loss"]));
    assert!(after <= before && before > 0.0, "{after} after, {before} before");
    assert_eq!(report["train"]["points"].as_array().map(Vec::len), Some(5));
    assert_eq!(report["plane"]["loss"].as_array().map(Vec::len), Some(9));
    let csv = std::fs::read_to_string(folder.path("points.csv")).expect("written");
    assert_eq!(csv.lines().count(), 11);
    assert!(folder.path("figures/loss-test.svg").is_file() && folder.path("figures/loss-test.csv").is_file());
    let image = std::fs::read(folder.path("figures/loss-test.png")).expect("written");
    assert_eq!(&image[..8], b"\x89PNG\r\n\x1a\n");
    assert_page(&folder.path("walk.html"), &report, &folder.path("profile"));
}

#[test]
fn the_way_to_a_permuted_copy_is_flat() {
    let folder = Folder::new();
    let report = folder.json(&["interpolate", "permuted.onnx", "a.onnx", "--data", "digits"]);
    let loss = number(&report["models"][0]["loss"]);
    let barrier = number(&report["barrier"]["ot"]["loss"]);
    assert!(barrier < 1e-3 * loss, "{barrier} on a loss of {loss}");
    assert!(number(&report["barrier"]["vanilla"]["loss"]) > 0.1 * loss);
    let report = folder.json(&["compare", "permuted.onnx", "a.onnx", "--data", "digits"]);
    assert_eq!(number(&report["predictions"]["pairs"][0]["agreement"]), 1.0);
    for group in report["alignments"][0]["groups"].as_array().expect("groups") {
        assert!(number(&group["after"]["mean"]) > 1.0 - 1e-6 && number(&group["moved"]) > 0.5, "{group}");
    }
    for (at, row) in report["cka"]["pairs"][0]["values"].as_array().expect("rows").iter().enumerate() {
        assert!((number(&row[at]) - 1.0).abs() < 1e-6, "{row}");
    }
}

#[test]
fn networks_of_other_widths_and_depths_are_compared() {
    let folder = Folder::new();
    let report = folder.json(&["compare", "wide.onnx", "a.onnx", "b.onnx", "--data", "digits", "--report", "c.html"]);
    assert_eq!(report["alignments"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["alignments"][0]["groups"][0]["size"], 32);
    assert!(report["alignments"][0]["groups"][0]["before"].is_null());
    assert_eq!(report["predictions"]["pairs"].as_array().map(Vec::len), Some(3));
    assert_page(&folder.path("c.html"), &report, &folder.path("profile"));
    let report = folder.json(&["compare", "deep.onnx", "a.onnx", "--data", "digits"]);
    assert!(
        report["alignments"].is_null() && report["difference"].as_str().is_some_and(|text| text.contains("deep.onnx"))
    );
    let cka = &report["cka"]["pairs"][0];
    assert_eq!((cka["rows"].as_array().map(Vec::len), cka["columns"].as_array().map(Vec::len)), (Some(4), Some(3)));
    // Without samples there is nothing to compare them by.
    assert!(folder.refused(&["compare", "deep.onnx", "a.onnx"]).contains("deep.onnx"));
    let without = folder.json(&["compare", "a.onnx", "b.onnx"]);
    assert!(without["cka"].is_null() && without["predictions"].is_null());
}

#[test]
fn three_networks_span_a_simplex() {
    let folder = Folder::new();
    let walk = ["interpolate", "a.onnx", "wide.onnx", "b.onnx", "--data", "digits", "--steps", "3", "--plane", "2"];
    let report = folder.json(&walk);
    assert_eq!(report["points"].as_array().map(Vec::len), Some(6));
    assert!(report["points"][0]["vanilla"].is_null());
    assert_eq!(report["barrier"]["ot"]["weights"].as_array().map(Vec::len), Some(3));
}

#[test]
fn an_alignment_applied_again_gives_the_same_bytes() {
    let folder = Folder::new();
    for (model, to) in [("a.onnx", "b.onnx"), ("wide.onnx", "b.onnx"), ("b.onnx", "wide.onnx")] {
        folder.json(&["align", model, to, "-o", "aligned.onnx", "--save-alignment", "plan.json"]);
        folder.json(&["apply", "plan.json", model, "--to", to, "-o", "applied.onnx"]);
        let read = |name| std::fs::read(folder.path(name)).expect("written");
        assert_eq!(read("aligned.onnx"), read("applied.onnx"), "{model} to {to}");
    }
    folder.json(&["align", "a.onnx", "b.onnx", "-o", "aligned.onnx", "--save-alignment", "plan.json"]);
    folder.json(&["apply", "plan.json", "a.onnx", "-o", "applied.onnx"]);
    let report = folder.json(&["eval", "a.onnx", "applied.onnx", "--data", "digits"]);
    let [before, after] = [0, 1].map(|at| number(&report["models"][at]["loss"]));
    assert!((before - after).abs() < 1e-6);
    for model in ["wide.onnx", "deep.onnx"] {
        let message = folder.refused(&["apply", "plan.json", model, "-o", "no.onnx"]);
        assert!(message.contains("plan.json") && message.contains("does not fit"), "{message}");
        assert!(!folder.path("no.onnx").exists());
    }
    std::fs::write(folder.path("broken.json"), "[{\"model\": 0}]").expect("written");
    assert!(folder.refused(&["apply", "broken.json", "a.onnx", "-o", "no.onnx"]).contains("broken.json"));
}

#[test]
fn commands_write_pages_and_cards() {
    let folder = Folder::new();
    let fuse = ["fuse", HOSTILE, "b.onnx", "-o", "fused.onnx", "--report", "fuse.html", "--card"];
    let report = folder.json(&fuse);
    assert_page(&folder.path("fuse.html"), &report, &folder.path("profile"));
    let card = std::fs::read_to_string(folder.path("fused.onnx.README.md")).expect("a card");
    // A backslash before it makes a bracket plain text in Markdown.
    assert!(card.contains("b.onnx") && card.contains("onnxruntime"), "{card}");
    assert_eq!(card.matches("<img").count(), card.matches("\\<img").count(), "{card}");
    let report = folder.json(&["eval", HOSTILE, "b.onnx", "--data", "digits", "--ensemble", "--report", "eval.html"]);
    assert_page(&folder.path("eval.html"), &report, &folder.path("profile"));
    let walk = ["interpolate", HOSTILE, "b.onnx", "--data", "digits", "--steps", "3", "--report", "walk.html"];
    assert_page(&folder.path("walk.html"), &folder.json(&walk), &folder.path("profile"));
    assert!(folder.refused(&["eval", "a.onnx", "--data", "digits", "--report", "a.onnx"]).contains("a.onnx"));
}

#[test]
fn walks_that_go_nowhere_are_refused() {
    let folder = Folder::new();
    for (line, named) in [
        (&["--steps", "1"][..], "--steps 1"),
        (&["--plane", "1"], "--plane"),
        (&["--train", "0"], "--train"),
        (&["--anchor", "2"], "--anchor 2"),
    ] {
        let message = folder.refused(&[&["interpolate", "a.onnx", "b.onnx", "--data", "digits"], line].concat());
        assert!(message.contains(named), "{message}");
    }
    assert!(folder.refused(&["interpolate", "a.onnx", "b.onnx"]).contains("data"));
}

#[test]
fn an_experiment_writes_a_page() {
    let folder = Folder::new();
    let file = "title: Perceptrons\ndata: {source: digits}\nseeds: [0, 1]\npublished: {source: a table, parents: [90]}\n\
                axis: w\nfor: {w: [0.25, 0.5], rest: [0.75, 0.5]}\nnetworks:\n  \
                - {name: A, train: 'mlp:8', options: {epochs: 2}}\n  - {name: B, train: 'mlp:8', options: {epochs: 2}}\n  \
                - {name: fused, fuse: [A, B], published: 80, options: {preset: forward, weights: ['${rest}', '${w}']}}\n";
    std::fs::write(folder.path("e.yml"), file).expect("written");
    let results = folder.json(&["experiment", "e.yml", "-o", "out", "--report", "e.html", "--figures", "figures"]);
    assert!(folder.path("figures/accuracy.png").is_file());
    let page = std::fs::read_to_string(folder.path("e.html")).expect("written");
    assert!(page.contains("a table; parents 90.00"));
    let run = std::fs::read_to_string(folder.path("out/run.json")).expect("written");
    let run: Value = serde_json::from_str(&run).expect("JSON");
    let whole = serde_json::json!({"results": results, "run": run});
    assert_page(&folder.path("e.html"), &whole, &folder.path("profile"));
}

#[test]
fn a_result_may_be_narrower_or_wider_than_its_parents() {
    let folder = Folder::new();
    for data in [&[][..], &["--data", "digits", "--samples", "200"]] {
        let fused = [&["fuse", "a.onnx", "b.onnx", "-o", "half.onnx", "--target-width", "0.5"][..], data].concat();
        let report = folder.json(&fused);
        assert_eq!(report["settings"]["weights"], serde_json::json!([0.5, 0.5]));
        let sizes: Vec<(i64, i64)> = report["groups"]
            .as_array()
            .expect("groups")
            .iter()
            .map(|group| (group["size"].as_i64().expect("a size"), group["anchor_size"].as_i64().expect("a size")))
            .collect();
        assert_eq!(sizes, [(24, 12), (16, 8), (24, 12), (16, 8)], "both parents are aligned to the narrow copy");
        folder.json(&["prune", "b.onnx", "--amount", "0.5", "-o", "pruned.onnx"]);
        let measured = folder.json(&["eval", "half.onnx", "pruned.onnx", "--data", "digits"]);
        let accuracy = |at: usize| number(&measured["models"][at]["accuracy"]);
        assert!(accuracy(0) > 0.3, "{measured}");
        if !data.is_empty() {
            assert!(accuracy(0) > accuracy(1), "{measured}");
        }
    }
    // The anchor's width changes nothing.
    for (name, width) in [("plain.onnx", None), ("same.onnx", Some("1"))] {
        let mut fused = vec!["fuse", "a.onnx", "b.onnx", "-o", name];
        fused.extend(width.iter().flat_map(|width| ["--target-width", width]));
        folder.json(&fused);
    }
    let bytes = |name: &str| std::fs::read(folder.path(name)).expect("written");
    assert_eq!(bytes("plain.onnx"), bytes("same.onnx"));
    let wide = folder.json(&["fuse", "a.onnx", "b.onnx", "-o", "wider.onnx", "--target-width", "1.5"]);
    assert_eq!(wide["settings"]["width_budget"], 1.5);
    for width in ["0", "-1", "nan", "inf"] {
        let output = folder.run(&["fuse", "a.onnx", "b.onnx", "-o", "no.onnx", &format!("--target-width={width}")]);
        assert_eq!(output.status.code(), Some(2), "{width}");
        assert!(!folder.path("no.onnx").exists());
    }
}
