//! Third-party files beside the checkout, which are never copied into it.

use std::path::{Path, PathBuf};

/// A file or folder below `../shared`, seen from the checkout. Where it is absent, says so on stderr, and the test is to
/// return: what was skipped must be seen. With `OTFUSE_REQUIRE_SHARED=1` nothing may be skipped.
///
/// # Panics
/// If it is absent and `OTFUSE_REQUIRE_SHARED` is 1.
#[allow(clippy::print_stderr)]
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
