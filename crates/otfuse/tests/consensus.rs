//! Three and more models matched by activations.

use std::ops::ControlFlow::Continue;

use otfuse::fusion::{
    ActivationPoint, ActivationStatistic, Activations, Alignment, Consensus, FeatureSource, Matching, Merging,
    Networks, Settings, fuse,
};
use otfuse::graph::{Graph, GraphEditor, NeuronGroups, Tensor, permute};
use otfuse::runtime::dataset::Dataset;
use otfuse::runtime::{Executable, Host};
use otfuse::{architecture, random_orders, record_activations};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const POINT: ActivationPoint = ActivationPoint::PreActivation;
const RAW: ActivationStatistic = ActivationStatistic::Raw;

/// A copy of a network, its neurons in another order and its weights changed at random.
fn copy(graph: &Graph, noise: f32, seed: u64) -> Graph {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in graph.initializers() {
        let values = tensor.to_f32().expect("floats");
        let size = (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt();
        let mut next = || noise * size * (random.next_u32() as f32 / (1 << 31) as f32 - 1.0);
        editor.set_tensor(id, Tensor::from_f32(tensor.shape(), values.iter().map(|value| value + next()).collect()));
    }
    let changed = editor.finish().expect("a network");
    let groups = NeuronGroups::of(&changed).expect("groups");
    permute(&changed, &groups, &random_orders(&groups, &mut random)).expect("a permutation")
}

#[test]
fn models_are_brought_to_the_mean_of_each_other() {
    let network = architecture("mlp:64-32", &[20], 10, 1).expect("an architecture").graph;
    // The anchor is the one that has least in common with the others.
    let models: Vec<Graph> =
        [(0.4, 2), (0.4, 3), (0.4, 4), (0.4, 5), (1.6, 6)].map(|(noise, seed)| copy(&network, noise, seed)).into();
    let graphs: Vec<&Graph> = models.iter().collect();
    let networks = Networks::new(&graphs, 4).expect("one architecture");
    let values: Vec<f32> =
        (0..200 * 20).map(|index| (0.37 * index as f32 + (0.011 * index as f32).sin()).sin()).collect();
    let samples = Dataset::from_floats("waves", vec![20], values, vec![0; 200], 10).expect("samples");
    let host = Host::default();
    let recorded = |model| record_activations(&networks, model, POINT, RAW, &samples, &host).expect("recorded");
    let recorded: Vec<Activations> = (0..models.len()).map(recorded).collect();
    let inputs = Tensor::from_f32(&[200, 20], samples.samples(0..200));
    let spread = |consensus_of_activations: bool| -> f64 {
        let matching = Matching { consensus: Consensus::RunningMean, consensus_of_activations, ..Matching::default() };
        let features = FeatureSource::Activations { point: POINT, statistic: RAW };
        let settings = Settings { alignment: Alignment::Transport, features, matching, ..Settings::default() };
        let fusion = fuse(&networks, &settings, &Merging::mean(), Some(&recorded), &|_| Continue(())).expect("fused");
        let anchor = networks.graph(networks.anchor());
        let value = anchor.nodes().next().and_then(|(_, node)| node.output(0)).expect("an output");
        let of = |model: usize| {
            let (graph, own) = (networks.graph(model), networks.value(model, value));
            let executable = Executable::new(graph, &host).expect("a program");
            let found = executable.run_for(&[(graph.inputs()[0], inputs.clone())], &[own]).expect("runs");
            fusion.aligned(&networks, model, value, &found[&own]).to_f32().expect("floats")
        };
        let all: Vec<Vec<f32>> = (0..models.len()).map(of).collect();
        let mean = |at: usize| all.iter().map(|values| values[at]).sum::<f32>() / all.len() as f32;
        let means: Vec<f32> = (0..all[0].len()).map(mean).collect();
        let distance =
            |values: &Vec<f32>| values.iter().zip(&means).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        all.iter().map(distance).sum()
    };
    let (to_anchor, to_mean) = (spread(false), spread(true));
    assert!(to_mean < 0.97 * to_anchor, "{to_mean} after {to_anchor}");
}
