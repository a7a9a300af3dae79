//! Task vectors and adapters, as a user moves them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use otfuse::formats::npz::write_npz;
use otfuse::formats::read_state_dict;
use otfuse::formats::safetensors::{read_safetensors, write_safetensors};
use otfuse::graph::Tensor;
use serde_json::Value;

fn otfuse(folder: &Path, arguments: &str) -> Output {
    let arguments = arguments.split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_otfuse")).args(arguments).current_dir(folder).output().unwrap()
}

fn json(folder: &Path, arguments: &str) -> Value {
    let output = otfuse(folder, &format!("{arguments} --json"));
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A command that is refused with these words leaves nothing behind.
fn refused(folder: &Path, arguments: &str, words: &[&str]) {
    let before = fs::read_dir(folder).unwrap().count();
    let output = otfuse(folder, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments}: {message}");
    words.iter().for_each(|word| assert!(message.contains(word), "{arguments}: no {word:?} in {message}"));
    assert_eq!(fs::read_dir(folder).unwrap().count(), before, "{arguments}");
}

/// Adapters that PEFT trained, and what it makes of them; `lora.py` beside them.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lora").join(name)
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let dict = read_state_dict(path, None).unwrap();
    dict.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
}

/// The largest difference between tensors of the same names.
fn difference(found: &Path, expected: &Path) -> f32 {
    let (found, expected) = (tensors(found), tensors(expected));
    assert!(found.keys().eq(expected.keys()), "{:?} {:?}", found.keys(), expected.keys());
    let pairs = found.values().zip(expected.values());
    let values = pairs.flat_map(|(a, b)| a.to_f32().unwrap().into_iter().zip(b.to_f32().unwrap()));
    values.fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

#[test]
fn adapters_are_merged_as_peft_merges_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (family, name) in [("gpt2", "patterns"), ("gpt2", "stabilised"), ("llama", "embeddings")] {
        let base = golden(family).join("base");
        let line = format!("merge-lora {} {} -o {name}", base.display(), golden(family).join(name).display());
        let report = json(folder, &line);
        assert!(report["changed"].as_u64() > Some(0), "{report}");
        let merged = folder.join(name).join("model.safetensors");
        assert!(difference(&merged, &golden(family).join(format!("{name}.safetensors"))) < 1e-6, "{name}");
        assert_eq!(fs::read(folder.join(name).join("config.json")).ok(), fs::read(base.join("config.json")).ok());
    }
    // Into a file of tensors, and twice half is once.
    let (base, adapter) = (golden("gpt2/base/model.safetensors"), golden("gpt2/patterns"));
    let (base, adapter) = (base.display(), adapter.display());
    json(folder, &format!("merge-lora {base} {adapter} {adapter} -o half.safetensors --weights 0.5,0.5"));
    assert!(difference(&folder.join("half.safetensors"), &golden("gpt2/patterns.safetensors")) < 1e-6);
    json(folder, &format!("merge-lora {base} {adapter} {adapter} -o none.safetensors --weights 1,-1"));
    assert!(difference(&folder.join("none.safetensors"), &golden("gpt2/base/model.safetensors")) < 1e-6);
}

#[test]
fn what_is_taken_out_goes_in_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (base, adapter) = (golden("gpt2/base"), golden("gpt2/patterns"));
    let (base, adapter) = (base.display(), adapter.display());
    json(folder, &format!("merge-lora {base} {adapter} -o tuned"));
    let report = json(folder, &format!("extract-lora tuned {base} -o all --energy 1"));
    let ranks: Vec<u64> = report["layers"].as_array().unwrap().iter().map(|it| it["rank"].as_u64().unwrap()).collect();
    assert_eq!((ranks, &report["saved"]), (vec![2, 2, 2, 1], &serde_json::json!(["transformer.ln_f"])));
    json(folder, &format!("merge-lora {base} all -o again"));
    assert!(difference(&folder.join("again/model.safetensors"), &folder.join("tuned/model.safetensors")) < 1e-6);

    // Of a lower rank, what is lost is what is said.
    let report = json(folder, &format!("extract-lora tuned {base} -o one --rank 1"));
    json(folder, &format!("merge-lora {base} one -o near"));
    let [tuned, near] = ["tuned", "near"].map(|name| tensors(&folder.join(name).join("model.safetensors")));
    let base_tensors = tensors(&golden("gpt2/base/model.safetensors"));
    for layer in report["layers"].as_array().unwrap() {
        let name = layer["name"].as_str().unwrap();
        let [tuned, near, base] = [&tuned, &near, &base_tensors].map(|found| found[name].to_f32().unwrap());
        let square = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let lost = square(&tuned, &near) / square(&tuned, &base);
        assert!((1.0 - lost - layer["energy"].as_f64().unwrap()).abs() < 1e-5, "{name}: {lost} {layer}");
    }
    let report =
        json(folder, &format!("extract-lora tuned {base} -o linear --energy 0.5 --linear-only --dtype float16"));
    assert_eq!(report["left_out"].as_array().map(Vec::len), Some(2));
    let kept = read_safetensors(&folder.join("linear/adapter_model.safetensors")).unwrap();
    assert!(kept.iter().all(|(name, tensor)| name.contains(".lora_") && tensor.data_type().size() == 2));
}

#[test]
fn convolutions_and_checkpoints_have_adapters_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let values = (0..40 * 3 * 32 * 32).map(|at| (0.37 * at as f32).sin()).collect();
    let labels = (0..40).map(|at| at % 10).collect();
    let arrays = [("x", Tensor::from_f32(&[40, 3, 32, 32], values)), ("y", Tensor::from_i64(&[40], labels))];
    write_npz(&folder.join("x.npz"), &arrays.map(|(name, tensor)| (name.to_owned(), tensor)).into()).unwrap();
    let training = "--data npz:x.npz --epochs 1 --validation 0";
    json(folder, &format!("train vgg11:0.125 {training} -o base.pt"));
    json(folder, &format!("finetune base.pt --arch vgg {training} --lr 0.05 -o tuned.pt"));
    let report = json(folder, "extract-lora tuned.pt base.pt --arch vgg -o adapter --energy 1");
    assert!(report["layers"].as_array().is_some_and(|layers| layers.len() > 2), "{report}");
    json(folder, "merge-lora base.pt adapter -o again.pt");
    assert!(difference(&folder.join("again.pt"), &folder.join("tuned.pt")) < 1e-5);
}

#[test]
fn what_one_network_learned_is_added_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let task = "--data digits --partition labels:0-4/5-9";
    for (name, seed) in [("a", 1), ("b", 2)] {
        let training = "--epochs 8 --batch-size 16 --validation 0 --own-classes";
        json(folder, &format!("train mlp:32-32 {task} --part 0 {training} --seed {seed} -o {name}.onnx"));
    }
    json(folder, "finetune a.onnx --data digits --epochs 8 --batch-size 16 --lr 0.05 --validation 0 -o tuned.onnx");
    let line = "transport-task-vector a.onnx tuned.onnx b.onnx";
    let plain = json(folder, &format!("{line} -o plain.onnx"));
    assert!(plain["measures"].is_null() && plain["fitted_layers"] == 0, "{plain}");
    let fitted = json(folder, &format!("{line} --data digits -o fitted.onnx"));
    let kept = fitted["measures"]["kept"].as_f64().unwrap();
    assert!(kept > 0.5, "{fitted}");
    let rehearsed = json(folder, &format!("{line} --data digits -o nothing.onnx --dry-run"));
    assert!(rehearsed["groups"] == 2 && !folder.join("nothing.onnx").exists(), "{rehearsed}");

    refused(folder, &format!("{line} -o b.onnx"), &["b.onnx"]);
    refused(folder, &format!("{line} -o x.onnx --follow 0.5"), &["--follow", "--data"]);
    refused(folder, &format!("{line} -o x.onnx --scale nan"), &["--scale"]);
    json(folder, "train mlp:32-16 --data digits --limit 64 --epochs 1 -o other.onnx");
    let line = "transport-task-vector a.onnx other.onnx b.onnx -o x.onnx";
    refused(folder, line, &["other.onnx"]);
}

#[test]
fn an_adapter_is_a_task_vector() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (base, adapter) = (golden("gpt2/base"), golden("gpt2/patterns"));
    let (base, adapter) = (base.display(), adapter.display());
    json(folder, &format!("merge-lora {base} {adapter} -o tuned"));
    json(folder, &format!("transport-task-vector {base} {adapter} {base} -o carried"));
    assert!(difference(&folder.join("carried/model.safetensors"), &folder.join("tuned/model.safetensors")) < 1e-5);
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (base, adapter, other) = (golden("gpt2/base"), golden("gpt2/patterns"), golden("llama/embeddings"));
    let (base, adapter, other) = (base.display(), adapter.display(), other.display());
    refused(folder, &format!("merge-lora {base} {other} -o x"), &["lm_head.weight", "llama/embeddings"]);
    refused(folder, &format!("merge-lora {base} {base} -o x"), &["adapter_config.json"]);
    refused(folder, &format!("merge-lora {base} {adapter} -o x --weights 1,2"), &["--weights", "1 finite"]);
    refused(folder, &format!("merge-lora {base} {adapter} -o {base}"), &["one of the inputs"]);
    refused(folder, &format!("merge-lora {base} {adapter} -o x.onnx"), &["x.onnx"]);
    let copy = |name: &str, change: &dyn Fn(&mut Value)| {
        fs::create_dir(folder.join(name)).unwrap();
        let tensors = golden("gpt2/patterns/adapter_model.safetensors");
        fs::copy(tensors, folder.join(name).join("adapter_model.safetensors")).unwrap();
        let text = fs::read(golden("gpt2/patterns/adapter_config.json")).unwrap();
        let mut settings = serde_json::from_slice(&text).unwrap();
        change(&mut settings);
        fs::write(folder.join(name).join("adapter_config.json"), settings.to_string()).unwrap();
    };
    copy("dora", &|settings| settings["use_dora"] = true.into());
    refused(folder, &format!("merge-lora {base} dora -o x"), &["use_dora", "DoRA"]);
    copy("ia3", &|settings| settings["peft_type"] = "IA3".into());
    refused(folder, &format!("merge-lora {base} ia3 -o x"), &["peft_type", "IA3"]);
    copy("half", &|_| {});
    let path = folder.join("half/adapter_model.safetensors");
    let whole = read_safetensors(&path).unwrap();
    let mut half = otfuse::formats::StateDict::new();
    for (name, tensor) in whole.iter().filter(|(name, _)| !name.contains("c_fc.lora_B")) {
        half.insert(name, tensor.clone()).unwrap();
    }
    write_safetensors(&path, &half).unwrap();
    refused(folder, &format!("merge-lora {base} half -o x"), &["h.0.mlp.c_fc", "adapter_model.safetensors"]);

    let (tuned, onnx) = (golden("gpt2/base"), "net.onnx");
    json(folder, &format!("convert {base} {onnx}"));
    json(folder, &format!("merge-lora {base} {adapter} -o tuned"));
    refused(folder, &format!("extract-lora tuned {base} -o x --rank 0"), &["--rank 0"]);
    refused(folder, &format!("extract-lora tuned {base} -o x --rank 9"), &["--rank 9", "8"]);
    refused(folder, &format!("extract-lora tuned {base} -o x --energy 1.5"), &["--energy 1.5"]);
    refused(folder, &format!("extract-lora tuned {base} -o x"), &["--rank"]);
    refused(folder, &format!("extract-lora {} {base} -o x --rank 1", tuned.display()), &["no linear layer"]);
    refused(folder, &format!("extract-lora {onnx} {onnx} -o x --rank 1"), &["ONNX"]);
    let llama = golden("llama/base");
    refused(folder, &format!("extract-lora {} {base} -o x --rank 1", llama.display()), &["llama/base"]);
    refused(folder, &format!("extract-lora tuned {base} -o tuned --rank 1"), &["one of the inputs"]);
}
