//! Networks over tokens of unequal vocabularies: rows are matched by what the tokens are.

use std::collections::HashMap;

use otfuse_graph::{Graph, GraphEditor, Tensor};

use crate::choices::VocabularyName;
use crate::{Context, Error, Model, Result};

/// So many tokens are named.
const MOST_TOKENS: usize = 3;

/// What became of the rows of a vocabulary.
#[derive(Clone, Debug, Default)]
pub(super) struct Matched {
    /// The rows that some other model does not have: they are the anchor's alone.
    alone: Vec<usize>,
}

/// Brings the tokens of all models into one order: the anchor's, or of the tokens that all have.
pub(super) fn matched(models: &mut [Model], anchor: usize, how: VocabularyName, context: &Context) -> Result<Matched> {
    let vocabularies: Vec<Vec<Option<String>>> = models.iter().map(tokens).collect::<Result<_>>()?;
    let numbers: Vec<HashMap<&str, usize>> = vocabularies.iter().map(|tokens| by_token(tokens)).collect();
    let is_common = |token: &&Option<String>| {
        token.as_deref().is_some_and(|token| numbers.iter().all(|known| known.contains_key(token)))
    };
    let words: Vec<Option<&str>> = match how {
        VocabularyName::Anchor => vocabularies[anchor].iter().map(Option::as_deref).collect(),
        VocabularyName::Intersect => vocabularies[anchor].iter().filter(is_common).map(Option::as_deref).collect(),
    };
    let common = vocabularies[anchor].iter().filter(is_common).count();
    if common == 0 {
        return Err(Error::input("`vocabulary`: the models have no token in common")
            .hint("models whose tokenizers split text in other ways cannot be averaged token by token"));
    }
    let rows_of = |model: usize| -> Vec<Option<usize>> {
        words.iter().map(|word| word.and_then(|word| numbers[model].get(word).copied())).collect()
    };
    let mut alone: Vec<usize> = Vec::new();
    let mut changed = models.to_vec();
    for (at, model) in models.iter().enumerate() {
        let rows = if at == anchor && how == VocabularyName::Anchor {
            (0..words.len()).map(Some).collect()
        } else {
            rows_of(at)
        };
        alone.extend((0..rows.len()).filter(|&row| rows[row].is_none()));
        let is_same =
            rows.len() == vocabularies[at].len() && rows.iter().enumerate().all(|(row, old)| *old == Some(row));
        if !is_same {
            changed[at] = model.reworded(&rows)?;
        }
    }
    alone.sort_unstable();
    alone.dedup();
    models.clone_from_slice(&changed);
    context.note(&format!(
        "vocabulary: {} tokens, {common} of them in all models{}",
        words.len(),
        if alone.is_empty() { String::new() } else { format!("; {} rows are the anchor's alone", alone.len()) }
    ));
    Ok(Matched { alone })
}

/// Warns where tables of tokens have the same size and other tokens: averaged row by row, unrelated words would be mixed.
pub(super) fn warn_of_others(models: &[Model], anchor: usize, context: &Context) {
    let read = |model: &Model| model.file().ok()?.tokens().ok().flatten();
    let Some(own) = models.get(anchor).and_then(read) else { return };
    for (at, model) in models.iter().enumerate().filter(|(at, _)| *at != anchor) {
        let Some(tokens) = read(model).filter(|tokens| tokens.len() == own.len()) else { continue };
        let differing: Vec<String> = own.iter().zip(&tokens).filter(|(own, token)| own != token).map(shown).collect();
        if !differing.is_empty() {
            context.warn(&format!(
                "model {at} ({}) has other tokens than the anchor at {} of {} numbers ({}); `vocabulary` anchor matches \
                 rows by token",
                model.shown(),
                differing.len(),
                own.len(),
                differing[..differing.len().min(MOST_TOKENS)].join(", ")
            ));
        }
    }
}

fn shown((own, token): (&Option<String>, &Option<String>)) -> String {
    let named = |token: &Option<String>| token.as_ref().map_or_else(|| "none".into(), |token| format!("'{token}'"));
    format!("{} for {}", named(token), named(own))
}

fn tokens(model: &Model) -> Result<Vec<Option<String>>> {
    model.file()?.tokens().map_err(Error::from)?.ok_or_else(|| {
        Error::input("`vocabulary`: expected a Hugging Face folder with its tokenizer, found another network")
            .of(model.path())
            .hint("the tokens of other networks are not known; leave the option out where vocabularies are equal")
    })
}

fn by_token(tokens: &[Option<String>]) -> HashMap<&str, usize> {
    tokens.iter().enumerate().filter_map(|(row, token)| Some((token.as_deref()?, row))).collect()
}

impl Matched {
    pub(super) fn is_whole(&self) -> bool {
        self.alone.is_empty()
    }

    /// A result whose rows of tokens that some model lacks are the anchor's, aligned as the anchor is.
    pub(super) fn restored(&self, graph: Graph, anchor: &Model) -> Result<Graph> {
        let file = anchor.file()?;
        let mut editor = GraphEditor::edit(graph);
        for (name, axis) in file.token_axes().map_err(Error::from)? {
            let own = file.graph.find_value(&name).and_then(|id| file.graph.initializer(id));
            let found = editor.graph().find_value(&name);
            let tensor = found.and_then(|id| editor.graph().initializer(id));
            if let (Some(own), Some(id), Some(tensor)) = (own, found, tensor) {
                let made = with_rows(tensor, own, axis, &self.alone);
                let made = made.ok_or_else(|| Error::run(format!("'{name}': the table of tokens has another size")))?;
                editor.set_tensor(id, made);
            }
        }
        editor.finish().map_err(|error| Error::run(error.to_string()))
    }
}

/// The tensor with these entries of an axis from another one.
fn with_rows(tensor: &Tensor, from: &Tensor, axis: usize, rows: &[usize]) -> Option<Tensor> {
    if tensor.shape() != from.shape() || tensor.data_type() != from.data_type() {
        return None;
    }
    let shape = tensor.shape();
    let size: usize = shape.get(axis + 1..)?.iter().product::<usize>() * tensor.data_type().size();
    let block = size * shape.get(axis)?;
    let mut bytes = tensor.bytes().to_vec();
    for start in (0..bytes.len()).step_by(block.max(1)) {
        for row in rows {
            let range = start + row * size..start + (row + 1) * size;
            bytes.get_mut(range.clone())?.copy_from_slice(from.bytes().get(range)?);
        }
    }
    Tensor::new(tensor.data_type(), shape.to_vec(), bytes.into()).ok()
}
