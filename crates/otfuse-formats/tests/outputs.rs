//! Outputs that are put in place together.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use otfuse_formats::FormatError;
use otfuse_formats::file::Outputs;

fn put(outputs: &Outputs, path: &Path, text: &str) -> Result<(), FormatError> {
    outputs.write(path, |file| file.write_all(text.as_bytes()))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a readable file")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn nothing_is_touched_before_the_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    fs::write(&old, "before").expect("written");
    let outputs = Outputs::new();
    put(&outputs, &old, "after").expect("staged");
    put(&outputs, &new, "fresh").expect("staged");
    assert_eq!(text(&old), "before");
    assert!(!new.exists());
    assert_eq!(outputs.paths(), [old.clone(), new.clone()]);
    outputs.commit().expect("committed");
    assert_eq!((text(&old), text(&new)), ("after".into(), "fresh".into()));
    assert_eq!(names(folder.path()), ["new", "old"]);
}

#[test]
fn a_failing_output_brings_all_older_files_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, fresh, middle, last] = ["a", "b", "c", "d"].map(|name| folder.path().join(name));
    let made = folder.path().join("made");
    for path in [&first, &last] {
        fs::write(path, "before").expect("written");
    }
    let outputs = Outputs::new();
    outputs.new_folder(&made).expect("staged");
    put(&outputs, &made.join("inside"), "after").expect("staged");
    for path in [&first, &fresh, &middle, &last] {
        put(&outputs, path, "after").expect("staged");
    }
    fs::create_dir(&middle).expect("made meanwhile");
    let error = outputs.commit().expect_err("a directory is in the way");
    assert!(matches!(&error, FormatError::NotAFile { path, .. } if *path == middle), "{error}");
    assert_eq!((text(&first), text(&last)), ("before".into(), "before".into()));
    assert_eq!(names(folder.path()), ["a", "c", "d"]);
}

#[test]
fn without_a_commit_nothing_remains() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("old");
    fs::write(&old, "before").expect("written");
    let outputs = Outputs::new();
    put(&outputs, &old, "after").expect("staged");
    outputs.create_folder(&folder.path().join("a/b")).expect("staged");
    put(&outputs, &folder.path().join("a/b/c"), "after").expect("staged");
    drop(outputs);
    assert_eq!(text(&old), "before");
    assert_eq!(names(folder.path()), ["old"]);
}

#[test]
fn a_failed_write_may_be_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let outputs = Outputs::new();
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    outputs.write(&path, |_| Err::<(), _>(full())).expect_err("the closure failed");
    assert_eq!(outputs.paths().len(), 0);
    assert_eq!(names(folder.path()).len(), 0);
    put(&outputs, &path, "again").expect("staged");
    outputs.commit().expect("committed");
    assert_eq!(text(&path), "again");
}

#[test]
fn one_path_cannot_be_two_outputs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let outputs = Outputs::new();
    put(&outputs, &path, "first").expect("staged");
    let error = put(&outputs, &folder.path().join(".").join("a"), "second").expect_err("the same file");
    assert!(matches!(error, FormatError::OutputTwice { .. }), "{error}");
    let error = outputs.new_folder(&path).expect_err("the same path");
    assert!(matches!(error, FormatError::OutputTwice { .. }), "{error}");
    outputs.commit().expect("committed");
    assert_eq!(text(&path), "first");
}

#[test]
fn folders_are_made_or_added_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let [there, deep, empty] = ["there", "x/y", "empty"].map(|name| folder.path().join(name));
    fs::create_dir(&there).expect("made");
    fs::create_dir(&empty).expect("made");
    fs::write(there.join("kept"), "kept").expect("written");
    let outputs = Outputs::new();
    for path in [&there, &deep, &deep] {
        outputs.create_folder(path).expect("staged");
    }
    outputs.new_folder(&empty).expect("staged");
    let error = outputs.new_folder(&there).expect_err("files are in it");
    assert!(matches!(error, FormatError::NotEmpty { .. }), "{error}");
    for path in [&there, &deep, &empty] {
        put(&outputs, &path.join("new"), "new").expect("staged");
        let twice = put(&outputs, &path.join("new"), "new").expect_err("twice");
        assert!(matches!(twice, FormatError::OutputTwice { .. }), "{twice}");
    }
    outputs.commit().expect("committed");
    assert_eq!(names(&there), ["kept", "new"]);
    assert_eq!((names(&deep), names(&empty)), (vec!["new".to_owned()], vec!["new".to_owned()]));
    assert_eq!(names(folder.path()), ["empty", "there", "x"]);
}

#[cfg(unix)]
#[test]
fn symbolic_links_and_modes_are_as_for_ordinary_files() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    let [real, link, plain, made, ordinary] =
        ["real", "link", "plain", "made", "ordinary"].map(|name| folder.path().join(name));
    fs::write(&real, "before").expect("written");
    fs::create_dir(&ordinary).expect("made");
    symlink(&real, &link).expect("linked");
    let outputs = Outputs::new();
    put(&outputs, &link, "after").expect("staged");
    assert!(matches!(put(&outputs, &real, "twice"), Err(FormatError::OutputTwice { .. })), "the same file");
    put(&outputs, &plain, "plain").expect("staged");
    outputs.new_folder(&made).expect("staged");
    put(&outputs, &made.join("inside"), "inside").expect("staged");
    outputs.commit().expect("committed");
    assert_eq!(text(&real), "after");
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
    fs::write(ordinary.join("file"), "").expect("written");
    assert_eq!(mode(&plain), mode(&ordinary.join("file")));
    assert_eq!(mode(&made.join("inside")), mode(&ordinary.join("file")));
    assert_eq!(mode(&made), mode(&ordinary));
}

#[test]
fn threads_write_at_the_same_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let outputs = Outputs::new();
    std::thread::scope(|scope| {
        for index in 0..8 {
            let (outputs, path) = (&outputs, folder.path().join(index.to_string()));
            scope.spawn(move || put(outputs, &path, "text").expect("staged"));
        }
    });
    outputs.commit().expect("committed");
    assert_eq!(names(folder.path()).len(), 8);
}
