//! Training transformers: steps against PyTorch (`golden/transformers_training.py`), folders written from scratch.

use otfuse::architecture_for;
use otfuse::formats::Model;
use otfuse::graph::{Graph, GraphEditor, Tensor};
use otfuse::runtime::dataset::{Dataset, Vocabulary};
use otfuse::runtime::train::{Optimizer, TrainSettings, train};
use serde_json::Value;

const WORDS: usize = 11;
const LENGTH: usize = 6;
const SAMPLES: usize = 4;

fn token(k: usize) -> u32 {
    ((7 * k * k + 3 * k) % (WORDS - 1) + 1) as u32
}

/// One token for others and ten characters.
fn language() -> Dataset {
    let stream: Vec<u32> = (0..=SAMPLES * LENGTH).map(token).collect();
    let (tokens, next) = (stream[..SAMPLES * LENGTH].to_vec(), stream[1..].to_vec());
    Dataset::from_tokens("text", LENGTH, tokens, next, WORDS, Vocabulary::of_characters("abcdefghij")).unwrap()
}

/// Three special tokens and eight words; sample i has 3 + i tokens.
fn sentences() -> Dataset {
    let of_sample = |i: usize| (0..LENGTH).map(move |j| if j < 3 + i { token(LENGTH * i + j) } else { 0 });
    let tokens = (0..SAMPLES).flat_map(of_sample).collect();
    let labels = (0..SAMPLES as u32).map(|i| i % 3).collect();
    let vocabulary = Vocabulary::of_words(["a b c d e f g h"].into_iter());
    Dataset::from_tokens("sentences", LENGTH, tokens, labels, 3, vocabulary).unwrap()
}

/// Sines by the order of the names, around 1 for the scales of normalisations.
fn with_sines(graph: &Graph) -> Graph {
    let mut weights: Vec<_> = graph.initializers().filter(|(id, _)| graph.is_weight(*id)).collect();
    weights.sort_by_key(|(id, _)| graph.value(*id).name.clone());
    let mut editor = GraphEditor::edit(graph.clone());
    for (at, (id, tensor)) in weights.into_iter().enumerate() {
        let is_norm = tensor.shape().len() == 1 && graph.value(id).name.ends_with("weight");
        let value = |k: usize| f64::from(u8::from(is_norm)) + 0.3 * (12.9898 * at as f64 + 0.618 * k as f64).sin();
        let values = (0..tensor.len()).map(|k| value(k) as f32).collect();
        editor.set_tensor(id, Tensor::from_f32(tensor.shape(), values));
    }
    editor.finish().unwrap()
}

#[test]
fn steps_agree_with_pytorch() {
    let golden: Value = serde_json::from_str(include_str!("../golden/transformers_training.json")).unwrap();
    for (spec, golden) in golden.as_object().unwrap() {
        let samples = if spec.starts_with("bert") { sentences() } else { language() };
        let graph = with_sines(&architecture_for(spec, &samples, 0).unwrap().graph);
        let settings = TrainSettings {
            epochs: 5,
            batch_size: SAMPLES,
            optimizer: Optimizer::AdamW { betas: (0.9, 0.999), epsilon: 1e-8 },
            learning_rate: 0.01,
            weight_decay: 0.1,
            ..TrainSettings::default()
        };
        let trained = train(&graph, &samples, &settings, &otfuse::runtime::Host::default(), &mut |_| {}).unwrap();
        for (epoch, loss) in trained.history.iter().zip(golden["losses"].as_array().unwrap()) {
            let expected = loss.as_f64().unwrap();
            assert!((epoch.loss - expected).abs() < 1e-4, "{spec}: expected {expected}, found {}", epoch.loss);
        }
        let weights = golden["weights"].as_object().unwrap();
        assert_eq!(weights.len(), graph.initializers().filter(|(id, _)| graph.is_weight(*id)).count(), "{spec}");
        for (name, expected) in weights {
            // A constant added to all keys changes nothing: its gradient is rounding, which Adam makes into steps.
            if name.ends_with("key.bias") {
                continue;
            }
            let found = trained.graph.find_value(name).and_then(|id| trained.graph.initializer(id)).unwrap();
            let found = found.to_f32().unwrap();
            let step = (found.len() / 8).max(1);
            for (at, expected) in expected["values"].as_array().unwrap().iter().enumerate() {
                let (index, expected) = (at * step, expected.as_f64().unwrap() as f32);
                if name.ends_with("c_attn.bias") && (8..16).contains(&index) {
                    continue;
                }
                let found = found[index];
                assert!((found - expected).abs() < 5e-4, "{spec}, {name}[{index}]: expected {expected}, found {found}");
            }
        }
    }
}

#[test]
fn new_networks_are_written_as_folders_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let specs = ["gpt2:2,16,2", "llama:1,16,4/2,40", "mistral:1,16,2", "qwen2:1,16,4/1", "qwen3:1,16,2"];
    let classifiers = ["bert:1,16,2", "roberta:1,16,2", "distilbert:1,16,2", "gpt2:1,16,2", "llama:1,16,2"];
    let cases = specs.iter().map(|spec| (spec, language())).chain(classifiers.iter().map(|it| (it, sentences())));
    for (index, (spec, samples)) in cases.enumerate() {
        let model = architecture_for(spec, &samples, 3).unwrap();
        let path = folder.path().join(index.to_string());
        model.save(&model.graph, &path).unwrap();
        let read = Model::open(&path, None).unwrap();
        let bytes = |graph: &Graph| -> Vec<(String, Vec<u8>)> {
            let tensors = graph.initializers().filter(|(id, _)| graph.is_weight(*id));
            tensors.map(|(id, tensor)| (graph.value(id).name.clone(), tensor.bytes().to_vec())).collect()
        };
        assert_eq!(bytes(&read.graph), bytes(&model.graph), "{spec}");
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            assert!(path.join(file).is_file(), "{spec}: {file}");
        }
        // A file of tensors alone takes its settings from the folder.
        let tensors = folder.path().join(format!("{index}.safetensors"));
        read.save(&read.graph, &tensors).unwrap();
        let architecture = otfuse::formats::Architecture::parse(path.to_str().unwrap()).unwrap();
        let again = Model::open(&tensors, Some(&architecture)).unwrap();
        assert_eq!(bytes(&again.graph), bytes(&model.graph), "{spec}");
        // Another network by the folder's settings.
        let other = architecture_for(path.to_str().unwrap(), &samples, 4).unwrap();
        assert_eq!(other.graph.parameter_count(), model.graph.parameter_count(), "{spec}");
        assert_ne!(bytes(&other.graph), bytes(&model.graph), "{spec}");
    }
}

#[test]
fn new_weights_are_those_of_transformers() {
    let model = architecture_for("gpt2:8,64,4", &language(), 1).unwrap();
    let deviation = |name: &str| {
        let tensor = model.graph.find_value(name).and_then(|id| model.graph.initializer(id)).unwrap();
        let values = tensor.to_f32().unwrap();
        (values.iter().map(|value| f64::from(value * value)).sum::<f64>() / values.len() as f64).sqrt()
    };
    assert!((deviation("transformer.h.0.attn.c_attn.weight") - 0.02).abs() < 5e-4);
    assert!((deviation("transformer.h.7.mlp.c_proj.weight") - 0.02 / 4.0).abs() < 2e-4);
    assert_eq!(deviation("transformer.h.3.mlp.c_fc.bias"), 0.0);
    assert_eq!(deviation("transformer.ln_f.weight"), 1.0);
    let bert = architecture_for("bert:1,16,2", &sentences(), 1).unwrap().graph;
    let words = bert.find_value("bert.embeddings.word_embeddings.weight").and_then(|id| bert.initializer(id));
    let words = words.unwrap().to_f32().unwrap();
    assert!(words[..16].iter().all(|&value| value == 0.0) && words[16] != 0.0);
}

#[test]
fn what_does_not_fit_the_data_is_refused() {
    let images = Dataset::from_floats("images", vec![1, 8, 8], vec![0.0; 64], vec![0], 2).unwrap();
    let error = |spec: &str, samples: &Dataset| architecture_for(spec, samples, 0).unwrap_err().to_string();
    assert!(error("bert:1,8,2", &language()).contains("sentences with labels"));
    assert!(error("gpt2:1,8,2", &images).contains("text"));
    assert!(error("mlp:8", &language()).contains("found text"));
    assert!(error("gpt2:1,9,2", &language()).contains("a divisor of the width 9"));
    assert!(error("gpt2:1", &language()).contains("LAYERS,WIDTH,HEADS"));
    assert!(error("gtp2:1,8,2", &language()).contains("not understood"));
    assert!(error("gpt2:60000,60000,60000", &language()).contains("larger than is trained here"));
    assert!(architecture_for("vit:1,8,2", &images, 0).is_ok());
}
