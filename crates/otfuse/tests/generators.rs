//! Generators: noise as data, latent inputs that are turned, measures of what is made of it.

use std::path::{Path, PathBuf};

use otfuse::fusion::LatentAxis;
use otfuse::graph::{ConvTranspose, Graph, GraphBuilder, NeuronGroups, Operator, Tensor, Unary, Window, permute};
use otfuse::runtime::dataset::Targets;
use otfuse::runtime::{Host, run_graph};
use otfuse::{
    ApplyOptions, Context, Dataset, Fuse, FuseOptions, GenerateOptions, Model, apply, generate, random_orders,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Numbers of noise.
const LATENT: usize = 12;

/// What a generator does with its noise first.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Linear,
    Transposed,
    Rectifier,
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let scale = (3.0 / shape.iter().skip(1).product::<usize>().max(1) as f32).sqrt();
    Tensor::from_f32(shape, (0..shape.iter().product()).map(|_| scale * (next() + 0.2)).collect())
}

/// A generator of images of 1 x 8 x 8.
fn generator(first: First, seed: u64) -> Graph {
    let mut builder = GraphBuilder::new("generator");
    let transposed = |stride, pad| {
        let window = Window::uniform(2, stride, pad);
        Operator::ConvTranspose(ConvTranspose { groups: 1, window, output_padding: Vec::new(), output_shape: None })
    };
    let made = if first == First::Transposed {
        let z = builder.input("z", &[None, Some(LATENT), Some(1), Some(1)]);
        let weight = builder.initializer("w1", random(&[LATENT, 10, 4, 4], seed));
        let x = builder.node(transposed(1, 0), &[z, weight]);
        let x = builder.relu(x);
        let weight = builder.initializer("w2", random(&[10, 1, 4, 4], seed + 1));
        builder.node(transposed(2, 1), &[x, weight])
    } else {
        let z = builder.input("z", &[None, Some(LATENT)]);
        let z = if first == First::Rectifier { builder.relu(z) } else { z };
        let weight = builder.initializer("w1", random(&[20, LATENT], seed));
        let bias = builder.initializer("b1", random(&[20], seed + 2));
        let x = builder.linear(z, weight, Some(bias));
        let x = builder.relu(x);
        let weight = builder.initializer("w2", random(&[64, 20], seed + 1));
        builder.linear(x, weight, None)
    };
    let made = builder.node(Operator::Unary(Unary::Tanh), &[made]);
    let made = builder.named(made, "x");
    builder.output(made);
    builder.finish().expect("sound")
}

fn written(folder: &Path, name: &str, graph: &Graph) -> PathBuf {
    let path = folder.join(name);
    let proto = otfuse::formats::onnx::to_proto(graph).expect("sound");
    otfuse::formats::onnx::write_onnx(&path, proto, &Default::default()).expect("written");
    path
}

/// A rotation of the first two coordinates, then of the next two, and so on.
fn rotation(size: usize) -> Vec<f64> {
    let mut map = vec![0.0; size * size];
    for pair in 0..size / 2 {
        let (sine, cosine) = (0.7 + pair as f64).sin_cos();
        let (a, b) = (2 * pair, (2 * pair + 3) % size);
        map[a * size + a] = cosine;
        map[a * size + b] = -sine;
        map[b * size + a] = sine;
        map[b * size + b] = cosine;
    }
    map
}

/// The largest difference of what two networks make of the same noise.
fn difference(a: &Graph, b: &Graph) -> f32 {
    let shape: &[usize] =
        if a.value(a.inputs()[0]).declared.as_ref().and_then(|it| it.shape.as_ref()).map(|it| it.len()) == Some(4) {
            &[3, LATENT, 1, 1]
        } else {
            &[3, LATENT]
        };
    let z = random(shape, 99);
    let run = |graph: &Graph| {
        let name = graph.value(graph.inputs()[0]).name.clone();
        let made = run_graph(graph, [(name, z.clone())].into(), &Host::default()).expect("runs");
        made[0].1.to_f32().expect("floats")
    };
    run(a).iter().zip(run(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn options(data: Option<&str>) -> (FuseOptions, Option<Dataset>) {
    let options = FuseOptions { free_inputs: Some("z".into()), check: Some(0), ..FuseOptions::default() };
    (options, data.map(|data| Dataset::open(data).expect("known")))
}

fn fused(a: &Model, b: &Model, data: Option<&str>) -> otfuse::Fused {
    let (options, data) = options(data);
    let mut fuse = Fuse::new([a, b]).options(options);
    if let Some(data) = &data {
        fuse = fuse.data(data);
    }
    fuse.run(&Context::new()).expect("fuses")
}

/// A copy whose noise is mapped and whose neurons are in another order.
fn copy(graph: &Graph, map: &[f64]) -> Graph {
    let turned = LatentAxis::of(graph, graph.inputs()[0]).expect("free").mapped(graph, map).expect("mapped");
    let groups = NeuronGroups::of(&turned).expect("sound");
    let orders = random_orders(&groups, &mut ChaCha8Rng::seed_from_u64(3));
    permute(&turned, &groups, &orders).expect("permuted")
}

#[test]
fn a_generator_fused_with_a_turned_copy_of_itself_is_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    for first in [First::Linear, First::Transposed] {
        let graph = generator(first, 5);
        let own = Model::open(written(folder.path(), "own.onnx", &graph)).expect("opens");
        let turned = copy(&graph, &rotation(LATENT));
        assert!(difference(&graph, &turned) > 0.05);
        let turned = Model::open(written(folder.path(), "turned.onnx", &turned)).expect("opens");
        let found = fused(&turned, &own, None);
        let report = &found.report.inputs[0];
        assert_eq!((report.input.as_str(), report.axis, report.size, report.map), ("z", 1, LATENT, "orthogonal"));
        assert!(report.correlation > 0.98 && report.correlation_before < 0.9, "{report:?}");
        assert!(report.error < 1e-5);
        let error = difference(&found.graph().expect("whole"), &graph);
        assert!(error < 0.1, "{error}");
        // The plain average of the two is far from it.
        let plain = FuseOptions { method: Some(otfuse::MethodName::Average), ..FuseOptions::default() };
        let plain = Fuse::new([&turned, &own]).options(plain).run(&Context::new()).expect("averages");
        assert!(difference(&plain.graph().expect("whole"), &graph) > 2.0 * error);
    }
}

#[test]
fn even_noise_is_mapped_by_orders_and_signs_and_nonlinear_readers_by_orders_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let order = |sign: &dyn Fn(usize) -> f64| {
        let mut map = vec![0.0; LATENT * LATENT];
        (0..LATENT).for_each(|at| map[at * LATENT + (5 * at + 1) % LATENT] = sign(at));
        map
    };
    let alternating = |at: usize| if at.is_multiple_of(3) { -1.0 } else { 1.0 };
    for (first, data, map, name) in [
        (First::Linear, "noise:uniform", order(&alternating), "signed permutation"),
        (First::Transposed, "noise:uniform,700", order(&alternating), "signed permutation"),
        (First::Rectifier, "noise:normal", order(&|_| 1.0), "permutation"),
    ] {
        let graph = generator(first, 8);
        let own = Model::open(written(folder.path(), "own.onnx", &graph)).expect("opens");
        let turned = Model::open(written(folder.path(), "turned.onnx", &copy(&graph, &map))).expect("opens");
        let found = fused(&turned, &own, Some(data));
        assert_eq!(found.report.inputs[0].map, name);
        // Orders and signs are found exactly.
        let error = difference(&found.graph().expect("whole"), &graph);
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn an_alignment_turns_the_noise_of_a_later_checkpoint_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let graph = generator(First::Linear, 5);
    let own = Model::open(written(folder.path(), "own.onnx", &graph)).expect("opens");
    let copy = Model::open(written(folder.path(), "copy.onnx", &copy(&graph, &rotation(LATENT)))).expect("opens");
    let found = fused(&copy, &own, Some("noise:normal"));
    let file = folder.path().join("alignment.json");
    std::fs::write(&file, found.alignments_json().expect("JSON")).expect("written");
    let applied = apply(&file, &copy, &ApplyOptions::default()).expect("applies");
    assert!(difference(&applied.graph, &graph) < 0.1);
    // What a row of one noise shows corresponds.
    let options = GenerateOptions {
        alignment: Some(file.clone()),
        noise: Some("noise:normal,50".into()),
        ..GenerateOptions::default()
    };
    let shown = generate(&[copy.clone(), own.clone()], &options, None, &Context::new()).expect("generates");
    assert_eq!((shown.report.count, shown.report.shape.as_slice()), (50, [64].as_slice()));
    assert_eq!(shown.report.models[0].range, otfuse::Range { low: -1.0, high: 1.0 });
    // A map that is none is refused.
    let spoiled =
        String::from_utf8(std::fs::read(&file).expect("read")).expect("text").replace("\"axis\":1", "\"axis\":7");
    std::fs::write(&file, spoiled).expect("written");
    let error = apply(&file, &copy, &ApplyOptions::default()).err().expect("refused");
    assert!(error.to_string().contains("'z'"), "{error}");
}

#[test]
fn what_is_no_latent_input_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = Model::open(written(folder.path(), "a.onnx", &generator(First::Linear, 1))).expect("opens");
    let b = Model::open(written(folder.path(), "b.onnx", &generator(First::Transposed, 2))).expect("opens");
    let refused = |models: [&Model; 2], names: &str| {
        let options = FuseOptions { free_inputs: Some(names.into()), ..FuseOptions::default() };
        Fuse::new(models).options(options).run(&Context::new()).err().expect("refused").to_string()
    };
    assert!(refused([&a, &a], "q").contains("there is no such input"));
    assert!(refused([&a, &a], "z,z").contains("named twice"));
    assert!(refused([&a, &b], "z").contains("takes"));
    let noise = Dataset::open("noise:normal").expect("known");
    assert!(noise.train().expect_err("no samples").to_string().contains("shape"));
    assert!(Dataset::open("noise:cauchy").is_err());
}

#[test]
fn distances_to_a_data_set_are_those_of_its_classifier() {
    let folder = tempfile::tempdir().expect("a folder");
    let generators = [1, 2].map(|seed| {
        let path = written(folder.path(), &format!("{seed}.onnx"), &generator(First::Linear, seed));
        Model::open(path).expect("opens")
    });
    let options = GenerateOptions { noise: Some("noise:normal,200".into()), ..GenerateOptions::default() };
    let digits = Dataset::open("digits").expect("embedded");
    let run = || generate(&generators, &options, Some(&digits), &Context::new()).expect("generates").report;
    let found = run();
    let reference = found.reference.as_ref().expect("one");
    assert!(reference.accuracy.is_some_and(|accuracy| accuracy > 0.8), "{reference:?}");
    for model in &found.models {
        assert!(model.frechet.is_some_and(|distance| distance > 1.0));
        assert!((model.classes.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
    assert_eq!(serde_json::to_string(&found).expect("JSON"), serde_json::to_string(&run()).expect("JSON"));
    // Without labels there is nothing to train a classifier on.
    let plain = otfuse::Samples::with_targets("plain", vec![64], vec![0.5; 640], Targets::None).expect("samples");
    let plain = Dataset::of_samples(plain.clone(), plain);
    let error = generate(&generators, &options, Some(&plain), &Context::new()).err().expect("refused");
    assert!(error.to_string().contains("labels"), "{error}");
}
