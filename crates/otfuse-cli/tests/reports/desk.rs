//! Runs of the real command line in a folder of their own.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What a command printed, and how it ended.
pub struct Ran {
    /// The exit code; -1 if the process was killed.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// An empty folder in which commands run, and the files of one kind of situation.
pub struct Desk {
    folder: TempDir,
    files: PathBuf,
}

impl Desk {
    /// The desk for the files in `files/KIND`.
    pub fn of(kind: &str) -> Self {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports/files").join(kind);
        Self { folder: tempfile::tempdir().expect("a temporary folder"), files }
    }

    /// One of the kind's files.
    pub fn file(&self, name: &str) -> String {
        self.files.join(name).to_str().expect("a path in Unicode").to_owned()
    }

    /// The path of a file that a command writes.
    pub fn out(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path in Unicode").to_owned()
    }

    /// Runs `otfuse` with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let run = Command::new(env!("CARGO_BIN_EXE_otfuse")).args(arguments).current_dir(self.folder.path()).output();
        let Output { status, stdout, stderr } = run.expect("the command runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text in UTF-8");
        Ran { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs `otfuse`, which has to end with this exit code.
    #[track_caller]
    pub fn ends(&self, code: i32, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "otfuse {}\n{}\n{}", arguments.join(" "), ran.stdout, ran.stderr);
        ran
    }

    /// Runs `otfuse`, which has to refuse with exit code 2, these words on stderr, and no file left.
    #[track_caller]
    pub fn refuses(&self, arguments: &[&str], words: &[&str]) -> Ran {
        let before = self.names();
        let ran = self.ends(2, arguments);
        for word in words {
            assert!(ran.stderr.contains(word), "'{word}' is missing in:\n{}", ran.stderr);
        }
        assert_eq!(before, self.names(), "files were left by otfuse {}", arguments.join(" "));
        ran
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}
