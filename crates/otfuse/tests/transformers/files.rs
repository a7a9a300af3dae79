//! Folders written back, and folders that are refused.

use std::fs;

use otfuse::formats::Model;
use otfuse::formats::safetensors::read_safetensors;
use otfuse::graph::DataType;
use otfuse::{Context, Fuse};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tiny::Tiny;

#[test]
fn a_fused_folder_has_the_anchors_files_names_and_types() {
    for (name, data_type) in [("gpt2_causal", DataType::F32), ("llama_tied", DataType::BF16)] {
        let tiny = Tiny::named(name);
        let folder = TempDir::new().unwrap();
        let (a, b, out) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("out"));
        for model in [&a, &b] {
            fs::create_dir(model).unwrap();
            tiny.write(model, data_type);
            fs::write(model.join("tokenizer.json"), "{}").unwrap();
        }
        let models = [&a, &b].map(|path| otfuse::Model::open(path).unwrap());
        let fused = Fuse::new(&models).run(&Context::new()).unwrap();
        assert!(!fused.report.groups.is_empty(), "{name}");
        fused.save(&out).unwrap();
        assert_eq!(fs::read(out.join("config.json")).unwrap(), fs::read(b.join("config.json")).unwrap());
        assert!(out.join("tokenizer.json").exists());
        let [expected, found] = [&b, &out].map(|path| read_safetensors(&path.join("model.safetensors")).unwrap());
        assert_eq!(expected, found, "{name}");
        // What is there is not replaced.
        let error = fused.save(&out).unwrap_err();
        assert!(error.message.contains("a folder with files in it"), "{error}");
    }
}

#[test]
fn shards_keep_their_files() {
    let tiny = Tiny::named("bert_masked");
    let folder = TempDir::new().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    tiny.write(&model, DataType::F16);
    let whole = read_safetensors(&model.join("model.safetensors")).unwrap();
    fs::remove_file(model.join("model.safetensors")).unwrap();
    let mut map = serde_json::Map::new();
    let mut shards = [otfuse::formats::StateDict::new(), otfuse::formats::StateDict::new()];
    for (index, (name, tensor)) in whole.iter().enumerate() {
        map.insert(name.into(), format!("model-{:05}-of-00002.safetensors", index % 2 + 1).into());
        shards[index % 2].insert(name, tensor.clone()).unwrap();
    }
    for (index, shard) in shards.iter().enumerate() {
        let path = model.join(format!("model-{:05}-of-00002.safetensors", index + 1));
        otfuse::formats::safetensors::write_safetensors(&path, shard).unwrap();
    }
    let index = json!({ "metadata": { "total_size": 7 }, "weight_map": map });
    fs::write(model.join("model.safetensors.index.json"), index.to_string()).unwrap();
    let opened = Model::open(&model, None).unwrap();
    let out = folder.path().join("out");
    opened.save(&opened.graph, &out).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(out.join("model.safetensors.index.json")).unwrap()).unwrap();
    assert_eq!(written, index);
    for index in 1..=2 {
        let name = format!("model-{index:05}-of-00002.safetensors");
        assert_eq!(read_safetensors(&out.join(&name)).unwrap(), read_safetensors(&model.join(&name)).unwrap());
    }
}

#[test]
fn settings_that_would_change_the_function_are_refused_by_name() {
    let cases: [(&str, &str, Value, &str); 10] = [
        ("bert_base", "hidden_act", json!("snake"), "hidden_act"),
        ("bert_base", "is_decoder", json!(true), "is_decoder"),
        ("bert_base", "position_embedding_type", json!("relative_key"), "position_embedding_type"),
        ("bert_base", "model_type", json!("mamba"), "model_type"),
        ("bert_base", "architectures", json!(["BertForNextSentencePrediction"]), "architectures"),
        ("bert_base", "hidden_size", json!(25), "num_attention_heads"),
        ("bert_base", "vocab_size", json!(30), "word_embeddings.weight"),
        ("bert_base", "num_hidden_layers", json!(3), "encoder.layer.2"),
        ("llama_causal", "rope_parameters", json!({"rope_type": "yarn", "factor": 2.0}), "rope_type"),
        ("llama_causal", "quantization_config", json!({"bits": 4}), "quantization_config"),
    ];
    for (name, field, value, expected) in cases {
        let mut tiny = Tiny::named(name);
        tiny.config[field] = value;
        let folder = TempDir::new().unwrap();
        tiny.write(folder.path(), DataType::F32);
        let error = Model::open(folder.path(), None).expect_err(field).to_string();
        assert!(error.contains(expected), "{field}: {error}");
    }
}
