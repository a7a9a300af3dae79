//! The options of a network's making, as an experiment gives them: by name, each checked against the typed options of what
//! makes the network.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::variables::shown;
use crate::suggestion::suggestion;
use crate::typed::{HINT, Named, typed};
use crate::{DataOptions, Error, Result};

/// Options that one of several structs of options knows.
pub(crate) struct Given<'a> {
    of: &'a str,
    rest: Named,
}

impl<'a> Given<'a> {
    /// The options of `of`, all of which must be among `known`.
    pub(crate) fn new(of: &'a str, options: &Named, known: &[&[&str]]) -> Result<Self> {
        let known: Vec<&str> = known.iter().copied().flatten().copied().collect();
        for name in options.keys() {
            if !known.contains(&name.as_str()) {
                return Err(Error::input(format!("options: `{of}` takes no option '{name}' here")).hint(suggestion(
                    name,
                    known.iter().copied(),
                    "it takes",
                )));
            }
        }
        let given = options.iter().filter(|(_, value)| !value.is_null());
        Ok(Self { of, rest: given.map(|(name, value)| (name.clone(), value.clone())).collect() })
    }

    /// Those of these keys, as a struct.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, keys: &[&str]) -> Result<T> {
        let taken: Named = keys.iter().filter_map(|key| self.rest.remove_entry(*key)).collect();
        typed(Value::Object(taken), "options.").map_err(|error| {
            let hint = format!("`otfuse {} --help` says what it takes", self.of);
            if error.hint.as_deref() == Some(HINT) { error.hint(hint) } else { error }
        })
    }

    /// Which samples of the experiment's data set are used.
    pub(crate) fn part(&mut self, normalize: Option<&String>) -> Result<DataOptions> {
        Ok(DataOptions { normalize: normalize.cloned(), ..self.take(PART)? })
    }
}

/// Options of data that a network may have for itself; normalisation is the experiment's.
pub(crate) const PART: &[&str] = &["image-size", "partition", "part", "partition-seed", "pixel-order"];

/// Options as they are shown, in the words of the command line: `--lr=0.1`, `--flip`. Sorted by name; those that are null or
/// false are left out.
pub(crate) fn words(options: &Named) -> Vec<String> {
    let word = |(name, value): (&String, &Value)| match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(format!("--{name}")),
        value => Some(format!("--{name}={}", shown(value))),
    };
    let mut words: Vec<String> = options.iter().filter_map(word).collect();
    words.sort();
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FuseOptions, TrainOptions};

    fn named(json: &str) -> Named {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn options_are_typed_and_shown_as_words() {
        let options = named(r#"{"lr": 0.1, "flip": true, "nesterov": false, "partition": "iid:2", "part": 1}"#);
        let mut given = Given::new("train", &options, &[TrainOptions::KEYS, PART]).unwrap();
        let training: TrainOptions = given.take(TrainOptions::KEYS).unwrap();
        assert_eq!((training.lr, training.flip, training.nesterov), (Some(0.1), Some(true), Some(false)));
        assert_eq!(given.part(None).unwrap().part, Some(1));
        assert_eq!(words(&options), ["--flip", "--lr=0.1", "--part=1", "--partition=iid:2"]);
    }

    #[test]
    fn what_writes_files_is_no_option() {
        for name in ["report", "figures", "save-alignment", "save-samples", "output", "card", "state"] {
            let options = named(&format!(r#"{{"{name}": "x"}}"#));
            assert!(Given::new("fuse", &options, &[FuseOptions::KEYS, PART]).is_err(), "{name}");
        }
        let options = named(r#"{"presett": "paper"}"#);
        let error = Given::new("fuse", &options, &[FuseOptions::KEYS]).err().unwrap();
        assert_eq!(error.hint.as_deref(), Some("did you mean 'preset'?"));
    }
}
