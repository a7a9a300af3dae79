//! The format of an experiment.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::variables::{Variables, substituted};
use crate::config::not_yaml;
use crate::suggestion::suggestion;
use crate::typed::{Named, typed};
use crate::{Error, Result};

/// An experiment as it is written; `docs/experiments.md` explains every field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// A line that says what is measured.
    pub title: String,
    /// What a reader of the results should know.
    #[serde(default)]
    pub about: String,
    /// Values that `${NAME}` stands for.
    #[serde(default)]
    pub variables: Named,
    /// The data set, a [`Data`] once variables are replaced.
    pub data: Value,
    /// Seeds; everything is done once for each.
    #[serde(default = "first_seed")]
    pub seeds: Vec<u64>,
    /// Variables with a value for each point of a curve.
    #[serde(default, rename = "for")]
    pub points: Named,
    /// Which of them is the horizontal axis; the only one if not given.
    #[serde(default)]
    pub axis: Option<String>,
    /// What is trained, fused and measured, in this order: each a [`Network`] once variables are replaced.
    pub networks: Vec<Value>,
    /// Where the published figures are from.
    #[serde(default)]
    pub published: Option<Published>,
    /// Other sizes of the same experiment.
    #[serde(default)]
    pub variants: BTreeMap<String, Variant>,
}

/// The data set of an experiment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// As for `--data`.
    pub source: String,
    /// As for `--normalize`.
    pub normalize: Option<String>,
    /// Only the first so many test samples are measured.
    pub test: Option<usize>,
    /// Only the first so many training samples are used for training, unless a network's options have a limit.
    pub train: Option<usize>,
    /// Tasks that come one after the other: `labels:..` or `pixel-orders:K`.
    pub tasks: Option<String>,
}

/// A network of an experiment: exactly one of the fields from `file` to `ensemble` says where it comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Its name in this file and in the results.
    pub name: String,
    /// A trained network.
    pub file: Option<String>,
    /// How to read `file`, as for `--arch`.
    pub arch: Option<String>,
    /// An architecture, to be trained.
    pub train: Option<String>,
    /// A network, to be trained further.
    pub finetune: Option<String>,
    /// A network, to be pruned.
    pub prune: Option<String>,
    /// Networks, to be fused; the last one is the anchor.
    pub fuse: Option<Vec<String>>,
    /// With `fuse` of one network: what it is fused into, or `new`.
    pub into: Option<String>,
    /// Teachers.
    pub distill: Option<Vec<String>>,
    /// With `distill`: a network to begin with, in place of the option `student`.
    pub start: Option<String>,
    /// Networks whose probabilities are averaged.
    pub ensemble: Option<Vec<String>>,
    /// Options of the command, without the dashes; of an ensemble, `weights`.
    pub options: Named,
    /// Whether it is compared with: as a rule, what comes from `file` or `train` is.
    pub parent: Option<bool>,
    /// A trained network whose last accuracy this one is to reach, counted in epochs.
    pub reaches: Option<String>,
    /// The published accuracy in percent.
    pub published: Option<f64>,
    /// A remark.
    pub note: Option<String>,
}

/// Published figures.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Paper and table.
    pub source: String,
    /// The accuracies of its parents in percent.
    #[serde(default)]
    pub parents: Vec<f64>,
}

/// What a variant has in place of the file's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// How it differs.
    pub about: String,
    /// Values that replace those of the file, by name.
    #[serde(default)]
    pub variables: Named,
    /// In place of all seeds.
    pub seeds: Option<Vec<u64>>,
    /// In place of all points.
    #[serde(rename = "for")]
    pub points: Option<Named>,
    /// In place of all networks.
    pub networks: Option<Vec<Value>>,
    /// In place of the data set.
    pub data: Option<Value>,
}

fn first_seed() -> Vec<u64> {
    vec![0]
}

/// What the command line changes.
pub struct Changes<'a> {
    /// The variant's name.
    pub variant: Option<&'a str>,
    /// `NAME=VALUE`.
    pub set: &'a [String],
    /// So many seeds from 0 on in place of the file's.
    pub seeds: Option<usize>,
}

/// An experiment, its variant chosen and variables set.
pub struct Experiment {
    /// The file.
    pub file: File,
    /// The variant and how it differs.
    pub variant: Option<(String, String)>,
    /// The variables.
    pub variables: Variables,
    /// The data set.
    pub data: Data,
}

/// Reads an experiment.
pub fn read(path: &Path, changes: &Changes<'_>) -> Result<Experiment> {
    let text = otfuse_formats::read_regular_text(path).map_err(|error| {
        Error::input(format!("{}: {error}", path.display())).hint("an experiment is a YAML file of text")
    })?;
    experiment(&text, changes).map_err(|failure| failure.of(path))
}

fn experiment(text: &str, changes: &Changes<'_>) -> Result<Experiment> {
    let value: Value =
        serde_saphyr::from_str(text).map_err(|error| not_yaml(&error).hint("see docs/experiments.md"))?;
    if !value.is_object() {
        let found = if value.is_array() { "a list" } else { "a single value or nothing" };
        let error = Error::input(format!("expected settings by name, found {found}"));
        return Err(error.hint("see docs/experiments.md"));
    }
    let mut file: File = typed(value, "")?;
    let variant = match changes.variant {
        None => None,
        Some(name) => Some((name.to_owned(), chosen(&mut file, name)?)),
    };
    if let Some(count) = changes.seeds {
        file.seeds = (0..count as u64).collect();
    }
    if file.seeds.is_empty() {
        return Err(Error::input("seeds: expected at least one").hint("for example seeds: [0, 1, 2]"));
    }
    let mut variables = Variables::new(&file.variables);
    for change in changes.set {
        variables.set(change)?;
    }
    let data = typed(substituted(&file.data, &variables)?, "data: ")?;
    Ok(Experiment { file, variant, variables, data })
}

/// Puts the variant's values in place; how it differs.
fn chosen(file: &mut File, name: &str) -> Result<String> {
    let Some(variant) = file.variants.get(name).cloned() else {
        let known: Vec<&str> = file.variants.keys().map(String::as_str).collect();
        if name == "full" {
            return Ok("as the file has it".into());
        }
        return Err(Error::input(format!("`variant` {name}: there is none of this name"))
            .hint(format!("the file has: full {}", known.join(" "))));
    };
    for (key, value) in variant.variables {
        if !file.variables.contains_key(&key) {
            let known = file.variables.keys().map(String::as_str);
            return Err(Error::input(format!("variants.{name}.variables: unknown variable '{key}'")).hint(suggestion(
                &key,
                known,
                "the file's variables are",
            )));
        }
        file.variables.insert(key, value);
    }
    if let Some(seeds) = variant.seeds {
        file.seeds = seeds;
    }
    if let Some(points) = variant.points {
        file.points = points;
    }
    if let Some(networks) = variant.networks {
        file.networks = networks;
    }
    if let Some(data) = variant.data {
        file.data = data;
    }
    Ok(variant.about)
}

#[cfg(test)]
mod tests;
