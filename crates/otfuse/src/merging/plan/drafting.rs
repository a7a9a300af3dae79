//! The tensors of a result, drafted one after the other.

use std::collections::{BTreeSet, HashSet};

use otfuse_formats::{Checkpoint, Planned, StateDict};
use otfuse_fusion::merge::{self, Base, Merge, Numbers, Scope};
use otfuse_graph::DataType;

use super::Part;
use super::names::{found, is_before, is_constant};
use crate::merging::file::{MergeDocument, Reference, Slice};
use crate::merging::settings::{missing_parameter, numbers};
use crate::merging::{Layers, Split};
use crate::{Error, Result};

/// A plan in the making.
pub(super) struct Drafting<'a> {
    document: &'a MergeDocument,
    models: &'a [(Reference, Checkpoint)],
    /// The layers of each model.
    layers: Vec<Layers>,
    donor: usize,
    method: &'static dyn Merge,
    pub tensors: Vec<Planned>,
    pub parts: Vec<Part>,
    /// Tensors of the networks that have a part.
    taken: HashSet<(usize, String)>,
    /// What is to be said of the settings.
    pub notes: Vec<String>,
}

/// A slice, who is in it, and which of them is the base.
struct Members<'a> {
    slice: &'a Slice,
    list: Vec<Member>,
    base: Option<usize>,
}

/// One network of a slice: its place among the networks, and its parameters' place in the document.
#[derive(Clone, Copy)]
struct Member {
    model: usize,
    /// `None` for a base that was not named in the slice.
    source: Option<usize>,
}

/// One stack of layers: what stands before their number, and how many there are.
#[derive(Clone, Debug)]
struct Stack {
    name: String,
    count: usize,
}

impl<'a> Drafting<'a> {
    /// A plan without tensors.
    pub fn new(document: &'a MergeDocument, models: &'a [(Reference, Checkpoint)], donor: usize) -> Self {
        Self {
            document,
            models,
            layers: models.iter().map(|(_, model)| Layers::of(model.dict().names())).collect(),
            donor,
            method: document.method(),
            tensors: Vec::new(),
            parts: Vec::new(),
            taken: HashSet::new(),
            notes: Vec::new(),
        }
    }

    /// Plans what the document says; for each layer of the result which of the donor's it stands in for, where it is put together of
    /// slices.
    ///
    /// # Errors
    /// Networks that do not fit together, missing tensors and parameters, layers that are not there.
    pub fn draft(&mut self) -> Result<Option<Vec<usize>>> {
        let document = self.document;
        match (document.is_whole, document.slices.as_slice()) {
            (true, [slice]) => self.whole(slice).map(|()| None),
            (_, slices) => self.slices(slices).map(Some),
        }
    }

    fn dict(&self, model: usize) -> &'a StateDict {
        self.models[model].1.dict()
    }

    fn model(&self, reference: &Reference) -> usize {
        self.models.iter().position(|(known, _)| known == reference).unwrap_or(0)
    }

    /// The members of a slice and its base among them.
    fn members(&self, slice: &'a Slice, place: &str) -> Result<Members<'a>> {
        let sources = slice.sources.iter().enumerate();
        let mut list: Vec<Member> =
            sources.map(|(at, source)| Member { model: self.model(&source.model), source: Some(at) }).collect();
        let reference = slice.base.as_ref().or(self.document.base.as_ref());
        let mut base = None;
        if let Some(reference) = reference {
            let model = self.model(reference);
            base = list.iter().position(|member| member.model == model);
            if base.is_none() && self.document.is_whole {
                list.push(Member { model, source: None });
                base = Some(list.len() - 1);
            }
            if base.is_none() && self.method.base() != Base::Unused {
                let message = format!("{place}.sources: expected the base '{}' among them", reference.0);
                return Err(Error::input(message).hint("name the base as a source, with its layers"));
            }
        }
        let base = base.filter(|_| self.method.base() != Base::Unused);
        merge::check(self.method, list.len(), base).map_err(|error| {
            Error::input(format!("{place}: {error}")).hint("docs/merging.md says what each method takes")
        })?;
        Ok(Members { slice, list, base })
    }

    /// Whole networks: the donor's tensors, and tables for outputs that others have of their own.
    fn whole(&mut self, slice: &'a Slice) -> Result<()> {
        let members = self.members(slice, "models")?;
        let count = |model: usize| self.layers[model].main().map(|(_, count)| count);
        if let Some(other) = members.list.iter().find(|member| count(member.model) != count(self.donor)) {
            let said = |model: usize| {
                format!(
                    "'{}' ({} layers)",
                    self.models[model].0.0,
                    count(model).map_or("no".into(), |count| count.to_string())
                )
            };
            let message = format!(
                "models: expected networks of as many layers as {}, found {}",
                said(self.donor),
                said(other.model)
            );
            return Err(Error::input(message).hint("slices choose layers: sources with layer_range"));
        }
        if let Some((_, count)) = self.layers[self.donor].main() {
            self.note_gradients(slice, "models", count);
        }
        for name in self.names(members.list.iter().map(|member| member.model)) {
            let t = self.layers[self.donor].place(&name);
            self.add(&name, &name, &members, &[], t)?;
        }
        Ok(())
    }

    /// The donor's names, and names of output tables that one of these models has and the donor shares with its inputs.
    fn names(&self, models: impl Iterator<Item = usize>) -> Vec<String> {
        let donor = self.dict(self.donor);
        let mut names: Vec<String> = donor.names().map(str::to_owned).collect();
        for model in models {
            let untied =
                self.dict(model).names().filter(|name| name.ends_with("lm_head.weight") && !donor.contains(name));
            for name in untied {
                if !names[donor.len()..].iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
        }
        names
    }

    /// The one stack of layers that slices are taken of.
    fn stack(&self, model: usize) -> Result<Stack> {
        let (layers, reference) = (&self.layers[model], &self.models[model].0);
        match (layers.main(), layers.rivals().len()) {
            (Some((name, count)), 1) => Ok(Stack { name: name.to_owned(), count }),
            _ => {
                let found = layers.rivals().join(", ");
                let message = format!("slices: '{}' has no single stack of layers, found {found:?}", reference.0);
                Err(Error::input(message).hint("name whole networks under models"))
            }
        }
    }

    /// Layers one after the other.
    fn slices(&mut self, slices: &'a [Slice]) -> Result<Vec<usize>> {
        let own = self.stack(self.donor)?;
        let (Some(first), Some(last)) = (slices.first(), slices.last()) else { return Ok(Vec::new()) };
        let models: Vec<usize> = first.sources.iter().map(|source| self.model(&source.model)).collect();
        let outside = self.names(models.into_iter()).into_iter();
        let outside = outside.filter(|name| Split::of(name).is_none_or(|split| split.stack != own.name));
        let (before, behind): (Vec<_>, Vec<_>) = outside.partition(|name| is_before(name));
        self.outside(&before, first, "slices[0]")?;
        let mut order = Vec::new();
        for (at, slice) in slices.iter().enumerate() {
            self.slice(slice, &format!("slices[{at}]"), &own, &mut order)?;
        }
        self.outside(&behind, last, &format!("slices[{}]", slices.len() - 1))?;
        Ok(order)
    }

    /// The layers of a slice; `order` has those of the donor that all before stand in for.
    fn slice(&mut self, slice: &'a Slice, place: &str, own: &Stack, order: &mut Vec<usize>) -> Result<()> {
        let members = self.members(slice, place)?;
        let stacks: Vec<Stack> = members.list.iter().map(|member| self.stack(member.model)).collect::<Result<_>>()?;
        for (source, stack) in slice.sources.iter().zip(&stacks) {
            if let Some((_, to)) = source.layers.filter(|(_, to)| *to > stack.count) {
                let (has, name) = (stack.count, &source.model.0);
                let message = format!("{place}: '{name}' has {has} layers, but layer_range ends at {to}");
                return Err(Error::input(message).hint(format!("layers are counted from 0 to {}", has - 1)));
            }
        }
        let begins: Vec<usize> = slice.sources.iter().map(|source| source.layers.map_or(0, |(from, _)| from)).collect();
        let Some((from, to)) = slice.sources.first().and_then(|source| source.layers) else { return Ok(()) };
        self.note_gradients(slice, place, to - from);
        for offset in 0..to - from {
            let t = if to - from > 1 { offset as f64 / (to - from - 1) as f64 } else { 1.0 };
            let is_of_layer = |split: &Split<'_>| split.stack == stacks[0].name && split.layer == from + offset;
            let names = self.dict(members.list[0].model).names();
            let names: Vec<&str> =
                names.filter(|name| Split::of(name).is_some_and(|split| is_of_layer(&split))).collect();
            for name in names {
                let Some(split) = Split::of(name) else { continue };
                let of_member = |(member, stack): (&Member, &'_ Stack)| {
                    Split { stack: &stack.name, ..split }.at(begins[member.source.unwrap_or(0)] + offset)
                };
                let shifted: Vec<String> = members.list.iter().zip(&stacks).map(of_member).collect();
                let made = Split { stack: &own.name, ..split }.at(order.len());
                self.add(&made, name, &members, &shifted, t)?;
            }
            order.push(from + offset);
        }
        Ok(())
    }

    /// Says which gradients have values that no layer gets.
    fn note_gradients(&mut self, slice: &Slice, place: &str, layers: usize) {
        let own = slice.sources.iter().map(|source| &source.parameters);
        for parameters in own.chain([&slice.parameters, &self.document.parameters]) {
            for (name, count) in parameters.gradients().filter(|(_, count)| *count > layers) {
                self.notes
                    .push(format!("{place}: {name} has {count} values for {layers} layers, which skip some of them"));
            }
        }
    }

    /// Tensors outside the layers.
    fn outside(&mut self, names: &[String], slice: &'a Slice, place: &str) -> Result<()> {
        let members = self.members(slice, place)?;
        names.iter().try_for_each(|name| self.add(name, name, &members, &[], 0.0))
    }

    /// Where a constant is copied from: `name` in the first member that has it.
    fn holder(&self, name: &str, members: &Members<'_>) -> (usize, String) {
        let holder = members.list.iter().find(|member| self.dict(member.model).contains(name));
        (holder.map_or(self.donor, |member| member.model), name.to_owned())
    }

    /// The tensor of each member: the one of its own name in `named`, or else of `name`.
    fn sources(&self, name: &str, members: &Members<'_>, named: &[String]) -> Result<Vec<(usize, String)>> {
        let source = |(at, member): (usize, &Member)| {
            let wanted = named.get(at).map_or(name, String::as_str);
            let (reference, model) = &self.models[member.model];
            found(model, wanted).map(|name| (member.model, name)).ok_or_else(|| {
                let donor = &self.models[self.donor].0.0;
                let message = format!("'{}' has no tensor '{wanted}', which {donor} has", reference.0);
                let error = Error { tensor: Some(wanted.to_owned()), ..Error::input(message).of(model.path()) };
                error.hint("networks that are merged have tensors of the same names; `otfuse inspect` lists them")
            })
        };
        members.list.iter().enumerate().map(source).collect()
    }

    /// Plans a tensor `made` of the members' tensors, at the place `t` between the first and the last layer.
    fn add(&mut self, made: &str, name: &str, members: &Members<'_>, named: &[String], t: f64) -> Result<()> {
        let is_copied = is_constant(made);
        let (sources, numbers) = if is_copied {
            (vec![self.holder(name, members)], Numbers::default())
        } else {
            let sources = self.sources(name, members, named)?;
            let numbers = self.numbers(made, members, &sources, t)?;
            (sources, numbers)
        };
        self.taken.extend(sources.iter().cloned());
        let own = self.dict(sources[0].0).get(&sources[0].1);
        let (data_type, shape) = own.map_or((DataType::F32, Vec::new()), |own| (own.data_type(), own.shape().to_vec()));
        self.tensors.push(Planned { name: made.to_owned(), data_type, shape, tied: None });
        let (base, working) = (members.base, data_type);
        self.parts.push(Part { sources, base, numbers, working, tokens: None, is_copied });
        Ok(())
    }

    /// What the method is told for a tensor.
    fn numbers(&self, made: &str, members: &Members<'_>, sources: &[(usize, String)], t: f64) -> Result<Numbers> {
        let (slice, document) = (members.slice, self.document);
        let said = |model: Option<usize>, parameter: &merge::Parameter| {
            // Filters go by the result's name, those of one network by its own.
            let (source, name) = match model {
                Some(at) => (members.list[at].source, sources[at].1.as_str()),
                None => (None, made),
            };
            let of_source = source.and_then(|at| slice.sources[at].parameters.at(parameter.name, name, t));
            let of_slice = of_source.or_else(|| slice.parameters.at(parameter.name, name, t));
            of_slice.or_else(|| document.parameters.at(parameter.name, name, t))
        };
        let count = members.list.len();
        let numbers = numbers(self.method, count, &said);
        for parameter in self.method.parameters().iter().filter(|parameter| parameter.default.is_none()) {
            let lacks = match parameter.scope {
                Scope::Tensor => (!numbers.tensor.contains_key(parameter.name)).then(|| "parameters".to_owned()),
                Scope::Model => (0..count)
                    .find(|&at| Some(at) != members.base && !numbers.models[at].contains_key(parameter.name))
                    .map(|at| match members.list[at].source {
                        Some(source) if document.is_whole => format!("models[{source}].parameters"),
                        _ => format!("parameters of '{}'", self.models[members.list[at].model].0.0),
                    }),
            };
            if let Some(place) = lacks {
                let error = missing_parameter(parameter, &place);
                return Err(Error { message: format!("{} for '{made}'", error.message), ..error });
            }
        }
        Ok(numbers)
    }

    /// Tensors of whole networks that have no part in the result.
    pub fn left_out(&self) -> Vec<String> {
        if !self.document.is_whole {
            return Vec::new();
        }
        let used: BTreeSet<usize> = self.parts.iter().flat_map(|part| &part.sources).map(|(model, _)| *model).collect();
        let mut left = Vec::new();
        for model in used {
            let reference = &self.models[model].0;
            let is_left = |name: &&str| !self.taken.contains(&(model, (*name).to_owned())) && !is_constant(name);
            left.extend(self.dict(model).names().filter(is_left).map(|name| format!("{}: {name}", reference.0)));
        }
        left.sort();
        left
    }
}
