//! The library as others use it: its defaults, its errors, its limits, the same results whatever they were computed with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::graph::{Graph, GraphEditor, Tensor};
use otfuse::runtime::mlp;
use otfuse::{
    Context, Dataset, EffortName, Error, ErrorKind, Event, Fuse, FuseOptions, FusePlan, FuseReport, Fused, Model,
    RepairName, Samples,
};
use serde_json::Value;
use tempfile::TempDir;

fn write(folder: &TempDir, name: &str, graph: &Graph) -> PathBuf {
    let path = folder.path().join(name);
    write_onnx(&path, to_proto(graph).expect("a sound graph"), &WriteOptions::default()).expect("written");
    path
}

/// A perceptron for the embedded digits.
fn perceptron(seed: u64) -> Graph {
    mlp(&[64, 12, 8, 10], seed).expect("sound widths")
}

/// So many perceptrons in files.
fn models<const COUNT: usize>(folder: &TempDir) -> [Model; COUNT] {
    std::array::from_fn(|at| {
        Model::open(write(folder, &format!("{at}.onnx"), &perceptron(at as u64 + 1))).expect("a network")
    })
}

/// The network with a number in place of one weight.
fn spoilt(graph: &Graph, name: &str, value: f32) -> Graph {
    let id = graph.find_value(name).expect("a weight");
    let tensor = graph.initializer(id).expect("a weight");
    let mut values = tensor.to_f32().expect("floats");
    values[3] = value;
    let mut editor = GraphEditor::edit(graph.clone());
    editor.set_tensor(id, Tensor::from_f32(tensor.shape(), values));
    editor.finish().expect("the same graph")
}

/// All files of a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}

fn saved(fused: &Fused) -> Vec<u8> {
    let folder = TempDir::new().expect("temporary folder");
    let path = folder.path().join("fused.onnx");
    fused.save(&path).expect("written");
    fs::read(path).expect("read")
}

fn refused<T>(outcome: otfuse::Result<T>) -> Error {
    outcome.err().expect("a refusal")
}

#[test]
fn without_options_the_result_is_proved_and_repaired_without_data() {
    let folder = TempDir::new().unwrap();
    let [a, b] = models(&folder);
    let fused = Fuse::new([&a, &b]).run(&Context::new()).unwrap();
    let settings = &fused.report.settings;
    assert!(settings.verified);
    assert_eq!((settings.repair, settings.anchor), (RepairName::DataFree, 1));
    assert_eq!(fused.report.groups.iter().map(|group| group.size).collect::<Vec<_>>(), [12, 8]);
    assert!(fused.report.comparison.is_none() && settings.samples.is_none());
    // It is repaired indeed, and what is written is what is in memory.
    let plain = Fuse::new([&a, &b]).repair(RepairName::None).run(&Context::new()).unwrap();
    assert_ne!(saved(&fused), saved(&plain));
    let path = folder.path().join("fused.onnx");
    fused.save(&path).unwrap();
    let read = Model::open(&path).unwrap();
    assert!(read.verify(&Context::new()).unwrap().ok);
    let weights = |graph: &Graph| graph.initializers().map(|(_, tensor)| tensor.to_f32()).collect::<Vec<_>>();
    assert_eq!(weights(read.graph().unwrap()), weights(&fused.graph().unwrap()));
}

#[test]
fn with_data_layers_are_fitted_and_networks_compared() {
    let folder = TempDir::new().unwrap();
    let [a, b] = models(&folder);
    let data = Dataset::open("digits").unwrap();
    let options = FuseOptions { samples: Some(100), check: Some(50), ..FuseOptions::default() };
    let fused = Fuse::new([&a, &b]).data(&data).options(options).run(&Context::new()).unwrap();
    assert_eq!(fused.report.settings.repair, RepairName::LeastSquares);
    let comparison = fused.report.comparison.as_ref().expect("labelled samples");
    assert_eq!((comparison.samples, comparison.split, comparison.parents.len()), (50, "test", 2));
    let evaluated = fused.evaluate(&data.test().unwrap().spread(50), &Context::new()).unwrap();
    assert_eq!(evaluated.models[0].measured.accuracy, comparison.fused.accuracy);
}

#[test]
fn options_say_what_methods_say() {
    let folder = TempDir::new().unwrap();
    let [a, b] = models(&folder);
    let options: FuseOptions = serde_json::from_str(r#"{"anchor": 0, "weights": [1, 3], "repair": "none"}"#).unwrap();
    let by_options = Fuse::new([&a, &b]).options(options).run(&Context::new()).unwrap();
    let by_methods = Fuse::new([&a, &b]).anchor(0).weights([1.0, 3.0]).repair(RepairName::None);
    assert_eq!(saved(&by_options), saved(&by_methods.run(&Context::new()).unwrap()));
    assert_eq!(by_options.report.settings.weights, [0.25, 0.75]);
    // What was said last counts.
    let last = FuseOptions { anchor: Some(1), ..FuseOptions::default() };
    assert_eq!(by_methods.options(last).run(&Context::new()).unwrap().report.settings.anchor, 1);
}

#[test]
fn errors_name_what_is_to_blame() {
    let folder = TempDir::new().unwrap();
    let [a, b] = models(&folder);
    let context = Context::new();
    let assert_input = |error: &Error, file: Option<&Path>, tensor: Option<&str>| {
        assert_eq!(error.kind, ErrorKind::Input, "{error}");
        assert!(error.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{error}");
        assert_eq!((error.file.as_deref(), error.tensor.as_deref()), (file, tensor), "{error}");
    };

    let missing = folder.path().join("missing.onnx");
    assert_input(&refused(Model::open(&missing)), Some(&missing), None);

    for value in [f32::NAN, f32::INFINITY] {
        let path = write(&folder, "spoilt.onnx", &spoilt(&perceptron(5), "fc2.weight", value));
        let spoilt = Model::open(&path).unwrap();
        let error = refused(Fuse::new([&spoilt, &b]).run(&context));
        assert_input(&error, Some(&path), Some("fc2.weight"));
    }
    let path = folder.path().join("spoilt.onnx");
    write(&folder, "spoilt.onnx", &spoilt(&perceptron(5), "fc2.weight", f32::NAN));
    let error = refused(Model::open(&path).unwrap().verify(&context));
    assert_input(&error, Some(&path), Some("fc2.weight"));

    let other = write(&folder, "other.onnx", &mlp(&[32, 12, 10], 1).unwrap());
    let error = refused(Fuse::new([&Model::open(&other).unwrap(), &b]).run(&context));
    assert_input(&error, Some(&other), None);

    assert_input(&refused(Fuse::new([&a]).run(&context)), None, None);
    assert_input(&refused(Fuse::new([&a, &b]).anchor(2).run(&context)), None, None);
    assert_input(&refused(Fuse::new([&a, &b]).repair(RepairName::LeastSquares).run(&context)), None, None);
    assert_input(&refused(Dataset::open("pictures:here")), None, None);

    // What is read is not written over.
    let fused = Fuse::new([&a, &b]).run(&context).unwrap();
    let before = files(folder.path());
    assert_input(&refused(fused.save(a.path())), Some(a.path()), None);
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_checkpoint_without_architecture_is_opened_and_says_what_it_lacks() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.pt");
    let made = otfuse::architecture("mlp:12", &[64], 10, 1).unwrap();
    made.save(&made.graph, &path).unwrap();
    let model = Model::open(&path).unwrap();
    let error = refused(model.graph());
    assert_eq!((error.kind, error.file.as_deref()), (ErrorKind::Input, Some(path.as_path())));
    assert_eq!(model.architecture("mlp").unwrap().graph().unwrap().parameter_count(), 12 * 65 + 10 * 13);
    assert_eq!(refused(model.architecture("alexnet")).kind, ErrorKind::Input);
}

/// A context that is cancelled as soon as a stage of a name begins, and whether it was.
fn cancelled_in(stage: &'static str) -> Context {
    let context = Context::new();
    let cancellation = context.cancellation();
    context.observer(move |event: &Event<'_>| {
        if matches!(event, Event::Started { name, .. } if *name == stage) {
            cancellation.cancel();
        }
    })
}

#[test]
fn cancelled_work_ends_as_such_and_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let models: [Model; 3] = models(&folder);
    let before = files(folder.path());
    let data = Dataset::open("digits").unwrap();
    let options = FuseOptions { samples: Some(60), check: Some(60), ..FuseOptions::default() };
    let stages =
        ["proving neuron groups", "recording activations", "aligning neuron groups", "repairing layers", "evaluating"];
    for stage in stages {
        let context = cancelled_in(stage);
        let error = refused(Fuse::new(&models).data(&data).options(options.clone()).run(&context));
        assert!(context.cancellation().is_cancelled(), "{stage}: no such stage");
        assert_eq!(error.kind, ErrorKind::Cancelled, "{stage}: {error}");
    }
    // What is averaged while it is written.
    let context = cancelled_in("averaging and writing");
    let mut fused = Fuse::new(&models).repair(RepairName::None).run(&context).unwrap();
    let (mut registry, output) = (otfuse::Registry::new(), folder.path().join("fused.onnx"));
    registry.result("output", &output, &models[0]).unwrap();
    assert_eq!(refused(fused.write(&registry, &output, &context)).kind, ErrorKind::Cancelled);
    drop(registry);
    // Whatever is begun later.
    assert_eq!(refused(models[0].verify(&context)).kind, ErrorKind::Cancelled);
    assert_eq!(refused(Fuse::new(&models).run(&context)).kind, ErrorKind::Cancelled);
    assert_eq!(files(folder.path()), before);
}

#[test]
#[cfg(feature = "training")]
fn a_fused_network_follows_its_parents() {
    let folder = TempDir::new().unwrap();
    let models: [Model; 2] = models(&folder);
    let data = Dataset::open("digits").unwrap();
    let options = FuseOptions { samples: Some(200), check: Some(100), ..FuseOptions::default() };
    let thorough = FuseOptions { effort: Some(EffortName::Thorough), repair_steps: Some(30), ..options.clone() };
    let fused = |options: &FuseOptions| Fuse::new(&models).data(&data).options(options.clone()).run(&Context::new());
    let found = fused(&thorough).unwrap();
    assert_eq!(found.report.settings.repair, RepairName::Distill);
    let distilled = found.report.distillation.as_ref().unwrap();
    assert_eq!((distilled.samples, distilled.held_out, distilled.flip), (180, 20, false));
    assert!(distilled.steps >= 30 && distilled.after.divergence <= distilled.before.divergence, "{distilled:?}");
    assert_eq!(saved(&found), saved(&fused(&thorough).unwrap()));
    // What is compared says which parent it leans to.
    let comparison = found.report.comparison.as_ref().unwrap();
    assert_eq!(comparison.distances().len(), comparison.rows().len());
    assert!(comparison.parents.iter().all(|parent| parent.fused.is_some()));
    // Otherwise nothing is distilled, and steps are refused.
    let plain = fused(&options).unwrap();
    assert!(plain.report.distillation.is_none() && plain.report.settings.repair == RepairName::LeastSquares);
    assert!(refused(fused(&FuseOptions { repair_steps: Some(5), ..options })).hint.is_some());
    let context = cancelled_in("following the parents");
    let error = refused(Fuse::new(&models).data(&data).options(thorough).run(&context));
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
}

#[test]
fn budgets_are_kept_and_name_the_node() {
    let folder = TempDir::new().unwrap();
    let [a, b] = models(&folder);
    let nodes: Vec<String> = a.graph().unwrap().nodes().map(|(_, node)| node.name.clone()).collect();
    for context in [Context::new().steps(7), Context::new().run_memory(50)] {
        let outcome = Fuse::new([&a, &b]).run(&context);
        let error = outcome.err().unwrap_or_else(|| panic!("{context:?} allows it"));
        assert_eq!(error.kind, ErrorKind::Budget, "{error}");
        assert!(error.node.as_ref().is_some_and(|node| nodes.contains(node)), "{error}");
        assert!(error.file.as_deref() == Some(a.path()) && error.hint.is_some(), "{error}");
    }
    // Clones share what is left.
    let context = Context::new().steps(3 * nodes.len() as u64);
    a.verify(&context.clone()).unwrap();
    assert!(refused(a.verify(&context.clone())).node.is_some());
    assert!(Fuse::new([&a, &b]).run(&Context::new().steps(10_000)).is_ok());
}

#[test]
fn little_memory_makes_do_with_one_sweep_and_says_so() {
    let folder = TempDir::new().unwrap();
    let [a, b] = models(&folder);
    let warnings = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = warnings.clone();
    let context = Context::new().memory(100).observer(move |event: &Event<'_>| {
        if let Event::Warning(text) = event {
            heard.lock().unwrap().push((*text).to_owned());
        }
    });
    let fused = Fuse::new([&a, &b]).run(&context).unwrap();
    assert_eq!((fused.report.settings.repair, fused.report.settings.sweeps), (RepairName::None, 0));
    assert_eq!(warnings.lock().unwrap().len(), 1);
    // What is asked for is done.
    let asked = FuseOptions { sweeps: Some(3), repair: Some(RepairName::DataFree), ..FuseOptions::default() };
    let fused = Fuse::new([&a, &b]).options(asked).run(&context).unwrap();
    assert_eq!((fused.report.settings.repair, fused.report.settings.sweeps), (RepairName::DataFree, 3));
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let folder = TempDir::new().unwrap();
    let models: [Model; 3] = models(&folder);
    let samples = Dataset::open("digits").unwrap().train().unwrap().spread(80);
    for with_samples in [false, true] {
        let fused = |threads: usize| {
            let context = Context::new().threads(threads).unwrap();
            let fuse = Fuse::new(&models);
            let fuse = if with_samples { fuse.samples(samples.clone()) } else { fuse };
            saved(&fuse.run(&context).unwrap())
        };
        assert!(fused(1) == fused(2), "with samples: {with_samples}");
    }
}

#[test]
fn the_order_of_three_models_makes_no_difference() {
    let folder = TempDir::new().unwrap();
    let [a, b, c]: [Model; 3] = models(&folder);
    let samples = Dataset::open("digits").unwrap().train().unwrap().spread(80);
    let fused = |models: [&Model; 3], weights: [f64; 3], with_samples: bool| {
        let fuse = Fuse::new(models).weights(weights);
        let fuse = if with_samples { fuse.samples(samples.clone()) } else { fuse };
        saved(&fuse.run(&Context::new()).unwrap())
    };
    for with_samples in [false, true] {
        let first = fused([&a, &b, &c], [1.0, 2.0, 3.0], with_samples);
        for (models, weights) in [([&c, &a, &b], [3.0, 1.0, 2.0]), ([&b, &c, &a], [2.0, 3.0, 1.0])] {
            assert!(fused(models, weights, with_samples) == first, "with samples: {with_samples}");
        }
    }
}

#[test]
fn reports_are_json() {
    let folder = TempDir::new().unwrap();
    let [a, b] = models(&folder);
    let context = Context::new();
    let fused = Fuse::new([&a, &b]).run(&context).unwrap();
    let parsed = |report: serde_json::Result<String>| -> Value { serde_json::from_str(&report.unwrap()).unwrap() };
    let report = parsed(serde_json::to_string(&fused.report));
    assert_eq!(report["settings"]["repair"], "data-free");
    assert_eq!(report["models"][0]["path"], a.path().to_str().unwrap());
    assert_eq!(report["groups"].as_array().map(Vec::len), Some(2));
    assert_eq!(parsed(serde_json::to_string(&a.verify(&context).unwrap()))["ok"], true);
    assert_eq!(parsed(serde_json::to_string(&otfuse::inspect(&a, &context).unwrap()))["groups"][0]["size"], 12);
    let pruned = otfuse::prune(&a, &otfuse::PruneOptions::default(), &context).unwrap();
    assert_eq!(parsed(serde_json::to_string(&pruned.report))["groups"][0]["kept"], 6);
    let alignments: Value = serde_json::from_slice(&fused.alignments_json().unwrap()).unwrap();
    assert_eq!(alignments.as_array().map(Vec::len), Some(1));
    // Options come back as they went.
    let options = FuseOptions { t: Some(0.25), sweeps: Some(4), ..FuseOptions::default() };
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<FuseOptions>(&text).unwrap(), options);
}

/// Other languages hold these values and hand them from thread to thread.
#[test]
fn values_can_be_held_anywhere() {
    fn assert_held<T: Send + Sync + 'static>() {}
    assert_held::<Model>();
    assert_held::<Dataset>();
    assert_held::<Samples>();
    assert_held::<Context>();
    assert_held::<Fuse>();
    assert_held::<FusePlan>();
    assert_held::<Fused>();
    assert_held::<FuseReport>();
    assert_held::<Error>();
}
