//! What the tests of formats share.
#![allow(dead_code, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use otfuse_formats::StateDict;
use otfuse_graph::Tensor;
use serde::Deserialize;

/// Name, type, shape and CRC-32 of the bytes.
pub type Entry = (String, String, Vec<usize>, u32);

/// `golden.json`.
#[derive(Deserialize)]
pub struct Golden {
    pub own: BTreeMap<String, Loaded>,
    pub arrays: Vec<Entry>,
    pub safetensors: Vec<Entry>,
    pub shared: BTreeMap<String, Loaded>,
    pub shared_safetensors: BTreeMap<String, Vec<Entry>>,
}

/// What PyTorch made of a file.
#[derive(Deserialize)]
pub struct Loaded {
    pub error: Option<String>,
    #[serde(default)]
    pub state_dicts: BTreeMap<String, Vec<Entry>>,
}

/// A file beside the script that made the golden data.
pub fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub fn golden() -> Golden {
    let text = std::fs::read_to_string(golden_path("golden.json")).expect("golden.json");
    serde_json::from_str(&text).expect("golden data")
}

/// A third-party file or folder below `../shared`, seen from the checkout. Where it is absent, says so on stderr, and the
/// test is to go on without it: what was skipped must be seen. With `OTFUSE_REQUIRE_SHARED=1` nothing may be skipped.
///
/// # Panics
/// If it is absent and `OTFUSE_REQUIRE_SHARED` is 1.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    let is_required = std::env::var_os("OTFUSE_REQUIRE_SHARED").is_some_and(|value| value == "1");
    assert!(!is_required, "../shared/{path} is absent, and OTFUSE_REQUIRE_SHARED is 1");
    eprintln!("skipped: ../shared/{path} is absent");
    None
}

/// A folder to write into: the one that `OTFUSE_WRITTEN` names, whose files `golden/check_written.py` then checks
/// with the Python packages, or else `temporary`.
pub fn written_folder(temporary: &Path) -> PathBuf {
    std::env::var_os("OTFUSE_WRITTEN").map_or_else(|| temporary.into(), PathBuf::from)
}

pub fn entry(name: &str, tensor: &Tensor) -> Entry {
    let checksum = crc32fast::hash(tensor.bytes());
    (name.to_owned(), tensor.data_type().to_string(), tensor.shape().to_vec(), checksum)
}

pub fn entries(dict: &StateDict) -> Vec<Entry> {
    dict.iter().map(|(name, tensor)| entry(name, tensor)).collect()
}
