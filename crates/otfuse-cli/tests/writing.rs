//! Where writing goes wrong: full disks, folders that are read-only, two commands with one output, inputs that change meanwhile.
//! Nothing that was there is lost, nothing half is left, and an error says what is wrong.
#![cfg(unix)]

mod workbench;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::runtime::mlp;
use workbench::{Workbench, snapshot};

/// Commands that write more than a few KiB to `disk`.
const CASES: &[&str] = &[
    "fuse a.onnx b.onnx -o disk/out.onnx",
    "fuse a.onnx b.onnx -o disk/out.onnx --save-alignment disk/plan.json --report disk/page.html",
    "fuse h1 h2 -o disk/out",
    "align a.onnx b.onnx -o disk/out.onnx",
    "convert a.onnx disk/out.pt",
    "convert a.onnx disk/out.safetensors",
    "prune a.onnx -o disk/out.onnx",
    "eval a.onnx --data npz:data.npz --report disk/page.html",
    "compare a.onnx b.onnx --report disk/page.html --csv disk/groups.csv",
    "train mlp:64 --data npz:data.npz --epochs 1 -o disk/out.onnx",
];

/// A file system of its own, if this process may mount one; it goes with the value.
struct Disk(PathBuf);

impl Disk {
    fn of(folder: &Path, options: &str) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder.into()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What a command said on stderr, which ended with an error of its own and no signal.
fn refused(output: &Output, line: &str) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), None, "otfuse {line}: {said}");
    assert!(matches!(output.status.code(), Some(1 | 2)), "otfuse {line}: {:?} {said}", output.status.code());
    assert!(!said.contains("internal fault") && !said.contains("panicked"), "otfuse {line}: {said}");
    said
}

#[test]
fn a_full_disk_loses_nothing() {
    let bench = Workbench::new().with_folders();
    fs::create_dir(bench.path("disk")).expect("a folder");
    // 4 KiB are enough for what was there, and for no result.
    let disk = Disk::of(&bench.path("disk"), "size=8k,nr_inodes=64");
    for name in ["out.onnx", "out.pt", "out.safetensors", "page.html", "plan.json", "groups.csv"] {
        fs::write(bench.path("disk").join(name), "old").ok();
    }
    let before = snapshot(&bench.path("disk"));
    for line in CASES {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = match &disk {
            Some(_) => bench.run(&words),
            // Files that may not become longer, where no file system can be mounted.
            None => Command::new("sh")
                .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_otfuse")])
                .args(&words)
                .current_dir(bench.path(""))
                .output()
                .expect("a shell"),
        };
        let said = refused(&output, line);
        let is_said = ["No space left", "File too large"].iter().any(|reason| said.contains(reason));
        assert!(is_said && said.contains("disk/"), "otfuse {line}: {said}");
        assert_eq!(snapshot(&bench.path("disk")), before, "otfuse {line}");
    }
}

#[test]
fn a_read_only_folder_is_an_error_at_once() {
    let bench = Workbench::new().with_folders();
    let folder = bench.path("disk");
    fs::create_dir(&folder).expect("a folder");
    // Permissions do not bind everybody.
    let disk = Disk::of(&folder, "size=1m,ro");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).ok();
    let is_writable = fs::write(folder.join("probe"), "").is_ok();
    if !is_writable {
        for line in CASES {
            let words: Vec<&str> = line.split_whitespace().collect();
            let said = refused(&bench.run(&words), line);
            let is_said = ["Read-only file system", "Permission denied"].iter().any(|reason| said.contains(reason));
            assert!(is_said && said.contains("disk/"), "otfuse {line}: {said}");
            assert!(snapshot(&folder).is_empty(), "otfuse {line}");
        }
    }
    drop(disk);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("permissions");
}

#[test]
fn of_two_writers_one_is_there_whole() {
    let bench = Workbench::new().with_folders();
    let pairs = [
        ("fuse a.onnx b.onnx -o", "fuse b.onnx c.onnx -o", "out.onnx"),
        ("convert a.onnx", "convert b.onnx", "out.pt"),
        ("fuse h1 h2 -o", "fuse h1 h2 --method average -o", "out"),
    ];
    for (first, second, target) in pairs {
        let result = |line: &str, target: &str| {
            let words: Vec<&str> = line.split_whitespace().chain([target]).collect();
            let output = bench.run(&words);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            let found = contents(&bench.path(target));
            remove(&bench.path(target));
            found
        };
        let wanted = [result(first, target), result(second, target)];
        let names: Vec<PathBuf> = bench.snapshot().into_keys().collect();
        for round in 0..8 {
            let running = [first, second].map(|line| {
                let words: Vec<&str> = line.split_whitespace().chain([target]).collect();
                bench.command(&words).spawn().expect("the command starts")
            });
            let ended = running.map(|child| child.wait_with_output().expect("it ends"));
            let done = ended.iter().filter(|output| output.status.success()).count();
            assert!(done > 0, "{first}, round {round}");
            for output in ended.iter().filter(|output| !output.status.success()) {
                refused(output, first);
            }
            let found = contents(&bench.path(target));
            assert!(wanted.contains(&found), "{first}, round {round}: neither of the two results");
            remove(&bench.path(target));
            assert_eq!(bench.snapshot().into_keys().collect::<Vec<_>>(), names, "{first}, round {round}");
        }
    }
}

/// A file, or the files of a folder by their names.
fn contents(path: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    match path.is_dir() {
        true => snapshot(path),
        false => BTreeMap::from([(path.to_owned(), fs::read(path).ok())]),
    }
}

fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path);
    let _ = fs::remove_file(path);
}

#[test]
#[ignore = "depends on moments; 72 commands"]
fn inputs_that_change_meanwhile_give_an_error_or_the_older_result() {
    let bench = Workbench::new();
    let options = WriteOptions { external_data: None };
    for (name, seed) in [("x.onnx", 1), ("y.onnx", 2)] {
        let graph = mlp(&[64, 300, 300, 300, 10], seed).expect("a network");
        write_onnx(&bench.path(name), to_proto(&graph).expect("sound"), &options).expect("written");
    }
    bench.succeed(&["convert", "x.onnx", "x.safetensors"]);
    bench.succeed(&["convert", "x.onnx", "x.pt"]);
    let mut state = 5_u32;
    for (line, input, target) in [
        ("fuse x.onnx y.onnx -o out.onnx", "x.onnx", "out.onnx"),
        ("convert x.safetensors out.pt --arch mlp", "x.safetensors", "out.pt"),
        ("convert x.pt out.safetensors --arch mlp", "x.pt", "out.safetensors"),
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let original = bench.bytes(input);
        let start = Instant::now();
        bench.succeed(&words);
        let (duration, wanted) = (start.elapsed(), bench.bytes(target));
        let (mut errors, mut results) = (0, 0);
        for moment in 0..24 {
            fs::remove_file(bench.path(target)).ok();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wait = duration.mul_f64(f64::from(state >> 8) / f64::from(1_u32 << 24));
            let child = bench.command(&words).spawn().expect("the command starts");
            std::thread::sleep(wait.max(Duration::from_millis(1)));
            let mut file = OpenOptions::new().write(true).open(bench.path(input)).expect("a file");
            match moment % 3 {
                0 => file.set_len(original.len() as u64 / 3).expect("shortened"),
                1 => file.set_len(0).expect("shortened"),
                _ => file.write_all(&vec![0x55; original.len()]).expect("written"),
            }
            let output = child.wait_with_output().expect("it ends");
            if output.status.success() {
                assert!(bench.bytes(target) == wanted, "{line}, moment {moment}: a result of two files");
                results += 1;
            } else {
                let said = refused(&output, line);
                // What changed behind the last byte that was read did no harm to what is there.
                let found = fs::read(bench.path(target)).ok();
                assert!(found.is_none_or(|found| found == wanted), "{line}, moment {moment}: {said}");
                errors += 1;
            }
            // Not by renaming, so that the next command maps the same file.
            fs::write(bench.path(input), &original).expect("written");
        }
        assert!(errors + results == 24, "{line}");
    }
}
