//! Families whose files `golden/hf_families.py` writes: what they compute, their groups, fusing them with a copy.

use std::ops::ControlFlow::Continue;

use otfuse::fusion::{Merging, Networks, Settings, fuse};
use otfuse::graph::{NeuronGroups, permute};
use otfuse::runtime::{Host, run_graph};
use otfuse::{random_orders, verify_graph};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::recovery::difference;
use crate::tiny::Tiny;

/// How many neuron groups each family's small network has.
const GROUPS: &[(&str, usize)] = &[
    ("albert", 10),
    ("bart", 23),
    ("blenderbot", 23),
    ("bloom", 7),
    ("camembert", 9),
    ("clip", 18),
    ("cohere", 9),
    ("convnext", 5),
    ("convnextv2", 5),
    ("deberta-v2", 10),
    ("deit", 9),
    ("dinov2", 9),
    ("dinov2_with_registers", 10),
    ("electra", 11),
    ("ernie", 9),
    ("falcon", 9),
    ("gemma", 9),
    ("gemma2", 9),
    ("gemma3_text", 13),
    ("gpt_neo", 9),
    ("gpt_neox", 9),
    ("gptj", 9),
    ("granite", 9),
    ("ijepa", 9),
    ("m2m_100", 22),
    ("marian", 22),
    ("mbart", 23),
    ("mixtral", 11),
    ("modernbert", 10),
    ("mpnet", 8),
    ("mt5", 21),
    ("olmo", 9),
    ("olmo2", 9),
    ("olmoe", 11),
    ("opt", 10),
    ("pegasus", 23),
    ("phi", 11),
    ("phi3", 9),
    ("qwen2_moe", 13),
    ("qwen3_moe", 11),
    ("regnet", 15),
    ("resnet", 9),
    ("siglip", 22),
    ("smollm3", 10),
    ("stablelm", 11),
    ("starcoder2", 9),
    ("swin", 18),
    ("vit_msn", 9),
    ("whisper", 25),
    ("xlm-roberta", 9),
];

fn check(tiny: &Tiny) -> Result<usize, String> {
    let (_folder, model) = tiny.open();
    let graph = &model.graph;
    let found = run_graph(graph, tiny.inputs.clone(), &Host::default()).map_err(|error| error.to_string())?;
    let mut compared = 0;
    for (name, values) in found.iter().filter_map(|(name, tensor)| Some((name, tensor.to_f32()?))) {
        let Some(expected) = tiny.outputs.get(name) else { continue };
        compared += 1;
        let scale = expected.iter().fold(1.0_f32, |scale, value| scale.max(value.abs()));
        let pairs = values.iter().zip(expected);
        let worst = pairs.map(|(a, b)| (a - b).abs() / scale).fold(0.0_f32, f32::max);
        if values.len() != expected.len() || worst.is_nan() || worst > 1e-4 {
            return Err(format!("'{name}' differs by {worst:e}"));
        }
    }
    if compared == 0 {
        return Err("no output was compared".into());
    }
    let verification = verify_graph(graph, 5, &Host::default()).map_err(|error| error.to_string())?;
    if !verification.is_ok() {
        return Err(format!("{verification:?}"));
    }
    let groups = NeuronGroups::of(graph).map_err(|error| error.to_string())?;
    let copy = permute(graph, &groups, &random_orders(&groups, &mut ChaCha8Rng::seed_from_u64(3)));
    let copy = copy.map_err(|error| error.to_string())?;
    let networks = Networks::new(&[&copy, graph], 1).map_err(|error| error.to_string())?;
    let fused = fuse(&networks, &Settings::converged(), &Merging::mean(), None, &|_| Continue(()));
    let fused = fused.map_err(|error| error.to_string())?;
    let error = difference(tiny, graph, &fused.graph);
    if error > 1e-4 {
        return Err(format!("fused with a copy it differs by {error:e}"));
    }
    Ok(groups.iter().count())
}

#[test]
fn families_are_those_of_the_library() {
    let tinies = Tiny::all_of("families");
    let failed: Vec<String> = tinies
        .iter()
        .filter_map(|tiny| {
            let expected = GROUPS.iter().find(|(name, _)| *name == tiny.name).map(|(_, groups)| *groups);
            match check(tiny) {
                Ok(found) if Some(found) == expected => None,
                Ok(found) => Some(format!("{}: {found} groups instead of {expected:?}", tiny.name)),
                Err(error) => Some(format!("{}: {error}", tiny.name)),
            }
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(tinies.len(), GROUPS.len());
}
