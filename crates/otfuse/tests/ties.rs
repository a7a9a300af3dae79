//! Weights that are one in some models and several in others: copies that are equal are one again, others are apart in all.

use std::sync::{Arc, Mutex};

use otfuse::formats::safetensors::{read_safetensors, write_safetensors};
use otfuse::formats::{StateDict, read_state_dict};
use otfuse::graph::Tensor;
use otfuse::{Context, Event, Fuse, Model};
use tempfile::TempDir;

/// How the second of two equal layers of a perceptron stands to the first.
#[derive(Clone, Copy, PartialEq)]
enum Second {
    Shared,
    Copied,
    Other,
}

fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 37 + seed * 101) % 89) as f32 / 89.0 - 0.5).collect()
}

fn tensors(seed: usize, second: Second) -> StateDict {
    let mut dict = StateDict::new();
    let mut insert = |name: &str, tensor: Tensor| dict.insert(name, tensor).expect("a new name");
    let made = |shape: &[usize], seed| Tensor::from_f32(shape, values(shape.iter().product(), seed));
    insert("0.weight", made(&[8, 6], seed));
    insert("0.bias", made(&[8], seed + 1));
    let shared = [made(&[8, 8], seed + 2), made(&[8], seed + 3)];
    let again = match second {
        Second::Shared => shared.clone(),
        Second::Copied => [made(&[8, 8], seed + 2), made(&[8], seed + 3)],
        Second::Other => [made(&[8, 8], seed + 5), made(&[8], seed + 6)],
    };
    let names = [["2.weight", "2.bias"], ["4.weight", "4.bias"]];
    for (names, tensors) in names.iter().zip([shared, again]) {
        names.iter().zip(tensors).for_each(|(name, tensor)| insert(name, tensor));
    }
    insert("6.weight", made(&[3, 8], seed + 7));
    insert("6.bias", made(&[3], seed + 8));
    dict
}

fn model(name: &str, seed: usize, second: Second) -> Model {
    Model::of_tensors_as(name, tensors(seed, second), "mlp").expect("a perceptron")
}

/// The fused tensors and what was warned of.
fn fused(models: &[Model]) -> (StateDict, Vec<String>) {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&warnings);
    let context = Context::new().observer(move |event: &Event<'_>| {
        if let Event::Warning(text) = event {
            heard.lock().expect("one thread").push((*text).to_owned());
        }
    });
    let tensors = Fuse::new(models).run(&context).expect("fused").tensors().expect("tensors");
    let warnings = warnings.lock().expect("one thread").clone();
    (tensors, warnings)
}

fn is_tied(dict: &StateDict) -> bool {
    dict.get("2.weight") == dict.get("4.weight") && dict.get("2.bias") == dict.get("4.bias")
}

#[test]
fn equal_copies_are_one_weight_whichever_model_has_them() {
    let [shared, other] = [1, 20].map(|seed| model("shared", seed, Second::Shared));
    let (expected, _) = fused(&[shared, other.clone()]);
    assert!(is_tied(&expected));
    for (a, b) in [(Second::Copied, Second::Shared), (Second::Shared, Second::Copied)] {
        let (found, warnings) = fused(&[model("shared", 1, a), model("shared", 20, b)]);
        assert!(is_tied(&found) && warnings.iter().all(|text| !text.contains("differ")), "{warnings:?}");
        for (name, tensor) in expected.iter() {
            assert_eq!(found.get(name), Some(tensor), "{name}");
        }
    }
}

#[test]
fn weights_that_differ_in_one_model_are_apart_in_all_which_is_said() {
    for order in [[0, 1], [1, 0]] {
        let models = [model("shared", 1, Second::Shared), model("other", 20, Second::Other)];
        let (found, warnings) = fused(&order.map(|at| models[at].clone()));
        assert!(!is_tied(&found));
        let said = |text: &&String| text.contains("other: '2.weight' and '4.weight' differ");
        assert_eq!(warnings.iter().filter(said).count(), 1, "{warnings:?}");
    }
}

#[test]
fn tensors_that_safetensors_leave_out_are_there_and_left_out_again() {
    let folder = TempDir::new().expect("temporary folder");
    let path = |name: &str| folder.path().join(name);
    let mut dict = StateDict::new();
    for (name, tensor) in tensors(1, Second::Shared) {
        if !name.starts_with('4') {
            dict.insert(name, tensor).expect("a new name");
        }
    }
    // As `safetensors.torch.save_model` says it.
    for leaf in ["weight", "bias"] {
        dict.provenance_mut().metadata.insert(format!("4.{leaf}"), format!("2.{leaf}"));
    }
    dict.provenance_mut().metadata.insert("format".into(), "pt".into());
    write_safetensors(&path("a.safetensors"), &dict).expect("written");

    let read = read_safetensors(&path("a.safetensors")).expect("read");
    assert_eq!(read.tied().len(), 2);
    assert_eq!(read.provenance().metadata.len(), 1);
    write_safetensors(&path("b.safetensors"), &read).expect("written");
    let bytes = ["a.safetensors", "b.safetensors"].map(|name| std::fs::read(path(name)).expect("a file"));
    assert_eq!(bytes[0], bytes[1]);

    let a = Model::open(path("a.safetensors")).expect("tensors").architecture("mlp").expect("a perceptron");
    let result = Fuse::new([&a, &model("b", 20, Second::Shared)]).run(&Context::new()).expect("fused");
    result.save(path("fused.pt")).expect("written");
    assert!(is_tied(&read_state_dict(&path("fused.pt"), None).expect("read")));
    let result = Fuse::new([&model("b", 20, Second::Shared), &a]).run(&Context::new()).expect("fused");
    result.save(path("fused.safetensors")).expect("written");
    let fused = read_safetensors(&path("fused.safetensors")).expect("read");
    assert_eq!(fused.provenance().left_out.len(), 2);
    // Metadata that names tensors which are there leaves none of them out.
    let mut whole = tensors(1, Second::Other);
    whole.provenance_mut().metadata.insert("4.weight".into(), "2.weight".into());
    write_safetensors(&path("whole.safetensors"), &whole).expect("written");
    let read = read_safetensors(&path("whole.safetensors")).expect("read");
    assert!(read.provenance().left_out.is_empty() && read.get("4.weight") == whole.get("4.weight"));
}
