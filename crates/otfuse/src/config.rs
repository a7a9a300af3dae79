//! Settings of a fusion from a file, as mergekit writes them where the meaning is the same.

mod mergekit;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::experiment::options::{Given, PART};
use crate::experiment::typed::{Named, typed};
use crate::{DataOptions, Error, FuseOptions, MethodName, Result, TypeName};

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
    /// `ot`, or `linear` for a plain average.
    #[serde(default = "transport")]
    merge_method: Method,
    /// The anchor, one of the models; the last one if not given.
    base_model: Option<String>,
    models: Vec<Entry>,
    /// Architecture of checkpoints without a graph.
    arch: Option<String>,
    /// The element type of the result.
    #[serde(alias = "out_dtype")]
    dtype: Option<TypeName>,
    /// `normalize: true`, which is what is done always.
    #[serde(default)]
    parameters: Overall,
    /// `base`: the anchor's, which the result has always.
    tokenizer_source: Option<String>,
    /// Options by name.
    #[serde(default)]
    alignment: Named,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Overall {
    normalize: Option<bool>,
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

impl FuseConfig {
    /// Reads a file of settings.
    ///
    /// # Errors
    /// A file that cannot be read, is not YAML, or holds what is not known; names what was meant.
    pub fn read(path: &Path) -> Result<Self> {
        let text = otfuse_formats::read_regular_text(path)
            .map_err(|error| Error::input(error).of(path).hint("a file of settings is a YAML file of text"))?;
        Self::parse(&text).map_err(|error| error.of(path))
    }

    /// The same from text.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_saphyr::from_str(text)
            .map_err(|error| Error::input(format!("not valid YAML: {error}")).hint("see `otfuse fuse --help`"))?;
        mergekit::check(&value)?;
        let file: File = typed(value, "")?;
        let mut given = Given::new("fuse", &file.alignment, &[FuseOptions::KEYS, PART])?;
        let mut options: FuseOptions = given.take(FuseOptions::KEYS)?;
        let data = given.take(PART)?;
        let twice = |name: &str| {
            Error::input(format!("alignment: '{name}' has a place of its own in the file"))
                .hint("merge_method, base_model and models[].parameters.weight say it")
        };
        if matches!(file.merge_method, Method::Linear) && options.method.replace(MethodName::Average).is_some() {
            return Err(twice("method"));
        }
        if let Some(base) = &file.base_model {
            let anchor = file.models.iter().position(|entry| entry.model == *base).ok_or_else(|| {
                Error::input(format!("base_model: '{base}' is none of the models"))
                    .hint("the base model is the anchor: name it among the models too")
            })?;
            if options.anchor.replace(anchor).is_some() {
                return Err(twice("anchor"));
            }
        }
        let weights: Vec<Option<f64>> = file.models.iter().map(|entry| entry.parameters.weight).collect();
        if weights.iter().any(Option::is_some) {
            let given: Option<Vec<f64>> = weights.into_iter().collect();
            let given = given.ok_or_else(|| {
                Error::input("models: a weight for some of the models only")
                    .hint("give each one parameters: {weight: ..}")
            })?;
            if options.weights.replace(given.into()).is_some() {
                return Err(twice("weights"));
            }
        }
        if file.dtype.is_some_and(|dtype| options.dtype.replace(dtype).is_some()) {
            return Err(twice("dtype"));
        }
        mergekit::check_weights(file.parameters.normalize, options.weights.as_ref())?;
        let is_anchored = options.anchor.is_some();
        mergekit::check_tokenizer(file.tokenizer_source.as_deref(), file.base_model.as_deref(), is_anchored)?;
        let models = file.models.into_iter().map(|entry| entry.model.into()).collect();
        Ok(Self { models, architecture: file.arch, options, data })
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

    #[test]
    fn a_file_is_a_typed_fusion() {
        let found = FuseConfig::parse(FILE).unwrap();
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
        let linear = FuseConfig::parse("merge_method: linear\nmodels: [{model: a}, {model: b}]").unwrap();
        assert_eq!(linear.options.method, Some(MethodName::Average));
    }

    #[test]
    fn what_mergekit_says_is_taken_or_named() {
        let file = |more: &str| {
            let models = "models: [{model: a, parameters: {weight: 0.3}}, {model: b, parameters: {weight: 0.7}}]";
            FuseConfig::parse(&format!("merge_method: linear\n{models}\n{more}"))
        };
        assert_eq!(file("dtype: bfloat16").unwrap().options.dtype, Some(TypeName::BFloat16));
        assert_eq!(file("out_dtype: float16").unwrap().options.dtype, Some(TypeName::Float16));
        for taken in
            ["parameters: {normalize: true}", "parameters: {normalize: false}", "base_model: a\ntokenizer_source: base"]
        {
            assert!(file(taken).is_ok(), "{taken}: {:?}", file(taken).unwrap_err());
        }
        for (more, expected) in [
            ("slices: []", "layers"),
            ("tokenizer_source: union", "vocabular"),
            ("tokenizer_source: base", "base_model"),
            ("chat_template: auto", "anchor"),
            ("parameters: {int8_mask: true}", "int8_mask"),
            ("parameters: {t: 0.5}", "alignment"),
            ("dtype: int8", "float16"),
            ("parametrs: {}", "did you mean 'parameters'?"),
        ] {
            let error = file(more).unwrap_err();
            let text = format!("{} / {}", error.message, error.hint.unwrap_or_default());
            assert!(text.contains(expected), "{text}");
        }
        for (from, to, expected) in [
            ("weight: 0.3", "weight: [0, 0.5, 1]", "one number"),
            ("weight: 0.3", "density: 0.5", "density"),
            ("linear", "dare_ties", "task vectors"),
            ("linear", "slerp", "merge: slerp"),
            ("linear", "passthrough", "layers"),
        ] {
            let text = "merge_method: linear\nmodels: [{model: a, parameters: {weight: 0.3}}, {model: b}]";
            let error = FuseConfig::parse(&text.replace(from, to)).unwrap_err();
            let text = format!("{} / {}", error.message, error.hint.unwrap_or_default());
            assert!(text.contains(expected), "{text}");
        }
        let uneven = "merge_method: linear\nparameters: {normalize: false}\nmodels: [{model: a, parameters: {weight: 1}}, \
                      {model: b, parameters: {weight: 1}}]";
        assert!(FuseConfig::parse(uneven).unwrap_err().message.contains("add up to 1"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, expected) in [
            ("merge_method", "merge_methd", "did you mean 'merge_method'?"),
            ("preset", "presett", "did you mean 'preset'?"),
            ("balance: true", "report: x.html", "takes no option 'report'"),
            ("base_model: a.pt", "base_model: c.pt", "none of the models"),
            ("parameters: {weight: 0.25}", "parameters: {}", "some of the models"),
            ("balance: true", "anchor: 1", "place of its own"),
            ("{weight: 0.25}", "{weight: much}", "models[0].parameters.weight"),
            ("converged", "convergd", "options.preset"),
        ] {
            let error = FuseConfig::parse(&FILE.replacen(from, to, 1)).unwrap_err();
            let text = format!("{} / {}", error.message, error.hint.unwrap_or_default());
            assert!(text.contains(expected), "{text}");
        }
    }
}
