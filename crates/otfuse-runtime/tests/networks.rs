//! Whole networks: errors, recording, batches, evaluation and training.
#![cfg(feature = "training")]

use std::collections::BTreeMap;

use otfuse_graph::{Binary, Conv, Graph, GraphBuilder, Operator, Tensor, Unary, Window};
use otfuse_runtime::dataset::{DataSpec, Dataset, DatasetError, Normalization, Split, Targets};
use otfuse_runtime::train::{TrainSettings, train};
use otfuse_runtime::{Executable, Host, Probabilities, RuntimeError, SampleLayout, evaluate, mlp, predict, run_graph};

fn executable(graph: &Graph) -> Executable {
    Executable::new(graph, &Host::default()).unwrap()
}

fn digits(split: Split) -> Dataset {
    "digits".parse::<DataSpec>().unwrap().load(split, None, None).unwrap()
}

/// `relu(x w)` with a 2 x 2 matrix, and what follows it.
fn tiny(input: &[Option<usize>], last: Option<Operator>) -> Graph {
    let mut b = GraphBuilder::new("tiny");
    let x = b.input("x", input);
    let w = b.initializer("w", Tensor::from_f32(&[2, 2], vec![1.0, -1.0, 2.0, 3.0]));
    let product = b.node(Operator::MatMul, &[x, w]);
    let mut y = b.relu(product);
    if let Some(last) = last {
        y = b.node(last, &[y]);
    }
    b.output(y);
    b.finish().unwrap()
}

#[test]
fn records_inner_values_and_constants() {
    let graph = tiny(&[None, Some(2)], None);
    let x = graph.inputs()[0];
    let product = graph.find_value("MatMul_1_output").unwrap();
    let w = graph.find_value("w").unwrap();
    let values = executable(&graph).run(&[(x, Tensor::from_f32(&[1, 2], vec![1.0, -1.0]))], &[product, w, x]).unwrap();
    assert_eq!(values[&product].to_f32().unwrap(), [-1.0, -4.0]);
    assert_eq!(values[&graph.outputs()[0]].to_f32().unwrap(), [0.0, 0.0]);
    assert_eq!(values[&w].shape(), [2, 2]);
    assert_eq!(values[&x].to_f32().unwrap(), [1.0, -1.0]);
}

#[test]
fn wrong_inputs_are_errors() {
    let graph = tiny(&[None, Some(2)], None);
    let x = |shape: &[usize]| Tensor::from_f32(shape, vec![0.0; shape.iter().product()]);
    let run = |inputs: Vec<(&str, Tensor)>| {
        let inputs: BTreeMap<_, _> = inputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        run_graph(&graph, inputs, &Host::default()).unwrap_err()
    };
    assert!(matches!(run(vec![]), RuntimeError::MissingInput { .. }));
    assert!(matches!(run(vec![("z", x(&[1, 2]))]), RuntimeError::UnknownInput { .. }));
    assert!(matches!(run(vec![("x", x(&[1, 3]))]), RuntimeError::Input { .. }));
    assert!(matches!(run(vec![("x", Tensor::from_i64(&[1, 2], vec![0, 0]))]), RuntimeError::Input { .. }));

    let opaque = Operator::Opaque { domain: "com.example".into(), name: "Mystery".into(), reason: String::new() };
    let graph = tiny(&[None, Some(2)], Some(opaque));
    let error = run_graph(&graph, BTreeMap::from([("x".to_owned(), x(&[1, 2]))]), &Host::default()).unwrap_err();
    assert!(matches!(error, RuntimeError::Unsupported { operator, .. } if operator == "Mystery"));
}

#[test]
fn shapes_that_do_not_fit_are_errors_not_panics() {
    let x = || Tensor::from_f32(&[1, 3, 4, 4], vec![0.0; 48]);
    let run = |build: &dyn Fn(&mut GraphBuilder, otfuse_graph::ValueId) -> otfuse_graph::ValueId| {
        let mut b = GraphBuilder::new("wrong");
        let input = b.input("x", &[None, Some(3), Some(4), Some(4)]);
        let y = build(&mut b, input);
        b.output(y);
        run_graph(&b.finish().unwrap(), BTreeMap::from([("x".to_owned(), x())]), &Host::default()).unwrap_err()
    };
    let weight = |shape: &[usize]| Tensor::from_f32(shape, vec![0.0; shape.iter().product()]);
    let errors = [
        run(&|b, x| {
            let w = b.initializer("w", weight(&[2, 4, 3, 3]));
            b.conv(x, w, None, Conv::default())
        }),
        run(&|b, x| {
            let w = b.initializer("w", weight(&[2, 3, 5, 5]));
            b.conv(x, w, None, Conv::default())
        }),
        run(&|b, x| {
            let conv = Conv { groups: 0, window: Window::default() };
            let w = b.initializer("w", weight(&[2, 3, 3, 3]));
            b.conv(x, w, None, conv)
        }),
        run(&|b, x| b.max_pool(x, 5)),
        run(&|b, x| {
            let w = b.initializer("w", weight(&[3, 3]));
            b.linear(x, w, None)
        }),
        run(&|b, x| {
            let y = b.initializer("y", weight(&[5]));
            b.add(x, y)
        }),
        run(&|b, x| {
            let shape = b.integers(&[7, -1]);
            b.node(Operator::Reshape { allow_zero: false }, &[x, shape])
        }),
        run(&|b, x| {
            let indices = b.integers(&[3]);
            b.node(Operator::Gather { axis: 1 }, &[x, indices])
        }),
        run(&|b, x| {
            let shape = b.integers(&[i64::MAX, i64::MAX, 3, 4, 4]);
            b.node(Operator::Expand, &[x, shape])
        }),
        run(&|b, x| b.node(Operator::Softmax { axis: 4 }, &[x])),
        run(&|b, x| b.node(Operator::Unary(Unary::Not), &[x])),
        run(&|b, x| b.node(Operator::Transpose { permutation: Some(vec![0, 1, 1, 2]) }, &[x])),
    ];
    for error in errors {
        // A shape that no memory holds is more than what is allowed.
        assert!(matches!(error, RuntimeError::Operand { .. } | RuntimeError::Budget { .. }), "{error}");
    }
}

#[test]
fn samples_are_fitted_to_the_input() {
    let graph = |shape: &[Option<usize>]| tiny(shape, None);
    let layout = SampleLayout::fit(&graph(&[None, Some(2)]), &[1, 1, 2]).unwrap();
    assert_eq!(layout.batch(vec![1.0, 2.0], 1)[0].1.shape(), [1, 2]);
    let layout = SampleLayout::fit(&graph(&[None, Some(2), Some(2), Some(3)]), &[3, 2, 2]).unwrap();
    let (_, batch) = layout.batch((0..12).map(|at| at as f32).collect(), 1).remove(0);
    assert_eq!(batch.shape(), [1, 2, 2, 3]);
    assert_eq!(batch.to_f32().unwrap()[..6], [0.0, 4.0, 8.0, 1.0, 5.0, 9.0]);
    let error = SampleLayout::fit(&graph(&[None, Some(5)]), &[1, 2, 2]).unwrap_err();
    assert!(matches!(error, RuntimeError::Samples { found, .. } if found == [1, 2, 2]));
}

#[test]
fn fixed_batches_give_the_same_as_free_ones() {
    let dataset = Dataset::from_floats(
        "five",
        vec![2],
        vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.5, 2.0, 2.0, 0.1, -0.2],
        vec![0, 1, 1, 1, 0],
        2,
    )
    .unwrap();
    let predictions = [None, Some(1), Some(2), Some(8)].map(|batch| {
        let network = executable(&tiny(&[batch, Some(2)], None));
        predict(&network, &dataset, &mut |_, _| {}).unwrap()
    });
    for prediction in &predictions {
        assert_eq!(prediction.logarithms().len(), 10);
        assert_eq!(*prediction, predictions[0]);
    }
}

#[test]
fn networks_that_end_in_softmax_are_measured_alike() {
    let dataset = Dataset::from_floats("two", vec![2], vec![1.0, 0.0, 0.0, 1.0], vec![0, 1], 2).unwrap();
    let measure = |last: Option<Operator>| {
        evaluate(&executable(&tiny(&[None, Some(2)], last)), &dataset, &mut |_, _| {}).unwrap()
    };
    let plain = measure(None);
    // Scores (1, 0) and (2, 3): both right, -log(e / (1 + e)) each.
    assert_eq!(plain.accuracy, 1.0);
    assert!((plain.loss - 0.313_261_687_518_222_8).abs() < 1e-9, "{}", plain.loss);
    assert_eq!(measure(Some(Operator::Softmax { axis: 1 })), plain);
    assert_eq!(measure(Some(Operator::LogSoftmax { axis: -1 })), plain);

    let network = executable(&tiny(&[None, Some(2)], None));
    let member = predict(&network, &dataset, &mut |_, _| {}).unwrap();
    let ensemble = Probabilities::mean(&[member.clone(), member.clone()]).unwrap();
    assert!((ensemble.evaluate(&dataset).unwrap().loss - plain.loss).abs() < 1e-9);
    assert!((member.sample(0).sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn digits_are_split_by_rows() {
    let (train, test) = (digits(Split::Train), digits(Split::Test));
    assert_eq!((train.len(), test.len(), train.classes()), (1438, 359, 10));
    assert_eq!(train.sample_shape(), [64]);
    assert_eq!(train.samples([0])[2], 5.0 / 16.0);
    assert_eq!(test.truncated(7).len(), 7);
}

fn settings() -> TrainSettings {
    TrainSettings { epochs: 8, ..TrainSettings::default() }
}

#[test]
fn a_perceptron_learns_digits() {
    let graph = mlp(&[64, 64, 32, 10], 1).unwrap();
    let mut steps = 0;
    let trained =
        train(&graph, &digits(Split::Train), &settings(), &Host::default(), &mut |progress| steps = progress.step)
            .unwrap();
    assert_eq!(steps, 8 * 1438_usize.div_ceil(64));
    assert!(trained.history[7].loss < 0.2 * trained.history[0].loss, "{:?}", trained.history);
    let evaluation = evaluate(&executable(&trained.graph), &digits(Split::Test), &mut |_, _| {}).unwrap();
    assert!(evaluation.accuracy > 0.93, "{evaluation:?}");
    assert_eq!(evaluation.samples, 359);
}

#[test]
fn idx_files_are_checked() {
    let directory = std::env::temp_dir().join(format!("otfuse-idx-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let images = |count: u8| [&[0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 2], vec![255; 8].as_slice()].concat();
    let labels = [0u8, 0, 8, 1, 0, 0, 0, 2, 3, 9];
    let load = || -> Result<Dataset, DatasetError> {
        let spec: DataSpec = format!("mnist:{}", directory.display()).parse()?;
        spec.load(Split::Test, None, Some(Normalization::none()))
    };
    assert!(matches!(load().unwrap_err(), DatasetError::Missing { .. }));
    std::fs::write(directory.join("t10k-images-idx3-ubyte"), images(2)).unwrap();
    std::fs::write(directory.join("t10k-labels-idx1-ubyte"), labels).unwrap();
    let dataset = load().unwrap();
    assert_eq!((dataset.labels(), dataset.sample_shape()), (&[3, 9][..], &[1, 2, 2][..]));
    assert_eq!(dataset.samples([1]), [1.0; 4]);
    std::fs::write(directory.join("t10k-images-idx3-ubyte"), images(3)).unwrap();
    assert!(matches!(load().unwrap_err(), DatasetError::Content { subject, .. } if subject == "data"));
    std::fs::write(directory.join("t10k-images-idx3-ubyte"), images(1)).unwrap();
    assert!(matches!(load().unwrap_err(), DatasetError::Content { .. }));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn specifications_are_checked() {
    for wrong in ["", "mnist", "digits:x", "cifar11:/x", "npz:"] {
        assert!(matches!(wrong.parse::<DataSpec>(), Err(DatasetError::Spec { .. })), "{wrong}");
    }
    assert_eq!("npz:/a:b.npz".parse::<DataSpec>().unwrap().to_string(), "npz:/a:b.npz");
}

#[test]
fn a_single_score_tells_two_classes_apart() {
    let scores = [2.0_f32, -1.0, 0.5];
    let loss = |score: f32, label: u32| (1.0 + f64::from(if label == 1 { -score } else { score }).exp()).ln();
    let labels = vec![1, 0, 0];
    let expected = scores.iter().zip(&labels).map(|(&score, &label)| loss(score, label)).sum::<f64>() / 3.0;
    for ends_in_sigmoid in [false, true] {
        let mut b = GraphBuilder::new("single");
        let x = b.input("x", &[None, Some(1)]);
        let weight = b.initializer("weight", Tensor::from_f32(&[1, 1], vec![1.0]));
        let mut y = b.linear(x, weight, None);
        if ends_in_sigmoid {
            y = b.node(Operator::Unary(Unary::Sigmoid), &[y]);
        }
        b.output(y);
        let graph = b.finish().unwrap();
        let dataset = Dataset::from_floats("three", vec![1], scores.to_vec(), labels.clone(), 2).unwrap();
        let executable = Executable::new(&graph, &Host::default()).unwrap();
        let found = evaluate(&executable, &dataset, &mut |_, _| {}).unwrap();
        assert!((found.accuracy - 2.0 / 3.0).abs() < 1e-12);
        if !ends_in_sigmoid {
            assert!((found.loss - expected).abs() < 1e-6, "{} {expected}", found.loss);
        }
    }
}

#[test]
fn classes_stand_in_front_of_places_or_behind() {
    // Two places, three classes: the same scores in both orders.
    let rows = [[3.0_f32, 0.0, 1.0], [0.0, 2.0, -1.0]];
    let behind: Vec<f32> = rows.concat();
    let front: Vec<f32> = (0..3).flat_map(|class| rows.map(|row| row[class])).collect();
    let targets = Targets::Classes { labels: vec![0, 2], classes: 3, shape: vec![1, 2] };
    let mut found = Vec::new();
    for (values, shape) in [(behind, [1, 2, 3]), (front, [3, 1, 2])] {
        let mut b = GraphBuilder::new("places");
        let x = b.input("x", &[None, Some(shape[0]), Some(shape[1]), Some(shape[2])]);
        let one = b.initializer("one", Tensor::scalar(1.0));
        let y = b.node(Operator::Binary(Binary::Mul), &[x, one]);
        b.output(y);
        let graph = b.finish().unwrap();
        let dataset = Dataset::with_targets("two", shape.to_vec(), values, targets.clone()).unwrap();
        let executable = Executable::new(&graph, &Host::default()).unwrap();
        found.push(evaluate(&executable, &dataset, &mut |_, _| {}).unwrap());
    }
    assert_eq!(found[0], found[1]);
    assert_eq!((found[0].accuracy, found[0].mean_iou), (0.5, Some(1.0 / 3.0)));
}
