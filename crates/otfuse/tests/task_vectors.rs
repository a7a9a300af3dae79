//! What one network learned since, added to another.

#[path = "support/networks.rs"]
mod networks;

use networks::{assert_close, changed, model, outputs_on};
use otfuse::graph::{Graph, NeuronGroups, permute};
use otfuse::runtime::dataset::Dataset as Samples;
use otfuse::{
    Context, Dataset, Model, RepairName, TransportOptions, Transported, architecture, random_orders,
    transport_task_vector,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

fn waves(count: usize, size: usize) -> Vec<f32> {
    (0..count * size).map(|index| (0.37 * index as f32 + 3.0 * (0.011 * index as f32).sin()).sin()).collect()
}

fn samples(shape: &[usize], count: usize) -> Dataset {
    let values = waves(count, shape.iter().product());
    let found = Samples::from_floats("waves", shape.to_vec(), values, vec![0; count], 10).expect("samples");
    Dataset::of_samples(found.clone(), found)
}

fn outputs(graph: &Graph, shape: &[usize]) -> Vec<f32> {
    outputs_on(graph, shape, waves(6, shape.iter().product()))
}

fn transported(
    models: &[&Model; 3],
    options: &TransportOptions,
    data: Option<&Dataset>,
) -> otfuse::Result<Transported> {
    transport_task_vector(models[0], models[1], models[2], options, data, &Context::new())
}

/// Into a network that is the base in another order, the tuned network goes whole, with and without samples.
#[test]
fn between_copies_a_task_vector_is_exact() {
    for (name, shape) in [("mlp:24-16", &[20][..]), ("resnet20:0.25", &[3, 32, 32])] {
        let base = changed(&architecture(name, shape, 10, 1).expect("an architecture").graph, 0.1, 2);
        let tuned = changed(&base, 0.3, 3);
        let groups = NeuronGroups::of(&base).expect("groups");
        let orders = random_orders(&groups, &mut ChaCha8Rng::seed_from_u64(4));
        let target = permute(&base, &groups, &orders).expect("a permutation");
        let models = [model("base.onnx", &base), model("tuned.onnx", &tuned), model("target.onnx", &target)];
        let models = [&models[0], &models[1], &models[2]];
        let expected = outputs(&tuned, shape);
        let plain = transported(&models, &TransportOptions::default(), None).expect("transported");
        assert_close(&outputs(&plain.graph, shape), &expected, 1e-3);
        assert!(plain.report.moved > 0 && plain.report.fitted_layers == 0 && plain.report.difference > 0.0);
        let data = samples(shape, 60);
        let fitted = transported(&models, &TransportOptions::default(), Some(&data)).expect("transported");
        assert_close(&outputs(&fitted.graph, shape), &expected, 2e-2);
        assert!(fitted.report.fitted_layers > 0 && fitted.report.samples == 60);
        // Nothing of it is the target, and half of it is no more than half.
        let none = TransportOptions { scale: Some(0.0), ..TransportOptions::default() };
        let none = transported(&models, &none, None).expect("transported");
        assert_close(&outputs(&none.graph, shape), &outputs(&base, shape), 1e-3);
    }
}

/// Networks that were trained apart: the target learns what the tuned network says beyond its base.
#[test]
fn a_fitted_network_says_what_the_tuned_one_says_beyond_its_base() {
    let shape = &[20][..];
    let made = |seed| changed(&architecture("mlp:32-24", shape, 10, seed).expect("an architecture").graph, 0.1, seed);
    let (base, target) = (made(1), made(2));
    let tuned = changed(&base, 0.5, 3);
    let models = [model("base.onnx", &base), model("tuned.onnx", &tuned), model("target.onnx", &target)];
    let models = [&models[0], &models[1], &models[2]];
    let data = samples(shape, 600);
    let [before, after, own] = [&base, &tuned, &target].map(|graph| outputs(graph, shape));
    let wanted: Vec<f32> =
        own.iter().zip(&before).zip(&after).map(|((own, before), after)| own + after - before).collect();
    let distance = |graph: &Graph, wanted: &[f32]| -> f32 {
        outputs(graph, shape).iter().zip(wanted).map(|(found, wanted)| (found - wanted).powi(2)).sum()
    };
    let plain = transported(&models, &TransportOptions::default(), None).expect("transported");
    let fitted = transported(&models, &TransportOptions::default(), Some(&data)).expect("transported");
    let start = distance(&target, &wanted);
    let [of_plain, of_fitted] = [&plain, &fitted].map(|found| distance(&found.graph, &wanted));
    assert!(of_fitted < 0.6 * of_plain.min(start), "{of_fitted} {of_plain} {start}");
    let follow = TransportOptions { follow: Some(1.0), ..TransportOptions::default() };
    let follow = transported(&models, &follow, Some(&data)).expect("transported");
    assert!(distance(&follow.graph, &after) < distance(&fitted.graph, &after));
    // The same for any number of threads.
    let alone = Context::new().threads(1).expect("a thread");
    let again =
        transport_task_vector(models[0], models[1], models[2], &TransportOptions::default(), Some(&data), &alone);
    for (id, tensor) in again.expect("transported").graph.initializers() {
        assert_eq!(Some(tensor), fitted.graph.initializer(id));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let made = |name: &str| architecture(name, &[20], 10, 1).expect("an architecture").graph;
    let (base, wide) = (model("base.onnx", &made("mlp:24-16")), model("wide.onnx", &made("mlp:24-20")));
    let refused = |models: [&Model; 3], options: &TransportOptions| match transported(&models, options, None) {
        Err(error) => error,
        Ok(_) => panic!("{models:?}"),
    };
    let error = refused([&base, &wide, &base], &TransportOptions::default());
    assert!(error.message.contains("wide.onnx") && error.tensor.is_some(), "{error:?}");
    let options = TransportOptions { follow: Some(2.0), ..TransportOptions::default() };
    assert!(refused([&base, &base, &base], &options).message.contains("follow"));
    let options = TransportOptions { repair: Some(RepairName::Bn), ..TransportOptions::default() };
    assert!(refused([&base, &base, &base], &options).message.contains("repair"));
    let options = TransportOptions { scale: Some(f64::NAN), ..TransportOptions::default() };
    assert!(refused([&base, &base, &base], &options).message.contains("scale"));
}
