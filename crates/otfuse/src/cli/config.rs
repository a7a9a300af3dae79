//! `otfuse fuse CONFIG.yml`: models and settings from a file, as mergekit writes them where the meaning is the same.
//!
//! The file stands for words of the command line, so that its options are those of `otfuse fuse`, and options that are
//! typed override it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Failure;
use super::experiment::file::{Named, typed};
use super::experiment::options::words;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// `ot`, or `linear` for a plain average.
    #[serde(default = "transport")]
    merge_method: Method,
    /// The anchor, one of the models; the last one if not given.
    base_model: Option<String>,
    models: Vec<Entry>,
    /// As for `--arch`.
    arch: Option<String>,
    /// Options of `otfuse fuse`, without the dashes.
    #[serde(default)]
    alignment: Named,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Method {
    Ot,
    #[serde(alias = "average")]
    Linear,
}

fn transport() -> Method {
    Method::Ot
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Parameters {
    weight: Option<f64>,
}

/// The command line with a file of settings replaced by what it stands for.
pub fn expanded(line: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let is_yaml =
        |word: &OsString| Path::new(word).extension().is_some_and(|ending| ending == "yml" || ending == "yaml");
    let fuses = line.iter().skip(1).find(|word| !word.to_string_lossy().starts_with('-')).map(OsString::as_os_str);
    let is_value = |at: usize| {
        ["-o", "--output", "--csv", "--save-alignment", "--arch"].contains(&&*line[at - 1].to_string_lossy())
    };
    let at = (1..line.len()).find(|&at| is_yaml(&line[at]) && !is_value(at));
    let (Some(at), true) = (at, fuses == Some(OsStr::new("fuse"))) else { return Ok(line) };
    let path = Path::new(&line[at]);
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::input(format!("{}: {error}", path.display())).hint("a file of settings is a YAML file of text")
    })?;
    let words = of(&text).map_err(|failure| failure.of(path))?;
    let (before, behind) = (&line[..at], &line[at + 1..]);
    // What is typed counts in place of what the file says.
    let is_typed = |word: &String| {
        let name = word.split('=').next().unwrap_or_default();
        let same = |typed: &OsString| typed.to_string_lossy().split('=').next() == Some(name);
        name.starts_with("--") && before.iter().chain(behind).any(same)
    };
    let words = words.into_iter().filter(|word| !is_typed(word)).map(OsString::from);
    Ok(before.iter().cloned().chain(words).chain(behind.iter().cloned()).collect())
}

/// A file's models and options as words.
fn of(text: &str) -> Result<Vec<String>, Failure> {
    let value: Value = serde_saphyr::from_str(text)
        .map_err(|error| Failure::input(format!("not valid YAML: {error}")).hint("see `otfuse fuse --help`"))?;
    let config: Config = typed(value, "")?;
    let models: Vec<String> = config.models.iter().map(|entry| entry.model.clone()).collect();
    let mut options = config.alignment;
    let mut set = |name: &str, value: Value| match options.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Failure::input(format!("alignment: '{name}' has a place of its own in the file"))
            .hint("merge_method, base_model and models[].parameters.weight say it")),
    };
    if matches!(config.merge_method, Method::Linear) {
        set("method", "average".into())?;
    }
    if let Some(base) = &config.base_model {
        let anchor = models.iter().position(|model| model == base).ok_or_else(|| {
            Failure::input(format!("base_model: '{base}' is none of the models"))
                .hint("the base model is the anchor: name it among the models too")
        })?;
        set("anchor", anchor.into())?;
    }
    let weights: Vec<Option<f64>> = config.models.iter().map(|entry| entry.parameters.weight).collect();
    if weights.iter().any(Option::is_some) {
        let given: Option<Vec<f64>> = weights.into_iter().collect();
        let given = given.ok_or_else(|| {
            Failure::input("models: a weight for some of the models only")
                .hint("give each one parameters: {weight: ..}")
        })?;
        set("weights", given.into())?;
    }
    let options = words("fuse", &options)?;
    Ok(models.into_iter().chain(config.arch.map(|arch| format!("--arch={arch}"))).chain(options).collect())
}

#[cfg(test)]
mod tests;
