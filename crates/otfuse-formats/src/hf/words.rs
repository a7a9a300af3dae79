//! Vocabularies: which token stands at which row, and folders whose tokens have other numbers.
//!
//! Tokens are read from `tokenizer.json`, `vocab.json` with `added_tokens.json`, or `vocab.txt`. A folder with other
//! numbers is drawn anew from settings and weights of that size; its files are written for the new numbers.

use std::collections::{BTreeMap, HashSet};

use otfuse_graph::Tensor;
use serde_json::{Map, Value};

use super::config::{Config, missing, unfit};
use super::{CONFIG_FILE, HfError, HfFiles, HfModel, HfSource, companions, draw};
use crate::StateDict;

/// Tokens by number, none where a row has no token.
pub type Tokens = Vec<Option<String>>;

const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const ADDED: &str = "added_tokens.json";
const LINES: &str = "vocab.txt";
const MERGES: &str = "merges.txt";
/// Tokenizers in a form that is not written here.
const MODELS: [&str; 4] = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "source.spm"];

type Files = Vec<(String, Vec<u8>)>;

impl HfSource {
    /// The files beside the weights, by name.
    fn companions(&self) -> Result<Files, HfError> {
        Ok(match &self.files {
            HfFiles::New(files) => files.clone(),
            HfFiles::Folder(folder) => companions(folder)?,
        })
    }

    /// The token of each row of the table of tokens.
    ///
    /// # Errors
    /// Settings without `vocab_size`, no tokenizer that can be read here.
    pub fn tokens(&self) -> Result<Tokens, HfError> {
        let files = self.companions()?;
        let config = settings(&files)?;
        let count = config.size("vocab_size")?;
        if axes(&config, &self.dict)?.is_empty() {
            return Err(unfit("vocab_size", "the length of a tensor", &count.into()));
        }
        let mut tokens = vec![None; count];
        for (number, token) in tokens_of(&files)? {
            if let Some(place) = tokens.get_mut(number) {
                *place = Some(token);
            }
        }
        Ok(tokens)
    }

    /// The names of the graph's tensors that have a row for each token, with that axis.
    ///
    /// # Errors
    /// As [`reworded`](Self::reworded).
    pub fn token_axes(&self) -> Result<Vec<(String, usize)>, HfError> {
        let config = settings(&self.companions()?)?;
        let axes = axes(&config, &self.dict)?;
        let of_graph = |(key, initializer): &(String, String)| Some((initializer.clone(), *axes.get(key)?));
        let mut found: Vec<(String, usize)> = self.bindings.iter().filter_map(of_graph).collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The folder whose row `i` is row `rows[i]` of this one; zeros where there is none. Its files are written for these
    /// numbers.
    ///
    /// # Errors
    /// Settings in which another size is that of the vocabulary, so that it cannot be told which axes are meant; a
    /// tokenizer that cannot be written here.
    pub fn reworded(&self, rows: &[Option<usize>]) -> Result<HfModel, HfError> {
        let mut files = self.companions()?;
        let config = settings(&files)?;
        let axes = axes(&config, &self.dict)?;
        let mut dict = self.dict.clone();
        for (key, tensor) in self.dict.iter() {
            let Some(&axis) = axes.get(key) else { continue };
            let chosen = chosen(tensor, axis, rows).ok_or_else(|| HfError::Tensor {
                tensor: key.into(),
                expected: "a row for each token".into(),
                found: format!("shape {:?}", tensor.shape()),
            })?;
            dict.replace(key, chosen);
        }
        rewrite(&mut files, rows)?;
        let (graph, bindings) = draw(&settings(&files)?, &dict)?;
        let source = Self { files: HfFiles::New(files), dict, bindings, ..self.clone() };
        Ok(HfModel { graph, source })
    }
}

fn settings(files: &Files) -> Result<Config, HfError> {
    let missing = HfError::MissingFile { expected: "config.json" };
    Config::parse(content(files, CONFIG_FILE).ok_or(missing)?)
}

fn content<'a>(files: &'a Files, name: &str) -> Option<&'a [u8]> {
    files.iter().find(|(known, _)| known == name).map(|(_, content)| content.as_slice())
}

fn json(files: &Files, name: &str) -> Result<Option<Map<String, Value>>, HfError> {
    let parsed = content(files, name).map(|content| Config::parse(content).map(|config| config.0));
    parsed.transpose().map_err(|error| HfError::Config {
        field: name.into(),
        expected: "JSON".into(),
        found: error.to_string(),
    })
}

/// Tokens by number, from the files beside weights.
pub(crate) fn vocabulary_of(files: &[(String, Vec<u8>)]) -> Result<BTreeMap<usize, String>, HfError> {
    tokens_of(&files.to_vec())
}

/// The axis of each tensor that has an entry for each token, by settings.
pub(crate) fn vocabulary_axes(
    settings: &Map<String, Value>,
    dict: &StateDict,
) -> Result<BTreeMap<String, usize>, HfError> {
    axes(&Config(settings.clone()), dict)
}

/// Tokens by number.
fn tokens_of(files: &Files) -> Result<BTreeMap<usize, String>, HfError> {
    let mut tokens = BTreeMap::new();
    let mut add = |numbers: &Map<String, Value>| {
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        tokens.extend(numbers.iter().filter_map(|(token, value)| Some((number(value)?, token.clone()))));
    };
    if let Some(tokenizer) = json(files, TOKENIZER)? {
        match tokenizer.get("model").and_then(|model| model.get("vocab")) {
            Some(Value::Object(numbers)) => add(numbers),
            Some(Value::Array(pieces)) => {
                let piece = |piece: &Value| piece.get(0).and_then(Value::as_str).map(str::to_owned);
                tokens.extend(pieces.iter().enumerate().filter_map(|(number, found)| Some((number, piece(found)?))));
            }
            found => return Err(unfit("tokenizer.json: model.vocab", "tokens", found.unwrap_or(&Value::Null))),
        }
        for added in tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
            if let (Some(number), Some(token)) = (number_of(added), added.get("content").and_then(Value::as_str)) {
                tokens.insert(number, token.to_owned());
            }
        }
        return Ok(tokens);
    }
    if let Some(numbers) = json(files, VOCABULARY)? {
        add(&numbers);
    } else if let Some(lines) = content(files, LINES) {
        let lines = String::from_utf8_lossy(lines);
        tokens.extend(lines.lines().map(str::to_owned).enumerate());
    } else {
        return Err(missing("(tokenizer)", "tokenizer.json, vocab.json or vocab.txt beside the weights"));
    }
    if let Some(numbers) = json(files, ADDED)? {
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        tokens.extend(numbers.iter().filter_map(|(token, value)| Some((number(value)?, token.clone()))));
    }
    Ok(tokens)
}

fn number_of(added: &Value) -> Option<usize> {
    added.get("id").and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
}

/// The axis of each tensor that has an entry for each token.
fn axes(config: &Config, dict: &StateDict) -> Result<BTreeMap<String, usize>, HfError> {
    let words = config.size("vocab_size")?;
    let other = config.0.iter().find(|(name, value)| {
        *name != "vocab_size" && !name.ends_with("_id") && value.as_u64().is_some_and(|size| size == words as u64)
    });
    if let Some((name, value)) = other {
        let expected = "a size that no other setting has, so that the axes of tokens can be told";
        return Err(unfit(&format!("vocab_size and {name}"), expected, value));
    }
    let axis = |tensor: &Tensor| match tensor.shape() {
        [length] | [length, _] if *length == words => Some(0),
        [1, length] if *length == words => Some(1),
        _ => None,
    };
    Ok(dict.iter().filter_map(|(key, tensor)| Some((key.to_owned(), axis(tensor)?))).collect())
}

/// The entries of an axis in another order; zeros where there is none.
fn chosen(tensor: &Tensor, axis: usize, rows: &[Option<usize>]) -> Option<Tensor> {
    let mut shape = tensor.shape().to_vec();
    let length = *shape.get(axis)?;
    let size: usize = shape[axis + 1..].iter().product::<usize>() * tensor.data_type().size();
    let mut bytes = Vec::with_capacity(rows.len() * size);
    for block in tensor.bytes().chunks_exact((length * size).max(1)) {
        for row in rows {
            match row {
                Some(row) => bytes.extend_from_slice(block.get(row * size..(row + 1) * size)?),
                None => bytes.resize(bytes.len() + size, 0),
            }
        }
    }
    tensor.release();
    shape[axis] = rows.len();
    Tensor::new(tensor.data_type(), shape, bytes.into()).ok()
}

/// Writes settings and tokenizer for the new numbers.
fn rewrite(files: &mut Files, rows: &[Option<usize>]) -> Result<(), HfError> {
    let new: BTreeMap<usize, usize> = rows.iter().enumerate().filter_map(|(new, old)| Some(((*old)?, new))).collect();
    if let Some((name, _)) = files.iter().find(|(name, _)| MODELS.contains(&name.as_str()))
        && content(files, TOKENIZER).is_none()
    {
        let expected = "tokenizer.json beside it (save_pretrained of a fast tokenizer writes it)";
        return Err(unfit("(tokenizer)", expected, &name.as_str().into()));
    }
    // What stands in tokenizer.json as well, in a form that is not written here.
    files.retain(|(name, _)| !MODELS.contains(&name.as_str()));
    let kept = tokens_of(files)?;
    let known: HashSet<&str> =
        kept.iter().filter(|(number, _)| new.contains_key(number)).map(|(_, token)| token.as_str()).collect();
    for (name, content) in files.iter_mut() {
        let made = match name.as_str() {
            CONFIG_FILE | "generation_config.json" => {
                let mut settings = Config::parse(content)?.0;
                renumber_settings(&mut settings, &new);
                if name == CONFIG_FILE {
                    settings.insert("vocab_size".into(), rows.len().into());
                }
                pretty(&settings)
            }
            TOKENIZER => {
                let mut tokenizer = Config::parse(content)?.0;
                renumber_tokenizer(&mut tokenizer, &new, &known);
                pretty(&tokenizer)
            }
            VOCABULARY | ADDED => {
                let numbers = Config::parse(content)?.0;
                pretty(&renumbered(&numbers, &new))
            }
            LINES => {
                let lines = String::from_utf8_lossy(content).into_owned();
                let lines: Vec<&str> = lines.lines().collect();
                let of_row = |row: &Option<usize>| row.and_then(|row| lines.get(row).copied());
                let mut text = rows.iter().map_while(of_row).collect::<Vec<_>>().join("\n");
                text.push('\n');
                text.into_bytes()
            }
            MERGES => {
                let lines = String::from_utf8_lossy(content).into_owned();
                let is_left = |line: &&str| line.starts_with("#version") || is_merge(line.split(' '), &known);
                let mut text = lines.lines().filter(is_left).collect::<Vec<_>>().join("\n");
                text.push('\n');
                text.into_bytes()
            }
            _ => continue,
        };
        *content = made;
    }
    Ok(())
}

fn pretty(object: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec_pretty(object).unwrap_or_default()
}

fn renumbered(numbers: &Map<String, Value>, new: &BTreeMap<usize, usize>) -> Map<String, Value> {
    let number = |value: &Value| new.get(&usize::try_from(value.as_u64()?).ok()?).copied();
    let mut found: Vec<(usize, &String)> =
        numbers.iter().filter_map(|(token, value)| Some((number(value)?, token))).collect();
    found.sort_unstable();
    found.into_iter().map(|(number, token)| (token.clone(), number.into())).collect()
}

/// Numbers of tokens among settings: `eos_token_id`, `bad_words_ids`, ..; those of tokens that are gone become null.
fn renumber_settings(settings: &mut Map<String, Value>, new: &BTreeMap<usize, usize>) {
    for (name, value) in settings.iter_mut() {
        if name.ends_with("token_id") || name.ends_with("token_ids") || name.ends_with("_tokens") && value.is_array() {
            renumber(value, new);
        }
    }
}

fn renumber(value: &mut Value, new: &BTreeMap<usize, usize>) {
    match value {
        Value::Array(values) => {
            values.iter_mut().for_each(|value| renumber(value, new));
            values.retain(|value| !value.is_null());
        }
        Value::Number(number) => {
            let found = number.as_u64().and_then(|number| new.get(&usize::try_from(number).ok()?));
            *value = found.map_or(Value::Null, |&number| number.into());
        }
        _ => {}
    }
}

fn renumber_tokenizer(tokenizer: &mut Map<String, Value>, new: &BTreeMap<usize, usize>, known: &HashSet<&str>) {
    if let Some(model) = tokenizer.get_mut("model").and_then(Value::as_object_mut) {
        match model.get_mut("vocab") {
            Some(Value::Object(numbers)) => *numbers = renumbered(numbers, new),
            Some(Value::Array(pieces)) => {
                let mut left: Vec<(usize, Value)> = pieces
                    .drain(..)
                    .enumerate()
                    .filter_map(|(number, piece)| Some((*new.get(&number)?, piece)))
                    .collect();
                left.sort_by_key(|(number, _)| *number);
                pieces.extend(left.into_iter().map(|(_, piece)| piece));
            }
            _ => {}
        }
        if let Some(Value::Array(merges)) = model.get_mut("merges") {
            merges.retain(|merge| match merge {
                Value::String(pair) => is_merge(pair.split(' '), known),
                Value::Array(pair) => is_merge(pair.iter().filter_map(Value::as_str), known),
                _ => false,
            });
        }
        if let Some(number) = model.get_mut("unk_id") {
            renumber(number, new);
        }
    }
    if let Some(Value::Array(added)) = tokenizer.get_mut("added_tokens") {
        added.retain_mut(|token| {
            let number = number_of(token).and_then(|number| new.get(&number));
            let (Some(number), Some(token)) = (number, token.as_object_mut()) else { return false };
            token.insert("id".into(), (*number).into());
            true
        });
    }
    if let Some(processor) = tokenizer.get_mut("post_processor") {
        renumber_processor(processor, new);
    }
}

/// Processors name the tokens that they add with their numbers: `ids` in templates, pairs in older ones.
fn renumber_processor(value: &mut Value, new: &BTreeMap<usize, usize>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries.iter_mut() {
                match value {
                    Value::Array(values) if name == "ids" => {
                        values.iter_mut().for_each(|value| renumber(value, new));
                    }
                    Value::Array(pair) if ["sep", "cls"].contains(&name.as_str()) && pair.len() == 2 => {
                        renumber(&mut pair[1], new);
                    }
                    value => renumber_processor(value, new),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| renumber_processor(value, new)),
        _ => {}
    }
}

/// Whether both parts of a merge and what it makes are tokens still.
fn is_merge<'a>(parts: impl Iterator<Item = &'a str>, known: &HashSet<&str>) -> bool {
    let parts: Vec<&str> = parts.collect();
    parts.len() == 2 && parts.iter().all(|part| known.contains(part)) && known.contains(parts.concat().as_str())
}
