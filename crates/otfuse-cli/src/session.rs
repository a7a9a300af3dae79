//! What all commands share: how results are printed, and where the library works.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};

use otfuse::{Context, Error, Result};
use serde::Serialize;

use crate::spelling::Spelling;
use crate::terminal::Bars;

/// What all commands share.
pub struct Session {
    words: Vec<OsString>,
    json: bool,
    /// Where the library works, and who is told of progress.
    pub context: Context,
}

/// What may be taken, where it was typed.
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Nodes that are executed.
    pub steps: Option<u64>,
}

impl Session {
    /// What was typed, results as JSON or text, networks on a device within limits, warnings in a spelling.
    pub fn new(
        words: Vec<OsString>,
        json: bool,
        device: Option<&str>,
        limits: &Limits,
        spelling: Spelling,
    ) -> Result<Self> {
        let context = Context::new().observer(Bars::new(spelling));
        let context = match device {
            Some(name) => context.device(name)?,
            None => context,
        };
        let context = match limits.memory {
            Some(bytes) => context.memory(bytes).run_memory(bytes),
            None => context,
        };
        let context = match limits.steps {
            Some(steps) => context.steps(steps),
            None => context,
        };
        Ok(Self { words, json, context })
    }

    /// The command line as it was typed, whatever the path of the program.
    pub fn typed(&self) -> String {
        let words = self.words.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
        std::iter::once("otfuse".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Prints a result: as JSON, or what `text` makes of it.
    pub fn print<T: Serialize>(&self, result: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        otfuse::check_inputs()?;
        let mut shown = if self.json {
            serde_json::to_string_pretty(result).map_err(|error| Error::run(format!("cannot write JSON: {error}")))?
        } else {
            text(result)
        };
        shown = if self.json { otfuse::visible_json(&shown) } else { otfuse::visible(&shown, true) }.into_owned();
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
        self.write(shown.as_bytes())
    }

    /// Writes to standard output.
    #[allow(clippy::unused_self)]
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            // The reader has seen enough: `otfuse inspect MODEL | head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| Error::run(format!("cannot write to standard output: {error}"))),
        }
    }
}
