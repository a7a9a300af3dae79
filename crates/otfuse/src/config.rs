//! Settings of a fusion or a merge from a file, in mergekit's format: with `alignment`, or the method `ot`, networks are
//! aligned first and then merged; else tensors of the same names are merged as they are.

use std::path::{Path, PathBuf};

use otfuse_fusion::merge::Base;
use serde::Deserialize;
use serde_json::Value;

use crate::experiment::options::{Given, PART};
use crate::merging::file::{KEYS, MergeDocument, beside, document, known_keys};
use crate::merging::{Merge, MergeParameters, Parameters, Setting};
use crate::typed::{Named, typed};
use crate::{Choice, DataOptions, Error, FuseOptions, MergeName, Result, TypeName};

/// What a file of settings asks for.
#[derive(Clone, Debug)]
pub enum Configuration {
    /// Networks are aligned and fused.
    Fuse(Box<FuseConfig>),
    /// Tensors are merged by name.
    Merge(Box<Merge>),
}

impl Configuration {
    /// Reads a file of settings. Paths of networks are relative to the file, or else to the current folder.
    ///
    /// # Errors
    /// A file that cannot be read, is not YAML, or holds what is not known; names what was meant.
    pub fn read(path: &Path) -> Result<Self> {
        let text = otfuse_formats::read_regular_text(path)
            .map_err(|error| Error::input(error).of(path).hint("a file of settings is a YAML file of text"))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|error| if error.file.is_some() { error } else { error.of(path) })
    }

    /// The same from text; paths are relative to `folder`, or else to the current folder.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let mut values: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|error| not_yaml(&error).hint("see docs/merging.md, or `otfuse fuse --help`"))?;
        values.retain(|value| !value.is_null());
        if let Some(other) = values.iter().find(|value| !value.is_object()) {
            let found = if other.is_array() { "a list" } else { "a single value" };
            return Err(Error::input(format!("expected settings by name, found {found}"))
                .hint("for example merge_method: linear, models: [{model: A}, {model: B}]; see docs/merging.md"));
        }
        let is_aligned = |value: &Value| {
            let method = value.get("merge_method").and_then(Value::as_str);
            value.get("alignment").is_some()
                || method == Some("ot")
                || (method.is_none() && value.get("merge_method").is_none())
        };
        match values.as_slice() {
            [] => Err(Error::input("expected settings, found an empty file")
                .hint("merge_method: linear, models: [{model: A}, {model: B}]")),
            [value] if is_aligned(value) => {
                let mut config = FuseConfig::of(value.clone())?;
                config.models = config.models.iter().map(|model| beside(model, folder)).collect();
                // A family of the catalogue has neither.
                let is_file = |name: &String| name.contains(['.', '/']);
                if let Some(file) = config.architecture.take_if(|name| is_file(name)) {
                    config.architecture = Some(beside(Path::new(&file), folder).to_string_lossy().into_owned());
                }
                Ok(Self::Fuse(Box::new(config)))
            }
            values => {
                if let Some(at) = values.iter().position(is_aligned) {
                    return Err(Error::input(format!("document {}: alignment goes with one document alone", at + 1))
                        .hint("write it to a file of its own, and name its result in the other one"));
                }
                let documents: Vec<MergeDocument> = match values {
                    [value] => vec![document(value)?],
                    values => values
                        .iter()
                        .enumerate()
                        .map(|(at, value)| document(value).map_err(|error| numbered(error, at)))
                        .collect::<Result<_>>()?,
                };
                check_names(&documents)?;
                Ok(Self::Merge(Box::new(Merge::new(documents, folder.into(), text.to_owned()))))
            }
        }
    }
}

/// What is wrong with a text that is no YAML, without what the reader says to programmers.
pub(crate) fn not_yaml(error: &dyn std::fmt::Display) -> Error {
    let text = error.to_string().replace(", set DuplicateKeyPolicy in Options if acceptable", "");
    Error::input(format!("not valid YAML: {text}"))
}

fn numbered(error: Error, at: usize) -> Error {
    Error { message: format!("document {}: {}", at + 1, error.message), ..error }
}

/// Refuses names that two documents have, and files without a last result.
fn check_names(documents: &[MergeDocument]) -> Result<()> {
    let results = documents.iter().filter(|document| document.name.is_none()).count();
    if documents.len() > 1 && results != 1 {
        return Err(Error::input(format!("name: expected one document without a name, the result, found {results}"))
            .hint("give each of the others a name"));
    }
    for (at, document) in documents.iter().enumerate() {
        if let Some(name) = &document.name
            && documents[..at].iter().any(|other| other.name.as_ref() == Some(name))
        {
            return Err(
                Error::input(format!("document {}: the name '{name}' is taken", at + 1)).hint("choose another name")
            );
        }
    }
    Ok(())
}

/// A fusion as a file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct FuseConfig {
    /// The networks.
    pub models: Vec<PathBuf>,
    /// The architecture of checkpoints without a graph.
    pub architecture: Option<String>,
    /// The options.
    pub options: FuseOptions,
    /// Which samples of a data set are used.
    pub data: DataOptions,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// `ot`, the weighted mean, or another method.
    #[serde(default = "transport")]
    merge_method: String,
    /// The anchor; a base where the method takes one.
    base_model: Option<String>,
    models: Vec<Entry>,
    /// Architecture of checkpoints without a graph.
    arch: Option<String>,
    /// The element type of the result.
    dtype: Option<TypeName>,
    /// The element type of the result, in place of `dtype`.
    out_dtype: Option<TypeName>,
    /// What the method is told.
    #[serde(default)]
    parameters: Value,
    /// `base`: the anchor's, which the result has always.
    tokenizer_source: Option<String>,
    /// Options by name.
    #[serde(default)]
    alignment: Option<Named>,
}

fn transport() -> String {
    "ot".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    #[serde(default)]
    parameters: Value,
}

/// What does not go with an alignment, why, and what to do instead.
const WHOLE: [(&str, &str, &str); 5] = [
    ("slices", "neurons of whole networks are aligned", "name whole networks under models"),
    ("modules", "neurons of whole networks are aligned", "name whole networks under models"),
    (
        "tokenizer",
        "the result has the tokenizer of the anchor",
        "alignment: {vocabulary: anchor} matches rows by token, intersect keeps those that all have",
    ),
    (
        "chat_template",
        "the result has the chat template of the anchor",
        "leave it out, and name the anchor as base_model",
    ),
    ("name", "the result is named by `output`", "leave it out"),
];

impl FuseConfig {
    /// A file with an alignment.
    ///
    /// # Errors
    /// What is not known; names what was meant.
    fn of(value: Value) -> Result<Self> {
        if let Some(map) = value.as_object() {
            known_keys(map, "", &KEYS)?;
            if let Some((key, why, way)) = WHOLE.into_iter().find(|(key, ..)| map.contains_key(*key)) {
                return Err(Error::input(format!("{key}: it does not go with alignment, since {why}")).hint(way));
            }
        }
        let mut value = value;
        if let Some(map) = value.as_object_mut() {
            map.remove("metadata");
            if let Some(alignment) = map.get_mut("alignment")
                && (*alignment == Value::Bool(true) || alignment.as_str() == Some("default"))
            {
                *alignment = Value::Null;
            }
            if let Some(found) = map.get("alignment").filter(|found| !found.is_null() && !found.is_object()) {
                return Err(Error::input(format!("alignment: expected options by name, found {found}"))
                    .hint("alignment: {} aligns as `fuse` does by default; without the line nothing is aligned"));
            }
        }
        let mut file: File = typed(value, "")?;
        let named = file.alignment.clone().unwrap_or_default();
        let mut given = Given::new("fuse", &named, &[FuseOptions::KEYS, PART])?;
        let mut options: FuseOptions = given.take(FuseOptions::KEYS)?;
        let data = given.take(PART)?;
        let merge = merge_of(&file.merge_method, &options)?;
        if merge != MergeName::Mean {
            options.merge = Some(merge);
        }
        if let Some(base) = file.base_model.clone() {
            if merge.method().base() != Base::Unused && file.models.iter().all(|entry| entry.model != base) {
                file.models.push(Entry { model: base.clone(), parameters: Value::Null });
            }
            anchored(&mut options, &file, &base, merge)?;
        }
        told(&mut options, &file, merge)?;
        if let Some(dtype) = file.out_dtype.or(file.dtype)
            && options.dtype.replace(dtype).is_some()
        {
            return Err(twice("dtype"));
        }
        check_tokenizer(file.tokenizer_source.as_deref(), file.base_model.as_deref())?;
        let models = file.models.into_iter().map(|entry| entry.model.into()).collect();
        Ok(Self { models, architecture: file.arch, options, data })
    }
}

fn twice(name: &str) -> Error {
    Error::input(format!("alignment: '{name}' has a place of its own in the file"))
        .hint("merge_method, base_model, dtype and models[].parameters say it")
}

/// How aligned tensors become one.
fn merge_of(method: &str, options: &FuseOptions) -> Result<MergeName> {
    let named = match method {
        "ot" | "linear" | "average" => return Ok(options.merge.unwrap_or(MergeName::Mean)),
        name => MergeName::of_name(name),
    };
    let names = MergeName::ALL.iter().map(|(_, name, _)| *name).filter(|name| *name != "mean").chain(["ot", "linear"]);
    let named = named.ok_or_else(|| {
        let hint = crate::suggestion::suggestion(method, names, "with an alignment, one of");
        Error::input(format!("merge_method: '{method}' does not merge aligned networks")).hint(hint)
    })?;
    if options.merge.is_some() {
        return Err(twice("merge"));
    }
    Ok(named)
}

/// The base model is the anchor, and the base of methods that take one.
fn anchored(options: &mut FuseOptions, file: &File, base: &str, merge: MergeName) -> Result<()> {
    let place = file.models.iter().position(|entry| entry.model == base).ok_or_else(|| {
        Error::input(format!("base_model: '{base}' is none of the models"))
            .hint("the base model is the anchor: name it among the models too")
    })?;
    if options.anchor.replace(place).is_some() {
        return Err(twice("anchor"));
    }
    if merge.method().base() != Base::Unused {
        options.base = Some(place);
    }
    Ok(())
}

/// What the method is told: plain weights of a mean are those of the models, everything else goes to the method.
fn told(options: &mut FuseOptions, file: &File, merge: MergeName) -> Result<()> {
    let all = Parameters::parse(Some(&file.parameters), "parameters")?;
    let models: Vec<Parameters> = file
        .models
        .iter()
        .enumerate()
        .map(|(at, entry)| Parameters::parse(Some(&entry.parameters), &format!("models[{at}].parameters")))
        .collect::<Result<_>>()?;
    let method = merge.method();
    MergeParameters { all: all.clone(), models: models.clone() }.check(method, 0, None)?;
    let plain = |parameters: &Parameters| match parameters.0.get("weight") {
        Some(Setting::Number(weight)) if *weight >= 0.0 => Some(*weight),
        _ => None,
    };
    let has_weights = models.iter().any(|model| model.0.contains_key("weight"));
    if has_weights
        && method.base() == Base::Unused
        && models.iter().any(|model| !model.0.contains_key("weight"))
        && !all.0.contains_key("weight")
    {
        return Err(
            Error::input("models: a weight for some of the models only").hint("give each one parameters: {weight: ..}")
        );
    }
    let is_normalised = all.0.iter().all(|(name, setting)| name == "normalize" && *setting == Setting::Number(1.0));
    let weights: Option<Vec<f64>> = models.iter().map(plain).collect();
    if merge == MergeName::Mean && is_normalised && (weights.is_some() || !has_weights) {
        if let Some(weights) = weights
            && options.weights.replace(weights.into()).is_some()
        {
            return Err(twice("weights"));
        }
        return Ok(());
    }
    if options.parameters.replace(MergeParameters { all, models }).is_some() {
        return Err(twice("parameters"));
    }
    Ok(())
}

/// Refuses a tokenizer other than the anchor's.
fn check_tokenizer(source: Option<&str>, base: Option<&str>) -> Result<()> {
    match source {
        None => Ok(()),
        Some("base") if base.is_some() => Ok(()),
        Some(source) if Some(source) == base => Ok(()),
        Some("base") => Err(Error::input("tokenizer_source: base: expected a base_model, found none")
            .hint("the result has the tokenizer of the anchor: name it as base_model, or leave tokenizer_source out")),
        Some(source) => Err(Error::input(format!(
            "tokenizer_source: {source}: with alignment the result has the anchor's tokenizer"
        ))
        .hint("alignment: {vocabulary: anchor} matches rows by token, intersect keeps those that all have")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PresetName, RepairName};

    const FILE: &str = "
merge_method: ot
base_model: a.pt
models: [{model: a.pt, parameters: {weight: 0.25}}, {model: --save-alignment=b.pt, parameters: {weight: 0.75}}]
arch: vgg
alignment: {preset: converged, repair: data-free, balance: true}
";

    fn fuse(text: &str) -> Result<FuseConfig> {
        match Configuration::parse(text, Path::new(""))? {
            Configuration::Fuse(found) => Ok(*found),
            Configuration::Merge(found) => panic!("no fusion: {found:?}"),
        }
    }

    fn merge(text: &str) -> Result<MergeDocument> {
        match Configuration::parse(text, Path::new(""))? {
            Configuration::Fuse(found) => panic!("a fusion: {found:?}"),
            Configuration::Merge(found) => Ok(found.documents[0].clone()),
        }
    }

    #[test]
    fn an_alignment_may_be_as_it_is_by_default() {
        let with = |alignment: &str| fuse(&format!("models: [{{model: a}}, {{model: b}}]\nalignment: {alignment}"));
        for alignment in ["", "{}", "default", "true"] {
            assert_eq!(with(alignment).unwrap().options, FuseOptions::default(), "{alignment}");
        }
        assert!(with("converged").unwrap_err().message.contains("alignment: expected options by name"));
    }

    #[test]
    fn a_file_is_a_typed_fusion() {
        let found = fuse(FILE).unwrap();
        assert_eq!(found.models, [Path::new("a.pt"), Path::new("--save-alignment=b.pt")]);
        assert_eq!(found.architecture.as_deref(), Some("vgg"));
        let expected = FuseOptions {
            anchor: Some(0),
            preset: Some(PresetName::Converged),
            repair: Some(RepairName::DataFree),
            balance: Some(true),
            weights: Some(vec![0.25, 0.75].into()),
            ..FuseOptions::default()
        };
        assert_eq!(found.options, expected);
        let ties = "merge_method: ties\nbase_model: b\nmodels: [{model: a, parameters: {weight: [0, 1], density: 0.5}}, {model: b}]\n\
                    alignment: {}";
        let found = fuse(ties).unwrap().options;
        assert_eq!((found.merge, found.base, found.anchor), (Some(MergeName::Ties), Some(1), Some(1)));
        assert!(found.parameters.unwrap().models[0].0.contains_key("density"));
        // A base that is not among the models is added, as mergekit does.
        let apart = "merge_method: ties\nbase_model: c\nmodels: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]\n\
                     alignment: {}";
        let found = fuse(apart).unwrap();
        assert_eq!((found.models.len(), found.options.base), (3, Some(2)));
    }

    #[test]
    fn a_file_of_mergekit_is_a_merge() {
        let text = "
slices:
  - sources:
      - {model: a, layer_range: [0, 4]}
      - {model: b, layer_range: [0, 4]}
merge_method: slerp
base_model: a
parameters:
  t: [{filter: self_attn, value: [0, 0.5, 1]}, {value: 0.5}]
dtype: torch.bfloat16
tokenizer_source: union
";
        let found = merge(text).unwrap();
        assert_eq!((found.method.as_str(), found.is_whole, found.slices.len()), ("slerp", false, 1));
        assert_eq!(
            (found.dtype, found.slices[0].sources[1].layers),
            (Some(otfuse_graph::DataType::BF16), Some((0, 4)))
        );
        assert!(found.vocabulary.is_some() && found.parameters.0.contains_key("t"));
    }

    #[test]
    fn what_is_wrong_in_a_merge_is_named() {
        let text = "merge_method: ties\nbase_model: c\ndtype: float16\nmodels: [{model: a, parameters: {weight: 0.3}}, {model: b}]";
        for (from, to, expected) in [
            ("ties", "tise", "did you mean 'ties'?"),
            ("base_model: c", "", "needs a base"),
            ("weight: 0.3", "density: 1.5", "models[0].parameters.density: expected numbers from 0 to 1"),
            ("weight: 0.3", "wieght: 0.3", "did you mean 'weight'?"),
            ("weight: 0.3", "weight: [0, x]", "models[0].parameters.weight[1]"),
            ("model: b", "model: a", "named twice"),
            ("float16", "int8", "bfloat16"),
            ("dtype", "dtpe", "did you mean 'dtype'?"),
            ("dtype: float16", "experts: []", "mixture of experts"),
            ("models", "tokenizer: {source: union, pad_to_multiple_of: 0}\nmodels", "positive integer"),
            (
                "models: [",
                "slices: [{sources: [{model: a, layer_range: [2, 1]}]}, ",
                "slices[0].sources[0].layer_range",
            ),
            ("dtype: float16", "name: x", "name"),
        ] {
            let text = text.replacen(from, to, 1);
            let error = match merge(&text) {
                Err(error) => error,
                Ok(_) if to == "name: x" => continue,
                Ok(found) => panic!("{text}: {found:?}"),
            };
            let said = format!("{} / {}", error.message, error.hint.unwrap_or_default());
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn what_does_not_go_with_an_alignment_is_named() {
        let file = |more: &str| fuse(&format!("merge_method: ot\nmodels: [{{model: a}}, {{model: b}}]\n{more}"));
        assert_eq!(file("dtype: bfloat16").unwrap().options.dtype, Some(TypeName::BFloat16));
        assert_eq!(file("out_dtype: float16").unwrap().options.dtype, Some(TypeName::Float16));
        assert!(file("parameters: {normalize: true}").is_ok());
        assert!(file("base_model: a\ntokenizer_source: base").is_ok());
        for (more, expected) in [
            ("slices: []", "whole networks"),
            ("tokenizer_source: union", "vocabulary"),
            ("tokenizer_source: base", "base_model"),
            ("chat_template: auto", "anchor"),
            ("parameters: {int8_mask: true}", "int8_mask"),
            ("dtype: int8", "float16"),
            ("parametrs: {}", "did you mean 'parameters'?"),
        ] {
            let error = file(more).unwrap_err();
            let text = format!("{} / {}", error.message, error.hint.unwrap_or_default());
            assert!(text.contains(expected), "{text}");
        }
        for (from, to, expected) in [
            ("preset", "presett", "did you mean 'preset'?"),
            ("balance: true", "report: x.html", "takes no option 'report'"),
            ("base_model: a.pt", "base_model: c.pt", "none of the models"),
            ("parameters: {weight: 0.25}", "parameters: {}", "some of the models"),
            ("balance: true", "anchor: 1", "place of its own"),
            ("{weight: 0.25}", "{weight: much}", "models[0].parameters.weight"),
            ("converged", "convergd", "options.preset"),
            ("merge_method: ot", "merge_method: passthrough", "aligned networks"),
        ] {
            let error = fuse(&FILE.replacen(from, to, 1)).unwrap_err();
            let text = format!("{} / {}", error.message, error.hint.unwrap_or_default());
            assert!(text.contains(expected), "{text}");
        }
    }
}
