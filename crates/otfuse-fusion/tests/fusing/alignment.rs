//! What alignment finds.

use otfuse_fusion::{Alignment, Consensus, FusionError, Merging, Networks, SavedPlan, Settings};
use otfuse_graph::{Graph, GraphBuilder, Tensor};

use crate::networks::{difference, fused, mlp, noisy, residual, shuffled, tensor};

/// Settings of all kinds that go by weights.
fn kinds() -> [Settings; 4] {
    [Settings::default(), Settings::git_rebasin(), Settings::converged(), Settings::recommended()]
}

#[test]
fn a_shuffled_copy_fuses_into_the_network() {
    for network in [mlp(&[5, 12, 9, 3], 1), residual(8, 1)] {
        let copy = shuffled(&network, 7);
        assert!(difference(&copy, &network) > 0.1, "an order that is another one");
        for settings in kinds() {
            let fusion = fused(&[&network, &copy], &settings, &Merging::mean()).unwrap();
            assert!(difference(&fusion.graph, &network) < 1e-6, "{settings:?}");
            let groups = &fusion.alignments[0].groups;
            assert!(groups.iter().all(|group| group.matched_fraction == 1.0 && group.cost.abs() < 1e-5), "{groups:?}");
        }
    }
}

#[test]
fn the_permutation_is_the_one_that_shuffled() {
    let network = mlp(&[5, 12, 3], 2);
    let copy = shuffled(&network, 3);
    let fusion = fused(&[&network, &copy], &Settings::default(), &Merging::mean()).unwrap();
    let SavedPlan::Permutation(targets) = &fusion.alignments[0].groups[0].plan else { panic!("no permutation") };
    let (own, of_copy) = (tensor(&network, "0.weight").1, tensor(&copy, "0.weight").1);
    for (neuron, &target) in targets.iter().enumerate() {
        assert_eq!(of_copy[neuron * 5..][..5], own[target * 5..][..5], "neuron {neuron}");
    }
}

#[test]
fn three_models_agree_on_their_mean() {
    let network = mlp(&[5, 12, 9, 3], 4);
    let models = [0, 1, 2].map(|copy| noisy(&network, 0.02, copy + 1));
    let shuffled = [1, 2].map(|copy| shuffled(&models[copy], copy as u64));
    let expected = fused(&[&models[0], &models[1], &models[2]], &none(), &Merging::mean()).unwrap().graph;
    for consensus in [Consensus::Anchor, Consensus::RunningMean] {
        let mut settings = Settings::converged();
        settings.matching.consensus = consensus;
        let fusion = fused(&[&models[0], &shuffled[0], &shuffled[1]], &settings, &Merging::mean()).unwrap();
        assert_eq!(fusion.alignments.iter().map(|found| found.model).collect::<Vec<_>>(), [1, 2]);
        assert!(difference(&fusion.graph, &expected) < 1e-6, "{consensus:?}");
    }
}

fn none() -> Settings {
    Settings { alignment: Alignment::None, ..Settings::default() }
}

#[test]
fn without_alignment_the_result_is_the_plain_mean() {
    let (a, b) = (mlp(&[4, 6, 2], 1), mlp(&[4, 6, 2], 2));
    let settings = Settings { weights: vec![3.0, 1.0], ..none() };
    let fusion = fused(&[&a, &b], &settings, &Merging::mean()).unwrap();
    assert!(fusion.alignments.is_empty());
    assert_eq!(fusion.weights, [0.75, 0.25]);
    for name in ["0.weight", "0.bias", "1.weight", "1.bias"] {
        let ((_, a), (_, b), (_, found)) = (tensor(&a, name), tensor(&b, name), tensor(&fusion.graph, name));
        let mean = |(a, b): (&f32, &f32)| (0.75 * f64::from(*a) + 0.25 * f64::from(*b)) as f32;
        assert_eq!(found, a.iter().zip(&b).map(mean).collect::<Vec<_>>(), "{name}");
    }
    let wider = mlp(&[4, 7, 2], 3);
    let error = fused(&[&a, &wider], &none(), &Merging::mean()).unwrap_err();
    assert!(matches!(error, FusionError::Shape { model: 1, .. }), "{error}");
}

/// A network that gives a tensor of its own out, which no node reads.
fn with_unread(tensor: Tensor) -> Graph {
    let mut b = GraphBuilder::new("unread");
    let x = b.input("x", &[None, Some(2)]);
    let y = b.relu(x);
    let unread = b.initializer("unread", tensor);
    b.output(y);
    b.output(unread);
    b.finish().unwrap()
}

#[test]
fn tensors_that_no_node_reads_are_of_one_type() {
    let floats = |value| with_unread(Tensor::from_f32(&[1], vec![value]));
    let fusion = fused(&[&floats(1.0), &floats(3.0)], &Settings::default(), &Merging::mean()).unwrap();
    assert_eq!(tensor(&fusion.graph, "unread").1, [2.0]);
    let error = Networks::new(&[&floats(1.0), &with_unread(Tensor::from_i64(&[1], vec![3]))], 0).unwrap_err();
    assert!(matches!(error, FusionError::Architecture { model: 1, .. }), "{error}");
}
