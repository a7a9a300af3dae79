//! What lies inside of a folder, whatever links say.

use std::fs;
use std::path::{Path, PathBuf};

use crate::FormatError;

/// The path, unless links lead from it out of `folder`. A network must not be able to name files that are none of its own: what they
/// hold would end up in what is written. The hub's cache is as good as the folder: there files are links into the `blobs` beside
/// `snapshots`.
///
/// # Errors
/// [`FormatError::Outside`] with where it leads. What is not there leads nowhere.
pub(crate) fn check_inside(folder: &Path, path: &Path) -> Result<(), FormatError> {
    let (Ok(real), Ok(root)) = (fs::canonicalize(path), fs::canonicalize(super::target::open_folder(folder))) else {
        return Ok(());
    };
    if real.starts_with(&root) || blobs(&root).is_some_and(|blobs| real.starts_with(blobs)) {
        return Ok(());
    }
    Err(FormatError::Outside { path: path.into(), found: real })
}

/// Where the hub's cache keeps the files of a folder that is a snapshot.
fn blobs(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder.ancestors().find(|ancestor| ancestor.file_name().is_some_and(|name| name == "snapshots"))?;
    Some(snapshots.parent()?.join("blobs"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_nowhere_but_to_the_folder_and_the_cache() {
        let top = tempfile::tempdir().expect("temporary folder");
        let at = |name: &str| top.path().join(name);
        for folder in ["net", "models--a/snapshots/1", "models--a/blobs"] {
            fs::create_dir_all(at(folder)).expect("a folder");
        }
        for file in ["secret", "net/own", "models--a/blobs/2"] {
            fs::write(at(file), b"bytes").expect("a file");
        }
        symlink(at("secret"), at("net/link")).expect("a link");
        symlink("own", at("net/other")).expect("a link");
        symlink("../../blobs/2", at("models--a/snapshots/1/config.json")).expect("a link");
        assert!(check_inside(&at("net"), &at("net/own")).is_ok());
        assert!(check_inside(&at("net"), &at("net/other")).is_ok());
        assert!(check_inside(&at("net"), &at("net/nothing")).is_ok());
        let snapshot = at("models--a/snapshots/1");
        assert!(check_inside(&snapshot, &snapshot.join("config.json")).is_ok());
        let error = check_inside(&at("net"), &at("net/link")).expect_err("it leads outside");
        assert!(matches!(&error, FormatError::Outside { found, .. } if found.ends_with("secret")), "{error}");
    }
}
