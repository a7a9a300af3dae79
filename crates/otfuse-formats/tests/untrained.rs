//! Networks before training: written as folders, read back, and what is wrong with their settings.

use std::path::Path;

use otfuse_formats::untrained::{Task, TransformerSpec, UntrainedError};
use otfuse_formats::{FormatError, Model};

fn sentences() -> Task {
    Task::Text {
        tokens: ["<pad>", "<unk>", "a", "b"].map(String::from).to_vec(),
        characters: false,
        length: 6,
        padding: Some(0),
        unknown: 1,
        first: None,
        classes: Some(3),
    }
}

fn spec(text: &str) -> TransformerSpec {
    TransformerSpec::parse(text).expect("a transformer").expect("sizes that are understood")
}

/// A folder with a transformer of a family.
fn written(family: &str, folder: &Path) -> Model {
    let (model, fills) = spec(&format!("{family}:1,8,2")).draft(&sentences()).expect("a network");
    assert!(!fills.is_empty());
    model.save(&model.graph, folder).expect("written");
    model
}

#[test]
fn a_draft_is_read_back_from_its_folder() {
    for family in ["bert", "roberta", "distilbert", "gpt2", "llama"] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(family);
        let model = written(family, &path);
        assert_eq!(Model::open(&path, None).expect("readable").graph, model.graph, "{family}");
    }
}

#[test]
fn a_folder_that_is_gone_has_no_list_of_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bert");
    written("bert", &path);
    let model = Model::open(&path, None).expect("readable");
    let names = |files: Vec<std::path::PathBuf>| -> Vec<String> {
        files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect()
    };
    let files = names(model.files().expect("there"));
    assert_eq!(files, ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    std::fs::remove_dir_all(&path).expect("removed");
    let error = model.files().expect_err("no folder");
    assert!(matches!(&error, FormatError::Io { action: "list", path: named, .. } if *named == path), "{error}");
    assert!(error.hint().contains("path"), "{}", error.hint());
}

#[test]
fn settings_of_another_type_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    for (setting, value) in
        [("max_position_embeddings", "\"many\""), ("initializer_range", "[]"), ("pad_token_id", "1")]
    {
        let settings = format!(
            "{{\"model_type\":\"bert\",\"vocab_size\":4,\"hidden_size\":8,\"num_hidden_layers\":1,\
             \"num_attention_heads\":2,\"intermediate_size\":16,\"{setting}\":{value}}}"
        );
        std::fs::write(&path, settings).expect("written");
        let made = spec(&path.display().to_string()).draft(&sentences());
        if setting == "pad_token_id" {
            made.expect("the task's own padding");
            continue;
        }
        let error = made.expect_err("no number");
        assert!(matches!(error, UntrainedError::Settings { .. }), "{error}");
        assert!(error.to_string().contains(setting), "{error}");
    }
}
