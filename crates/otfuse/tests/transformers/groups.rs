//! The neuron groups of transformers, against what their settings say, proved by running them.

use otfuse::graph::NeuronGroups;
use otfuse::runtime::Host;
use otfuse::verify_graph;
use serde_json::Value;

use crate::tiny::{Tiny, all};

/// The sizes of free groups, with that of the group that each is within.
type Sizes = Vec<(usize, Option<usize>)>;

fn size(config: &Value, names: [&str; 2]) -> usize {
    let value = names.iter().find_map(|name| config[name].as_u64());
    usize::try_from(value.unwrap_or(0)).unwrap()
}

/// Heads, and channels in each: those of queries and keys unless they are rotated, and those of values. Heads of keys
/// that serve several heads of queries have these inside of them. A single one has no order.
fn attention(sizes: &mut Sizes, heads: usize, key_heads: usize, channels: usize, rotated: bool) {
    let shared = heads / key_heads;
    let within = (key_heads > 1).then_some(key_heads);
    sizes.extend(within.map(|heads| (heads, None)));
    sizes.extend((shared > 1).then_some((shared, within)));
    sizes.extend((!rotated).then_some((channels, within)));
    sizes.push((channels, within));
}

fn expected(tiny: &Tiny) -> Sizes {
    let (family, head) = tiny.name.split_once('_').unwrap();
    let config = &tiny.config;
    let width = [size(config, ["hidden_size", "n_embd"]), size(config, ["dim", "d_model"])].into_iter().max().unwrap();
    let heads = [size(config, ["num_attention_heads", "n_head"]), size(config, ["n_heads", "num_heads"])];
    let heads = heads.into_iter().max().unwrap();
    let inner = match [size(config, ["intermediate_size", "n_inner"]), size(config, ["hidden_dim", "d_ff"])] {
        [0, 0] => 4 * width,
        [a, b] => a.max(b),
    };
    let layers = [size(config, ["num_hidden_layers", "n_layer"]), size(config, ["n_layers", "num_layers"])];
    let layers = layers.into_iter().max().unwrap();
    let mut sizes = Sizes::new();
    // The stream, unless it is an output.
    if head != "base" && head != "encoder" {
        sizes.push((width, None));
    }
    match family {
        "t5" => {
            // One table of distances serves all layers of the encoder, one all of the decoder: so do their heads.
            let channels = size(config, ["d_kv", ""]);
            let decoder = if head == "encoder" { 0 } else { size(config, ["num_decoder_layers", "num_layers"]) };
            for layers in [layers, decoder].into_iter().filter(|&layers| layers > 0) {
                sizes.push((heads, None));
                sizes.extend(vec![(channels, Some(heads)); 2 * layers]);
            }
            for _ in 0..decoder {
                attention(&mut sizes, heads, heads, channels, false);
            }
            sizes.extend(vec![(inner, None); layers + decoder]);
        }
        _ => {
            let rotated = ["llama", "mistral", "qwen2", "qwen3"].contains(&family);
            let key_heads = if rotated { size(config, ["num_key_value_heads", ""]) } else { heads };
            let channels = match size(config, ["head_dim", ""]) {
                0 => width / heads,
                channels => channels,
            };
            for _ in 0..layers {
                attention(&mut sizes, heads, key_heads, channels, rotated);
                sizes.push((inner, None));
            }
        }
    }
    // A hidden layer in the head; that of masked language models is compared with the embeddings, so it is the stream.
    if ["bert_classes", "roberta_classes", "distilbert_classes"].contains(&tiny.name.as_str()) {
        sizes.push((width, None));
    }
    sizes.sort();
    sizes
}

#[test]
fn groups_are_those_of_the_architectures() {
    for tiny in all() {
        let (_folder, model) = tiny.open();
        let groups = NeuronGroups::of(&model.graph).unwrap();
        let mut found: Sizes =
            groups.iter().map(|(_, group)| (group.size, group.within.map(|outer| groups.group(outer).size))).collect();
        found.sort();
        assert_eq!(found, expected(&tiny), "{}", tiny.name);
    }
}

#[test]
fn reordering_them_changes_nothing() {
    for tiny in all() {
        let (_folder, model) = tiny.open();
        let verification = verify_graph(&model.graph, 5, &Host::default()).unwrap();
        assert!(verification.is_ok(), "{}: {verification:?}", tiny.name);
        assert!(!verification.perturbed, "{}", tiny.name);
    }
}
