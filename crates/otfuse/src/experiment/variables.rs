//! Values that stand for `${NAME}`.

use serde_json::Value;

use crate::suggestion::suggestion;
use crate::typed::Named;
use crate::{Error, Result};

/// Values by name.
#[derive(Clone, Debug)]
pub struct Variables(Named);

impl Variables {
    /// The variables of a file.
    pub fn new(variables: &Named) -> Self {
        Self(variables.clone())
    }

    /// Replaces a value that the file has: `NAME=VALUE`, the value as in YAML.
    pub fn set(&mut self, change: &str) -> Result<()> {
        let (name, text) = change.split_once('=').ok_or_else(|| {
            Error::input(format!("`set` {change}: expected NAME=VALUE")).hint("for example `set` epochs=3")
        })?;
        if !self.0.contains_key(name) {
            return Err(Error::input(format!("`set` {change}: the file has no variable '{name}'")).hint(suggestion(
                name,
                self.0.keys().map(String::as_str),
                "its variables are",
            )));
        }
        let value = match serde_saphyr::from_str(text) {
            Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Null)) => value,
            _ => Value::from(text),
        };
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// With one value more, or another one.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    fn get(&self, name: &str, text: &str) -> Result<&Value> {
        self.0.get(name).ok_or_else(|| {
            Error::input(format!("'{text}': there is no variable '{name}'")).hint(suggestion(
                name,
                self.0.keys().map(String::as_str),
                "the variables are",
            ))
        })
    }

    /// A text with the values in place; one that is a single `${NAME}` becomes the value itself.
    fn expand(&self, text: &str) -> Result<Value> {
        if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
            && !name.contains('}')
        {
            return self.get(name, text).cloned();
        }
        let (mut expanded, mut rest) = (String::new(), text);
        while let Some((before, behind)) = rest.split_once("${") {
            let (name, behind) = behind.split_once('}').ok_or_else(|| {
                Error::input(format!("'{text}': '${{' without '}}'")).hint("a variable is written ${NAME}")
            })?;
            expanded += before;
            expanded += &shown(self.get(name, text)?);
            rest = behind;
        }
        Ok(Value::from(expanded + rest))
    }
}

/// A value as an option takes it: lists separated by commas.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The value with all variables in its texts replaced.
pub(crate) fn substituted(value: &Value, variables: &Variables) -> Result<Value> {
    Ok(match value {
        Value::String(text) => variables.expand(text)?,
        Value::Array(values) => {
            Value::Array(values.iter().map(|value| substituted(value, variables)).collect::<Result<_, _>>()?)
        }
        Value::Object(values) => {
            let replaced = |(key, value): (&String, &Value)| Ok((key.clone(), substituted(value, variables)?));
            Value::Object(values.iter().map(replaced).collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests;
