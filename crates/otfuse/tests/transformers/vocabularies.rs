//! Vocabularies that differ are matched token by token.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use otfuse::formats::StateDict;
use otfuse::formats::safetensors::{read_safetensors, write_safetensors};
use otfuse::graph::{DataType, Tensor};
use otfuse::{Context, Error, Event, Fuse, Fused, VocabularyName};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::tiny::Tiny;

/// A folder of the tiny GPT-2, whose words are these, and one of the same network whose words stand in another order.
fn folders(words: &[&str], others: &[Option<usize>], folder: &Path) -> [PathBuf; 2] {
    let tiny = Tiny::named("gpt2_causal");
    let [a, b] = ["a", "b"].map(|name| folder.join(name));
    for path in [&a, &b] {
        fs::create_dir(path).unwrap();
        tiny.write(path, DataType::F32);
    }
    let mut config: Map<String, Value> = serde_json::from_slice(&fs::read(b.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["vocab_size"], words.len());
    config.insert("vocab_size".into(), others.len().into());
    config.insert("eos_token_id".into(), 5.into());
    fs::write(b.join("config.json"), Value::Object(config).to_string()).unwrap();
    let mut moved = StateDict::new();
    for (name, tensor) in read_safetensors(&b.join("model.safetensors")).unwrap().iter() {
        let tensor = if tensor.shape()[0] == words.len() { rows(tensor, others) } else { tensor.clone() };
        moved.insert(name, tensor).unwrap();
    }
    fs::remove_file(b.join("model.safetensors")).unwrap();
    write_safetensors(&b.join("model.safetensors"), &moved).unwrap();
    vocabulary(&a, words.iter().map(|word| (*word).to_owned()));
    let own = |(at, row): (usize, &Option<usize>)| row.map_or_else(|| format!("own{at}"), |row| words[row].to_owned());
    vocabulary(&b, others.iter().enumerate().map(own));
    [a, b]
}

fn vocabulary(folder: &Path, words: impl Iterator<Item = String>) {
    let numbers: Map<String, Value> = words.enumerate().map(|(at, word)| (word, at.into())).collect();
    fs::write(folder.join("vocab.json"), Value::Object(numbers).to_string()).unwrap();
}

fn rows(tensor: &Tensor, rows: &[Option<usize>]) -> Tensor {
    let width: usize = tensor.shape()[1..].iter().product();
    let values = tensor.to_f32().unwrap();
    let row = |row: &Option<usize>| match row {
        Some(row) => values[row * width..(row + 1) * width].to_vec(),
        None => vec![0.25; width],
    };
    Tensor::from_f32(&[&[rows.len()], &tensor.shape()[1..]].concat(), rows.iter().flat_map(row).collect())
}

fn words() -> Vec<String> {
    let size = Tiny::named("gpt2_causal").config["vocab_size"].as_u64().unwrap() as usize;
    (0..size).map(|at| format!("w{at}")).collect()
}

fn fused(paths: &[PathBuf], how: Option<VocabularyName>, context: &Context) -> Result<Fused, Error> {
    let models = paths.iter().map(otfuse::Model::open).collect::<Result<Vec<_>, Error>>()?;
    Fuse::new(&models).options(otfuse::FuseOptions { vocabulary: how, ..Default::default() }).run(context)
}

/// Whether the tensors of a folder are these, but for rounding.
fn assert_close(found: &Path, expected: impl Fn(&str, &Tensor) -> Tensor, of: &Path) {
    let found = read_safetensors(&found.join("model.safetensors")).unwrap();
    for (name, tensor) in read_safetensors(&of.join("model.safetensors")).unwrap().iter() {
        let (found, expected) = (found.get(name).unwrap(), expected(name, tensor));
        assert_eq!(found.shape(), expected.shape(), "{name}");
        let pairs = found.to_f32().unwrap().into_iter().zip(expected.to_f32().unwrap());
        pairs.for_each(|(found, expected)| assert!((found - expected).abs() < 1e-5, "{name}: {found} {expected}"));
    }
}

#[test]
fn rows_are_matched_by_token_and_the_anchor_keeps_its_own() {
    let (folder, words) = (TempDir::new().unwrap(), words());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Backwards, without the fourth, with two of its own.
    let others: Vec<Option<usize>> =
        (0..words.len()).rev().filter(|row| *row != 3).map(Some).chain([None, None]).collect();
    let [a, b] = folders(&words, &others, folder.path());
    let error = fused(&[b.clone(), a.clone()], None, &Context::new()).err().expect("a refusal");
    assert!(error.hint.is_some_and(|hint| hint.contains("`vocabulary`")));
    let out = folder.path().join("out");
    fused(&[b, a.clone()], Some(VocabularyName::Anchor), &Context::new()).unwrap().save(&out).unwrap();
    assert_close(&out, |_, tensor| tensor.clone(), &a);
    assert_eq!(fs::read(out.join("vocab.json")).unwrap(), fs::read(a.join("vocab.json")).unwrap());
}

#[test]
fn what_all_have_is_left_with_a_tokenizer_of_its_own() {
    let (folder, words) = (TempDir::new().unwrap(), words());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let others: Vec<Option<usize>> = (0..words.len()).rev().filter(|row| *row != 3).map(Some).collect();
    let [b, a] = folders(&words, &others, folder.path());
    let out = folder.path().join("out");
    fs::write(a.join("merges.txt"), "#version: 0.2\nw w1\nw 2\n").unwrap();
    fused(&[b, a.clone()], Some(VocabularyName::Intersect), &Context::new()).unwrap().save(&out).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["vocab_size"], words.len() - 1);
    let numbers: Map<String, Value> = serde_json::from_slice(&fs::read(out.join("vocab.json")).unwrap()).unwrap();
    assert_eq!((numbers.len(), numbers.contains_key("w3")), (words.len() - 1, false));
    // The anchor lacks nothing of what is left.
    assert_close(&out, |_, tensor| tensor.clone(), &a);
    assert_eq!(config["eos_token_id"], 5);

    let out = folder.path().join("other");
    let [b, a] = [folder.path().join("b"), folder.path().join("a")];
    fused(&[b, a.clone()], Some(VocabularyName::Intersect), &Context::new()).unwrap().save(&out).unwrap();
    let left: Vec<Option<usize>> = (0..words.len()).filter(|row| *row != 3).map(Some).collect();
    let expected = |_: &str, tensor: &Tensor| match tensor.shape()[0] == words.len() {
        true => rows(tensor, &left),
        false => tensor.clone(),
    };
    assert_close(&out, expected, &a);
}

#[test]
fn other_tokens_at_the_same_rows_are_warned_of() {
    let (folder, words) = (TempDir::new().unwrap(), words());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let others: Vec<Option<usize>> = (0..words.len()).rev().map(Some).collect();
    let paths = folders(&words, &others, folder.path());
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&warnings);
    let context = Context::new().observer(move |event: &Event<'_>| {
        if let Event::Warning(text) = event {
            heard.lock().unwrap().push((*text).to_owned());
        }
    });
    fused(&paths, None, &context).unwrap();
    assert!(warnings.lock().unwrap().iter().any(|text| text.contains("other tokens")), "{warnings:?}");
}
