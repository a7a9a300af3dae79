//! The settings of alignment on networks with attention: a permuted copy is recovered by each of them, and plans keep their
//! marginals.

use std::collections::HashMap;
use std::ops::ControlFlow::Continue;

use otfuse::fusion::{
    ActivationPoint, ActivationStatistic, Activations, FeatureSource, Fusion, Matching, Merging, Networks, Residual,
    SavedPlan, Settings, fuse,
};
use otfuse::graph::{Graph, GroupId, NeuronGroups, Tensor, ValueId, permute};
use otfuse::random_orders;
use otfuse::runtime::{Executable, Host};
use otfuse::transport::{Epsilon, SinkhornSettings, Solver};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::recovery::difference;
use crate::tiny::{Tiny, all};

const POINT: ActivationPoint = ActivationPoint::PreActivation;
const RAW: ActivationStatistic = ActivationStatistic::Raw;

fn activations(tiny: &Tiny, networks: &Networks) -> Vec<Activations> {
    let of = |model: usize| {
        let graph = networks.graph(model);
        let executable = Executable::new(graph, &Host::default()).unwrap();
        let id = |name: &str| graph.inputs().iter().copied().find(|&id| graph.value(id).name == name).unwrap();
        let inputs: Vec<(ValueId, Tensor)> =
            tiny.inputs.iter().map(|(name, tensor)| (id(name), tensor.clone())).collect();
        let wanted = networks.observed(model, POINT);
        let found: HashMap<ValueId, Tensor> = executable.run_for(&inputs, &wanted).unwrap().into_iter().collect();
        Activations::new(networks, model, POINT, RAW, &[found]).unwrap()
    };
    (0..networks.len()).map(of).collect()
}

fn permuted_copy(graph: &Graph, seed: u64) -> Graph {
    let groups = NeuronGroups::of(graph).unwrap();
    let orders = random_orders(&groups, &mut ChaCha8Rng::seed_from_u64(seed));
    permute(graph, &groups, &orders).unwrap()
}

/// The largest relative difference that float32 sums in another order amount to.
const EXACT: f32 = 1e-3;
/// A soft plan moves a little mass to neurons that are no partners.
const SOFT: f32 = 1e-2;

/// Fuses each network with a permuted copy and returns what differs from the network.
fn failures(settings: &Settings, check: &dyn Fn(&Networks, &Fusion) -> Option<String>) -> Vec<String> {
    let mut failed = Vec::new();
    for tiny in all() {
        let (_folder, model) = tiny.open();
        let copy = permuted_copy(&model.graph, 5);
        let networks = Networks::new(&[&copy, &model.graph], 1).unwrap();
        let recorded = (settings.features != FeatureSource::Weights).then(|| activations(&tiny, &networks));
        let fused = fuse(&networks, settings, &Merging::mean(), recorded.as_deref(), &|_| Continue(())).unwrap();
        let error = difference(&tiny, &model.graph, &fused.graph);
        let tolerance = if matches!(settings.solver, Solver::Sinkhorn(_)) { SOFT } else { EXACT };
        if error > tolerance {
            failed.push(format!("{}: {error:e} {:?}", tiny.name, fused.alignments[0].objective));
        }
        failed.extend(check(&networks, &fused).map(|problem| format!("{}: {problem}", tiny.name)));
    }
    failed
}

fn by_activations() -> Settings {
    Settings { features: FeatureSource::Activations { point: POINT, statistic: RAW }, ..Settings::default() }
}

#[test]
fn every_preset_recovers_a_permuted_copy() {
    let none = |_: &Networks, _: &Fusion| None;
    assert_eq!(failures(&Settings::paper(), &none), Vec::<String>::new());
    let falls = |_: &Networks, fused: &Fusion| {
        let alignment = &fused.alignments[0];
        let falls = alignment.objective.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-9));
        (!falls || !alignment.converged).then(|| format!("{} {:?}", alignment.converged, alignment.objective))
    };
    let converged = Settings::converged();
    assert_eq!(failures(&converged, &falls), Vec::<String>::new());
    let matching = Matching { balance: true, ..converged.matching.clone() };
    assert_eq!(failures(&Settings { matching, ..converged }, &falls), Vec::<String>::new());
}

/// From the identity, sweeps may end in another minimum; they never go up.
#[test]
fn sweeps_from_the_identity_lower_the_objective() {
    for tiny in all() {
        let (_folder, model) = tiny.open();
        let copy = permuted_copy(&model.graph, 5);
        let networks = Networks::new(&[&copy, &model.graph], 1).unwrap();
        let fused = fuse(&networks, &Settings::git_rebasin(), &Merging::mean(), None, &|_| Continue(())).unwrap();
        let alignment = &fused.alignments[0];
        assert!(alignment.converged, "{}", tiny.name);
        assert_eq!(alignment.groups.len(), networks.groups().len(), "{}", tiny.name);
        let objective = &alignment.objective;
        assert!(objective.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-9)), "{}: {objective:?}", tiny.name);
        let aligned = fuse(
            &networks,
            &Settings { weights: vec![1.0, 0.0], ..Settings::git_rebasin() },
            &Merging::mean(),
            None,
            &|_| Continue(()),
        );
        let error = difference(&tiny, &copy, &aligned.unwrap().graph);
        assert!(error < 1e-3, "{}: aligned it computes something else: {error:e}", tiny.name);
    }
}

#[test]
fn activations_recover_a_permuted_copy_however_residual_terms_count() {
    let none = |_: &Networks, _: &Fusion| None;
    for residual in [Residual::Sums, Residual::Uniform, Residual::Scaled, Residual::Neurons] {
        assert_eq!(failures(&Settings { residual, ..by_activations() }, &none), Vec::<String>::new(), "{residual:?}");
        let by_weights = Settings { residual, ..Settings::default() };
        assert_eq!(failures(&by_weights, &none), Vec::<String>::new(), "{residual:?}");
    }
}

/// The largest difference of a row or column sum of any plan from its share.
fn worst_marginal(_: &Networks, fused: &Fusion) -> Option<String> {
    for alignment in &fused.alignments[0].groups {
        let SavedPlan::Entries(entries) = &alignment.plan else { continue };
        let (mut rows, mut columns) = (HashMap::new(), HashMap::new());
        for &(row, column, mass) in entries {
            *rows.entry(row).or_insert(0.0) += mass;
            *columns.entry(column).or_insert(0.0) += mass;
        }
        for sums in [&rows, &columns] {
            let share = 1.0 / sums.len() as f64;
            if let Some(worst) = sums.values().find(|&&sum: &&f64| (sum - share).abs() > 1e-6 * share) {
                return Some(format!("{}: {worst} instead of {share}", alignment.name));
            }
        }
    }
    None
}

#[test]
fn soft_plans_keep_their_marginals_heads_and_channels_included() {
    let solver = |epsilon| {
        Solver::Sinkhorn(SinkhornSettings { epsilon: Epsilon::RelativeToMean(epsilon), ..SinkhornSettings::default() })
    };
    for base in [Settings::default(), by_activations()] {
        let sharp = Settings { solver: solver(0.01), ..base.clone() };
        assert_eq!(failures(&sharp, &worst_marginal), Vec::<String>::new());
        // Far from a permutation, plans spread over all neurons: heads and channels in them, too.
        for tiny in all() {
            let (_folder, model) = tiny.open();
            let copy = permuted_copy(&model.graph, 6);
            let networks = Networks::new(&[&copy, &model.graph], 1).unwrap();
            let recorded = (base.features != FeatureSource::Weights).then(|| activations(&tiny, &networks));
            let settings = Settings { solver: solver(1.0), ..base.clone() };
            let fused = fuse(&networks, &settings, &Merging::mean(), recorded.as_deref(), &|_| Continue(())).unwrap();
            assert_eq!(worst_marginal(&networks, &fused), None, "{}", tiny.name);
            let soft = fused.alignments[0].groups.iter().filter(|group| group.matched_fraction < 0.9).count();
            assert!(soft > 0, "{}: no plan is soft", tiny.name);
        }
    }
}

/// Scale and shift of a normalisation move with the stream: they have no map of their own.
#[test]
fn normalisations_inherit_the_map_of_the_stream() {
    for name in ["gpt2_causal", "bert_masked"] {
        let (_folder, model) = Tiny::named(name).open();
        let groups = NeuronGroups::of(&model.graph).unwrap();
        let on = |id: ValueId| -> Vec<GroupId> {
            groups.layouts(id).unwrap_or_default().iter().flat_map(|layout| layout.groups()).collect()
        };
        let norms = model.graph.initializers().filter(|(id, tensor)| {
            let name = model.graph.value(*id).name.to_lowercase();
            tensor.shape().len() == 1
                && (name.contains("ln_") || name.contains("layernorm"))
                && !name.contains("predictions")
        });
        let found: Vec<Vec<GroupId>> = norms.map(|(id, _)| on(id)).collect();
        assert!(found.len() >= 4, "{name}");
        assert!(found.iter().all(|groups| groups.len() == 1 && groups == &found[0]), "{name}: {found:?}");
    }
}
