//! Every file of the collection against onnxruntime, on demand. `OTFUSE_BLESS=1` writes `docs/onnx-corpus.md` anew:
//!
//! ```sh
//! python crates/otfuse/tests/golden/reference.py operators ../shared/onnx operators.json
//! OTFUSE_BLESS=1 OTFUSE_OPERATORS=$PWD/operators.json \
//!     cargo test --release -p otfuse --test onnx_corpus -- --ignored --nocapture operators
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use otfuse::formats::onnx::open_onnx;
use otfuse::graph::DataType;
use otfuse::runtime::{Host, RuntimeError, run_graph};
use otfuse::{VerifyError, verify_graph};

use crate::collection::collection;
use crate::golden::{Golden, read};

/// Folders whose files hold one operator each, or a few.
const OPERATOR_FOLDERS: [&str; 3] = ["burn-onnx", "onnx-pytorch", "tract"];

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Equal to onnxruntime.
    Equal,
    /// Equal to onnx's own implementation, where onnxruntime refuses the file.
    EqualToOnnx,
    /// Executed, but neither of the two executes the file, or they take it for another network.
    Alone,
    /// An operator that is refused, by name.
    Refused,
    /// Inputs that do not fit, or a file that breaks the format's rules.
    Invalid,
    Panicked,
    Different,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::EqualToOnnx => "equal (onnx)",
            Self::Alone => "runs",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Panicked => "panicked",
            Self::Different => "different",
        }
    }
}

fn outcome(path: &Path, golden: Option<&Golden>) -> (Outcome, String) {
    let graph = match open_onnx(path) {
        Ok(model) => model.graph,
        // The path is said already.
        Err(error) => {
            let text = error.to_string();
            let (_, reason) = text.split_once(".onnx: ").unwrap_or(("", &text));
            return (Outcome::Invalid, reason.to_owned());
        }
    };
    let Some(golden) = golden else {
        return match verify_graph(&graph, 1, &Host::default()) {
            Ok(_) => (Outcome::Alone, "no reference".into()),
            Err(VerifyError::Runtime(error @ RuntimeError::Unsupported { .. })) => {
                (Outcome::Refused, error.to_string())
            }
            Err(error) => (Outcome::Invalid, error.to_string()),
        };
    };
    let reference = golden.refused_by_onnxruntime.as_ref();
    let found = match run_graph(&graph, golden.inputs(), &Host::default()) {
        Ok(found) => found,
        Err(error @ RuntimeError::Unsupported { .. }) => return (Outcome::Refused, error.to_string()),
        Err(error) => return (Outcome::Invalid, error.to_string()),
    };
    match (golden.difference(&found), reference) {
        // Computed in float32 whatever the type: halves are rounded more coarsely by the reference.
        (Ok(difference), None) if difference < tolerance(golden) => (Outcome::Equal, format!("{difference:.1e}")),
        (Ok(difference), Some(_)) if difference < tolerance(golden) => {
            (Outcome::EqualToOnnx, format!("{difference:.1e}"))
        }
        (Ok(difference), None) => (Outcome::Different, format!("{difference:.1e}")),
        (Err(problem), None) => (Outcome::Different, problem),
        (Ok(difference), Some(reason)) => {
            (Outcome::Alone, format!("{difference:.1e} from onnx; onnxruntime: {reason}"))
        }
        (Err(problem), Some(reason)) => (Outcome::Alone, format!("onnx: {problem}; onnxruntime: {reason}")),
    }
}

fn tolerance(golden: &Golden) -> f64 {
    let is_half = |data_type: DataType| data_type.is_float() && data_type.size() == 2;
    if golden.inputs.iter().any(|input| is_half(input.data_type)) { 4e-3 } else { 1e-4 }
}

/// The neuron groups of a network, and what their proof says.
fn proof(path: &Path) -> String {
    let Ok(model) = open_onnx(path) else { return String::new() };
    match verify_graph(&model.graph, 1, &Host::default()) {
        Ok(proof) if proof.is_ok() => format!("{}, proved to {:.1e}", proof.groups.len(), proof.max_rel_error),
        Ok(proof) => format!("{}, WRONG by {:.1e}", proof.groups.len(), proof.max_rel_error),
        Err(_) => "not proved".into(),
    }
}

/// All files, as paths from the collection.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from(folder)];
    while let Some(inner) = waiting.pop() {
        for entry in std::fs::read_dir(&inner).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "onnx") {
                let name = path.strip_prefix(folder).expect("a path inside").to_string_lossy().into_owned();
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

/// The text of a cell of a table.
fn cell(text: &str) -> String {
    let short: String = text.chars().take(240).collect();
    short.replace('|', "\\|").replace('\n', " ")
}

const HEAD: &str = "\
# The collection of ONNX files

What becomes of each file of a collection of third-party ONNX files (not part of this repository), on random inputs.
Written by

    python crates/otfuse/tests/golden/reference.py operators ../shared/onnx operators.json
    OTFUSE_BLESS=1 OTFUSE_OPERATORS=$PWD/operators.json \\
        cargo test --release -p otfuse --test onnx_corpus -- --ignored --nocapture operators

- *equal*: all outputs are those of onnxruntime, with the largest difference relative to the largest absolute value of
  an output (below 1e-4; below 4e-3 where inputs have 16 bits, as is computed in float32 here);
- *equal (onnx)*: onnxruntime refuses the file, the outputs are those of onnx's reference implementation;
- *runs*: neither of them executes the file, or onnx's reference implementation gives other outputs than its own
  declarations or operators ask for;
- *refused*: an operator is refused by name; *invalid*: the file, or the random inputs, break an operator's rules;
- *groups*: the number of free neuron groups of a network, and how far permuting them changes its outputs.

";

fn report(outcomes: &BTreeMap<String, (Outcome, String)>, folder: &Path) -> String {
    let is_operator = |name: &str| OPERATOR_FOLDERS.contains(&name.split('/').next().unwrap_or_default());
    let mut text = HEAD.to_owned();
    text.push_str("| | files | equal | equal (onnx) | runs | refused | invalid | different |\n|---|---|---|---|---|---|---|---|\n");
    for (kind, operators) in [("single operators", true), ("networks", false)] {
        let of_kind = || outcomes.iter().filter(|(name, _)| is_operator(name) == operators);
        let count = |wanted: Outcome| of_kind().filter(|(_, (outcome, _))| *outcome == wanted).count();
        let all = of_kind().count();
        let counts = [
            Outcome::Equal,
            Outcome::EqualToOnnx,
            Outcome::Alone,
            Outcome::Refused,
            Outcome::Invalid,
            Outcome::Different,
        ];
        let counts: Vec<String> = counts.iter().map(|&outcome| count(outcome).to_string()).collect();
        let _ = writeln!(text, "| {kind} | {all} | {} |", counts.join(" | "));
    }
    text.push_str("\n| file | outcome | difference or reason | groups |\n|---|---|---|---|\n");
    for (name, (outcome, detail)) in outcomes {
        let groups = if is_operator(name) { String::new() } else { proof(&folder.join(name)) };
        let _ = writeln!(text, "| {name} | {} | {} | {groups} |", outcome.name(), cell(detail));
    }
    text
}

#[test]
#[ignore = "needs what onnxruntime computes on the files"]
fn operators_are_those_of_onnxruntime() {
    let Some(folder) = collection() else { return };
    let Some(path) = std::env::var_os("OTFUSE_OPERATORS") else {
        eprintln!("skipped: OTFUSE_OPERATORS names no file");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut goldens = read(Path::new(&path));
    goldens.extend(read(&root.join("tests/golden/networks.json")));
    let mut outcomes = BTreeMap::new();
    for name in files(&folder) {
        let golden = goldens.get(&name);
        let found = catch_unwind(AssertUnwindSafe(|| outcome(&folder.join(&name), golden)))
            .unwrap_or((Outcome::Panicked, String::new()));
        if !matches!(found.0, Outcome::Equal | Outcome::EqualToOnnx) {
            eprintln!("{} {name}: {}", found.0.name(), found.1);
        }
        outcomes.insert(name, found);
    }
    let mut counts = BTreeMap::new();
    for (name, (outcome, _)) in &outcomes {
        let operator = OPERATOR_FOLDERS.contains(&name.split('/').next().unwrap_or_default());
        *counts.entry((operator, *outcome)).or_insert(0) += 1;
    }
    eprintln!("{counts:?}");
    if std::env::var_os("OTFUSE_BLESS").is_some() {
        let text = report(&outcomes, &folder);
        std::fs::write(root.join("../../docs/onnx-corpus.md"), text).expect("docs/onnx-corpus.md");
    }
    let of_operators = |wanted: &[Outcome]| -> usize { wanted.iter().filter_map(|&w| counts.get(&(true, w))).sum() };
    let equal = of_operators(&[Outcome::Equal, Outcome::EqualToOnnx]);
    let all: usize = counts.iter().filter(|((operator, _), _)| *operator).map(|(_, count)| count).sum();
    assert!(equal * 10 >= all * 9, "{equal} of {all} files");
    for outcome in [Outcome::Different, Outcome::Panicked] {
        assert!(!counts.contains_key(&(true, outcome)) && !counts.contains_key(&(false, outcome)), "{counts:?}");
    }
}
