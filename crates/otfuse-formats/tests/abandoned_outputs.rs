//! A process that is told to end leaves no part of a result. A program of its own: it stages nothing afterwards.

use std::fs;
use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use otfuse_formats::file::{Outputs, abandon_outputs, atomic_write};

#[test]
fn what_is_staged_goes_and_nothing_follows() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = folder.path().join("old");
    atomic_write(&old, |file| file.write_all(b"before")).expect("written");
    let outputs = Outputs::new();
    outputs.write(&old, |file| file.write_all(b"after")).expect("staged");
    outputs.create_folder(&folder.path().join("figures")).expect("staged");
    outputs.write(&folder.path().join("figures/a"), |file| file.write_all(b"after")).expect("staged");
    // One that is being written.
    let ((started, starts), (goes_on, go_on), (ended, ends)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let (slow, writer_ended) = (folder.path().join("slow"), ended.clone());
    std::thread::spawn(move || {
        let written = atomic_write(&slow, |file| {
            started.send(()).expect("someone waits");
            go_on.recv().expect("someone sends");
            file.write_all(b"after")
        });
        let _ = writer_ended.send(written.is_ok());
    });
    starts.recv().expect("a thread that writes");
    abandon_outputs();
    goes_on.send(()).expect("a thread that waits");
    let late = ended.clone();
    std::thread::spawn(move || late.send(outputs.commit().is_ok()));
    let new = folder.path().join("new");
    std::thread::spawn(move || ended.send(atomic_write(&new, |file| file.write_all(b"late")).is_ok()));
    assert!(ends.recv_timeout(Duration::from_millis(300)).is_err(), "all three wait for the end");
    abandon_outputs();
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("readable").map(|entry| entry.expect("entry").path()).collect();
    assert_eq!(left, std::slice::from_ref(&old));
    assert_eq!(fs::read(&old).expect("readable"), b"before");
}
