//! What methods of merging are told: numbers, gradients over layers, and choices by the names of tensors.

use std::collections::BTreeMap;

use otfuse_fusion::merge::{self, Merge, Numbers, Parameter, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::suggestion::suggestion;
use crate::{Error, Result};

/// A parameter's value, as files give it.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// One number; truth values are 0 and 1.
    Number(f64),
    /// Numbers from the first layer to the last one, between which it is interpolated. Tensors outside the layers have the first.
    Gradient(Vec<f64>),
    /// The first whose filter is part of the tensor's name.
    Filtered(Vec<Filtered>),
}

/// A value for tensors of some names.
#[derive(Clone, Debug, PartialEq)]
pub struct Filtered {
    /// What the name must contain; nothing for all tensors.
    pub filter: Option<String>,
    /// The value.
    pub value: Box<Setting>,
}

impl Setting {
    /// The value of a file; `place` is where it stands there.
    ///
    /// # Errors
    /// What is no number, no list of numbers and no list of filters with values.
    pub(crate) fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::Array(list) if list.is_empty() => {
                Err(Error::input(format!("{place}: expected numbers, found an empty list")).hint("leave it out"))
            }
            Value::Array(list) if list.iter().all(Value::is_object) => {
                let each = list.iter().enumerate();
                Ok(Self::Filtered(
                    each.map(|(at, item)| filtered(item, &format!("{place}[{at}]"))).collect::<Result<_>>()?,
                ))
            }
            Value::Array(list) => {
                let each = list.iter().enumerate();
                Ok(Self::Gradient(
                    each.map(|(at, item)| number(item, &format!("{place}[{at}]"))).collect::<Result<_>>()?,
                ))
            }
            Value::Object(_) => Ok(Self::Filtered(vec![filtered(value, place)?])),
            value => number(value, place).map(Self::Number),
        }
    }

    /// The value for a tensor, at a place `t` between its first layer, 0, and its last one, 1.
    pub(crate) fn at(&self, name: &str, t: f64) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Gradient(numbers) => {
                let place = t * (numbers.len() - 1) as f64;
                let (below, rest) = (place.floor() as usize, place.fract());
                let above = (below + 1).min(numbers.len() - 1);
                Some((1.0 - rest) * numbers[below] + rest * numbers[above])
            }
            Self::Filtered(choices) => {
                let fits = |filter: &Option<String>| {
                    filter.as_ref().is_none_or(|filter| filter == "*" || name.contains(filter.as_str()))
                };
                choices.iter().find(|choice| fits(&choice.filter)).and_then(|choice| choice.value.at(name, t))
            }
        }
    }

    /// All numbers in it.
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Number(number) => vec![*number],
            Self::Gradient(numbers) => numbers.clone(),
            Self::Filtered(choices) => choices.iter().flat_map(|choice| choice.value.numbers()).collect(),
        }
    }

    /// The length of its longest gradient.
    #[cfg(feature = "experiment")]
    fn longest(&self) -> Option<usize> {
        match self {
            Self::Number(_) => None,
            Self::Gradient(numbers) => Some(numbers.len()),
            Self::Filtered(choices) => choices.iter().filter_map(|choice| choice.value.longest()).max(),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Gradient(numbers) => numbers.clone().into(),
            Self::Filtered(choices) => choices.iter().map(Filtered::as_value).collect(),
        }
    }
}

impl Filtered {
    fn as_value(&self) -> Value {
        match &self.filter {
            Some(filter) => serde_json::json!({ "filter": filter, "value": self.value.value() }),
            None => serde_json::json!({ "value": self.value.value() }),
        }
    }
}

fn filtered(item: &Value, place: &str) -> Result<Filtered> {
    let wrong = |found: String| {
        Error::input(format!("{place}: expected {{filter: PART OF A NAME, value: NUMBER}}, found {found}"))
            .hint("a value without filter stands for all other tensors")
    };
    let Some(map) = item.as_object() else { return Err(wrong(item.to_string())) };
    if let Some(unknown) = map.keys().find(|key| !["filter", "value"].contains(&key.as_str())) {
        return Err(wrong(format!("the key '{unknown}'")));
    }
    let filter = match map.get("filter") {
        None | Some(Value::Null) => None,
        Some(Value::String(filter)) => Some(filter.clone()),
        Some(other) => return Err(wrong(format!("the filter {other}"))),
    };
    let value = map.get("value").ok_or_else(|| wrong("no value".into()))?;
    match Setting::parse(value, &format!("{place}.value"))? {
        Setting::Filtered(_) => Err(wrong("filters within a filter".into())),
        value => Ok(Filtered { filter, value: Box::new(value) }),
    }
}

/// A number; texts that are one and truth values are taken, as YAML has 1e-4 as a text.
fn number(value: &Value, place: &str) -> Result<f64> {
    let found = match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    };
    found.filter(|number: &f64| number.is_finite()).ok_or_else(|| {
        Error::input(format!("{place}: expected a number, a list of numbers or filters, found {value}"))
            .hint("for example 0.5, [0, 0.5, 1], or [{filter: mlp, value: 0.5}, {value: 0}]")
    })
}

/// Values of parameters, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(pub BTreeMap<String, Setting>);

impl Parameters {
    /// A block `parameters` of a file.
    pub(crate) fn parse(value: Option<&Value>, place: &str) -> Result<Self> {
        let map = match value {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(map)) => map,
            Some(other) => {
                return Err(Error::input(format!("{place}: expected names with values, found {other}"))
                    .hint("for example {weight: 0.5}"));
            }
        };
        let each = map.iter().filter(|(_, value)| !value.is_null());
        let parsed = each.map(|(name, value)| Ok((name.clone(), Setting::parse(value, &format!("{place}.{name}"))?)));
        parsed.collect::<Result<_>>().map(Self)
    }

    /// Refuses names that no method knows, and numbers that the method cannot work with; says which names mean nothing to it.
    pub(crate) fn check(&self, method: &dyn Merge, is_of_model: bool, place: &str) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        for (name, setting) in &self.0 {
            let known = method.parameters().iter().find(|parameter| parameter.name == name);
            let Some(parameter) = known else {
                let mut others = merge::METHODS.iter().flat_map(|method| method.parameters());
                // Files that are changed from one method to another keep parameters of the first.
                if others.any(|parameter| parameter.name == name) {
                    notes.push(format!("{place}.{name}: merge_method {} does not look at it", method.name()));
                    continue;
                }
                let names = method.parameters().iter().map(|parameter| parameter.name);
                let message = format!("{place}.{name}: merge_method {} takes no such parameter", method.name());
                return Err(Error::input(message).hint(suggestion(name, names, "it takes")));
            };
            if is_of_model && parameter.scope == Scope::Tensor {
                notes.push(format!(
                    "{place}.{name}: {name} is one for all models and not looked at here; it belongs under the parameters of the \
                     file, or of a slice"
                ));
                continue;
            }
            let (least, most) = parameter.range;
            if let Some(number) = setting.numbers().into_iter().find(|number| !(least..=most).contains(number)) {
                let message = format!("{place}.{name}: expected numbers from {least} to {most}, found {number}");
                return Err(Error::input(message).hint(format!("{name}: {}", parameter.meaning)));
            }
        }
        Ok(notes)
    }

    /// The gradients in it, by the parameter's name, with their lengths.
    #[cfg(feature = "experiment")]
    pub(crate) fn gradients(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().filter_map(|(name, setting)| Some((name.as_str(), setting.longest()?)))
    }

    pub(crate) fn at(&self, parameter: &str, name: &str, t: f64) -> Option<f64> {
        self.0.get(parameter).and_then(|setting| setting.at(name, t))
    }
}

impl Serialize for Parameters {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, setting)| (name, setting.value())))
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::parse(Some(&value), "parameters").map_err(serde::de::Error::custom)
    }
}

/// What a method is told: what holds for all models, and what holds for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MergeParameters {
    /// Of tensors, and of all models that say nothing themselves.
    pub all: Parameters,
    /// Of each model, in their order.
    pub models: Vec<Parameters>,
}

impl MergeParameters {
    /// Refuses what the method does not know, and says what is missing.
    pub(crate) fn check(&self, method: &dyn Merge, models: usize, base: Option<usize>) -> Result<()> {
        let refuse = |notes: Vec<String>| match notes.into_iter().next() {
            None => Ok(()),
            Some(note) => {
                let names: Vec<&str> = method.parameters().iter().map(|parameter| parameter.name).collect();
                let hint =
                    if names.is_empty() { "leave it out".to_owned() } else { format!("it takes {}", names.join(", ")) };
                Err(Error::input(note).hint(hint))
            }
        };
        refuse(self.all.check(method, false, "parameters")?)?;
        for (at, of_model) in self.models.iter().enumerate() {
            refuse(of_model.check(method, true, &format!("models[{at}].parameters"))?)?;
        }
        for parameter in method.parameters().iter().filter(|parameter| parameter.default.is_none()) {
            let is_said = |model: usize| self.models.get(model).is_some_and(|of| of.0.contains_key(parameter.name));
            let missing = (0..models).filter(|&model| Some(model) != base).find(|&model| !is_said(model));
            if self.all.0.contains_key(parameter.name) || parameter.scope == Scope::Tensor {
                continue;
            }
            if let Some(model) = missing.filter(|_| self.models.iter().any(|of| of.0.contains_key(parameter.name))) {
                return Err(missing_parameter(parameter, &format!("models[{model}].parameters")));
            }
        }
        Ok(())
    }
}

/// What is said where a parameter has to be said.
pub(crate) fn missing_parameter(parameter: &Parameter, place: &str) -> Error {
    Error::input(format!("{place}: expected {}, found none", parameter.name))
        .hint(format!("{}: {}", parameter.name, parameter.meaning))
}

/// The numbers for a tensor: `said` gives a parameter of the tensor (`None`) or of a model.
pub(crate) fn numbers(
    method: &dyn Merge,
    models: usize,
    said: &dyn Fn(Option<usize>, &Parameter) -> Option<f64>,
) -> Numbers {
    let mut numbers = Numbers { models: vec![BTreeMap::new(); models], ..Numbers::default() };
    for parameter in method.parameters() {
        match parameter.scope {
            Scope::Tensor => numbers.tensor.extend(said(None, parameter).map(|number| (parameter.name, number))),
            Scope::Model => {
                for (model, of_model) in numbers.models.iter_mut().enumerate() {
                    of_model.extend(said(Some(model), parameter).map(|number| (parameter.name, number)));
                }
            }
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(json: &str) -> Result<Setting> {
        Setting::parse(&serde_json::from_str(json).unwrap(), "t")
    }

    #[test]
    fn gradients_are_interpolated_and_filters_tried_in_order() {
        let gradient = setting("[0, 1, 0]").unwrap();
        let found: Vec<f64> = [0.0, 0.25, 0.5, 1.0].iter().map(|&t| gradient.at("w", t).unwrap()).collect();
        assert_eq!(found, [0.0, 0.5, 1.0, 0.0]);
        let filtered = setting(r#"[{"filter": "mlp", "value": [0, 2]}, {"filter": "*", "value": "1e-1"}]"#).unwrap();
        assert_eq!(filtered.at("layers.0.mlp.up", 0.5), Some(1.0));
        assert_eq!(filtered.at("layers.0.attn", 0.5), Some(0.1));
        assert_eq!(setting(r#"{"filter": "a", "value": true}"#).unwrap().at("b", 0.0), None);
    }

    #[test]
    fn what_is_no_setting_is_named_with_its_place() {
        for (json, expected) in [
            (r#"[0, "x"]"#, "t[1]"),
            ("[]", "empty list"),
            (r#"[{"filter": "a"}]"#, "t[0]"),
            (r#"[{"fliter": "a", "value": 1}]"#, "'fliter'"),
            (r#"[{"value": [{"value": 1}]}]"#, "within a filter"),
            (r#"[{"value": 1}, 2]"#, "t[0]"),
        ] {
            let error = setting(json).unwrap_err();
            assert!(error.message.contains(expected), "{json}: {error}");
        }
    }
}
