//! Transformers of unequal sizes: fused into the anchor's, or refused with the reason.

use std::fs;
use std::ops::ControlFlow::Continue;
use std::path::Path;

use otfuse::formats::Model;
use otfuse::formats::safetensors::read_safetensors;
use otfuse::fusion::{FusionError, Merging, Networks, Settings, fuse};
use otfuse::graph::{DataType, GraphEditor, NeuronGroups, Role, Tensor};
use otfuse::runtime::{Host, run_graph};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::recovery::difference;
use crate::tiny::Tiny;

/// The network with other sizes: each of `lengths` says which length becomes which.
fn resized(name: &str, lengths: &[(usize, usize)], settings: &[(&str, Value)]) -> Tiny {
    let mut tiny = Tiny::named(name);
    for (field, value) in settings {
        tiny.config[*field] = value.clone();
    }
    tiny.resize(&|length| lengths.iter().find(|(from, _)| *from == length).map_or(length, |(_, to)| *to));
    tiny
}

fn write(tiny: &Tiny, folder: &Path) -> Model {
    fs::create_dir(folder).unwrap();
    tiny.write(folder, DataType::F32);
    Model::open(folder, None).unwrap()
}

/// Settings of a configuration that are changed.
type Changes<'a> = &'a [(&'a str, Value)];

/// Lengths before and after.
type Lengths<'a> = &'a [(usize, usize)];

#[test]
fn widths_heads_and_inner_layers_may_differ() {
    let bert = [("hidden_size", json!(40)), ("num_attention_heads", json!(5)), ("intermediate_size", json!(72))];
    let gpt2 = [("n_embd", json!(40)), ("n_head", json!(5)), ("n_inner", json!(60))];
    let cases: [(&str, Lengths<'_>, Changes<'_>); 3] = [
        ("bert_masked", &[(32, 40), (56, 72)], &bert),
        ("gpt2_causal", &[(32, 40), (96, 120), (48, 60)], &gpt2),
        // The stream of a network without a head is an output, and rotated heads keep their width.
        ("llama_base", &[(40, 72)], &[("intermediate_size", json!(72))]),
    ];
    for (name, lengths, settings) in cases {
        let folder = TempDir::new().unwrap();
        let wide = write(&resized(name, lengths, settings), &folder.path().join("wide"));
        let narrow = Tiny::named(name);
        let anchor = write(&narrow, &folder.path().join("narrow"));
        for (anchor, other, expected) in [(&anchor, &wide, "narrow"), (&wide, &anchor, "wide")] {
            let networks = Networks::new(&[&other.graph, &anchor.graph], 1).unwrap();
            let fused = fuse(&networks, &Settings::default(), &Merging::mean(), None, &|_| Continue(())).unwrap();
            let out = folder.path().join(format!("into_{expected}"));
            anchor.save(&fused.graph, &out).unwrap();
            let read = |path: &Path| read_safetensors(&path.join("model.safetensors")).unwrap();
            let shapes = |path: &Path| -> Vec<(String, Vec<usize>)> {
                read(path).iter().map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec())).collect()
            };
            assert_eq!(shapes(&out), shapes(&folder.path().join(expected)), "{name}");
            let config = |path: &Path| fs::read(path.join("config.json")).unwrap();
            assert_eq!(config(&out), config(&folder.path().join(expected)), "{name}");
            let outputs =
                run_graph(&Model::open(&out, None).unwrap().graph, narrow.inputs.clone(), &Host::default()).unwrap();
            for (_, output) in outputs {
                assert!(output.to_f32().unwrap().iter().all(|value| value.is_finite()), "{name}");
            }
        }
    }
}

#[test]
fn what_cannot_be_fused_is_refused_with_the_reason() {
    let words: [(&str, Value); 1] = [("vocab_size", json!(31))];
    let layers: [(&str, Value); 1] = [("num_hidden_layers", json!(2))];
    let cases: [(&str, Lengths<'_>, Changes<'_>, &str); 2] =
        [("bert_masked", &[(29, 31)], &words, "word_embeddings.weight"), ("bert_masked", &[], &layers, "node")];
    for (name, lengths, settings, expected) in cases {
        let folder = TempDir::new().unwrap();
        let other = write(&resized(name, lengths, settings), &folder.path().join("a"));
        let anchor = write(&Tiny::named(name), &folder.path().join("b"));
        let error = Networks::new(&[&other.graph, &anchor.graph], 1).expect_err("a refusal");
        assert!(matches!(error, FusionError::PinnedSize { .. } | FusionError::Architecture { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A network twice as wide that computes the same: every neuron of the stream, of the inner layers and every channel of a head
/// stands twice, what reads them is halved, and queries and keys make up for the other scale of the scores.
fn widened(narrow: &Tiny, lengths: &[usize], settings: &[(&str, Value)], scores: f32, folder: &Path) -> Model {
    let mut wide = Tiny::named(&narrow.name);
    for (field, value) in settings {
        wide.config[*field] = value.clone();
    }
    wide.resize(&|length| if lengths.contains(&length) { 2 * length } else { length });
    let (_narrow, original) = narrow.open();
    let model = write(&wide, folder);
    let groups = NeuronGroups::of(&original.graph).unwrap();
    let mut editor = GraphEditor::edit(model.graph.clone());
    for (id, tensor) in original.graph.initializers().filter(|(_, tensor)| tensor.data_type().is_float()) {
        let name = &original.graph.value(id).name;
        let Some(target) = model.graph.find_value(name) else { continue };
        let shape = model.graph.initializer(target).unwrap().shape().to_vec();
        if shape == tensor.shape() {
            if original.graph.is_weight(id) {
                editor.set_tensor(target, tensor.clone());
            }
            continue;
        }
        let reads = |axis: usize| {
            groups.iter().any(|(_, group)| {
                group.members_as(Role::Consumer).any(|member| (member.initializer, member.axis) == (id, axis))
            })
        };
        let values = tensor.to_f32().unwrap();
        let mut wider = Vec::with_capacity(shape.iter().product());
        for place in 0..shape.iter().product::<usize>() {
            let (mut rest, mut from, mut stride, mut factor) = (place, 0, 1, 1.0);
            for axis in (0..shape.len()).rev() {
                let index = rest % shape[axis];
                rest /= shape[axis];
                let doubled = shape[axis] != tensor.shape()[axis];
                from += stride * if doubled { index / 2 } else { index };
                stride *= tensor.shape()[axis];
                if doubled && reads(axis) {
                    factor *= 0.5;
                }
            }
            let is_score = ["query", "key", ".q.", ".k."].iter().any(|part| name.contains(part));
            wider.push(values[from] * factor * if is_score { scores } else { 1.0 });
        }
        editor.set_tensor(target, Tensor::from_f32(&shape, wider));
    }
    let graph = editor.finish().unwrap();
    let mut wide = model;
    wide.graph = graph;
    wide
}

#[test]
fn a_widened_copy_fuses_into_the_network() {
    let wide = [("hidden_size", json!(64)), ("intermediate_size", json!(112))];
    let t5 = [("d_ff", json!(112)), ("d_kv", json!(12))];
    // Scores of T5 are not divided by the root of the heads' width, those of the others are.
    let divided = 0.5_f32.powf(0.25);
    let cases: [(&str, &[usize], Changes<'_>, f32); 3] = [
        ("bert_tokens", &[32, 56], &wide, divided),
        ("vit_classes", &[32, 56], &wide, divided),
        ("t5_gated", &[24, 56], &t5, 0.5_f32.sqrt()),
    ];
    for (name, lengths, settings, scores) in cases {
        let folder = TempDir::new().unwrap();
        let narrow = Tiny::named(name);
        let wide = widened(&narrow, lengths, settings, scores, &folder.path().join("wide"));
        let (_folder, anchor) = narrow.open();
        let computed = difference(&narrow, &anchor.graph, &wide.graph);
        assert!(computed < 1e-3, "{name}: the wide network computes something else: {computed:e}");
        let networks = Networks::new(&[&wide.graph, &anchor.graph], 1).unwrap();
        let fused = fuse(&networks, &Settings::default(), &Merging::mean(), None, &|_| Continue(())).unwrap();
        let error = difference(&narrow, &anchor.graph, &fused.graph);
        assert!(error < 1e-3, "{name}: {error:e}");
    }
}
