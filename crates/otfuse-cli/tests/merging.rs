//! Files of settings in mergekit's format: results beside those that mergekit made of the same files, and what is wrong in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use otfuse::formats::{Checkpoint, read_state_dict};
use otfuse::graph::Tensor;
use serde_json::Value;

/// The relative norm of a difference that rounding to 16 bits explains, and that rounding to 32 bits does.
const NARROW: f64 = 4e-3;
const WIDE: f64 = 2e-4;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mergekit")
}

fn otfuse(arguments: &[&str]) -> (i32, String, String) {
    with_threads("2", arguments)
}

fn with_threads(threads: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otfuse"));
    let run = command.args(arguments).env("RAYON_NUM_THREADS", threads).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (run.status.code().unwrap_or(-1), text(run.stdout), text(run.stderr))
}

fn at(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Tensors by names without the prefix of GPT-2's class, which mergekit adds where files lack it, and without constants, which it
/// leaves out.
fn named<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> BTreeMap<String, Vec<f64>> {
    let of = |(name, tensor): (&str, &Tensor)| {
        let name = name.strip_prefix("transformer.").unwrap_or(name).to_owned();
        (name, tensor.to_f32().unwrap().into_iter().map(f64::from).collect())
    };
    tensors.map(of).filter(|(name, _)| !name.ends_with(".attn.bias")).collect()
}

fn distance(found: &[f64], expected: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let size = norm(&mut expected.iter().copied());
    if size > 0.0 { difference / size } else { difference }
}

/// What a merge of a case does otherwise than mergekit; nothing if it does the same.
fn differences(case: &Path, out: &Path) -> Vec<String> {
    let expected = json(&case.join("expected.json"));
    let seed = expected.get("seed").and_then(Value::as_u64).unwrap_or(0).to_string();
    let (code, _, stderr) = otfuse(&["fuse", at(&case.join("config.yml")), "-o", at(out), "--seed", &seed]);
    if code != 0 {
        return vec![stderr];
    }
    let mut wrong = Vec::new();
    let made = Checkpoint::open(out, None).unwrap();
    let (found, theirs) =
        (named(made.dict().iter()), read_state_dict(&case.join("expected.safetensors"), None).unwrap());
    let is_narrow = theirs.iter().any(|(_, tensor)| tensor.data_type().size() == 2)
        || fs::read_to_string(case.join("config.yml")).unwrap().contains("float16");
    let theirs = named(theirs.iter());
    wrong.extend(theirs.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("no tensor {name}")));
    wrong.extend(
        found.keys().filter(|name| !theirs.contains_key(*name)).map(|name| format!("a tensor {name} too many")),
    );
    for (name, values) in &theirs {
        let Some(found) = found.get(name).filter(|found| found.len() == values.len()) else { continue };
        let distance = distance(found, values);
        if distance.is_nan() || distance > if is_narrow { NARROW } else { WIDE } {
            wrong.push(format!("{name} differs by {distance:.1e}"));
        }
    }
    let settings = made.settings().unwrap();
    for (key, value) in expected["config"].as_object().unwrap() {
        // Settings that say what is so without them; and tables that are no longer shared, which mergekit's settings still say.
        let is_said = settings.contains_key(key) && key != "tie_word_embeddings";
        if is_said && settings.get(key) != Some(value) {
            wrong.push(format!("{key} is {:?}, expected {value}", settings.get(key)));
        }
    }
    if let Some(tokens) = expected.get("tokens").and_then(Value::as_array) {
        let found: Vec<Value> = made.tokens().unwrap().into_iter().map(|(_, token)| token.into()).collect();
        if found != *tokens {
            wrong.push(format!("tokens {found:?}, expected {tokens:?}"));
        }
    }
    wrong
}

#[test]
fn merges_are_those_of_mergekit() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases: Vec<PathBuf> = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.join("config.yml").is_file());
    cases.sort();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_str().unwrap();
        let found = differences(case, &folder.path().join(name));
        wrong.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// A file of settings about the small networks of the golden files, and what comes of it.
struct Settings {
    folder: tempfile::TempDir,
}

impl Settings {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Runs with MODELS/NAME standing for the networks.
    fn run(&self, text: &str, more: &[&str]) -> (i32, String, String) {
        self.run_with("2", text, more)
    }

    fn run_with(&self, threads: &str, text: &str, more: &[&str]) -> (i32, String, String) {
        let path = self.folder.path().join("settings.yml");
        fs::write(&path, text.replace("MODELS", at(&golden().join("models")))).unwrap();
        with_threads(threads, &[&["fuse", at(&path), "-o", at(&self.out())], more].concat())
    }

    fn refuses(&self, text: &str, words: &[&str]) {
        let (code, stdout, stderr) = self.run(text, &[]);
        assert_eq!(code, 2, "{text}\n{stdout}\n{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word:?} is not in\n{stderr}\nof {text}");
        }
        assert!(!self.out().exists(), "{text}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_its_place_and_nothing_is_written() {
    let settings = Settings::new();
    let two =
        "models: [{model: MODELS/llama, parameters: {weight: 1}}, {model: MODELS/llama-a, parameters: {weight: 1}}]";
    for (text, words) in [
        (format!("merge_method: ties\n{two}"), &["base_model", "needs a base"][..]),
        (format!("merge_method: slerp\nbase_model: MODELS/llama\n{two}"), &["'t'", "expected t"][1..]),
        (format!("merge_method: ties\nbase_model: MODELS/llama\nparameters: {{density: 2}}\n{two}"), &["parameters.density", "0 to 1"]),
        (format!("merge_method: linear\nmodls: []\n{two}"), &["modls", "did you mean 'models'?"]),
        (format!("merge_method: model_stock\nbase_model: MODELS/llama\n{two}"), &["two models beside the base"]),
        (
            "merge_method: passthrough\nslices: [{sources: [{model: MODELS/llama, layer_range: [0, 99]}]}]".into(),
            &["slices[0]", "layers", "99"],
        ),
        (
            "merge_method: linear\nmodels: [{model: MODELS/llama}, {model: MODELS/gpt2}]".into(),
            &["expected a network of model_type llama", "found gpt2"],
        ),
        (
            "merge_method: linear\nmodels: [{model: MODELS/words}, {model: MODELS/words-more}]".into(),
            &["tokenizer_source", "expected shape"],
        ),
        ("merge_method: linear\nmodels: [{model: someone/model-a}, {model: MODELS/llama}]".into(), &["hf download someone/model-a"]),
        ("merge_method: linear\nmodels: [{model: nowhere/at/all}, {model: MODELS/llama}]".into(), &["no such file"]),
        (format!("merge_method: linear\n{two}\n---\nmerge_method: linear\n{two}"), &["without a name"]),
        (
            "name: a\nmerge_method: linear\nmodels: [{model: b}]\n---\nname: b\nmerge_method: linear\nmodels: [{model: a}]\n---\n\
             merge_method: linear\nmodels: [{model: a}]".into(),
            &["made of each other"],
        ),
        ("gate_mode: hidden\nmerge_method: linear\nexperts: []\nmodels: [{model: a}]".into(), &["gate_mode"]),
        (format!("merge_method: fisher\n{two}"), &["fisher needs to know", "`alignment: {}`", "--data", "--merge fisher"]),
        (format!("merge_method: regmean\n{two}\nalignment: {{}}"), &["--merge regmean needs samples", "--data"]),
        ("merge_method: [".into(), &["not valid YAML"]),
        (String::new(), &["empty file"]),
    ] {
        settings.refuses(&text, words);
    }
}

#[test]
fn a_mean_of_half_and_half_is_the_same_from_any_number_of_threads_and_in_shards() {
    let settings = Settings::new();
    let text = "merge_method: linear\nmodels: [{model: MODELS/llama}, {model: MODELS/llama-a}]";
    let (code, stdout, stderr) = settings.run_with("1", text, &["--json"]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["method"], "linear");
    let whole = fs::read(settings.out().join("model.safetensors")).unwrap();
    assert!(fs::read_to_string(settings.out().join("README.md")).unwrap().contains("merge_method: linear"));
    fs::remove_dir_all(settings.out()).unwrap();
    assert_eq!(settings.run_with("3", text, &[]).0, 0);
    assert_eq!(fs::read(settings.out().join("model.safetensors")).unwrap(), whole);
    let sum = |folder: &Path| {
        let dict = Checkpoint::open(folder, None).unwrap();
        dict.dict().iter().map(|(name, tensor)| (name.to_owned(), tensor.to_f32().unwrap())).collect::<BTreeMap<_, _>>()
    };
    let expected = sum(&settings.out());
    fs::remove_dir_all(settings.out()).unwrap();
    assert_eq!(settings.run(text, &["--shard-size", "1KB"]).0, 0);
    assert!(settings.out().join("model.safetensors.index.json").is_file());
    assert_eq!(sum(&settings.out()), expected);
    fs::remove_dir_all(settings.out()).unwrap();
    let (code, stdout, _) = settings.run(text, &["--dry-run"]);
    assert!(code == 0 && stdout.contains("nothing was written") && !settings.out().exists());
    // An option of a fusion has nothing to say to a merge.
    let (code, _, stderr) = settings.run(text, &["--preset", "paper"]);
    assert!(code == 2 && stderr.contains("alignment"), "{stderr}");
}

#[test]
fn with_alignment_any_method_merges_networks_of_their_own_seeds() {
    let settings = Settings::new();
    let text = |method: &str, more: &str| {
        format!(
            "merge_method: {method}\nbase_model: MODELS/llama\nmodels: [{{model: MODELS/llama-far}}, {{model: MODELS/llama}}]\n\
             alignment: {{effort: quick}}\n{more}"
        )
    };
    for (method, more) in [
        ("linear", ""),
        ("slerp", "parameters: {t: [0.2, 0.5]}"),
        ("ties", "parameters: {density: 0.5, weight: 0.5}"),
        ("task_arithmetic", "parameters: {weight: [{filter: mlp, value: 0.5}, {value: 0.1}]}"),
        ("nearswap", "parameters: {t: 0.01}"),
        ("karcher", ""),
        ("median", ""),
    ] {
        let (code, _, stderr) = settings.run(&text(method, more), &[]);
        assert_eq!(code, 0, "{method}: {stderr}");
        fs::remove_dir_all(settings.out()).unwrap();
    }
    settings.refuses(&text("nearswap", ""), &["expected t"]);
    settings.refuses(&text("slerp", "parameters: {density: 0.5}"), &["density", "slerp"]);
    settings.refuses(&text("passthrough", ""), &["aligned networks"]);
}

#[test]
fn methods_that_know_of_samples_merge_networks_of_any_form_by_file_and_by_option() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for seed in ["1", "2"] {
        let train = ["train", "mlp:16", "--data", "digits", "--epochs", "3", "--seed", seed, "-o"];
        let (code, _, stderr) = otfuse(&[&train[..], &[&path(&format!("{seed}.pt"))]].concat());
        assert_eq!(code, 0, "{stderr}");
    }
    let (a, b) = (path("1.pt"), path("2.pt"));
    let accuracy = |out: &str| {
        let (code, stdout, stderr) = otfuse(&["eval", out, "--arch", "mlp", "--data", "digits", "--json"]);
        assert_eq!(code, 0, "{stderr}");
        let report: Value = serde_json::from_str(&stdout).unwrap();
        report["models"][0]["accuracy"].as_f64().unwrap()
    };
    for method in ["fisher", "regmean"] {
        let (by_option, by_file) = (path(&format!("{method}.pt")), path(&format!("{method}-file.pt")));
        let common = ["--data", "digits", "--samples", "200", "--repair", "none", "-o"];
        let fuse = ["fuse", &a, &b, "--arch", "mlp", "--merge", method];
        let (code, _, stderr) = with_threads("1", &[&fuse[..], &common, &[&by_option]].concat());
        assert_eq!(code, 0, "{stderr}");
        let text = format!(
            "merge_method: {method}\nmodels: [{{model: {a}}}, {{model: {b}}}]\narch: mlp\nalignment: {{repair: none, samples: 200}}"
        );
        let file = path("settings.yml");
        fs::write(&file, text).unwrap();
        let (code, _, stderr) = with_threads("3", &["fuse", &file, "--data", "digits", "-o", &by_file]);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(fs::read(&by_option).unwrap(), fs::read(&by_file).unwrap(), "{method}");
        assert!(accuracy(&by_option) > 0.5, "{method}: {}", accuracy(&by_option));
        let (code, _, stderr) = otfuse(&[&fuse[..], &["-o", &path("none.pt")]].concat());
        assert!(code == 2 && stderr.contains("needs samples") && stderr.contains("--data"), "{stderr}");
        let wrong = ["--data", "digits", "--parameter", "weight=-1", "-o", &path("none.pt")];
        let (code, _, stderr) = otfuse(&[&fuse[..], &wrong].concat());
        assert!(code == 2 && stderr.contains("weight"), "{stderr}");
    }
    // Language models: folders of Hugging Face, the next of 12 tokens.
    let text = path("text.txt");
    fs::write(&text, "a bad cab had a bead. ".repeat(80)).unwrap();
    let models = golden().join("models");
    for method in ["fisher", "regmean"] {
        let out = path(method);
        let (first, second) = (models.join("llama-far"), models.join("llama"));
        let data = format!("text@8:{text}");
        let arguments =
            ["fuse", at(&first), at(&second), "--merge", method, "--data", &data, "--samples", "10", "-o", &out];
        let (code, _, stderr) = otfuse(&arguments);
        assert_eq!(code, 0, "{stderr}");
        assert!(Path::new(&out).join("model.safetensors").is_file());
    }
}

#[test]
fn a_search_finds_better_numbers_on_samples_held_out_and_goes_on_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for seed in ["1", "2"] {
        let (code, _, stderr) = otfuse(&[
            "train",
            "mlp:16",
            "--data",
            "digits",
            "--epochs",
            "3",
            "--seed",
            seed,
            "-o",
            &path(&format!("{seed}.pt")),
        ]);
        assert_eq!(code, 0, "{stderr}");
    }
    let (a, b, out, csv) = (path("1.pt"), path("2.pt"), path("f.pt"), path("s.csv"));
    let search = |more: &[&str]| {
        let arguments =
            ["fuse", &a, &b, "--arch", "mlp", "--data", "digits", "-o", &out, "--search", "weight:2", "--csv", &csv];
        otfuse(&[&arguments, more].concat())
    };
    let (code, stdout, stderr) = search(&["--json", "--trials", "12"]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let number = |name: &str| report["search"][name].as_f64().unwrap();
    assert!(number("held_out_best") < number("held_out_start"), "{}", report["search"]);
    assert_eq!(report["search"]["trials"].as_array().unwrap().len(), 12);
    assert!(report["settings"].is_object(), "the fusion stands beside");
    let (first, bytes) = (fs::read_to_string(&csv).unwrap(), fs::read(&out).unwrap());
    let (code, stdout, stderr) = search(&["--json", "--trials", "20"]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["search"]["reused"].as_u64(), Some(12));
    let scores = |text: &str| text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect::<Vec<_>>();
    assert_eq!(scores(&fs::read_to_string(&csv).unwrap())[..13], scores(&first)[..]);
    fs::remove_file(&csv).unwrap();
    assert_eq!(search(&["--trials", "12"]).0, 0);
    assert_eq!(fs::read(&out).unwrap(), bytes, "the same search gives the same network");
    let refused = otfuse(&["fuse", &a, &b, "--arch", "mlp", "--data", "digits", "-o", &out, "--search", "wieght"]);
    assert!(refused.0 == 2 && refused.2.contains("takes no parameter 'wieght'"), "{}", refused.2);
}

#[test]
fn the_base_is_the_last_model_as_they_were_named_whatever_their_order_makes_no_difference_to() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let models = golden().join("models");
    let of = |name: &str| models.join(name);
    let (a, b, base) = (of("llama-a"), of("llama-far"), of("llama"));
    let merge = |order: [&Path; 3], more: &[&str]| {
        let _ = fs::remove_dir_all(&out);
        let names = order.map(at);
        let arguments =
            ["fuse", names[0], names[1], names[2], "--method", "average", "--merge", "task_arithmetic", "-o", at(&out)];
        let (code, _, stderr) = otfuse(&[&arguments, more].concat());
        assert_eq!(code, 0, "{stderr}");
        named(Checkpoint::open(&out, None).unwrap().dict().iter())
    };
    let found = merge([&a, &b, &base], &["--parameter", "weight=0.5"]);
    let values = |folder: &Path| named(Checkpoint::open(folder, None).unwrap().dict().iter());
    let (a_values, b_values, base_values) = (values(&a), values(&b), values(&base));
    for (name, found) in &found {
        let expected = (0..found.len()).map(|at| {
            let (base, a, b) = (base_values[name][at], a_values[name][at], b_values[name][at]);
            base + 0.5 * (a - base) + 0.5 * (b - base)
        });
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{name}");
    }
    assert_eq!(merge([&base, &a, &b], &["--parameter", "weight=0.5", "--base", "0"]), found);
}

#[test]
fn gradients_of_more_values_than_layers_are_taken_and_told() {
    let settings = Settings::new();
    let text = "merge_method: slerp\nbase_model: MODELS/llama\nmodels: [{model: MODELS/llama}, {model: MODELS/llama-a}]\n\
                parameters: {t: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1]}";
    let (code, _, stderr) = settings.run(text, &[]);
    assert!(code == 0 && stderr.contains("t has 9 values for 3 layers"), "{stderr}");
}

#[test]
fn tokens_beyond_the_table_are_no_rows() {
    let settings = Settings::new();
    let models = golden().join("models");
    let copy = |name: &str, to: &str| {
        let folder = settings.folder.path().join(to);
        fs::create_dir(&folder).unwrap();
        for file in fs::read_dir(models.join(name)).unwrap() {
            let file = file.unwrap().path();
            fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
        folder
    };
    // A number that no memory has rows for, and settings that do not say how many there are.
    let hostile = copy("words", "hostile");
    let tokenizer = fs::read_to_string(hostile.join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&tokenizer).unwrap();
    tokenizer["model"]["vocab"]["far"] = 900_000_000_000_000_u64.into();
    fs::write(hostile.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let mut config = json(&hostile.join("config.json"));
    config.as_object_mut().unwrap().remove("vocab_size");
    fs::write(hostile.join("config.json"), config.to_string()).unwrap();
    copy("words-more", "more");
    let text = "merge_method: linear\nmodels: [{model: hostile}, {model: more}]\ntokenizer_source: union";
    let (code, stdout, stderr) = settings.run(text, &["--json"]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert!(report["vocabulary"].as_u64().unwrap() < 20, "{report}");
}
