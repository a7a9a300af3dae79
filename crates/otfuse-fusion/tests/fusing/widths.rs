//! Models of unequal widths.

use otfuse_fusion::{Merging, Networks, Settings, fuse};
use otfuse_graph::{Graph, GraphBuilder, Tensor};

use crate::networks::{difference, go_on, mlp, tensor};

/// The network of one hidden layer with every hidden neuron twice, of half the outgoing weight each: the same function.
fn doubled(graph: &Graph) -> Graph {
    let ((shape, weight), (_, bias)) = (tensor(graph, "0.weight"), tensor(graph, "0.bias"));
    let ((of_head, head), (_, shift)) = (tensor(graph, "1.weight"), tensor(graph, "1.bias"));
    let halves: Vec<f32> = head.chunks_exact(shape[0]).flat_map(|row| row.repeat(2)).map(|value| 0.5 * value).collect();
    let mut b = GraphBuilder::new("mlp");
    let x = b.input("x", &[None, Some(shape[1])]);
    let weight = b.initializer("0.weight", Tensor::from_f32(&[2 * shape[0], shape[1]], weight.repeat(2)));
    let bias = b.initializer("0.bias", Tensor::from_f32(&[2 * shape[0]], bias.repeat(2)));
    let x = b.linear(x, weight, Some(bias));
    let x = b.relu(x);
    let head = b.initializer("1.weight", Tensor::from_f32(&[of_head[0], 2 * shape[0]], halves));
    let shift = b.initializer("1.bias", Tensor::from_f32(&[of_head[0]], shift));
    let y = b.linear(x, head, Some(shift));
    b.output(y);
    b.finish().expect("a network")
}

#[test]
fn doubled_neurons_are_merged_again() {
    let network = mlp(&[4, 6, 3], 1);
    let wide = doubled(&network);
    for settings in [Settings::default(), Settings::converged(), Settings::recommended()] {
        let networks = Networks::new(&[&network, &wide], 0).unwrap();
        let fusion = fuse(&networks, &settings, &Merging::mean(), None, &go_on).unwrap();
        assert!(difference(&fusion.graph, &network) < 1e-6, "{settings:?}");
        let group = &fusion.alignments[0].groups[0];
        assert_eq!((group.size, group.anchor_size), (12, 6));
    }
}

#[test]
fn the_result_is_as_wide_as_the_anchor() {
    let (narrow, wide) = (mlp(&[4, 6, 3], 1), mlp(&[4, 9, 3], 2));
    for (anchor, width) in [(0, 6), (1, 9)] {
        let networks = Networks::new(&[&narrow, &wide], anchor).unwrap();
        let fusion = fuse(&networks, &Settings::default(), &Merging::mean(), None, &go_on).unwrap();
        assert_eq!(tensor(&fusion.graph, "0.weight").0, [width, 4]);
        assert_eq!(tensor(&fusion.graph, "1.weight").0, [3, width]);
    }
}
