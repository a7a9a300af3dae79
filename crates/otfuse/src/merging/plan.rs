//! Which tensors a result has, and which tensors of which networks each is merged of.

use std::collections::HashSet;

use otfuse_formats::{Checkpoint, Format, Planned};
use otfuse_fusion::merge::{self, Base, Merge, Numbers, Scope};
use otfuse_graph::DataType;
use serde_json::Value;

use super::file::{MergeDocument, Reference, Slice};
use super::settings::{missing_parameter, numbers};
use super::tokens::{Source as TokenSource, Words};
use super::{Layers, Split};
use crate::{Error, Result};

/// A tensor of the result.
#[derive(Debug)]
pub(crate) struct Part {
    /// For each model that it is merged of, which network and which of its tensors.
    pub sources: Vec<(usize, String)>,
    /// The base among them.
    pub base: Option<usize>,
    /// What the method is told.
    pub numbers: Numbers,
    /// The type that is computed in.
    pub working: DataType,
    /// The axis that has an entry for each token, where vocabularies are put together.
    pub tokens: Option<usize>,
    /// Whether it is copied from its first source as it is.
    pub is_copied: bool,
}

/// A merge that is ready to be made.
pub(crate) struct Plan {
    /// The networks.
    pub models: Vec<(Reference, Checkpoint)>,
    /// The one whose form and files the result has.
    pub donor: usize,
    pub method: &'static dyn Merge,
    /// The tensors, and what each is made of.
    pub tensors: Vec<Planned>,
    pub parts: Vec<Part>,
    /// The vocabulary of the result, where it is made anew.
    pub words: Option<Words>,
    /// The stack of layers, how many it has, and for each of the result's which of the donor's it stands in for.
    pub layers: Option<Vec<usize>>,
    /// Tensors that only other networks have.
    pub left_out: Vec<String>,
}

/// Parts of names of what is no weight: constants of architectures that some files have.
const CONSTANTS: [&str; 6] =
    [".inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.masked_bias", "position_ids", "num_batches_tracked"];

/// Parts of names of tables of tokens at the inputs.
const TABLES: [&str; 6] = [
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "shared.weight",
    "tok_embeddings.weight",
    "embed_in.weight",
];

/// Parts of names of what comes before the layers.
const BEFORE: [&str; 7] = ["embed_tokens", "embed_in", "wte", "wpe", "embeddings", "embed_positions", "shared."];

/// Prefixes that classes around a network add to its names.
const WRAPPERS: [&str; 9] =
    ["transformer.", "model.", "bert.", "roberta.", "distilbert.", "electra.", "vit.", "module.", "gpt_neox."];

impl Plan {
    /// What a document says of these networks, in the order of its references.
    ///
    /// # Errors
    /// Networks that do not fit together, missing tensors and parameters, layers that are not there.
    pub fn of(document: &MergeDocument, models: Vec<(Reference, Checkpoint)>) -> Result<Self> {
        let method = document.method();
        let place = |reference: &Reference| models.iter().position(|(known, _)| known == reference);
        let donor = document.base.as_ref().and_then(place).unwrap_or(0);
        let mut drafting = Drafting {
            document,
            models: &models,
            donor,
            method,
            tensors: Vec::new(),
            parts: Vec::new(),
            taken: HashSet::new(),
        };
        let mut layers = None;
        match (document.is_whole, document.slices.as_slice()) {
            (true, [slice]) => drafting.whole(slice)?,
            (_, slices) => layers = Some(drafting.slices(slices)?),
        }
        let left_out = drafting.left_out();
        let Drafting { mut tensors, mut parts, .. } = drafting;
        let words = words(document, &models, donor)?;
        shapes(&mut tensors, &mut parts, &models, words.as_ref())?;
        types(&mut tensors, &mut parts, document, &models)?;
        ties(&mut tensors, &models[donor].1);
        Ok(Self { models, donor, method, tensors, parts, words, layers, left_out })
    }
}

/// A plan in the making.
struct Drafting<'a> {
    document: &'a MergeDocument,
    models: &'a [(Reference, Checkpoint)],
    donor: usize,
    method: &'static dyn Merge,
    tensors: Vec<Planned>,
    parts: Vec<Part>,
    /// Tensors of the networks that have a part.
    taken: HashSet<(usize, String)>,
}

/// One network of a slice: its place among the networks, and its parameters' place in the document.
#[derive(Clone, Copy)]
struct Member {
    model: usize,
    /// `None` for a base that was not named in the slice.
    source: Option<usize>,
}

impl Drafting<'_> {
    fn model(&self, reference: &Reference) -> usize {
        self.models.iter().position(|(known, _)| known == reference).unwrap_or(0)
    }

    /// The members of a slice and its base among them.
    fn members(&self, slice: &Slice, place: &str) -> Result<(Vec<Member>, Option<usize>)> {
        let sources = slice.sources.iter().enumerate();
        let mut members: Vec<Member> =
            sources.map(|(at, source)| Member { model: self.model(&source.model), source: Some(at) }).collect();
        let base = slice.base.as_ref().or(self.document.base.as_ref());
        let Some(base) = base else { return self.checked(members, None, place) };
        let model = self.model(base);
        let mut found = members.iter().position(|member| member.model == model);
        if found.is_none() && self.document.is_whole {
            members.push(Member { model, source: None });
            found = Some(members.len() - 1);
        }
        if found.is_none() && self.method.base() != Base::Unused {
            let message = format!("{place}.sources: expected the base '{}' among them", base.0);
            return Err(Error::input(message).hint("name the base as a source, with its layers"));
        }
        self.checked(members, found.filter(|_| self.method.base() != Base::Unused), place)
    }

    fn checked(&self, members: Vec<Member>, base: Option<usize>, place: &str) -> Result<(Vec<Member>, Option<usize>)> {
        merge::check(self.method, members.len(), base).map_err(|error| {
            Error::input(format!("{place}: {error}")).hint("docs/merging.md says what each method takes")
        })?;
        Ok((members, base))
    }

    /// Whole networks: the donor's tensors, and tables for outputs that others have of their own.
    fn whole(&mut self, slice: &Slice) -> Result<()> {
        let (members, base) = self.members(slice, "models")?;
        let layers = Layers::of(self.models[self.donor].1.dict().names());
        for name in self.names(&members) {
            let t = layers.place(&name);
            let sources = self.sources(&members, &name, &name, &[])?;
            self.add(&name, sources, (slice, &members, base), t)?;
        }
        Ok(())
    }

    /// The donor's names, and names of output tables that another member has and the donor shares with its inputs.
    fn names(&self, members: &[Member]) -> Vec<String> {
        let donor = self.models[self.donor].1.dict();
        let mut names: Vec<String> = donor.names().map(str::to_owned).collect();
        for member in members {
            let dict = self.models[member.model].1.dict();
            let untied = dict.names().filter(|name| name.ends_with("lm_head.weight") && !donor.contains(name));
            let untied: Vec<String> =
                untied.filter(|name| !names.iter().any(|known| known == name)).map(str::to_owned).collect();
            names.extend(untied);
        }
        names
    }

    /// Layers one after the other.
    fn slices(&mut self, slices: &[Slice]) -> Result<Vec<usize>> {
        let (reference, donor) = &self.models[self.donor];
        let all = Layers::of(donor.dict().names());
        let (stack, count) = match (all.main(), all.rivals()[..].len()) {
            (Some((stack, count)), 1) => (stack.to_owned(), count),
            _ => {
                let found = all.rivals().join(", ");
                let message = format!("slices: '{}' has no single stack of layers, found {found:?}", reference.0);
                return Err(Error::input(message).hint("name whole networks under models"));
            }
        };
        let outside: Vec<String> = {
            let first: Vec<Member> = slices[0]
                .sources
                .iter()
                .map(|source| Member { model: self.model(&source.model), source: None })
                .collect();
            let names = self.names(&first).into_iter();
            names.filter(|name| Split::of(name).is_none_or(|split| split.stack != stack)).collect()
        };
        let (before, behind): (Vec<_>, Vec<_>) =
            outside.into_iter().partition(|name| BEFORE.iter().any(|part| name.contains(part)));
        self.outside(&before, &slices[0], "slices[0]")?;
        let mut order = Vec::new();
        for (at, slice) in slices.iter().enumerate() {
            let place = format!("slices[{at}]");
            let (members, base) = self.members(slice, &place)?;
            let length = slice.sources[0].layers.map_or(0, |(from, to)| to - from);
            let stacks: Vec<String> = members.iter().map(|member| self.stack(member.model, &stack)).collect();
            for source in &slice.sources {
                let has = Layers::of(self.models[self.model(&source.model)].1.dict().names())
                    .main()
                    .map_or(count, |(_, count)| count);
                if source.layers.is_some_and(|(_, to)| to > has) {
                    let found = source.layers.map_or(0, |(_, to)| to);
                    let message =
                        format!("{place}: '{}' has {has} layers, but layer_range ends at {found}", source.model.0);
                    return Err(Error::input(message).hint(format!("layers are counted from 0 to {}", has - 1)));
                }
            }
            for offset in 0..length {
                let t = if length > 1 { offset as f64 / (length - 1) as f64 } else { 1.0 };
                let of_source = |at: usize| slice.sources[at].layers.map_or(0, |(from, _)| from) + offset;
                let first = &self.models[members[0].model].1;
                let of_layer = |name: &&str| {
                    Split::of(name).is_some_and(|split| split.stack == stacks[0] && split.layer == of_source(0))
                };
                let names: Vec<String> = first.dict().names().filter(of_layer).map(str::to_owned).collect();
                for name in names {
                    let Some(split) = Split::of(&name) else { continue };
                    let of_member = |at: usize| {
                        Split { stack: &stacks[at], ..split }.at(of_source(members[at].source.unwrap_or(0)))
                    };
                    let shifted: Vec<String> = (0..members.len()).map(of_member).collect();
                    let made = Split { stack: &stack, ..split }.at(order.len());
                    let sources = self.sources(&members, &made, &name, &shifted)?;
                    self.add(&made, sources, (slice, &members, base), t)?;
                }
                order.push(of_source(0));
            }
        }
        let last = slices.len() - 1;
        self.outside(&behind, &slices[last], &format!("slices[{last}]"))?;
        Ok(order)
    }

    /// The names of a model's layers before their number.
    fn stack(&self, model: usize, like: &str) -> String {
        let layers = Layers::of(self.models[model].1.dict().names());
        layers.main().map_or_else(|| like.to_owned(), |(stack, _)| stack.to_owned())
    }

    /// Tensors outside the layers.
    fn outside(&mut self, names: &[String], slice: &Slice, place: &str) -> Result<()> {
        let (members, base) = self.members(slice, place)?;
        for name in names {
            let sources = self.sources(&members, name, name, &[])?;
            self.add(name, sources, (slice, &members, base), 0.0)?;
        }
        Ok(())
    }

    /// The tensor of each member: the one of its own name in `named`, or else of `name`.
    fn sources(&self, members: &[Member], made: &str, name: &str, named: &[String]) -> Result<Vec<(usize, String)>> {
        if CONSTANTS.iter().any(|part| made.contains(part)) {
            let holder = members.iter().find(|member| self.models[member.model].1.dict().contains(name));
            let model = holder.map_or(self.donor, |member| member.model);
            return Ok(vec![(model, name.to_owned())]);
        }
        members
            .iter()
            .enumerate()
            .map(|(at, member)| {
                let wanted = named.get(at).map_or(name, String::as_str);
                let (reference, model) = &self.models[member.model];
                found(model, wanted).map(|name| (member.model, name)).ok_or_else(|| {
                    let message = format!(
                        "'{}' has no tensor '{wanted}', which {} has",
                        reference.0, self.models[self.donor].0.0
                    );
                    let mut error = Error::input(message).of(model.path());
                    error.tensor = Some(wanted.to_owned());
                    error.hint("networks that are merged have tensors of the same names; `otfuse inspect` lists them")
                })
            })
            .collect()
    }

    fn add(
        &mut self,
        name: &str,
        sources: Vec<(usize, String)>,
        (slice, members, base): (&Slice, &[Member], Option<usize>),
        t: f64,
    ) -> Result<()> {
        let is_copied = sources.len() != members.len();
        let document = self.document;
        let said = |model: Option<usize>, parameter: &merge::Parameter| {
            // Filters go by the result's name, those of one network by its own.
            let (source, name) = match model {
                Some(at) => (members[at].source, sources[at].1.as_str()),
                None => (None, name),
            };
            let of_source = source.and_then(|at| slice.sources[at].parameters.at(parameter.name, name, t));
            let of_slice = of_source.or_else(|| slice.parameters.at(parameter.name, name, t));
            of_slice.or_else(|| document.parameters.at(parameter.name, name, t))
        };
        let count = if is_copied { 0 } else { members.len() };
        let numbers = if is_copied { Numbers::default() } else { numbers(self.method, count, &said) };
        for parameter in self.method.parameters().iter().filter(|parameter| !is_copied && parameter.default.is_none()) {
            let lacks = match parameter.scope {
                Scope::Tensor => (!numbers.tensor.contains_key(parameter.name)).then(|| "parameters".to_owned()),
                Scope::Model => (0..count)
                    .find(|&at| Some(at) != base && !numbers.models[at].contains_key(parameter.name))
                    .map(|at| match members[at].source {
                        Some(source) if document.is_whole => format!("models[{source}].parameters"),
                        _ => format!("parameters of '{}'", self.models[members[at].model].0.0),
                    }),
            };
            if let Some(place) = lacks {
                let error = missing_parameter(parameter, &place);
                return Err(Error { message: format!("{} for '{name}'", error.message), ..error });
            }
        }
        self.taken.extend(sources.iter().cloned());
        let own = self.models[sources[0].0].1.dict().get(&sources[0].1);
        let (data_type, shape) = own.map_or((DataType::F32, Vec::new()), |own| (own.data_type(), own.shape().to_vec()));
        self.tensors.push(Planned { name: name.to_owned(), data_type, shape, tied: None });
        self.parts.push(Part { sources, base, numbers, working: data_type, tokens: None, is_copied });
        Ok(())
    }

    /// Tensors of whole networks that have no part in the result.
    fn left_out(&self) -> Vec<String> {
        if !self.document.is_whole {
            return Vec::new();
        }
        let used: HashSet<usize> = self.parts.iter().flat_map(|part| &part.sources).map(|(model, _)| *model).collect();
        let mut left = Vec::new();
        for &model in &used {
            let (reference, checkpoint) = &self.models[model];
            let is_left = |name: &&str| {
                !self.taken.contains(&(model, (*name).to_owned())) && !CONSTANTS.iter().any(|part| name.contains(part))
            };
            left.extend(checkpoint.dict().names().filter(is_left).map(|name| format!("{}: {name}", reference.0)));
        }
        left.sort();
        left
    }
}

/// The name that a tensor has in a network: its own, one with a wrapper's prefix or without, or the inputs' table where outputs share it.
fn found(model: &Checkpoint, name: &str) -> Option<String> {
    let dict = model.dict();
    let bare = WRAPPERS.iter().filter_map(|prefix| name.strip_prefix(prefix)).map(str::to_owned);
    let wrapped = WRAPPERS.iter().map(|prefix| format!("{prefix}{name}"));
    let mut names = std::iter::once(name.to_owned()).chain(bare).chain(wrapped);
    if let Some(found) = names.find(|name| dict.contains(name)) {
        return Some(found);
    }
    if !name.ends_with("lm_head.weight") {
        return None;
    }
    dict.names().find(|name| TABLES.iter().any(|table| name.ends_with(table))).map(str::to_owned)
}

/// The result's vocabulary, where that was asked for.
fn words(document: &MergeDocument, models: &[(Reference, Checkpoint)], donor: usize) -> Result<Option<Words>> {
    let Some(vocabulary) = &document.vocabulary else { return Ok(None) };
    if let Some((reference, _)) = models.iter().find(|(_, model)| model.format() != Format::HuggingFace) {
        return Err(Error::input(format!("tokenizer: '{}' is no folder, so that it has none", reference.0))
            .hint("leave tokenizer and tokenizer_source out"));
    }
    let base = match &vocabulary.source {
        TokenSource::Base if document.base.is_none() => {
            return Err(Error::input("tokenizer_source: base: expected a base_model, found none")
                .hint("base_model: the network whose tokens the result has; or name that network in place of base"));
        }
        _ => donor,
    };
    Words::of(vocabulary, models, (base, document.base.is_some())).map(Some)
}

/// Sees to it that tensors that are merged have one shape.
fn shapes(
    tensors: &mut [Planned],
    parts: &mut [Part],
    models: &[(Reference, Checkpoint)],
    words: Option<&Words>,
) -> Result<()> {
    let axes: Vec<Vec<(String, usize)>> = match words {
        Some(_) => models.iter().map(|(_, model)| Ok(token_axes(model))).collect::<Result<_>>()?,
        None => vec![Vec::new(); models.len()],
    };
    for (planned, part) in tensors.iter_mut().zip(parts) {
        let axis_of = |(model, name): &(usize, String)| {
            axes[*model].iter().find(|(known, _)| known == name).map(|(_, axis)| *axis)
        };
        part.tokens = part.sources.first().and_then(axis_of).filter(|_| !part.is_copied);
        let without = |shape: &[usize]| {
            let mut shape = shape.to_vec();
            part.tokens.into_iter().for_each(|axis| shape[axis] = 0);
            shape
        };
        for (model, name) in &part.sources {
            let shape = models[*model].1.dict().get(name).map_or(&[][..], |tensor| tensor.shape());
            if shape.len() != planned.shape.len() || without(shape) != without(&planned.shape) {
                let (first, other) = (&models[part.sources[0].0].0.0, &models[*model].0.0);
                let message = format!(
                    "'{name}' of '{other}': expected shape {:?}, as in '{first}', found {shape:?}",
                    planned.shape
                );
                let mut error = Error::input(message).of(models[*model].1.path());
                error.tensor = Some(name.clone());
                let is_table = shape.len() == 2 && planned.shape.len() == 2 && shape[1] == planned.shape[1];
                return Err(error.hint(if is_table && words.is_none() {
                    "where vocabularies differ, say tokenizer_source: union, or base"
                } else {
                    "networks that are merged have one architecture; `alignment: {}` fuses networks of unequal widths by merge_method ot"
                }));
            }
        }
        if let (Some(axis), Some(words)) = (part.tokens, words) {
            planned.shape[axis] = words.count;
        }
    }
    Ok(())
}

/// Parts of names of tables of tokens at the outputs.
const OUTPUT_TABLES: [&str; 6] = [
    "lm_head.weight",
    "lm_head.bias",
    "embed_out.weight",
    "cls.predictions.bias",
    "predictions.decoder.weight",
    "predictions.decoder.bias",
];

/// The tensors with an entry for each token: those whose sizes tell, or else those whose names do.
fn token_axes(model: &Checkpoint) -> Vec<(String, usize)> {
    if let Ok(axes) = model.token_axes() {
        return axes;
    }
    let rows = model.settings().and_then(|settings| settings.get("vocab_size")).and_then(Value::as_u64);
    let is_table = |name: &str| TABLES.iter().chain(&OUTPUT_TABLES).any(|table| name.ends_with(table));
    let tensors = model
        .dict()
        .iter()
        .filter(|(name, tensor)| is_table(name) && tensor.shape().first().map(|&length| length as u64) == rows);
    tensors.map(|(name, _)| (name.to_owned(), 0)).collect()
}

/// The types that are computed in and written.
fn types(
    tensors: &mut [Planned],
    parts: &mut [Part],
    document: &MergeDocument,
    models: &[(Reference, Checkpoint)],
) -> Result<()> {
    let (asked, written) = (document.dtype.as_deref().map(data_type), document.out_dtype.as_deref().map(data_type));
    for (planned, part) in tensors.iter_mut().zip(parts) {
        let of_source =
            |(model, name): &(usize, String)| models[*model].1.dict().get(name).map(|tensor| tensor.data_type());
        let found: Vec<DataType> = part.sources.iter().filter_map(of_source).collect();
        if found.iter().any(|data_type| !data_type.is_float()) {
            part.sources.truncate(1);
            part.is_copied = true;
            continue;
        }
        let promoted = found.iter().copied().reduce(promoted).unwrap_or(DataType::F32);
        part.working = asked.unwrap_or(promoted);
        planned.data_type = written.unwrap_or(part.working);
    }
    Ok(())
}

fn data_type(name: &str) -> DataType {
    match name {
        "float16" => DataType::F16,
        "bfloat16" => DataType::BF16,
        "float64" => DataType::F64,
        _ => DataType::F32,
    }
}

/// The narrowest type that holds numbers of both.
fn promoted(one: DataType, other: DataType) -> DataType {
    match (one, other) {
        (one, other) if one == other => one,
        (DataType::F64, _) | (_, DataType::F64) => DataType::F64,
        _ => DataType::F32,
    }
}

/// Tensors that are one in the donor's file are one in the result's.
fn ties(tensors: &mut [Planned], donor: &Checkpoint) {
    for names in donor.dict().tied() {
        let place = |name: &&str| tensors.iter().position(|planned| planned.name == *name);
        let places: Vec<usize> = names.iter().filter_map(place).collect();
        if let Some((&first, others)) = places.split_first() {
            others.iter().for_each(|&other| tensors[other].tied = Some(first));
        }
    }
}

/// Where layers of the donor stand in the settings of a result that has others: their number, and lists with an entry for each.
pub(crate) fn renumber(settings: &mut serde_json::Map<String, Value>, layers: &[usize], count: usize) -> bool {
    let keys = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
    let mut found = false;
    for key in keys {
        if settings.get(key).and_then(Value::as_u64) == Some(count as u64) {
            settings.insert(key.into(), layers.len().into());
            found = true;
        }
    }
    if let Some(Value::Array(types)) = settings.get_mut("layer_types")
        && types.len() == count
    {
        *types = layers.iter().filter_map(|&layer| types.get(layer).cloned()).collect();
    }
    found
}
