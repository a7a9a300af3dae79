//! What the user sees.
#![allow(clippy::print_stderr)]

use std::io::{self, ErrorKind, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::Failure;

/// Writes results to stdout.
pub struct Output {
    /// As JSON instead of text.
    pub json: bool,
}

impl Output {
    /// Prints a result: `report` as JSON, or what `text` makes of it.
    pub fn result<T: Serialize>(&self, report: &T, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let mut shown = if self.json {
            serde_json::to_string_pretty(report).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))?
        } else {
            text(report)
        };
        if !shown.ends_with('\n') {
            shown.push('\n');
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()) {
            // The reader has seen enough: `otfuse inspect MODEL | head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|error| Failure::run(format!("cannot write to standard output: {error}"))),
        }
    }
}

/// A table with a header; columns whose names are in `right` are aligned to the right.
pub fn table(header: &[&str], right: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (index, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if right.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// Prints an error and its hint to stderr.
pub fn complain(failure: &Failure) {
    eprintln!("error: {}", failure.message);
    if let Some(hint) = &failure.hint {
        eprintln!("hint: {hint}");
    }
}

/// Prints a warning to stderr.
pub fn warn(message: &str) {
    eprintln!("warning: {message}");
}
