//! Values of a file as types, with the place of what is wrong and the name that was meant.

use serde_json::{Map, Value};

use crate::suggestion::suggestion;
use crate::{Error, Result};

/// Values by name.
pub type Named = Map<String, Value>;

/// What helps where nothing more is known.
pub(crate) const HINT: &str = "see docs/experiments.md";

/// A value as a type; errors name the place, and the nearest name for one that is unknown.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(value: Value, place: &str) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let at = error.path().to_string();
        let at = if at == "." { String::new() } else { format!("{at}: ") };
        let reason = error.inner().to_string();
        let mut quoted = reason.split('`').skip(1).step_by(2);
        let hint = match (reason.starts_with("unknown field"), quoted.next()) {
            (true, Some(found)) => suggestion(found, quoted, "known here:"),
            _ => HINT.into(),
        };
        Error::input(format!("{place}{at}{reason}")).hint(hint)
    })
}
