//! Fusing a transformer with a permuted copy of it gives the transformer back.

use std::ops::ControlFlow::Continue;

use otfuse::fusion::{Merging, Networks, Settings, fuse};
use otfuse::graph::{Graph, NeuronGroups, Tensor, permute};
use otfuse::random_orders;
use otfuse::runtime::{Host, run_graph};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::tiny::{Tiny, all};

/// The largest difference of an output, relative to its largest absolute value.
pub fn difference(tiny: &Tiny, a: &Graph, b: &Graph) -> f32 {
    let outputs = |graph: &Graph| run_graph(graph, tiny.inputs.clone(), &Host::default()).unwrap();
    let mut worst = 0.0_f32;
    for ((_, expected), (_, found)) in outputs(a).iter().zip(&outputs(b)) {
        let [expected, found] = [expected, found].map(|tensor: &Tensor| tensor.to_f32().unwrap());
        let scale = expected.iter().fold(f32::MIN_POSITIVE, |scale, value| scale.max(value.abs()));
        worst = expected.iter().zip(&found).fold(worst, |worst, (a, b)| worst.max((a - b).abs() / scale));
    }
    worst
}

#[test]
fn a_permuted_copy_fuses_into_the_network() {
    let mut failed = Vec::new();
    for tiny in all() {
        let (_folder, model) = tiny.open();
        let graph = &model.graph;
        let groups = NeuronGroups::of(graph).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let each_its_own = random_orders(&groups, &mut random);
        // The same order in all heads is a special case.
        let alike: Vec<Vec<usize>> =
            groups.iter().zip(&each_its_own).map(|((_, group), order)| order[..group.size].to_vec()).collect();
        for orders in [each_its_own, alike] {
            let copy = permute(graph, &groups, &orders).unwrap();
            let networks = Networks::new(&[&copy, graph], 1).unwrap();
            let fused = fuse(&networks, &Settings::default(), &Merging::mean(), None, &|_| Continue(())).unwrap();
            let error = difference(&tiny, graph, &fused.graph);
            if error > 1e-3 {
                let costs: Vec<String> =
                    fused.alignments[0].groups.iter().map(|group| format!("{} {:e}", group.name, group.cost)).collect();
                failed.push(format!("{}: {error:e} {costs:?}", tiny.name));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
