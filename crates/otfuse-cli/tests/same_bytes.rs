//! The library gives what the command gives, to the byte.

mod workbench;

use otfuse::{
    AlignOptions, CompareOptions, Context, Dataset, Fuse, InterpolateOptions, Model, SplitName, align, compare,
    evaluate, interpolate, verify,
};
use serde::Serialize;
use serde_json::Value;
use workbench::{Workbench, snapshot};

fn open(bench: &Workbench, name: &str) -> Model {
    Model::open(bench.path(name)).expect("a network")
}

/// JSON without the times, which no two runs share.
fn timeless(json: &str) -> String {
    let mut value: Value = serde_json::from_str(json).expect("JSON");
    if let Some(fields) = value.as_object_mut() {
        fields.remove("seconds");
        fields.remove("output");
        if let Some(made) = fields.get_mut("made").and_then(Value::as_object_mut) {
            made.remove("seconds");
        }
    }
    value.to_string()
}

fn json(result: &impl Serialize) -> String {
    serde_json::to_string_pretty(result).expect("JSON") + "\n"
}

#[test]
fn fuse() {
    let bench = Workbench::new();
    let context = Context::new();
    let data = Dataset::open(&format!("npz:{}", bench.text("data.npz"))).expect("a data set");
    for (names, with_data) in [
        (&["a.onnx", "b.onnx"][..], false),
        (&["a.onnx", "b.onnx"], true),
        (&["a.onnx", "b.onnx", "c.onnx"], false),
        (&["c.onnx", "a.onnx", "b.onnx"], true),
    ] {
        let models: Vec<Model> = names.iter().map(|name| open(&bench, name)).collect();
        let mut fuse = Fuse::new(&models);
        let (paths, spec) = (names.iter().map(|name| bench.text(name)).collect::<Vec<_>>(), data.name().to_owned());
        let mut words: Vec<&str> = vec!["fuse"];
        words.extend(paths.iter().map(String::as_str));
        words.extend(["-o", "command.onnx", "--json"]);
        if with_data {
            fuse = fuse.data(&data);
            words.extend(["--data", &spec]);
        }
        let fused = fuse.run(&context).expect("fused");
        fused.save(bench.path("library.onnx")).expect("written");
        let printed = bench.succeed(&words);
        assert_eq!(bench.bytes("library.onnx"), bench.bytes("command.onnx"), "{words:?}");
        assert_eq!(timeless(&json(&fused.report)), timeless(&printed), "{words:?}");
    }
}

#[test]
fn fuse_folders() {
    let bench = Workbench::new().with_folders();
    let models = [open(&bench, "h1"), open(&bench, "h2")];
    let fused = Fuse::new(&models).run(&Context::new()).expect("fused");
    fused.save(bench.path("library")).expect("written");
    bench.succeed(&["fuse", "h1", "h2", "-o", "command"]);
    let files = |folder: &str| -> Vec<_> {
        let found = snapshot(&bench.path(folder)).into_iter();
        let named = found.map(|(path, bytes)| (path.file_name().expect("a name").to_owned(), bytes));
        // The card is the command's.
        named.filter(|(name, _)| name != "README.md").collect()
    };
    assert_eq!(files("library"), files("command"));
}

#[test]
fn align_networks() {
    let bench = Workbench::new();
    let (a, b) = (open(&bench, "a.onnx"), open(&bench, "b.onnx"));
    let aligned = align(&a, &b, &AlignOptions::default(), None, &Context::new()).expect("aligned");
    aligned.save(bench.path("library.onnx")).expect("written");
    let words = ["align", "a.onnx", "b.onnx", "-o", "command.onnx", "--save-alignment", "plan.json"];
    bench.succeed(&words);
    assert_eq!(bench.bytes("library.onnx"), bench.bytes("command.onnx"));
    assert_eq!(aligned.alignments_json().expect("JSON"), bench.bytes("plan.json"));
}

#[test]
fn verify_and_evaluate() {
    let bench = Workbench::new();
    let (context, a, b) = (Context::new(), open(&bench, "a.onnx"), open(&bench, "b.onnx"));
    let found = verify(&a, 3, &context).expect("verified");
    assert_eq!(json(&found), bench.succeed(&["verify", &bench.text("a.onnx"), "--seed", "3", "--json"]));
    let spec = format!("npz:{}", bench.text("data.npz"));
    let samples = Dataset::open(&spec).and_then(|data| data.samples(SplitName::Test, None)).expect("samples");
    let found = evaluate(&[&a, &b], &samples, true, &context).expect("evaluated");
    let paths = (bench.text("a.onnx"), bench.text("b.onnx"));
    assert_eq!(json(&found), bench.succeed(&["eval", &paths.0, &paths.1, "--data", &spec, "--ensemble", "--json"]));
}

#[test]
fn compare_and_interpolate() {
    let bench = Workbench::new();
    let (context, models) = (Context::new(), [open(&bench, "a.onnx"), open(&bench, "b.onnx")]);
    let spec = format!("npz:{}", bench.text("data.npz"));
    let data = Dataset::open(&spec).expect("a data set");
    let paths = (bench.text("a.onnx"), bench.text("b.onnx"));
    for data in [None, Some(&data)] {
        let found = compare(&models, &CompareOptions::default(), data, &context).expect("compared");
        let mut words = vec!["compare", &paths.0, &paths.1, "--json"];
        if data.is_some() {
            words.extend(["--data", &spec]);
        }
        assert_eq!(timeless(&json(&found)), timeless(&bench.succeed(&words)));
    }
    let found = interpolate(&models, &InterpolateOptions::default(), &data, &context).expect("interpolated");
    let printed = bench.succeed(&["interpolate", &paths.0, &paths.1, "--data", &spec, "--json"]);
    assert_eq!(timeless(&json(&found)), timeless(&printed));
}
