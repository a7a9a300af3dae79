//! Networks of unequal depth: blocks that change nothing, pairs of blocks, both ways of fusing.

use std::path::Path;

use otfuse::formats::model::Model as File;
use otfuse::fusion::{deepen, likeness_of_weights, pair_blocks};
use otfuse::graph::{Facts, Graph, GraphBuilder, Tensor, ValueId, blocks_of};
use otfuse::runtime::{Host, run_graph};
use otfuse::{Context, DepthName, Fuse, FuseOptions, Model, architecture, random_inputs};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn network(spec: &str, seed: u64) -> File {
    let shape: &[usize] = if spec.starts_with("mlp") { &[24] } else { &[3, 32, 32] };
    let file = architecture(spec, shape, 10, seed).unwrap_or_else(|error| panic!("{spec}: {error}"));
    let graph = livened(&file.graph, seed);
    let mut file = file;
    file.graph = graph;
    file
}

/// A network whose scales, shifts and statistics are not those of the beginning.
fn livened(graph: &Graph, seed: u64) -> Graph {
    let mut editor = otfuse::graph::GraphEditor::edit(graph.clone());
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    for (id, tensor) in graph.initializers().filter(|(id, tensor)| graph.is_weight(*id) && tensor.shape().len() == 1) {
        let values = tensor.to_f32().expect("floats").into_iter().map(|value| value + 0.3 * next()).collect();
        editor.set_tensor(id, Tensor::from_f32(tensor.shape(), values));
    }
    editor.finish().expect("the same graph")
}

/// The outputs of two networks on the same inputs, relative to the largest.
fn difference(graph: &Graph, other: &Graph) -> f64 {
    let facts = Facts::of(graph).expect("sound");
    let inputs = random_inputs(graph, &facts, &mut ChaCha8Rng::seed_from_u64(5)).unwrap();
    let place = |id: &ValueId| graph.inputs().iter().position(|of| of == id).expect("an input");
    let renamed = graph.inputs().iter().map(|id| {
        let tensor = inputs[&graph.value(*id).name].clone();
        (other.value(other.inputs()[place(id)]).name.clone(), tensor)
    });
    let host = Host::default();
    let (a, b) = (run_graph(graph, inputs.clone(), &host), run_graph(other, renamed.collect(), &host));
    let (a, b) = (a.expect("runs"), b.expect("runs"));
    let mut worst = 0.0_f64;
    for ((_, a), (_, b)) in a.iter().zip(&b) {
        let (a, b) = (a.to_f32().expect("floats"), b.to_f32().expect("floats"));
        let scale = a.iter().fold(0.0_f32, |scale, value| scale.max(value.abs()));
        assert!(scale > 0.0);
        a.iter().zip(&b).for_each(|(a, b)| worst = worst.max(f64::from((a - b).abs() / scale)));
    }
    worst
}

const PAIRS: [(&str, &str); 14] = [
    ("mlp:16", "mlp:12-12-12"),
    ("mlp:16-8", "mlp:12-12-8-8-8"),
    ("mlp-nobias:16-12", "mlp-nobias:20-20-20"),
    ("mlp:16-12-bn", "mlp:12-12-12-12-bn"),
    ("vgg11:0.125", "vgg13:0.125"),
    ("vgg11-nobias:0.125", "vgg16-nobias:0.125"),
    ("vgg11_bn:0.125", "vgg19_bn:0.125"),
    ("vgg13_bn:0.125", "vgg16_bn:0.25"),
    ("resnet20:0.5", "resnet32:0.5"),
    ("resnet20:0.5", "resnet56:0.5"),
    ("resnet20:0.25", "resnet32:0.5"),
    ("resnet18:0.125", "resnet34:0.125"),
    ("resnet18-nobn:0.125", "resnet34-nobn:0.125"),
    ("vgg13-nobias:0.125", "vgg19-nobias:0.125"),
];

#[test]
fn deepened_networks_compute_what_they_did() {
    for (own, deep) in PAIRS {
        let (own_file, deep_file) = (network(own, 1), network(deep, 2));
        let graphs = [&deep_file.graph, &own_file.graph];
        let blocks = blocks_of(&graphs).expect("sound");
        let (deep_cut, own_cut) = ((graphs[0], blocks[0].as_slice()), (graphs[1], blocks[1].as_slice()));
        let likeness = likeness_of_weights(deep_cut, own_cut);
        let pairs = pair_blocks(deep_cut, own_cut, &likeness).unwrap_or_else(|error| panic!("{own}, {deep}: {error}"));
        let found = deepen(deep_cut, own_cut, &pairs, 3).unwrap_or_else(|error| panic!("{own}, {deep}: {error}"));
        assert_eq!(found.inserted.len(), blocks[0].len() - blocks[1].len(), "{own}, {deep}");
        assert!(found.graph.nodes().len() == graphs[0].nodes().len());
        let error = difference(graphs[1], &found.graph);
        assert!(error < 1e-5, "{own}, {deep}: {error}");
    }
}

#[test]
fn identities_in_a_copy_are_found() {
    for (own, deep) in PAIRS {
        let (own_file, deep_file) = (network(own, 1), network(deep, 2));
        let blocks = blocks_of(&[&deep_file.graph, &own_file.graph]).expect("sound");
        let (deep_cut, own_cut) = ((&deep_file.graph, blocks[0].as_slice()), (&own_file.graph, blocks[1].as_slice()));
        let likeness = likeness_of_weights(deep_cut, own_cut);
        let usual = pair_blocks(deep_cut, own_cut, &likeness).expect("pairs");
        // Elsewhere than where they would be put.
        let mut given = usual.clone();
        for at in (0..given.len()).rev() {
            let (a, b) = given[at];
            let is_free = |a: usize| a > 0 && given.iter().all(|pair| pair.0 != a - 1);
            if is_free(a) && blocks[0][a - 1].signature == blocks[1][b].signature {
                given[at].0 = a - 1;
            }
        }
        let copy = deepen(deep_cut, own_cut, &given, 7).expect("deepened");
        let of_copy = blocks_of(&[&copy.graph, &own_file.graph]).expect("sound");
        let (deep_cut, own_cut) = ((&copy.graph, of_copy[0].as_slice()), (&own_file.graph, of_copy[1].as_slice()));
        let found = pair_blocks(deep_cut, own_cut, &likeness_of_weights(deep_cut, own_cut)).expect("pairs");
        assert_eq!(found, given, "{own}, {deep}");
    }
}

/// An untrained transformer whose scales and shifts are not those of the beginning.
fn transformer(spec: &str, seed: u64) -> File {
    use otfuse::runtime::dataset::{Dataset, Targets, Vocabulary};
    let samples = if spec.starts_with("vit") {
        Dataset::with_targets(
            "images",
            vec![3, 16, 16],
            vec![0.0; 2 * 768],
            Targets::Classes { labels: vec![0, 1], classes: 2, shape: vec![] },
        )
    } else {
        let (rows, labels) = if spec.starts_with("gpt2") || spec.starts_with("ll") || spec.starts_with('q') {
            (vec![1; 16], vec![2; 16])
        } else {
            (vec![1; 16], vec![0, 1])
        };
        let classes = if labels.len() == 2 { 2 } else { 11 };
        Dataset::from_tokens("text", 8, rows, labels, classes, Vocabulary::of_ids(11))
    };
    let samples = samples.unwrap_or_else(|error| panic!("{spec}: {error}"));
    let mut file = otfuse::architecture_for(spec, &samples, seed).unwrap_or_else(|error| panic!("{spec}: {error}"));
    file.graph = livened(&file.graph, seed);
    file
}

#[test]
fn deepened_transformers_compute_what_they_did() {
    for (own, deep) in [
        ("gpt2:1,16,2", "gpt2:3,16,2"),
        ("gpt2:2,16,2", "gpt2:3,24,2"),
        ("llama:2,16,2", "llama:4,16,2"),
        ("qwen3:1,16,2", "qwen3:2,16,2"),
        ("bert:1,16,2", "bert:3,16,2"),
        ("roberta:2,16,2", "roberta:4,16,2"),
        ("distilbert:2,16,2", "distilbert:3,16,2"),
        ("vit:2,16,2", "vit:5,16,2"),
    ] {
        let (own_file, deep_file) = (transformer(own, 1), transformer(deep, 2));
        let blocks = blocks_of(&[&deep_file.graph, &own_file.graph]).expect("sound");
        let (deep_cut, own_cut) = ((&deep_file.graph, blocks[0].as_slice()), (&own_file.graph, blocks[1].as_slice()));
        let likeness = likeness_of_weights(deep_cut, own_cut);
        let pairs = pair_blocks(deep_cut, own_cut, &likeness).unwrap_or_else(|error| panic!("{own}, {deep}: {error}"));
        let found = deepen(deep_cut, own_cut, &pairs, 3).unwrap_or_else(|error| panic!("{own}, {deep}: {error}"));
        let error = difference(&own_file.graph, &found.graph);
        assert!(error < 1e-5, "{own}, {deep}: {error}");
        let of_copy = blocks_of(&[&found.graph, &own_file.graph]).expect("sound");
        let (deep_cut, own_cut) = ((&found.graph, of_copy[0].as_slice()), (&own_file.graph, of_copy[1].as_slice()));
        let again = pair_blocks(deep_cut, own_cut, &likeness_of_weights(deep_cut, own_cut)).expect("pairs");
        assert_eq!(again, pairs, "{own}, {deep}");
    }
}

/// A model in a file.
fn saved(file: &File, folder: &Path, name: &str) -> Model {
    let path = folder.join(name);
    file.save(&file.graph, &path).expect("written");
    let family = if name.starts_with("mlp") { "mlp" } else { "resnet" };
    Model::open_as(&path, Some(family)).expect("read")
}

#[test]
fn a_network_and_its_deepened_copy_are_the_network() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let context = Context::new();
    for (own, deep, name) in [("resnet20:0.25", "resnet32:0.25", "resnet"), ("mlp:16-8", "mlp:16-16-16-8", "mlp")] {
        let own_model = saved(&network(own, 1), folder.path(), &format!("{name}-own.pt"));
        let like = saved(&network(deep, 2), folder.path(), &format!("{name}-like.pt"));
        let mut copy = network(deep, 2);
        copy.graph = otfuse::deepen(&own_model, &like, 3, &context).expect("deepened");
        let copy = saved(&copy, folder.path(), &format!("{name}-copy.pt"));
        for (depth, anchor) in [(DepthName::Deep, &copy), (DepthName::Shallow, &own_model)] {
            let options = FuseOptions {
                depth: Some(depth),
                samples_from: Some("none".into()),
                repair: Some(otfuse::RepairName::None),
                ..FuseOptions::default()
            };
            let fused = Fuse::new([&own_model, &copy]).options(options).run(&context).expect("fused");
            let graph = fused.graph().expect("a network");
            assert_eq!(graph.nodes().len(), anchor.graph().expect("a network").nodes().len());
            let error = difference(own_model.graph().expect("a network"), &graph);
            assert!(error < 1e-5, "{own}, {depth:?}: {error}");
        }
    }
}

#[test]
fn networks_without_common_blocks_are_refused_side_by_side() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (a, b) = (network("resnet20:0.25", 1), network("mlp:16-8", 1));
    let models = [saved(&a, folder.path(), "resnet.pt"), saved(&b, folder.path(), "mlp.pt")];
    let error = Fuse::new(&models).run(&Context::new()).map(|_| ()).expect_err("nothing in common");
    assert!(error.message.contains("layer1.1") && error.message.contains("fc2"), "{error}");
    assert!(error.hint.is_some());
}

#[test]
fn pairs_may_be_given() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let models = [
        saved(&network("mlp:16-8", 1), folder.path(), "mlp-a.pt"),
        saved(&network("mlp:16-16-16-8", 2), folder.path(), "mlp-b.pt"),
    ];
    let (context, file) = (Context::new(), folder.path().join("pairs.json"));
    let run = |text: &str| {
        std::fs::write(&file, text).expect("written");
        let options = FuseOptions { pairs: Some(file.display().to_string()), ..FuseOptions::default() };
        let options = FuseOptions { samples_from: Some("none".into()), ..options };
        Fuse::new(&models).options(options).run(&context)
    };
    let given = run(r#"{"pairs": [[0, 0], [3, 1], [4, 2]]}"#).expect("fused");
    let report = given.report.depth.expect("of unequal depth");
    assert_eq!(report.models[0].pairs, [(0, 0), (3, 1), (4, 2)]);
    let again = run(&serde_json::json!({ "depth": report }).to_string()).expect("the report's pairs");
    assert_eq!(again.report.depth.expect("of unequal depth").models[0].inserted, [1, 2]);
    for wrong in [
        "[]",
        "{",
        "7",
        r#"{"pairs": [[0, 0], [1, 1]]}"#,
        r#"{"pairs": [[0, 0], [9, 1], [4, 2]]}"#,
        r#"{"pairs": [[3, 0], [1, 1], [4, 2]]}"#,
        r#"{"pairs": [[0, 0], [4, 1], [3, 2]]}"#,
        r#"{"pairs": [[0, 0], [1, 1, 1], [4, 2]]}"#,
        r#"{"models": [{"model": 1, "pairs": []}]}"#,
    ] {
        let error = run(wrong).map(|_| ()).expect_err(wrong);
        assert!(error.message.contains("`pairs`") && error.hint.is_some(), "{wrong}: {error}");
    }
}

#[test]
fn layers_that_rectify_nothing_take_no_identity() {
    let perceptron = |widths: &[usize], name: &str| {
        let mut b = GraphBuilder::new(name);
        let mut x = b.input("x", &[None, Some(8)]);
        let mut width = 8;
        for (at, &next) in widths.iter().enumerate() {
            let values = (0..next * width).map(|i| ((i * 37 % 101) as f32 - 50.0) / 100.0).collect();
            let w = b.initializer(&format!("{at}.weight"), Tensor::from_f32(&[next, width], values));
            x = b.linear(x, w, None);
            if at + 1 < widths.len() {
                x = b.node(otfuse::graph::Operator::Unary(otfuse::graph::Unary::Tanh), &[x]);
            }
            width = next;
        }
        b.output(x);
        b.finish().expect("sound")
    };
    let (own, deep) = (perceptron(&[6, 6, 3], "own"), perceptron(&[6, 6, 6, 3], "deep"));
    let blocks = blocks_of(&[&deep, &own]).expect("sound");
    let cuts = ((&deep, blocks[0].as_slice()), (&own, blocks[1].as_slice()));
    let error = pair_blocks(cuts.0, cuts.1, &likeness_of_weights(cuts.0, cuts.1)).expect_err("no identity");
    assert!(error.to_string().contains("may be negative"), "{error}");
}

#[test]
fn three_networks_may_have_three_depths() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let specs = ["mlp:16-8", "mlp:12-12-12-8", "mlp:16-16-8"];
    let models: Vec<Model> = specs
        .iter()
        .enumerate()
        .map(|(at, spec)| saved(&network(spec, at as u64), folder.path(), &format!("mlp-{at}.pt")))
        .collect();
    let context = Context::new();
    for anchor in 0..3 {
        let options = FuseOptions { anchor: Some(anchor), samples_from: Some("none".into()), ..FuseOptions::default() };
        let fused = Fuse::new(&models).options(options).run(&context).expect("fused");
        let shapes = |graph: &Graph| -> Vec<Vec<usize>> {
            graph.initializers().map(|(_, tensor)| tensor.shape().to_vec()).collect()
        };
        let graph = fused.graph().expect("a network");
        assert_eq!(shapes(&graph), shapes(models[anchor].graph().expect("a network")));
        assert_eq!(fused.report.depth.expect("of unequal depth").models.len(), 2);
        let path = folder.path().join("fused.pt");
        let options =
            FuseOptions { anchor: Some(anchor), samples_from: Some("noise".into()), ..FuseOptions::default() };
        let fused = Fuse::new(&models).options(options).run(&context).expect("fused on noise");
        fused.save(&path).expect("written");
        Model::open_as(&path, Some("mlp")).expect("read again");
    }
}
