//! Networks in Hugging Face folders through the command line: a folder comes out, and none that has files in it is written to.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use otfuse::architecture_for;
use otfuse::runtime::dataset::{Dataset, Vocabulary};
use serde_json::Value;

fn otfuse(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otfuse"));
    command.args(line.split_whitespace()).current_dir(folder).output().expect("it starts")
}

#[test]
fn fused_folders_are_folders() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path();
    let tokens = vec![1; 16];
    let vocabulary = Vocabulary::of_characters("abcd");
    let text = Dataset::from_tokens("text", 8, tokens.clone(), tokens, 5, vocabulary).expect("samples");
    for (name, seed) in [("a", 1), ("b", 2)] {
        let model = architecture_for("gpt2:1,16,2", &text, seed).expect("a family");
        model.save(&model.graph, &folder.join(name)).expect("written");
    }
    let output = otfuse(folder, "fuse a b -o out --json");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON alone on stdout");
    assert!(report["groups"].as_array().is_some_and(|groups| !groups.is_empty()), "{report}");
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(fs::read(folder.join("out").join(file)).ok(), fs::read(folder.join("b").join(file)).ok(), "{file}");
    }
    // The weight that embeds and scores is two in a rotated network, which says so.
    let settings = |name: &str| -> Value {
        let text = fs::read(folder.join(name).join("config.json")).expect("settings");
        serde_json::from_slice(&text).expect("JSON")
    };
    let mut expected = settings("b");
    expected["tie_word_embeddings"] = false.into();
    assert_eq!(settings("out"), expected);
    let output = otfuse(folder, "fuse a b -o tied --symmetry permutations");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(settings("tied"), settings("b"));
    let weights = |name: &str| fs::read(folder.join(name).join("model.safetensors")).expect("weights");
    let fused = weights("out");
    assert!(fused != weights("a") && fused != weights("b"));

    let output = otfuse(folder, "fuse a b -o out --json");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a folder with files in it"));
    assert_eq!(weights("out"), fused);
}
