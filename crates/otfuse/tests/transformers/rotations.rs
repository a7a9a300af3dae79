//! Residual streams and heads may be rotated, where a network reads them through normalisations alone.

use std::ops::ControlFlow::Continue;

use otfuse::formats::Model;
use otfuse::fusion::{Alignment, Merging, Networks, NotRotated, Rotations, Settings, align_all, rotated};
use otfuse::graph::{Graph, GraphEditor, NeuronGroups};

use crate::recovery::difference;
use crate::tiny::{Tiny, all};

/// Those whose stream may be rotated, if need be with tied weights apart.
const ROTATED: [&str; 9] = [
    "gpt2_causal",
    "gpt2_classes",
    "llama_causal",
    "llama_classes",
    "llama_tied",
    "mistral_causal",
    "qwen2_causal",
    "qwen2_classes",
    "qwen3_causal",
];

/// The network, tied weights apart where that lets its stream be rotated.
fn apart(model: &Model) -> Graph {
    let groups = NeuronGroups::of(&model.graph).unwrap();
    match Rotations::of(&model.graph, &groups) {
        Err(NotRotated::Tied(name)) => match model.untied(&name).unwrap() {
            Some(apart) => apart.graph,
            None => model.graph.clone(),
        },
        _ => model.graph.clone(),
    }
}

fn member(graph: &Graph, groups: &NeuronGroups, rotations: &Rotations, seed: u64) -> Graph {
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in rotations.random_member(graph, groups, seed).unwrap() {
        editor.set_tensor(id, tensor);
    }
    editor.finish().unwrap()
}

#[test]
fn random_members_compute_the_same_and_are_found_again() {
    let mut found = Vec::new();
    for tiny in all() {
        let (_folder, model) = tiny.open();
        let graph = apart(&model);
        assert!(difference(&tiny, &model.graph, &graph) < 1e-5, "{}", tiny.name);
        let groups = NeuronGroups::of(&graph).unwrap();
        let Ok(rotations) = Rotations::of(&graph, &groups) else { continue };
        for seed in 0..3 {
            let copy = member(&graph, &groups, &rotations, seed);
            let error = difference(&tiny, &graph, &copy);
            assert!(error < 1e-4, "{}: {error:e}", tiny.name);
            let networks = Networks::new(&[&copy, &graph], 1).unwrap();
            let turned = rotated(&networks, &|| Continue(())).unwrap().unwrap();
            let settings = Settings { alignment: Alignment::None, ..Settings::default() };
            let aligned = align_all(&turned.networks, &settings, None, &|_| Continue(())).unwrap();
            let average = aligned.average(&Merging::mean(), &[0.5, 0.5]).unwrap();
            for fused in [&average, &turned.with_averaged_heads(&average, &[0.5, 0.5]).unwrap()] {
                let error = difference(&tiny, &graph, fused);
                let costs: Vec<String> = turned.alignments[0]
                    .groups
                    .iter()
                    .map(|group| format!("{} {:e}", group.name, group.cost))
                    .collect();
                assert!(error < 1e-4, "{}: fused {error:e} {costs:#?}", tiny.name);
            }
        }
        found.push(tiny.name.clone());
    }
    let vision: Vec<String> = found.iter().filter(|name| name.starts_with("vit")).cloned().collect();
    assert_eq!(vision, ["vit_classes"]);
    found.retain(|name| !name.starts_with("vit"));
    assert_eq!(found, ROTATED);
}

#[test]
fn what_may_be_rotated_is_told_from_the_graph() {
    let counts = |name: &str| {
        let (_folder, model) = Tiny::named(name).open();
        let graph = apart(&model);
        let groups = NeuronGroups::of(&graph).unwrap();
        Rotations::of(&graph, &groups).map(|rotations| rotations.counts())
    };
    // Queries with keys, and values with outputs; rotary positions and normalised queries keep the order of channels.
    let gpt2 = counts("gpt2_causal").unwrap();
    assert_eq!((gpt2.streams, gpt2.heads % 2), (1, 0));
    let (llama, qwen) = (counts("llama_causal").unwrap(), counts("qwen3_causal").unwrap());
    assert!(llama.streams == 1 && llama.heads > 0 && qwen.streams == 1 && qwen.heads > 0, "{llama:?} {qwen:?}");
    assert!(matches!(counts("bert_classes"), Err(NotRotated::Order(_))));
    assert!(counts("vit_base").is_err());
}

#[test]
fn tied_networks_are_rotated_beside_untied_ones() {
    let mut network = Tiny::named("llama_causal");
    let (untied, _) = network.open();
    network.config["tie_word_embeddings"] = true.into();
    network.tensors.retain(|(name, ..)| name != "lm_head.weight");
    let (tied, _) = network.open();
    let [tied, untied] = [&tied, &untied].map(|folder| otfuse::Model::open(folder.path()).unwrap());
    let options = otfuse::FuseOptions { samples_from: Some("none".into()), ..Default::default() };
    let fused = otfuse::Fuse::new([&tied, &untied]).options(options).run(&otfuse::Context::new()).unwrap();
    assert!(fused.report.settings.verified);
}
