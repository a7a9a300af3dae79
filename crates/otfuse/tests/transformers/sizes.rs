//! Transformers of unequal sizes: fused into the anchor's, or refused with the reason.

use std::fs;
use std::path::Path;

use otfuse::formats::Model;
use otfuse::formats::safetensors::read_safetensors;
use otfuse::graph::DataType;
use otfuse::runtime::run_graph;
use otfuse::{FusionError, Networks, Settings, fuse};
use serde_json::{Value, json};
use tempfile::TempDir;

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
            let fused = fuse(&networks, &Settings::default(), None, &|_| {}).unwrap();
            let out = folder.path().join(format!("into_{expected}"));
            anchor.save(&fused.graph, &out).unwrap();
            let read = |path: &Path| read_safetensors(&path.join("model.safetensors")).unwrap();
            let shapes = |path: &Path| -> Vec<(String, Vec<usize>)> {
                read(path).iter().map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec())).collect()
            };
            assert_eq!(shapes(&out), shapes(&folder.path().join(expected)), "{name}");
            let config = |path: &Path| fs::read(path.join("config.json")).unwrap();
            assert_eq!(config(&out), config(&folder.path().join(expected)), "{name}");
            let outputs = run_graph(&Model::open(&out, None).unwrap().graph, narrow.inputs.clone()).unwrap();
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
        let error = Networks::new(&[&other.graph, &anchor.graph], 1).err().expect("a refusal");
        assert!(matches!(error, FusionError::PinnedSize { .. } | FusionError::Architecture { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
