//! Damaged files of every format: errors, never panics, in bounded time.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use otfuse_formats::npz::{read_npy, read_npz};
use otfuse_formats::{FormatError, read_state_dict};
use support::golden_path;

/// A small generator, so that the damage is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Reads a file as what its name says it is.
fn read(path: &Path, name: &str) -> Result<(), FormatError> {
    match name.rsplit_once('.') {
        Some((_, "npz")) => read_npz(path).map(drop),
        Some((_, "npy")) => read_npy(path).map(drop),
        _ => read_state_dict(path, None).map(drop),
    }
}

struct Damage {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Damage {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("damaged");
        Self { folder, path }
    }

    /// Reads `bytes`; the error must name the file and have a hint.
    fn try_read(&self, name: &str, bytes: &[u8]) -> bool {
        // A new file every time: an older one may still be mapped.
        let _ = std::fs::remove_file(&self.path);
        std::fs::write(&self.path, bytes).expect("written");
        let start = Instant::now();
        let result = read(&self.path, name);
        assert!(start.elapsed() < Duration::from_secs(5), "{name} took {:?}", start.elapsed());
        if let Err(error) = &result {
            assert!(error.path().starts_with(self.folder.path()), "{error}");
            assert!(!error.hint().is_empty() && error.to_string().len() < 20_000, "{error}");
        }
        result.is_ok()
    }
}

const FILES: [&str; 12] = [
    "dtypes.pt",
    "views_legacy.pt",
    "module.pt",
    "module_legacy.pt",
    "checkpoint.pt",
    "protocol4.pt",
    "big_endian.pt",
    "dtypes.safetensors",
    "arrays.npz",
    "arrays_compressed.npz",
    "model.safetensors.index.json",
    "single.npy",
];

fn content(name: &str) -> Vec<u8> {
    if name == "single.npy" {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(name);
        let array = otfuse_graph::Tensor::from_f32(&[2, 3], vec![1.0; 6]);
        otfuse_formats::npz::write_npy(&path, &array).expect("written");
        return std::fs::read(path).expect("read");
    }
    std::fs::read(golden_path(name)).expect(name)
}

#[test]
fn truncated_files_are_errors() {
    let damage = Damage::new();
    for name in FILES {
        let whole = content(name);
        let step = (whole.len() / 150).max(1);
        for length in (0..whole.len() - 1).step_by(step) {
            assert!(!damage.try_read(name, &whole[..length]), "{name} cut to {length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn flipped_bits_do_not_panic() {
    let damage = Damage::new();
    let mut random = Random(17);
    for name in FILES {
        let whole = content(name);
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                let position = random.below(bytes.len());
                bytes[position] ^= 1 << random.below(8);
            }
            damage.try_read(name, &bytes);
        }
    }
}

#[test]
fn overwritten_and_repeated_pieces_do_not_panic() {
    let damage = Damage::new();
    let mut random = Random(23);
    for name in FILES {
        let whole = content(name);
        for _ in 0..150 {
            let mut bytes = whole.clone();
            let length = 1 + random.below(12);
            let from = random.below(bytes.len().saturating_sub(length).max(1));
            let to = random.below(bytes.len().saturating_sub(length).max(1));
            match random.below(3) {
                0 => bytes.copy_within(from..(from + length).min(whole.len()), to),
                1 => bytes[to..].iter_mut().take(length).for_each(|byte| *byte = 0xff),
                _ => drop(bytes.drain(from..(from + length).min(whole.len()))),
            }
            damage.try_read(name, &bytes);
        }
    }
}

#[test]
fn empty_files_and_folders_are_named() {
    let damage = Damage::new();
    for name in FILES {
        assert!(!damage.try_read(name, b""));
        let error = read(damage.folder.path(), name).expect_err("a folder");
        assert!(matches!(error, FormatError::NotAFile { .. }), "{error}");
    }
}
