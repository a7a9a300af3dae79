//! Pairs of blocks from a file.

use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// What a file of pairs looks like.
pub(super) const HINT: &str = "the JSON of an earlier fusion's report will do, or {\"pairs\": [[0, 0], [1, 1], [4, 2]]}: a block of the deepest network \
     and one of the other, in order, for each of the other's blocks";

/// Pairs that somebody gave.
pub(super) struct Given {
    path: String,
    value: Value,
}

/// # Errors
/// A file that cannot be read or is no JSON.
pub(super) fn read(path: &str) -> Result<Given> {
    let wrong = |problem: String| Error::input(format!("`pairs`: {problem}")).of(Path::new(path)).hint(HINT);
    let text = otfuse_formats::read_regular(Path::new(path)).map_err(|error| wrong(error.to_string()))?;
    let value = serde_json::from_slice(&text).map_err(|error| wrong(format!("expected JSON: {error}")))?;
    Ok(Given { path: path.to_owned(), value })
}

impl Given {
    /// The pairs of a model, which is one of several that are to be deepened.
    ///
    /// # Errors
    /// A file without them.
    pub fn of(&self, model: usize, models: usize) -> Result<Vec<(usize, usize)>> {
        let wrong = |problem: String| Error::input(format!("`pairs`: {problem}")).of(Path::new(&self.path)).hint(HINT);
        let report = self.value.get("depth").unwrap_or(&self.value);
        let of_model = |found: &&Value| found.get("model").and_then(Value::as_u64) == Some(model as u64);
        let listed = report.get("models").and_then(Value::as_array).and_then(|all| all.iter().find(of_model));
        let plain = || if self.value.is_array() { Some(&self.value) } else { self.value.get("pairs") };
        let pairs = match listed {
            Some(found) => found.get("pairs"),
            None => plain().filter(|_| models == 1),
        };
        let pairs = pairs.and_then(Value::as_array).ok_or_else(|| wrong(format!("found no pairs of model {model}")))?;
        let pair = |value: &Value| {
            let two = value.as_array().filter(|two| two.len() == 2);
            let number = |at: usize| two.and_then(|two| usize::try_from(two[at].as_u64()?).ok());
            number(0).zip(number(1)).ok_or_else(|| wrong(format!("expected two numbers of blocks, found {value}")))
        };
        pairs.iter().map(pair).collect()
    }
}
