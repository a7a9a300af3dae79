//! Merges that have to know of samples.

#[path = "support/networks.rs"]
mod networks;

use networks::{assert_close, changed, model, outputs_on, uniform};
use otfuse::graph::{Graph, GraphBuilder, NeuronGroups, Tensor, permute};
use otfuse::runtime::dataset::Dataset as Samples;
use otfuse::{
    Context, Fuse, FuseOptions, Fused, MergeName, MergeParameters, MethodName, ModeName, Model, RepairName,
    architecture, random_orders,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const BOTH: [MergeName; 2] = [MergeName::Fisher, MergeName::RegMean];

fn noise(count: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(99);
    (0..count).map(|_| uniform(&mut random)).collect()
}

fn samples(shape: &[usize], count: usize) -> Samples {
    let values = noise(count * shape.iter().product::<usize>());
    Samples::from_floats("noise", shape.to_vec(), values, vec![0; count], 10).expect("samples")
}

fn outputs(graph: &Graph, shape: &[usize]) -> Vec<f32> {
    outputs_on(graph, shape, noise(6 * shape.iter().product::<usize>()))
}

fn merging(merge: MergeName) -> FuseOptions {
    FuseOptions { merge: Some(merge), repair: Some(RepairName::None), ..FuseOptions::default() }
}

fn fused(models: &[&Model], options: FuseOptions, samples: &Samples, context: &Context) -> Fused {
    let fuse = Fuse::new(models.iter().copied()).options(options).samples(samples.clone());
    fuse.run(context).expect("fused")
}

#[test]
fn a_network_with_copies_in_another_order_is_itself() {
    for (name, shape) in [("mlp:24-16", &[20][..]), ("resnet20:0.25", &[3, 32, 32])] {
        let base = changed(&architecture(name, shape, 10, 1).expect("an architecture").graph, 0.1, 2);
        let groups = NeuronGroups::of(&base).expect("groups");
        let copy = |seed| {
            let orders = random_orders(&groups, &mut ChaCha8Rng::seed_from_u64(seed));
            permute(&base, &groups, &orders).expect("a permutation")
        };
        let models = [model("a.onnx", &copy(3)), model("b.onnx", &copy(4)), model("base.onnx", &base)];
        let data = samples(shape, 20);
        for merge in BOTH {
            let options = FuseOptions {
                anchor: Some(2),
                weights: Some(vec![1.0, 2.0, 3.0].into()),
                // Neurons that no sample reaches have no activations to be told apart by.
                mode: Some(ModeName::Weights),
                ..merging(merge)
            };
            let found = fused(&[&models[0], &models[1], &models[2]], options, &data, &Context::new());
            assert_close(&outputs(&found.graph().expect("a graph"), shape), &outputs(&base, shape), 1e-3);
        }
    }
}

#[test]
fn merges_on_samples_are_the_same_for_any_number_of_threads_and_differ_from_the_mean() {
    let shape = &[3, 32, 32][..];
    let made = |seed| changed(&architecture("lenet5", shape, 10, seed).expect("an architecture").graph, 0.2, seed);
    let models = [model("a.onnx", &made(1)), model("b.onnx", &made(2))];
    let data = samples(shape, 12);
    let weights = |merge: MergeName, threads: usize| {
        let context = Context::new().threads(threads).expect("threads");
        let found = fused(&[&models[0], &models[1]], merging(merge), &data, &context);
        assert_eq!(found.report.settings.merge, Some(merge).filter(|merge| *merge != MergeName::Mean));
        found.onnx().expect("a network")
    };
    let mean = weights(MergeName::Mean, 2);
    for merge in BOTH {
        let once = weights(merge, 1);
        assert!(once == weights(merge, 3), "{merge}");
        assert!(once != mean, "{merge}");
    }
}

#[test]
fn a_model_without_weight_has_no_part() {
    let shape = &[20][..];
    let made = |seed| changed(&architecture("mlp:24-16", shape, 10, seed).expect("an architecture").graph, 0.2, seed);
    let (a, b) = (made(1), made(2));
    let models = [model("a.onnx", &a), model("b.onnx", &b)];
    for merge in BOTH {
        let options = FuseOptions { weights: Some(vec![1.0, 0.0].into()), ..merging(merge) };
        let found = fused(&[&models[0], &models[1]], options, &samples(shape, 30), &Context::new());
        assert_close(&outputs(&found.graph().expect("a graph"), shape), &outputs(&a, shape), 1e-4);
    }
}

/// `x W' V'`, from 6 numbers by 5 to 3.
fn linear_network(seed: u64) -> Graph {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut table = |count: usize| (0..count).map(|_| uniform(&mut random)).collect();
    let mut b = GraphBuilder::new("linear");
    let x = b.input("x", &[None, Some(6)]);
    let first = b.initializer("first", Tensor::from_f32(&[5, 6], table(30)));
    let second = b.initializer("second", Tensor::from_f32(&[3, 5], table(15)));
    let y = b.linear(x, first, None);
    let y = b.linear(y, second, None);
    b.output(y);
    b.finish().expect("a network")
}

fn weight(graph: &Graph, name: &str) -> Vec<f64> {
    let tensor = graph.find_value(name).and_then(|id| graph.initializer(id)).expect("a weight");
    tensor.to_f32().expect("floats").into_iter().map(f64::from).collect()
}

/// The solution of a system, by elimination with pivots.
fn solved(mut rows: Vec<Vec<f64>>, size: usize) -> Vec<Vec<f64>> {
    for at in 0..size {
        let pivot = (at..size).max_by(|&a, &b| rows[a][at].abs().total_cmp(&rows[b][at].abs())).expect("a row");
        rows.swap(at, pivot);
        for row in (0..size).filter(|row| *row != at) {
            let factor = rows[row][at] / rows[at][at];
            (at..rows[at].len()).for_each(|column| rows[row][column] -= factor * rows[at][column]);
        }
    }
    (0..size).map(|row| rows[row][size..].iter().map(|value| value / rows[row][row]).collect()).collect()
}

/// Each layer minimises the sum of `|X_k W - X_k W_k|^2`: the first, which both give the same, is the mean; the second solves its normal
/// equations.
#[test]
fn layers_of_linear_networks_are_those_of_an_independent_solve() {
    let (graphs, data) = ([linear_network(1), linear_network(2)], samples(&[6], 40));
    let models = [model("a.onnx", &graphs[0]), model("b.onnx", &graphs[1])];
    let shares = [0.3, 0.7];
    let parameters = MergeParameters {
        all: serde_json::from_str(r#"{"alpha": 1}"#).expect("parameters"),
        ..MergeParameters::default()
    };
    let options = FuseOptions {
        method: Some(MethodName::Average),
        weights: Some(shares.to_vec().into()),
        parameters: Some(parameters),
        ..merging(MergeName::RegMean)
    };
    let found = fused(&[&models[0], &models[1]], options, &data, &Context::new()).graph().expect("a graph");
    let [a, b] = [0, 1].map(|k| weight(&graphs[k], "first"));
    let mean: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 0.3 * a + 0.7 * b).collect();
    let near = |found: &[f64], expected: &[f64]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?} is not {expected:?}");
    };
    near(&weight(&found, "first"), &mean);
    let x = data.samples(0..40);
    let mut rows = vec![vec![0.0; 5 + 3]; 5];
    for (graph, share) in graphs.iter().zip(shares) {
        let (first, second) = (weight(graph, "first"), weight(graph, "second"));
        for x in x.chunks_exact(6) {
            let hidden: Vec<f64> = (0..5).map(|at| (0..6).map(|k| first[at * 6 + k] * f64::from(x[k])).sum()).collect();
            let said: Vec<f64> = (0..3).map(|at| (0..5).map(|k| second[at * 5 + k] * hidden[k]).sum()).collect();
            for (row, own) in rows.iter_mut().zip(&hidden) {
                let entries = hidden.iter().chain(&said);
                row.iter_mut().zip(entries).for_each(|(sum, entry)| *sum += share * own * entry);
            }
        }
    }
    let solution = solved(rows, 5);
    let expected: Vec<f64> = (0..15).map(|at| solution[at % 5][at / 5]).collect();
    near(&weight(&found, "second"), &expected);
}

#[test]
fn without_samples_it_is_said_what_to_do() {
    let shape = &[20][..];
    let made = |seed| architecture("mlp:24-16", shape, 10, seed).expect("an architecture").graph;
    let models = [model("a.onnx", &made(1)), model("b.onnx", &made(2))];
    for merge in BOTH {
        let fuse = Fuse::new(models.iter()).options(merging(merge));
        let error = fuse.run(&Context::new()).err().expect("an error");
        assert!(error.message.contains(&format!("`merge` {merge} needs samples")), "{error}");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("`data`")), "{error}");
        // What the hint says.
        let options = FuseOptions { samples_from: Some("parents".into()), samples: Some(60), ..merging(merge) };
        Fuse::new(models.iter()).options(options).run(&Context::new()).expect("fused");
    }
}
