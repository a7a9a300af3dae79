//! Vocabularies of networks that are merged: which tokens the result has, and their rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use otfuse_formats::Checkpoint;
use otfuse_graph::Tensor;
use serde_json::{Map, Value, json};

use super::file::{Reference, known_keys, reference};
use super::plan::token_axes;
use crate::{Error, Result};

/// What becomes of vocabularies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vocabulary {
    /// Whose tokens the result has.
    pub source: Source,
    /// Rows of single tokens.
    pub tokens: Tokens,
    /// The number of rows is rounded up to a multiple of this.
    pub multiple: Option<usize>,
}

/// Whose tokens the result has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// All models'.
    Union,
    /// The base's, or else the first model's.
    Base,
    /// A network's.
    Model(Reference),
}

/// What is said of single tokens, in the order of the file.
pub(crate) type Tokens = Vec<(String, Row)>;

/// Where a token's row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The row of models that lack the token.
    pub origin: Option<Origin>,
    /// Whether models that have the token get that row too.
    pub force: bool,
}

/// A row of a table of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Zeros.
    Zero,
    /// The token's row in a network.
    Model(Reference),
    /// Another token's row in a network.
    Token(Reference, String),
    /// A row of a network by its number.
    Number(Reference, usize),
}

impl Vocabulary {
    /// The networks that it names.
    pub(crate) fn references(&self) -> impl Iterator<Item = &Reference> {
        let source = match &self.source {
            Source::Model(reference) => Some(reference),
            Source::Union | Source::Base => None,
        };
        let rows = self.tokens.iter().filter_map(|(_, row)| match &row.origin {
            Some(Origin::Model(reference) | Origin::Token(reference, _) | Origin::Number(reference, _)) => {
                Some(reference)
            }
            _ => None,
        });
        source.into_iter().chain(rows)
    }
}

/// The block `tokens` of a file.
pub(super) fn tokens(map: &Map<String, Value>) -> Result<Tokens> {
    map.iter().map(|(token, value)| Ok((token.clone(), row(value, &format!("tokenizer.tokens.{token}"))?))).collect()
}

fn row(value: &Value, place: &str) -> Result<Row> {
    let wrong = |found: &Value| {
        Error::input(format!("{place}: expected {{source: MODEL, force: true|false}}, found {found}"))
            .hint("source is a network, {kind: zero}, or {kind: model_token, model: MODEL, token: TOKEN}")
    };
    let map = value.as_object().ok_or_else(|| wrong(value))?;
    known_keys(map, &format!("{place}."), &["source", "force"])?;
    let force = match map.get("force") {
        None | Some(Value::Null) => false,
        Some(flag) => flag.as_bool().ok_or_else(|| wrong(value))?,
    };
    let kind = map.get("source").and_then(|source| source.get("kind")).and_then(Value::as_str);
    let origin = match (kind, map.get("source")) {
        (Some("zero"), _) => Some(Origin::Zero),
        (Some("model_token"), Some(source)) => {
            let model =
                reference(source.get("model"), &format!("{place}.source.model"))?.ok_or_else(|| wrong(source))?;
            match (source.get("token").and_then(Value::as_str), source.get("token_id").and_then(Value::as_u64)) {
                (Some(token), None) => Some(Origin::Token(model, token.to_owned())),
                (None, Some(number)) => Some(Origin::Number(model, number as usize)),
                _ => return Err(wrong(source)),
            }
        }
        (Some(_), Some(source)) => return Err(wrong(source)),
        (None, source) => reference(source, &format!("{place}.source"))?.map(Origin::Model),
        (Some(_), None) => None,
    };
    if force && origin.is_none() {
        return Err(
            Error::input(format!("{place}: force without a source")).hint("source: the network that has the row")
        );
    }
    Ok(Row { origin, force })
}

/// The vocabulary of the result.
pub(crate) struct Words {
    /// For each token its number there.
    numbers: Vec<(String, usize)>,
    /// Rows of the result's tables.
    pub count: usize,
    /// Rows that have a token.
    used: usize,
    /// For each model and row of the result, the model's own row.
    own: Vec<Vec<Option<usize>>>,
    /// The models' names and tokens, by row.
    names: Vec<Reference>,
    known: Vec<Vec<(usize, String)>>,
    /// What was said of single tokens.
    tokens: Tokens,
    /// The base, if the file has one.
    base: Option<usize>,
    /// Rows that all models get from elsewhere.
    forced: HashSet<usize>,
    /// The files of the tokenizer, by name; without contents what must not be copied.
    pub files: Vec<(String, Option<Vec<u8>>)>,
}

/// A row for models that lack a token.
#[derive(Clone, Debug, PartialEq)]
enum Default {
    Zero,
    Row { model: usize, row: usize },
    Mean(Vec<(usize, usize)>),
}

/// Names of files that a tokenizer consists of.
const FILES: [&str; 12] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
    "chat_template.jinja",
];

impl Words {
    /// The vocabulary that was asked for, of these models; `base` is the one whose tokenizer is taken as the base, and whether it is
    /// a base in the file.
    pub fn of(
        vocabulary: &Vocabulary,
        models: &[(Reference, Checkpoint)],
        (base, is_base): (usize, bool),
    ) -> Result<Self> {
        let place = |reference: &Reference| models.iter().position(|(known, _)| known == reference).unwrap_or(base);
        let of_base = tokens_of(&models[base].1)?;
        let known: Vec<Vec<(usize, String)>> = models
            .iter()
            .map(|(_, model)| match has_tokenizer(model)? {
                true => tokens_of(model),
                // A network without one was made with the base's.
                false => Ok(of_base.clone()),
            })
            .collect::<Result<_>>()?;
        let donor = match &vocabulary.source {
            Source::Union | Source::Base => base,
            Source::Model(reference) => place(reference),
        };
        let mut numbers: Vec<(String, usize)> = known[donor].iter().map(|(row, token)| (token.clone(), *row)).collect();
        let mut all: HashSet<String> = numbers.iter().map(|(token, _)| token.clone()).collect();
        let mut next = numbers.iter().map(|(_, row)| row + 1).max().unwrap_or(0);
        let mut new: Vec<(usize, Value)> = Vec::new();
        let mut add = |token: &str, entry: Value, numbers: &mut Vec<(String, usize)>| {
            if all.insert(token.to_owned()) {
                numbers.push((token.to_owned(), next));
                new.push((next, entry));
                next += 1;
            }
        };
        if vocabulary.source == Source::Union {
            let added: Vec<HashMap<String, Value>> =
                models.iter().map(|(_, model)| added_tokens(model)).collect::<Result<_>>()?;
            let order: Vec<usize> =
                std::iter::once(base).chain((0..models.len()).filter(|&model| model != base)).collect();
            for is_added in [false, true] {
                for &model in &order {
                    for (_, token) in &known[model] {
                        match added[model].get(token) {
                            Some(entry) if is_added => add(token, entry.clone(), &mut numbers),
                            None if !is_added => add(token, plain_token(token), &mut numbers),
                            _ => {}
                        }
                    }
                }
            }
        }
        for (token, _) in &vocabulary.tokens {
            add(token, plain_token(token), &mut numbers);
        }
        let used = next;
        let count = vocabulary.multiple.map_or(used, |multiple| used.next_multiple_of(multiple));
        let is_forced = |token: &str| vocabulary.tokens.iter().any(|(known, row)| known == token && row.force);
        let forced = numbers.iter().filter(|(token, _)| is_forced(token)).map(|(_, number)| *number).collect();
        Ok(Self {
            own: known.iter().map(|known| rows_of(known, &numbers, count)).collect(),
            numbers,
            count,
            used,
            names: models.iter().map(|(reference, _)| reference.clone()).collect(),
            known,
            tokens: vocabulary.tokens.clone(),
            base: is_base.then_some(base),
            forced,
            files: files(&models[donor].1, &new)?,
        })
    }

    /// What models get that lack a token, by the row of the result, where these models are merged.
    fn defaults(&self, members: &[usize]) -> Result<BTreeMap<usize, Default>> {
        let said: HashMap<&str, &Row> = self.tokens.iter().map(|(token, row)| (token.as_str(), row)).collect();
        let mut defaults = BTreeMap::new();
        for (token, number) in &self.numbers {
            let holders: Vec<(usize, usize)> =
                members.iter().filter_map(|&model| Some((model, self.own[model][*number]?))).collect();
            let in_model = |reference: &Reference, wanted: &str| {
                let model = self.place(reference);
                let found = self.known[model].iter().find(|(_, known)| known == wanted);
                found.map(|(row, _)| Default::Row { model, row: *row }).ok_or_else(|| {
                    Error::input(format!("tokenizer.tokens.{token}: '{}' has no token '{wanted}'", reference.0))
                        .hint("name a network that has it")
                })
            };
            let default = match said.get(token.as_str()).and_then(|row| row.origin.as_ref()) {
                Some(Origin::Zero) => Default::Zero,
                Some(Origin::Model(reference)) => in_model(reference, token)?,
                Some(Origin::Token(reference, wanted)) => in_model(reference, wanted)?,
                Some(Origin::Number(reference, row)) => {
                    let (model, row) = (self.place(reference), *row);
                    if self.known[model].iter().all(|(known, _)| known < &row) {
                        let message = format!("tokenizer.tokens.{token}: '{}' has no row {row}", reference.0);
                        return Err(Error::input(message).hint("rows are counted from 0"));
                    }
                    Default::Row { model, row }
                }
                None => match holders[..] {
                    [] => Default::Zero,
                    [(model, row)] => Default::Row { model, row },
                    _ => match holders.iter().find(|(model, _)| Some(*model) == self.base) {
                        Some(&(model, row)) => Default::Row { model, row },
                        None => Default::Mean(holders),
                    },
                },
            };
            defaults.insert(*number, default);
        }
        Ok(defaults)
    }

    fn place(&self, reference: &Reference) -> usize {
        self.names.iter().position(|known| known == reference).unwrap_or(0)
    }

    /// The tables of these models, whose rows are those of the result: elements of one tensor along `axis`. `tables` are those of
    /// all models.
    pub fn tables(
        &self,
        members: &[usize],
        tables: &[&Tensor],
        axis: usize,
        round: &dyn Fn(&mut [f64]),
    ) -> Result<Vec<Vec<f32>>> {
        let defaults = self.defaults(members)?;
        members.iter().map(|&model| self.table(model, &defaults, tables, axis, round)).collect()
    }

    fn table(
        &self,
        model: usize,
        defaults: &BTreeMap<usize, Default>,
        tables: &[&Tensor],
        axis: usize,
        round: &dyn Fn(&mut [f64]),
    ) -> Result<Vec<f32>> {
        let shape = tables[model].shape();
        let (outer, inner) = (shape[..axis].iter().product::<usize>(), shape[axis + 1..].iter().product::<usize>());
        let row_of = |table: usize, outer: usize, row: usize| -> Result<Vec<f64>> {
            let length = tables[table].shape()[axis];
            let first = (outer * length + row) * inner;
            let values = tables[table].range_to_f32(first..first + inner).filter(|_| row < length);
            let values = values.ok_or_else(|| Error::input(format!("a table of {length} rows has no row {row}")))?;
            Ok(values.into_iter().map(f64::from).collect())
        };
        let mut made = Vec::with_capacity(outer * self.count * inner);
        for outer in 0..outer {
            let begin = made.len();
            for number in 0..self.used {
                let own = self.own[model][number].filter(|_| !self.forced.contains(&number));
                let mut row = match (own, defaults.get(&number)) {
                    (Some(row), _) => row_of(model, outer, row)?,
                    (None, Some(Default::Row { model, row })) => row_of(*model, outer, *row)?,
                    (None, Some(Default::Mean(holders))) => {
                        let mut sum = vec![0.0; inner];
                        for &(model, row) in holders {
                            sum.iter_mut().zip(row_of(model, outer, row)?).for_each(|(sum, value)| *sum += value);
                            round(&mut sum);
                        }
                        sum.iter_mut().for_each(|sum| *sum /= holders.len() as f64);
                        sum
                    }
                    (None, Some(Default::Zero) | None) => vec![0.0; inner],
                };
                round(&mut row);
                made.extend(row.into_iter().map(|value| value as f32));
            }
            if self.count > self.used {
                let mut mean = vec![0.0; inner];
                for row in made[begin..].chunks(inner) {
                    mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value));
                }
                mean.iter_mut().for_each(|mean| *mean /= self.used as f64);
                round(&mut mean);
                (self.used..self.count).for_each(|_| made.extend(mean.iter().map(|value| *value as f32)));
            }
        }
        Ok(made)
    }
}

/// Whether a folder has a tokenizer at all.
fn has_tokenizer(model: &Checkpoint) -> Result<bool> {
    let files = model.companions()?;
    Ok(files.iter().any(|(name, _)| {
        FILES.contains(&name.as_str()) && name != "chat_template.jinja" && name != "tokenizer_config.json"
    }))
}

/// The tokens of a folder that have a row, by row.
fn tokens_of(model: &Checkpoint) -> Result<Vec<(usize, String)>> {
    // What the table has, whatever numbers a tokenizer names.
    let axes = token_axes(model);
    let length = axes.iter().find_map(|(name, axis)| model.dict().get(name)?.shape().get(*axis).copied());
    let rows = length.ok_or_else(|| {
        Error::input("expected a table with a row for each token, found none")
            .of(model.path())
            .hint("leave tokenizer and tokenizer_source out")
    })?;
    Ok(model.tokens()?.into_iter().filter(|(row, _)| *row < rows).collect())
}

fn rows_of(known: &[(usize, String)], numbers: &[(String, usize)], count: usize) -> Vec<Option<usize>> {
    let known: HashMap<&str, usize> = known.iter().map(|(row, token)| (token.as_str(), *row)).collect();
    let mut rows = vec![None; count];
    for (token, number) in numbers {
        rows[*number] = known.get(token.as_str()).copied();
    }
    rows
}

/// The entries of tokens that were added to a tokenizer, by token.
fn added_tokens(model: &Checkpoint) -> Result<HashMap<String, Value>> {
    let files = model.companions()?;
    let Some((_, content)) = files.iter().find(|(name, _)| name == "tokenizer.json") else { return Ok(HashMap::new()) };
    let tokenizer: Value = serde_json::from_slice(content).map_err(|error| Error::input(error).of(model.path()))?;
    let added = tokenizer.get("added_tokens").and_then(Value::as_array).cloned().unwrap_or_default();
    let named = added.into_iter().filter_map(|entry| Some((entry.get("content")?.as_str()?.to_owned(), entry)));
    Ok(named.collect())
}

/// A token as tokenizers have those that were added and mean nothing special.
fn plain_token(token: &str) -> Value {
    json!({
        "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false,
    })
}

/// The donor's files, with new tokens; names of tokenizer files that it has not, so that no other model's are copied.
fn files(donor: &Checkpoint, new: &[(usize, Value)]) -> Result<Vec<(String, Option<Vec<u8>>)>> {
    let own = donor.companions()?;
    let mut files: Vec<(String, Option<Vec<u8>>)> = FILES
        .iter()
        .map(|&name| (name.to_owned(), own.iter().find(|(known, _)| known == name).map(|(_, content)| content.clone())))
        .collect();
    if new.is_empty() {
        return Ok(files);
    }
    let Some(Some(content)) = files.first().map(|(_, content)| content.clone()) else {
        return Err(Error::input("expected tokenizer.json, to which tokens can be added")
            .of(donor.path())
            .hint("save_pretrained of a fast tokenizer writes it"));
    };
    let mut tokenizer: Map<String, Value> =
        serde_json::from_slice(&content).map_err(|error| Error::input(error).of(donor.path()))?;
    let added = tokenizer.entry("added_tokens").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(added) = added.as_array_mut() {
        for (number, entry) in new {
            let mut entry = entry.clone();
            entry["id"] = (*number).into();
            added.push(entry);
        }
    }
    files[0].1 = Some(serde_json::to_vec_pretty(&tokenizer).map_err(Error::run)?);
    // What stands in tokenizer.json as well, without the new tokens.
    for (name, content) in &mut files {
        if name.ends_with(".model") || name.ends_with(".spm") {
            *content = None;
        }
    }
    Ok(files)
}
