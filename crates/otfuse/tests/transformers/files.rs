//! Folders written back, and folders that are refused.

use std::fs;
use std::path::Path;

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

/// Puts a folder's weights into two files, tensor by tensor in turn. Gives their index.
fn shard(model: &Path) -> Value {
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
    index
}

#[test]
fn shards_keep_their_files() {
    let tiny = Tiny::named("bert_masked");
    let folder = TempDir::new().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    tiny.write(&model, DataType::F16);
    let index = shard(&model);
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

#[test]
fn experts_are_written_as_they_were_kept() {
    let tiny = Tiny::all_of("families").into_iter().find(|tiny| tiny.name == "mixtral").unwrap();
    for sharded in [false, true] {
        let folder = TempDir::new().unwrap();
        let [model, out] = ["model", "out"].map(|name| folder.path().join(name));
        fs::create_dir(&model).unwrap();
        tiny.write(&model, DataType::BF16);
        if sharded {
            shard(&model);
        }
        let opened = Model::open(&model, None).unwrap();
        opened.save(&opened.graph, &out).unwrap();
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = entries.collect();
            names.sort();
            names
        };
        assert_eq!(names(&model), names(&out));
        for name in names(&model).into_iter().filter(|name| name.to_string_lossy().ends_with("safetensors")) {
            let [expected, found] = [&model, &out].map(|folder| read_safetensors(&folder.join(&name)).unwrap());
            assert_eq!(expected, found, "{name:?}");
        }
        let one = folder.path().join("one.safetensors");
        opened.save(&opened.graph, &one).unwrap();
        let found = read_safetensors(&one).unwrap();
        assert!(found.contains("model.layers.1.block_sparse_moe.experts.3.w2.weight"));
    }
}

#[test]
fn folders_inside_come_along_where_they_belong_to_the_network() {
    let folder = TempDir::new().unwrap();
    let [model, out] = ["model", "out"].map(|name| folder.path().join(name));
    fs::create_dir(&model).unwrap();
    Tiny::named("bert_base").write(&model, DataType::F32);
    for (path, text) in [
        ("modules.json", r#"[{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]"#),
        ("1_Pooling/config.json", "{}"),
        ("2_Dense/config.json", "{}"),
        ("2_Dense/model.safetensors", "weights"),
        ("chat_templates/plain.jinja", "text"),
        ("checkpoint-5/optimizer.pt", "weights"),
        ("onnx/model.onnx", "weights"),
        ("runs/log", "text"),
    ] {
        let path = model.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let opened = Model::open(&model, None).unwrap();
    opened.save(&opened.graph, &out).unwrap();
    for path in ["1_Pooling/config.json", "2_Dense/model.safetensors", "chat_templates/plain.jinja", "modules.json"] {
        assert_eq!(fs::read(model.join(path)).unwrap(), fs::read(out.join(path)).unwrap(), "{path}");
    }
    for path in ["checkpoint-5", "onnx", "runs"] {
        assert!(!out.join(path).exists(), "{path}");
    }
}

#[test]
fn a_folder_of_another_family_takes_an_onnx_file() {
    let mut tiny = Tiny::named("bert_classes");
    let folder = TempDir::new().unwrap();
    let [a, b, out, onnx] = ["a", "b", "out", "net.onnx"].map(|name| folder.path().join(name));
    let (_own, drawn) = tiny.open();
    drawn.save(&drawn.graph, &onnx).unwrap();
    tiny.config["model_type"] = "somebodys".into();
    for model in [&a, &b] {
        fs::create_dir(model).unwrap();
        tiny.write(model, DataType::F32);
        fs::write(model.join("vocab.txt"), "a").unwrap();
    }
    let error = otfuse::Model::open(&a).unwrap().graph().map(|_| ()).unwrap_err();
    assert!(error.message.contains("model_type"), "{error}");
    let models = [&a, &b].map(|path| otfuse::Model::open(path).unwrap().architecture(onnx.to_str().unwrap()).unwrap());
    let fused = Fuse::new(&models).run(&Context::new()).unwrap();
    assert!(!fused.report.groups.is_empty());
    fused.save(&out).unwrap();
    for file in ["config.json", "vocab.txt"] {
        assert_eq!(fs::read(out.join(file)).unwrap(), fs::read(b.join(file)).unwrap());
    }
    let [expected, found] = [&b, &out].map(|path| read_safetensors(&path.join("model.safetensors")).unwrap());
    assert_eq!(expected, found);
}
