//! Networks without their least neurons.

use otfuse_fusion::{PruneError, PruneSettings, prune};
use otfuse_graph::{Graph, GraphEditor, Tensor};

use crate::networks::{computed, mlp, numbers, tensor};

/// A network whose hidden neurons at `dead` have no incoming weights and no bias.
fn with_dead(dead: &[usize]) -> Graph {
    let graph = mlp(&[3, 8, 2], 1);
    let mut changed = Vec::new();
    for (name, width) in [("0.weight", 3), ("0.bias", 1)] {
        let (shape, mut values) = tensor(&graph, name);
        dead.iter().for_each(|neuron| values[neuron * width..(neuron + 1) * width].fill(0.0));
        changed.push((graph.find_value(name).expect("a tensor"), Tensor::from_f32(&shape, values)));
    }
    let mut editor = GraphEditor::edit(graph);
    changed.into_iter().for_each(|(id, tensor)| editor.set_tensor(id, tensor));
    editor.finish().expect("a network")
}

#[test]
fn the_neurons_of_the_smallest_norms_go() {
    let graph = with_dead(&[1, 4, 6, 7]);
    let pruning = prune(&graph, &PruneSettings::default()).unwrap();
    assert_eq!(pruning.groups.len(), 1);
    assert_eq!((pruning.groups[0].size, pruning.groups[0].kept.as_slice()), (8, &[0, 2, 3, 5][..]));
    assert_eq!(tensor(&pruning.graph, "0.weight").0, [4, 3]);
    assert_eq!(tensor(&pruning.graph, "1.weight").0, [2, 4]);
    // What was pruned had no part in the function.
    for seed in 0..5 {
        let x = numbers(3, seed);
        for (expected, found) in computed(&graph, &x).iter().zip(computed(&pruning.graph, &x)) {
            assert!((expected - found).abs() < 1e-5, "{found} is not {expected}");
        }
    }
}

#[test]
fn shares_out_of_range_are_refused() {
    for amount in [-0.1, 1.0, f64::NAN] {
        let settings = PruneSettings { amount, ..PruneSettings::default() };
        assert!(matches!(prune(&mlp(&[3, 8, 2], 1), &settings), Err(PruneError::Amount { .. })), "{amount}");
    }
}
