//! Mutated networks and files: whatever is read ends in a result or an error, soon and within the limits.
//!
//! Each case follows from its number. `OTFUSE_FUZZ_CASES` says how many are tried of each target (200 unless said otherwise),
//! `OTFUSE_FUZZ_FIRST` the number of the first; a case that fails names its target and number, and its file lies in the
//! system's folder for temporary files.

mod files;
mod messages;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use messages::Message;
use otfuse::{Context, Fuse, Model, architecture, verify};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Longer than any case takes on a busy machine.
const SECONDS: u64 = 30;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Small networks of several kinds, as ONNX files.
fn seeds() -> Vec<Vec<u8>> {
    let specs: [(&str, &[usize]); 4] =
        [("mlp:6-5", &[4]), ("lenet", &[1, 28, 28]), ("resnet20:0.1", &[3, 8, 8]), ("mlp-bn:6-5", &[4])];
    let networks = specs.iter().filter_map(|(spec, shape)| architecture(spec, shape, 3, 1).ok());
    networks.filter_map(|network| network.onnx(&network.graph).ok()).collect()
}

/// Tries cases of a target, each with random numbers of its own.
pub fn cases(target: &str, mut case: impl FnMut(&mut ChaCha8Rng) -> Vec<u8>, run: impl Fn(&[u8])) {
    let first = number("OTFUSE_FUZZ_FIRST", 0);
    for at in first..first + number("OTFUSE_FUZZ_CASES", 200) {
        let mut random = ChaCha8Rng::seed_from_u64(at);
        let bytes = case(&mut random);
        let begin = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(&bytes)));
        let is_slow = begin.elapsed() > Duration::from_secs(SECONDS);
        if outcome.is_err() || is_slow {
            let path = std::env::temp_dir().join(format!("otfuse-{target}-{at}"));
            std::fs::write(&path, &bytes).expect("a file");
            let what = if is_slow { "took too long" } else { "panicked" };
            panic!("{target} {at} {what}; its file is {}", path.display());
        }
    }
}

/// What is done with a network.
fn used(bytes: &[u8]) {
    let Ok(model) = Model::of_onnx("mutant.onnx", bytes.to_vec()) else { return };
    let context = Context::new();
    let _ = otfuse::inspect(&model, &context);
    let _ = verify(&model, 0, &context);
    let Ok(other) = Model::of_onnx("other.onnx", bytes.to_vec()) else { return };
    if let Ok(fused) = Fuse::new([&model, &other]).run(&context) {
        let _ = fused.report;
    }
}

#[test]
fn mutated_messages() {
    let seeds = seeds();
    assert!(seeds.len() >= 2, "seeds");
    let messages: Vec<Message> = seeds.iter().map(|seed| Message::of(seed).expect("a message")).collect();
    let case = |random: &mut ChaCha8Rng| {
        let mut message = messages[random.next_u64() as usize % messages.len()].clone();
        for _ in 0..=random.next_u64() % 4 {
            message.mutate(random);
        }
        message.bytes()
    };
    cases("messages", case, used);
}

/// Bytes changed, taken out, doubled or cut off.
pub fn damaged(seed: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.next_u64() % 6 {
        if bytes.is_empty() {
            break;
        }
        let at = random.next_u64() as usize % bytes.len();
        let length = (random.next_u64() as usize % 9).min(bytes.len() - at);
        match random.next_u64() % 5 {
            0 => bytes[at] ^= 1 << (random.next_u64() % 8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.next_u64() as usize % 5],
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let copy = bytes[at..at + length].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn damaged_networks() {
    let seeds = seeds();
    let case = |random: &mut ChaCha8Rng| damaged(&seeds[random.next_u64() as usize % seeds.len()], random);
    cases("bytes-onnx", case, used);
}

#[test]
fn damaged_checkpoints() {
    let network = architecture("mlp:6-5", &[4], 3, 1).expect("a network");
    for extension in ["pt", "safetensors"] {
        let folder = std::env::temp_dir().join(format!("otfuse-fuzzing-{}-{extension}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("seed.{extension}"));
        network.save(&network.graph, &path).expect("saved");
        let seed = std::fs::read(&path).expect("read");
        let mutant = folder.join(format!("mutant.{extension}"));
        let run = |bytes: &[u8]| {
            std::fs::write(&mutant, bytes).expect("written");
            let Ok(model) = Model::open_as(&mutant, Some("mlp")) else { return };
            let _ = otfuse::inspect(&model, &Context::new());
        };
        cases(&format!("bytes-{extension}"), |random: &mut ChaCha8Rng| damaged(&seed, random), run);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}

#[test]
fn damaged_settings() {
    let seed = "merge_method: ot\nbase_model: a.pt\nmodels: [{model: a.pt, parameters: {weight: 0.25}}, {model: b.pt, \
                parameters: {weight: 0.75}}]\narch: vgg\nalignment: {preset: converged, repair: data-free, balance: true}\n";
    let run = |bytes: &[u8]| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = otfuse::Configuration::parse(text, std::path::Path::new(""));
        }
    };
    cases("settings", |random: &mut ChaCha8Rng| damaged(seed.as_bytes(), random), run);
}
