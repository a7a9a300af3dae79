//! Files of settings for merging, in mergekit's format.

use std::path::{Path, PathBuf};

use otfuse_fusion::merge::{self, Base, Merge, Statistics};
use otfuse_graph::DataType;
use serde_json::{Map, Value};

use super::settings::{Parameters, Setting};
use super::tokens::{Source as TokenSource, Tokens, Vocabulary};
use crate::suggestion::suggestion;
use crate::{Error, Result};

/// What is merged, and how: one document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MergeDocument {
    /// What later documents call the result; none for the last result.
    pub name: Option<String>,
    /// The method's name.
    pub method: String,
    /// The model that others differ from, and whose files are copied.
    pub base: Option<Reference>,
    /// What is put one after the other: whole networks, or layers of them.
    pub slices: Vec<Slice>,
    /// Whether whole networks were named.
    pub is_whole: bool,
    /// What holds for all.
    pub parameters: Parameters,
    /// The element type that is computed in.
    pub dtype: Option<DataType>,
    /// The element type that is written.
    pub out_dtype: Option<DataType>,
    /// What becomes of vocabularies.
    pub vocabulary: Option<Vocabulary>,
    /// The chat template of the result.
    pub chat_template: Option<String>,
    /// What the method does not look at.
    pub notes: Vec<String>,
}

/// A network, as a file names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference(pub String);

/// Layers that stand one after the other in the result.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    /// The networks that they are merged of.
    pub sources: Vec<Source>,
    /// The base of this slice alone.
    pub base: Option<Reference>,
    /// What holds for this slice.
    pub parameters: Parameters,
}

/// Layers of a network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// The network.
    pub model: Reference,
    /// Its layers, from the first to before the last; all if not said.
    pub layers: Option<(usize, usize)>,
    /// What holds for this network.
    pub parameters: Parameters,
}

impl MergeDocument {
    /// The method.
    pub(crate) fn method(&self) -> &'static dyn Merge {
        merge::method(&self.method).unwrap_or(merge::METHODS[0])
    }

    /// All networks that the document names, each once, in the order of the file; the base first where it stands alone.
    pub fn references(&self) -> Vec<&Reference> {
        let mut found: Vec<&Reference> = Vec::new();
        let sources = self.slices.iter().flat_map(|slice| &slice.sources).map(|source| &source.model);
        let bases = self.slices.iter().filter_map(|slice| slice.base.as_ref());
        let others = self.vocabulary.iter().flat_map(Vocabulary::references);
        for reference in sources.chain(&self.base).chain(bases).chain(others) {
            if !found.contains(&reference) {
                found.push(reference);
            }
        }
        found
    }
}

/// The keys of a document, as mergekit has them, and what else is known here.
pub(crate) const KEYS: [&str; 16] = [
    "merge_method",
    "base_model",
    "models",
    "slices",
    "modules",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
    "name",
    "metadata",
    "alignment",
    "arch",
    "experts",
];

/// One document of a file.
///
/// # Errors
/// What is not known, with its place and the name that was meant.
pub(crate) fn document(value: &Value) -> Result<MergeDocument> {
    let map = object(value, "the file", "merge_method: linear, models: [{model: A}, {model: B}]")?;
    known_keys(map, "", &KEYS)?;
    if map.contains_key("experts") {
        return Err(Error::input("experts: networks are not put together as a mixture of experts here")
            .hint("name the networks under models and choose a merge_method that makes one of the same size"));
    }
    if map.contains_key("modules") {
        return Err(Error::input("modules: parts of a network are not merged apart from the others")
            .hint("name whole networks under models; a filter of a parameter says what holds for a part: {filter: encoder, value: 0.5}"));
    }
    let method = text(map, "merge_method", "")?
        .ok_or_else(|| Error::input("merge_method: expected a method's name, found none").hint(methods("")))?;
    let Some(known) = merge::method(&method) else {
        return Err(Error::input(format!("merge_method: '{method}' is no method")).hint(methods(&method)));
    };
    if known.needs() != Statistics::None {
        let message = format!(
            "merge_method: {method} needs to know what networks make of samples, and runs them for that; tensors of files say nothing of it"
        );
        return Err(Error::input(message).hint(format!(
            "`alignment: {{}}` in the file (and `arch` for checkpoints), with samples by `data`; or otfuse fuse A B -o OUT with \
             `merge` {method} and `data`"
        )));
    }
    let mut parameters = Parameters::parse(map.get("parameters"), "parameters")?;
    let mut notes = parameters.check(known, false, "parameters")?;
    let (models, slices) = (list(map, "models")?, list(map, "slices")?);
    let (slices, is_whole) = match (models, slices) {
        (Some(models), None) => (vec![whole(models, known, &mut notes)?], true),
        (None, Some(slices)) => {
            let each = slices.iter().enumerate();
            let each = each.map(|(at, slice)| slice_of(slice, known, &format!("slices[{at}]"), &mut notes));
            (each.collect::<Result<_>>()?, false)
        }
        (None, None) => {
            return Err(Error::input("models: expected a list of networks, found none")
                .hint("models: [{model: A}, {model: B}], or slices with layers of them"));
        }
        _ => return Err(Error::input("models and slices exclude each other").hint("leave one of them out")),
    };
    let base = reference(map.get("base_model"), "base_model")?;
    if known.base() == Base::Required && base.is_none() && slices.iter().any(|slice: &Slice| slice.base.is_none()) {
        return Err(Error::input(format!("base_model: {method} needs a base, found none"))
            .hint("base_model: the network that the others were fine-tuned from"));
    }
    let all = slices.iter().flat_map(|slice| &slice.sources);
    if method == "linear" && all.clone().all(|source| !source.parameters.0.contains_key("weight")) {
        // All alike, where nobody says otherwise.
        parameters.0.entry("weight".into()).or_insert(Setting::Number(1.0));
    }
    let dtype = element_type(map, "dtype")?;
    let out_dtype = element_type(map, "out_dtype")?;
    let vocabulary = vocabulary(map)?;
    let chat_template = text(map, "chat_template", "")?;
    let name = text(map, "name", "")?;
    Ok(MergeDocument {
        name,
        method,
        base,
        slices,
        is_whole,
        parameters,
        dtype,
        out_dtype,
        vocabulary,
        chat_template,
        notes,
    })
}

fn methods(found: &str) -> String {
    let names = merge::METHODS.iter().map(|method| method.name()).chain(["ot"]);
    suggestion(found, names, "one of")
}

fn whole(models: &[Value], method: &dyn Merge, notes: &mut Vec<String>) -> Result<Slice> {
    let mut sources: Vec<Source> = Vec::new();
    for (at, value) in models.iter().enumerate() {
        let place = format!("models[{at}]");
        let map = object(value, &place, "{model: FOLDER, parameters: {weight: 0.5}}")?;
        known_keys(map, &format!("{place}."), &["model", "parameters"])?;
        let source = source_of(map, method, &place, notes)?;
        if sources.iter().any(|known| known.model == source.model) {
            let message = format!("{place}.model: '{}' is named twice", source.model.0);
            return Err(Error::input(message).hint("name each network once, with the sum of its weights"));
        }
        sources.push(source);
    }
    if sources.is_empty() {
        return Err(
            Error::input("models: expected networks, found an empty list").hint("models: [{model: A}, {model: B}]")
        );
    }
    Ok(Slice { sources, ..Slice::default() })
}

fn source_of(map: &Map<String, Value>, method: &dyn Merge, place: &str, notes: &mut Vec<String>) -> Result<Source> {
    let at = format!("{place}.model");
    let model = reference(map.get("model"), &at)?.ok_or_else(|| {
        Error::input(format!("{at}: expected the path of a network, found none")).hint("model: FOLDER")
    })?;
    let at = format!("{place}.parameters");
    let parameters = Parameters::parse(map.get("parameters"), &at)?;
    notes.extend(parameters.check(method, true, &at)?);
    Ok(Source { model, layers: None, parameters })
}

fn slice_of(value: &Value, method: &dyn Merge, place: &str, notes: &mut Vec<String>) -> Result<Slice> {
    let example = "{sources: [{model: A, layer_range: [0, 12]}]}";
    let map = object(value, place, example)?;
    known_keys(map, &format!("{place}."), &["sources", "base_model", "parameters", "residual_weight"])?;
    if map.get("residual_weight").is_some_and(|value| !value.is_null()) {
        return Err(Error::input(format!("{place}.residual_weight: it is not done here, as it is not by mergekit"))
            .hint("leave it out; a gradient of a parameter changes what layers get"));
    }
    let wrong =
        |found: String| Error::input(format!("{place}.sources: expected networks, found {found}")).hint(example);
    let list = map.get("sources").ok_or_else(|| wrong("none".into()))?;
    let list = list.as_array().filter(|list| !list.is_empty()).ok_or_else(|| wrong(list.to_string()))?;
    let mut sources: Vec<Source> = Vec::new();
    for (at, value) in list.iter().enumerate() {
        let place = format!("{place}.sources[{at}]");
        let map = object(value, &place, "{model: A, layer_range: [0, 12]}")?;
        known_keys(map, &format!("{place}."), &["model", "layer_range", "parameters"])?;
        let source = Source { layers: Some(range(map, &place)?), ..source_of(map, method, &place, notes)? };
        if sources.iter().any(|known| known.model == source.model) {
            let message = format!("{place}.model: '{}' is named twice in one slice", source.model.0);
            return Err(Error::input(message).hint("merge it in a document of its own first"));
        }
        let length = |source: &Source| source.layers.map_or(0, |(from, to)| to - from);
        if let Some(first) = sources.first().filter(|first| length(first) != length(&source)) {
            let (expected, found) = (length(first), length(&source));
            let message =
                format!("{place}.layer_range: expected {expected} layers as in the first source, found {found}");
            return Err(Error::input(message).hint("all sources of a slice have as many layers"));
        }
        sources.push(source);
    }
    let base = reference(map.get("base_model"), &format!("{place}.base_model"))?;
    let at = format!("{place}.parameters");
    let parameters = Parameters::parse(map.get("parameters"), &at)?;
    notes.extend(parameters.check(method, false, &at)?);
    Ok(Slice { sources, base, parameters })
}

fn range(map: &Map<String, Value>, place: &str) -> Result<(usize, usize)> {
    let found = map.get("layer_range").unwrap_or(&Value::Null);
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let pair = match found.as_array().map(Vec::as_slice) {
        Some([from, to]) => number(from).zip(number(to)),
        _ => None,
    };
    pair.filter(|(from, to)| from < to).ok_or_else(|| {
        Error::input(format!("{place}.layer_range: expected [FIRST, BEHIND THE LAST], found {found}"))
            .hint("layers are counted from 0: [0, 12] are the first twelve")
    })
}

fn vocabulary(map: &Map<String, Value>) -> Result<Option<Vocabulary>> {
    let whole = token_source(map.get("tokenizer_source"), "tokenizer_source")?;
    let Some(value) = map.get("tokenizer").filter(|value| !value.is_null()) else {
        return Ok(whole.map(|source| Vocabulary { source, tokens: Tokens::new(), multiple: None }));
    };
    if whole.is_some() {
        return Err(
            Error::input("tokenizer and tokenizer_source exclude each other").hint("say tokenizer: {source: ..}")
        );
    }
    let map = object(value, "tokenizer", "{source: union}")?;
    known_keys(map, "tokenizer.", &["source", "tokens", "pad_to_multiple_of"])?;
    let source = token_source(map.get("source"), "tokenizer.source")?.unwrap_or(TokenSource::Union);
    let multiple = match map.get("pad_to_multiple_of").filter(|value| !value.is_null()) {
        None => None,
        Some(value) => Some(value.as_u64().filter(|&of| (1..=1 << 20).contains(&of)).ok_or_else(|| {
            Error::input(format!("tokenizer.pad_to_multiple_of: expected a positive integer, found {value}"))
                .hint("64 for example")
        })? as usize),
    };
    let tokens = match map.get("tokens").filter(|value| !value.is_null()) {
        None => Tokens::new(),
        Some(value) => super::tokens::tokens(object(value, "tokenizer.tokens", "{\"<s>\": {source: MODEL}}")?)?,
    };
    Ok(Some(Vocabulary { source, tokens, multiple }))
}

fn token_source(value: Option<&Value>, place: &str) -> Result<Option<TokenSource>> {
    Ok(reference(value, place)?.map(|reference| match reference.0.as_str() {
        "union" => TokenSource::Union,
        "base" => TokenSource::Base,
        _ => TokenSource::Model(reference),
    }))
}

/// A network, as text or as mergekit writes it out.
pub(super) fn reference(value: Option<&Value>, place: &str) -> Result<Option<Reference>> {
    let wrong = |found: &Value| {
        Error::input(format!("{place}: expected the path of a network, found {found}")).hint("a folder or a file")
    };
    let path = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(path)) => path.clone(),
        Some(value @ Value::Object(map)) => {
            let inner = match map.get("model") {
                Some(Value::Object(inner)) => inner.get("path"),
                Some(other) => Some(other),
                None => map.get("path"),
            };
            if map.get("lora").is_some_and(|lora| !lora.is_null()) {
                return Err(adapter(place));
            }
            inner.and_then(Value::as_str).ok_or_else(|| wrong(value))?.to_owned()
        }
        Some(value) => return Err(wrong(value)),
    };
    if path.is_empty() {
        return Err(wrong(&Value::String(path)));
    }
    Ok(Some(Reference(path)))
}

fn adapter(place: &str) -> Error {
    Error::input(format!("{place}: adapters are not merged on the way"))
        .hint("`otfuse merge-lora BASE ADAPTER -o FOLDER` makes a network of it, whose folder is named here")
}

impl Reference {
    /// Where the network lies: beside the file of settings, or else in the current folder.
    ///
    /// # Errors
    /// Neither; with what to do about names of a hub.
    pub(crate) fn resolve(&self, folder: &Path) -> Result<PathBuf> {
        let found = beside(Path::new(&self.0), folder);
        if found.exists() {
            return Ok(found);
        }
        if let Some((base, _)) = self.0.split_once('+')
            && (folder.join(base).exists() || Path::new(base).exists())
        {
            return Err(adapter(&self.0));
        }
        let parts: Vec<&str> = self.0.split('/').collect();
        let is_id = parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && !part.starts_with('.'));
        let error = Error::input(format!("{}: there is no such file or folder", self.0)).of(&folder.join(&self.0));
        Err(if is_id {
            let name = parts[1].split(['@', '+']).next().unwrap_or_default();
            error.hint(format!(
                "nothing is fetched from a hub: download it first, `hf download {} --local-dir {name}`, and write {name} in its place",
                self.0.split(['@', '+']).next().unwrap_or_default()
            ))
        } else {
            error.hint("paths are relative to the file of settings, or else to the current folder")
        })
    }
}

/// Where what a file names lies: beside the file, or else as it was written.
pub(crate) fn beside(path: &Path, folder: &Path) -> PathBuf {
    let beside = folder.join(path);
    if beside.exists() { beside } else { path.into() }
}

fn element_type(map: &Map<String, Value>, key: &str) -> Result<Option<DataType>> {
    let Some(name) = text(map, key, "")? else { return Ok(None) };
    let bare = name.strip_prefix("torch.").unwrap_or(&name);
    let types = [DataType::F32, DataType::F16, DataType::BF16, DataType::F64];
    let found = types.into_iter().find(|data_type| data_type.to_string() == bare);
    found.map(Some).ok_or_else(|| {
        Error::input(format!("{key}: expected an element type of floats, found '{name}'"))
            .hint("float32, float16, bfloat16 or float64")
    })
}

fn object<'a>(value: &'a Value, place: &str, example: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| {
        let found: String = value.to_string().chars().take(60).collect();
        Error::input(format!("{place}: expected names with values, found {found}"))
            .hint(format!("for example {example}"))
    })
}

fn list<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Option<&'a [Value]>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(other) => {
            Err(Error::input(format!("{key}: expected a list, found {other}")).hint("each entry begins with a dash"))
        }
    }
}

fn text(map: &Map<String, Value>, key: &str, place: &str) -> Result<Option<String>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => {
            Err(Error::input(format!("{place}{key}: expected text, found {other}")).hint("put it in quotes"))
        }
    }
}

pub(crate) fn known_keys(map: &Map<String, Value>, place: &str, known: &[&str]) -> Result<()> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::input(format!("{place}{key}: unknown key")).hint(suggestion(
            key,
            known.iter().copied(),
            "known here:",
        ))),
    }
}
