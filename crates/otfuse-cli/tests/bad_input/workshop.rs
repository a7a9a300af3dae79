//! A folder of files, and commands that must be refused there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::formats::pytorch::write_pytorch;
use otfuse::formats::safetensors::write_safetensors;
use otfuse::formats::{Format, StateDict};
use otfuse::graph::{Graph, Tensor};

/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of its own, and what went wrong there.
pub struct Workshop {
    folder: tempfile::TempDir,
    cases: usize,
    faults: Vec<String>,
}

impl Workshop {
    /// A workshop with an empty folder `out`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::create_dir(folder.path().join("out")).expect("folder");
        Self { folder, cases: 0, faults: Vec::new() }
    }

    /// The path of a file here.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and its folder where that is missing.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, bytes).expect("written");
    }

    /// The bytes of a file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("read")
    }

    /// Writes a network in the format that the extension names.
    pub fn network(&self, name: &str, graph: &Graph) {
        if Format::of_extension(Path::new(name)) == Some(Format::Onnx) {
            let proto = to_proto(graph).expect("sound");
            write_onnx(&self.path(name), proto, &WriteOptions::default()).expect("written");
            return;
        }
        let tensors = graph.initializers().map(|(id, tensor)| (graph.value(id).name.clone(), tensor.clone()));
        self.state_dict(name, tensors);
    }

    /// Writes tensors in the format that the extension names.
    pub fn state_dict(&self, name: &str, tensors: impl IntoIterator<Item = (String, Tensor)>) {
        let mut dict = StateDict::new();
        for (name, tensor) in tensors {
            dict.insert(name, tensor).expect("one of each name");
        }
        match Format::of_extension(Path::new(name)) {
            Some(Format::Safetensors) => write_safetensors(&self.path(name), &dict).expect("written"),
            _ => write_pytorch(&self.path(name), &dict).expect("written"),
        }
    }

    /// Runs a command line (words between spaces) that must be refused with a message that holds every one of
    /// `expected`.
    pub fn refuses(&mut self, line: &str, expected: &[&str]) {
        self.cases += 1;
        let before = self.snapshot();
        let faults = match self.run(line) {
            Ok(output) => complaints(&output, expected),
            Err(complaint) => vec![complaint],
        };
        let after = self.snapshot();
        for (path, bytes) in &after {
            if before.get(path) != Some(bytes) {
                self.faults.push(format!("otfuse {line}\n    wrote or changed {}", path.display()));
            }
        }
        self.faults.extend(
            before
                .keys()
                .filter(|path| !after.contains_key(*path))
                .map(|path| format!("otfuse {line}\n    removed {}", path.display())),
        );
        self.faults.extend(faults.into_iter().map(|fault| format!("otfuse {line}\n    {fault}")));
    }

    /// Runs a command line that may be refused or not.
    pub fn survives(&mut self, line: &str) {
        self.cases += 1;
        let fault = match self.run(line) {
            Ok(output) if matches!(output.status.code(), Some(0 | 2)) => None,
            Ok(output) => Some(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
            Err(complaint) => Some(complaint),
        };
        self.faults.extend(fault.map(|fault| format!("otfuse {line}\n    {fault}")));
    }

    /// Fails with all that went wrong, or if there were fewer cases than expected.
    pub fn finish(self, least: usize) {
        let Self { cases, faults, .. } = self;
        assert!(faults.is_empty(), "{} faults in {cases} cases:\n{}", faults.len(), faults.join("\n"));
        assert!(cases >= least, "{cases} cases");
    }

    fn run(&self, line: &str) -> Result<Output, String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_otfuse"))
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let start = Instant::now();
        while child.try_wait().expect("a child").is_none() {
            if start.elapsed() > PATIENCE {
                child.kill().expect("killed");
                return Err(format!("did not end within {PATIENCE:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(child.wait_with_output().expect("output"))
    }

    /// All files below the folder and their content.
    fn snapshot(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("readable") {
                let path = entry.expect("entry").path();
                if path.is_dir() {
                    folders.push(path.clone());
                    found.insert(path, None);
                } else {
                    let bytes = fs::read(&path).expect("read");
                    found.insert(path, Some(bytes));
                }
            }
        }
        found
    }
}

fn complaints(output: &Output, expected: &[&str]) -> Vec<String> {
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut complaints = Vec::new();
    if output.status.code() != Some(2) {
        complaints.push(format!("expected exit code 2, found {}", output.status));
    }
    if !output.stdout.is_empty() {
        complaints.push(format!("wrote to stdout: {}", String::from_utf8_lossy(&output.stdout)));
    }
    if !errors.starts_with("error: ") {
        complaints.push("expected `error: ` first on stderr".into());
    }
    // What the argument parser refuses comes with its own advice.
    if !errors.contains("\nhint: ") && !errors.contains("try '--help'") {
        complaints.push("no hint".into());
    }
    if errors.contains("panicked") {
        complaints.push("panicked".into());
    }
    complaints.extend(expected.iter().filter(|text| !errors.contains(**text)).map(|text| format!("no '{text}'")));
    if !complaints.is_empty() {
        complaints.push(format!("stderr: {errors}"));
    }
    complaints
}
