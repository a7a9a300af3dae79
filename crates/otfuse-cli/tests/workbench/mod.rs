//! A folder with small networks and data, and the command run in it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use otfuse::Model;
use otfuse::formats::npz::write_npz;
use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::graph::Tensor;
use otfuse::runtime::mlp;

/// A folder of its own; the temporary one goes with the value.
pub struct Workbench {
    folder: tempfile::TempDir,
}

impl Workbench {
    /// `a.onnx`, `b.onnx`, `c.onnx` and `ext.onnx` (its weights in `ext.onnx.data`), perceptrons 64-16-10; `a.pt`, the first
    /// one's weights; `data.npz`, 80 images of 1 x 8 x 8 pixels in 10 classes; `sub`, an empty folder.
    pub fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(bench.path("sub")).expect("a folder");
        for (name, seed) in [("a.onnx", 1), ("b.onnx", 2), ("c.onnx", 3), ("ext.onnx", 4)] {
            let graph = mlp(&[64, 16, 10], seed).expect("a network");
            let options = WriteOptions { external_data: (name == "ext.onnx").then_some(0) };
            write_onnx(&bench.path(name), to_proto(&graph).expect("sound"), &options).expect("written");
        }
        Model::open(bench.path("a.onnx")).and_then(|model| model.save(bench.path("a.pt"))).expect("written");
        let mut state = 7_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 / 256.0
        };
        let x = Tensor::from_f32(&[80, 1, 8, 8], (0..80 * 64).map(|_| random()).collect());
        let y = Tensor::from_i64(&[80], (0..80).map(|at| at % 10).collect());
        let arrays = BTreeMap::from([("x".to_owned(), x), ("y".to_owned(), y)]);
        write_npz(&bench.path("data.npz"), &arrays).expect("written");
        bench
    }

    /// `text.txt`, and the folders `h1`, `h2`: GPT-2 of one layer, trained for one step on it.
    pub fn with_folders(self) -> Self {
        self.put("text.txt", "the cat sat on the mat and the dog lay on the rug, as cats and dogs do. ".repeat(40));
        for (folder, seed) in [("h1", "1"), ("h2", "2")] {
            let line = ["train", "gpt2:1,8,2", "--data", "text@8:text.txt", "-o", folder, "--seed", seed];
            self.succeed(&[&line[..], &["--epochs", "1", "--limit", "16", "--validation", "0"]].concat());
        }
        self
    }

    /// The path of a file here.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("written");
    }

    /// The bytes of a file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("readable")
    }

    /// The command, to be run here.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otfuse"));
        command.args(words).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the command starts")
    }

    /// What it prints, where it has to succeed.
    pub fn succeed(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "otfuse {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// All files below the folder and their content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        snapshot(self.folder.path())
    }
}

/// All files below a folder and their content; folders without.
pub fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path.clone());
                found.insert(path, None);
            } else {
                // A link to what is not there yet has no content.
                let bytes = fs::read(&path).ok();
                found.insert(path, bytes);
            }
        }
    }
    found
}
