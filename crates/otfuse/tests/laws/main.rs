//! The laws that every alignment keeps, on random networks of every structure.

mod networks;

use std::collections::BTreeMap;
use std::ops::ControlFlow::Continue;

use networks::{ALL, Recipe, Structure, build, groups};
use otfuse::fusion::{Merging, Networks, Repair, SavedPlan, Settings, fuse, repair};
use otfuse::graph::{AxisLayout, Graph, GraphEditor, GroupId, NeuronGroups, Role, Tensor, permute};
use otfuse::runtime::{Host, run_graph};
use otfuse::verify_graph;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn recipes() -> impl Strategy<Value = Recipe> {
    recipes_among(&ALL)
}

fn recipes_among(structures: &'static [Structure]) -> impl Strategy<Value = Recipe> {
    (0..structures.len(), [2..9_usize, 2..9, 2..9], any::<bool>(), any::<bool>()).prop_map(
        move |(structure, widths, bias, norm)| Recipe { structure: structures[structure], widths, bias, norm },
    )
}

/// Structures whose widths stand in weights alone. (A depthwise convolution has its width in an attribute, a padded
/// shortcut in its pads.)
const WIDENABLE: [Structure; 5] = [
    Structure::Perceptron,
    Structure::ConvFlatten,
    Structure::Residual,
    Structure::ResidualProjection,
    Structure::DenseConcat,
];

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} bias {} norm {}", self.structure, self.widths, self.bias, self.norm)
    }
}

/// Settings under which maps are permutations, the forward sweep first.
fn presets() -> [Settings; 4] {
    [Settings::default(), Settings::recommended(), Settings::converged(), Settings::git_rebasin()]
}

fn outputs(graph: &Graph) -> Vec<f32> {
    let shape: Vec<usize> = match graph.inputs().first().map(|&input| graph.value(input).declared.clone()) {
        Some(Some(declared)) => {
            declared.shape.unwrap_or_default().iter().map(|dim| dim.as_known().unwrap_or(3)).collect()
        }
        _ => panic!("an input with a shape"),
    };
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    let inputs = BTreeMap::from([("x".to_owned(), Tensor::from_f32(&shape, values))]);
    run_graph(graph, inputs, &Host::default()).expect("it runs").remove(0).1.to_f32().expect("floats")
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-3_f32, |scale, value| scale.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        prop_assert!((found - expected).abs() <= tolerance * scale, "found {found}, expected {expected}");
    }
    Ok(())
}

fn assert_same_weights(found: &Graph, expected: &Graph, tolerance: f32) -> Result<(), TestCaseError> {
    for (id, tensor) in expected.initializers().filter(|(_, tensor)| tensor.data_type().is_float()) {
        let partner = found.find_value(&expected.value(id).name).expect("the same names");
        let values = found.initializer(partner).and_then(Tensor::to_f32).expect("a weight");
        assert_close(&values, &tensor.to_f32().expect("floats"), tolerance)?;
    }
    Ok(())
}

fn random_orders(groups: &NeuronGroups, seed: u64) -> Vec<Vec<usize>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let orders = groups.iter().map(|(_, group)| {
        let mut order: Vec<usize> = (0..group.size).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.next_u32() as usize % (last + 1));
        }
        order
    });
    orders.collect()
}

/// Every neuron `copies` times, the outgoing weights split among the copies.
fn widened(graph: &Graph, groups: &NeuronGroups, copies: usize) -> Graph {
    let size = |group: GroupId| groups.group(group).size;
    let chosen: Vec<Vec<usize>> =
        groups.iter().map(|(_, group)| (0..group.size * copies).map(|i| i % group.size).collect()).collect();
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in graph.initializers() {
        let Some(layouts) = groups.layouts(id) else { continue };
        let mut shape = tensor.shape().to_vec();
        let Some(mut values) = tensor.to_f32() else { continue };
        for (axis, layout) in layouts.iter().enumerate().filter(|(_, layout)| !layout.is_fixed()) {
            let indices = layout.reindexed(&size, &|group: GroupId| chosen[group.index()].as_slice());
            let is_consumer = groups
                .iter()
                .flat_map(|(_, group)| &group.members)
                .any(|member| (member.initializer, member.axis, member.role) == (id, axis, Role::Consumer));
            let factor = if is_consumer { 1.0 / copies as f32 } else { 1.0 };
            let inner: usize = shape[axis + 1..].iter().product();
            let length = shape[axis];
            values = values
                .chunks_exact(length * inner)
                .flat_map(|outer| {
                    indices.iter().flat_map(move |&index| outer[index * inner..(index + 1) * inner].iter())
                })
                .map(|value| value * factor)
                .collect();
            shape[axis] = indices.len();
        }
        editor.set_tensor(id, Tensor::from_f32(&shape, values));
    }
    editor.finish().expect("a valid graph")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn permuting_every_free_group_leaves_the_outputs(recipe in recipes(), seed in any::<u64>()) {
        let graph = build(&recipe, seed);
        let verification = verify_graph(&graph, seed, &Host::default()).unwrap();
        prop_assert!(verification.max_rel_error < 1e-4, "{verification:?}");
        prop_assert_eq!(verification.groups.len(), groups(recipe.structure));
    }

    #[test]
    fn a_permuted_copy_is_recovered(recipe in recipes(), seed in any::<u64>(), preset in 0..4_usize) {
        let graph = build(&recipe, seed);
        let analysis = NeuronGroups::of(&graph).unwrap();
        let orders = random_orders(&analysis, seed);
        let permuted = permute(&graph, &analysis, &orders).unwrap();
        let networks = Networks::new(&[&permuted, &graph], 1).unwrap();
        let settings =
            [Settings::paper(), Settings::default(), Settings::recommended(), Settings::converged()][preset].clone();
        let fusion = fuse(&networks, &settings, &Merging::mean(), None, &|_| Continue(())).unwrap();
        for (group, order) in fusion.alignments[0].groups.iter().zip(&orders) {
            // Neuron i of the copy is neuron order[i] of the original, so that this is where it has to go.
            prop_assert_eq!(&group.plan, &SavedPlan::Permutation(order.clone()));
        }
        assert_same_weights(&fusion.graph, &graph, 1e-6)?;
    }

    #[test]
    fn fusing_a_network_with_itself_changes_nothing(recipe in recipes(), seed in any::<u64>(), models in 2..6_usize) {
        let graph = build(&recipe, seed);
        let networks = Networks::new(&vec![&graph; models], models - 1).unwrap();
        for settings in presets() {
            let fusion = fuse(&networks, &settings, &Merging::mean(), None, &|_| Continue(())).unwrap();
            assert_same_weights(&fusion.graph, &graph, 1e-6)?;
            let repaired = repair(&networks, &fusion, Repair::DataFree, None, &mut |_, _| Continue(())).unwrap();
            assert_same_weights(&repaired, &graph, 1e-5)?;
        }
    }

    #[test]
    fn sweeps_lower_the_objective_and_end(recipe in recipes(), seeds in [any::<u64>(), any::<u64>()]) {
        let [a, b] = seeds.map(|seed| build(&recipe, seed));
        let networks = Networks::new(&[&a, &b], 1).unwrap();
        // Features of unit length have no common objective.
        for settings in [Settings::converged(), Settings::git_rebasin()] {
            let fusion = fuse(&networks, &settings, &Merging::mean(), None, &|_| Continue(())).unwrap();
            let alignment = &fusion.alignments[0];
            prop_assert!(alignment.converged);
            let falls = alignment.objective.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-6));
            prop_assert!(falls, "{:?}", alignment.objective);
        }
    }

    #[test]
    fn an_aligned_model_computes_its_own_function(recipe in recipes(), seeds in [any::<u64>(), any::<u64>()]) {
        let [a, b] = seeds.map(|seed| build(&recipe, seed));
        let networks = Networks::new(&[&a, &b], 1).unwrap();
        for preset in presets() {
            let settings = Settings { weights: vec![1.0, 0.0], ..preset };
            let aligned = fuse(&networks, &settings, &Merging::mean(), None, &|_| Continue(())).unwrap().graph;
            assert_close(&outputs(&aligned), &outputs(&a), 1e-4)?;
        }
    }

    #[test]
    fn a_widened_copy_gives_the_original(
        recipe in recipes_among(&WIDENABLE), seed in any::<u64>(), copies in 2..4_usize
    ) {
        let graph = build(&recipe, seed);
        let analysis = NeuronGroups::of(&graph).unwrap();
        let wide = widened(&graph, &analysis, copies);
        assert_close(&outputs(&wide), &outputs(&graph), 1e-4)?;
        let networks = Networks::new(&[&wide, &graph], 1).unwrap();
        let fusion = fuse(&networks, &Settings::default(), &Merging::mean(), None, &|_| Continue(())).unwrap();
        assert_same_weights(&fusion.graph, &graph, 1e-5)?;
    }

    #[test]
    fn models_of_unequal_widths_take_the_anchors_shape(
        recipe in recipes(), other in [2..9_usize, 2..9, 2..9], seed in any::<u64>(), models in 2..6_usize
    ) {
        let odd = Recipe { structure: recipe.structure, widths: other, bias: recipe.bias, norm: recipe.norm };
        let graphs: Vec<Graph> = (0..models)
            .map(|model| build(if model % 2 == 0 { &odd } else { &recipe }, seed.wrapping_add(model as u64)))
            .collect();
        let networks = Networks::new(&graphs.iter().collect::<Vec<_>>(), 1).unwrap();
        let fusion = fuse(&networks, &Settings::default(), &Merging::mean(), None, &|_| Continue(())).unwrap();
        prop_assert_eq!(fusion.alignments.len(), models - 1);
        let shapes = |graph: &Graph| graph.initializers().map(|(_, tensor)| tensor.shape().to_vec()).collect::<Vec<_>>();
        prop_assert_eq!(shapes(&fusion.graph), shapes(&graphs[1]));
        prop_assert!(outputs(&fusion.graph).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    for structure in ALL {
        let recipe = Recipe { structure, widths: [7, 8, 6], bias: true, norm: true };
        let graphs: Vec<Graph> = (0..4).map(|seed| build(&recipe, seed)).collect();
        let fused = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let networks = Networks::new(&graphs.iter().collect::<Vec<_>>(), 3).unwrap();
                fuse(&networks, &Settings::default(), &Merging::mean(), None, &|_| Continue(())).unwrap().graph
            })
        };
        let expected = fused(1);
        for threads in [2, 5] {
            assert!(fused(threads) == expected, "{structure:?} with {threads} threads");
        }
    }
}

#[test]
fn a_fixed_axis_is_never_reordered() {
    let recipe = Recipe { structure: Structure::ConvFlatten, widths: [4, 5, 6], bias: true, norm: false };
    let graph = build(&recipe, 1);
    let groups = NeuronGroups::of(&graph).unwrap();
    let first = graph.find_value("1.weight").unwrap();
    let layouts = groups.layouts(first).unwrap();
    assert!(layouts[1..].iter().all(AxisLayout::is_fixed), "{layouts:?}");
}
