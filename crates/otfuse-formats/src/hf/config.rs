//! The settings of a network: `config.json`.

use serde_json::{Map, Value};

use super::HfError;

/// The settings of a network, by the names that Hugging Face gives them.
#[derive(Clone, Debug)]
pub(crate) struct Config(pub Map<String, Value>);

impl Config {
    pub fn parse(bytes: &[u8]) -> Result<Self, HfError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(other) => Err(unfit("(all)", "a JSON object", &other)),
            Err(error) => {
                Err(HfError::Config { field: "(all)".into(), expected: "JSON".into(), found: error.to_string() })
            }
        }
    }

    /// A setting that is there and not null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub fn text(&self, field: &str) -> Result<Option<&str>, HfError> {
        self.get(field).map(|value| value.as_str().ok_or_else(|| unfit(field, "text", value))).transpose()
    }

    pub fn flag(&self, field: &str, default: bool) -> Result<bool, HfError> {
        let found = self.get(field).map(|value| value.as_bool().ok_or_else(|| unfit(field, "true or false", value)));
        found.transpose().map(|found| found.unwrap_or(default))
    }

    pub fn number(&self, field: &str, default: f64) -> Result<f64, HfError> {
        let found = self.get(field).map(|value| value.as_f64().ok_or_else(|| unfit(field, "a number", value)));
        found.transpose().map(|found| found.unwrap_or(default))
    }

    /// A positive integer that has to be there.
    pub fn size(&self, field: &str) -> Result<usize, HfError> {
        self.optional_size(field)?.ok_or_else(|| missing(field, "a positive integer"))
    }

    pub fn optional_size(&self, field: &str) -> Result<Option<usize>, HfError> {
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        self.get(field).map(|value| size(value).ok_or_else(|| unfit(field, "a positive integer", value))).transpose()
    }

    /// A list of positive integers.
    pub fn sizes(&self, field: &str) -> Result<Vec<usize>, HfError> {
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        let value = self.get(field).ok_or_else(|| missing(field, "a list of positive integers"))?;
        let list: Option<Vec<usize>> = value.as_array().and_then(|list| list.iter().map(size).collect());
        let list = list.filter(|list| !list.is_empty());
        list.ok_or_else(|| unfit(field, "a list of positive integers", value))
    }

    /// A token id, if there is one.
    pub fn token(&self, field: &str) -> Result<Option<i64>, HfError> {
        self.get(field).map(|value| value.as_i64().ok_or_else(|| unfit(field, "an integer", value))).transpose()
    }

    /// One length for rows and one for columns.
    pub fn pair(&self, field: &str) -> Result<[usize; 2], HfError> {
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        let value = self.get(field).ok_or_else(|| missing(field, "one or two positive integers"))?;
        let pair = match value {
            Value::Array(pair) => match pair.as_slice() {
                [rows, columns] => size(rows).zip(size(columns)),
                _ => None,
            },
            value => size(value).map(|size| (size, size)),
        };
        pair.map(|(rows, columns)| [rows, columns]).ok_or_else(|| unfit(field, "one or two positive integers", value))
    }

    /// Refuses any other value than the one that the graphs here are drawn for; an absent setting has it.
    pub fn require(&self, field: &str, expected: &Value) -> Result<(), HfError> {
        match self.get(field) {
            Some(found) if found != expected => Err(unfit(field, &expected.to_string(), found)),
            _ => Ok(()),
        }
    }

    /// Refuses settings of a kind that nothing here takes into account.
    pub fn refuse(&self, field: &str) -> Result<(), HfError> {
        let is_empty =
            |value: &Value| value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
        match self.get(field).filter(|value| !is_empty(value)) {
            Some(found) => Err(unfit(field, "none", found)),
            None => Ok(()),
        }
    }

    /// The class that the network was saved as.
    pub fn architecture(&self) -> Result<Option<String>, HfError> {
        let Some(value) = self.get("architectures") else { return Ok(None) };
        let first = value.as_array().and_then(|classes| classes.first()).and_then(Value::as_str);
        first.map(|class| Some(class.to_owned())).ok_or_else(|| unfit("architectures", "a list of class names", value))
    }
}

pub(super) fn unfit(field: &str, expected: &str, found: &Value) -> HfError {
    let found: String = found.to_string().chars().take(200).collect();
    HfError::Config { field: field.into(), expected: expected.into(), found }
}

pub(super) fn missing(field: &str, expected: &str) -> HfError {
    HfError::Config { field: field.into(), expected: expected.into(), found: "nothing".into() }
}
