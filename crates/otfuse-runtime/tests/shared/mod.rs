//! Files of third parties, beside the checkout.
#![allow(clippy::print_stderr)]

use std::path::{Path, PathBuf};

/// A file or folder in `../shared`. Where it is absent, `None`, which stderr says; with `OTFUSE_REQUIRE_SHARED=1` the test
/// fails.
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
