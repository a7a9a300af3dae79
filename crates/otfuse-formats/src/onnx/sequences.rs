//! Sequences of tensors that are cut and picked from: each part is a slice.

use std::collections::HashMap;

use otfuse_graph::{Operator, Tensor, ValueId};

use super::attributes::Attributes;
use super::proto::{GraphProto, NodeProto};
use super::reader::Reader;
use crate::error::OnnxError;

/// How a tensor is cut.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    /// The node that cuts it.
    node: String,
    x: ValueId,
    axis: i64,
    /// The lengths of the parts, or the one that all but the last have.
    lengths: Vec<i64>,
    is_list: bool,
    /// Parts of length 1 lose the axis.
    drops_axis: bool,
}

impl Sequence {
    /// Where a part begins and ends; `None` if that is not known.
    fn range(&self, index: i64) -> Option<(i64, i64)> {
        if !self.is_list {
            let &[length] = self.lengths.as_slice() else { return None };
            return Some((index.checked_mul(length)?, index.checked_add(1)?.checked_mul(length)?))
                .filter(|_| index >= 0);
        }
        let count = i64::try_from(self.lengths.len()).ok()?;
        let place = usize::try_from(if index < 0 { index + count } else { index }).ok()?;
        let length = *self.lengths.get(place)?;
        let start: i64 = self.lengths[..place].iter().sum();
        Some((start, start + length))
    }
}

/// The indices that each sequence is read with, where nothing else reads it.
pub(super) fn readers(graph: &GraphProto) -> HashMap<String, Option<Vec<String>>> {
    let mut found: HashMap<String, Option<Vec<String>>> = HashMap::new();
    for node in &graph.node {
        let is_pick = node.op_type.as_deref() == Some("SequenceAt");
        for (position, name) in node.input.iter().enumerate() {
            let indices = found.entry(name.clone()).or_insert_with(|| Some(Vec::new()));
            match (is_pick && position == 0, node.input.get(1)) {
                (true, Some(index)) => indices.iter_mut().for_each(|indices| indices.push(index.clone())),
                _ => *indices = None,
            }
        }
        for name in super::names::captured(node) {
            found.insert(name.to_owned(), None);
        }
    }
    for output in graph.output.iter().filter_map(|output| output.name.clone()) {
        found.insert(output, None);
    }
    found
}

impl Reader<'_> {
    /// Reads `SplitToSequence` and the `SequenceAt` behind it as slices. `false` for other nodes, and where parts are not
    /// known.
    pub(super) fn sequence(&mut self, node: &NodeProto, name: &str) -> Result<bool, OnnxError> {
        let value = |position: usize| node.input.get(position).filter(|name| !name.is_empty());
        let (Some(first), [output]) = (value(0), node.output.as_slice()) else { return Ok(false) };
        match node.op_type.as_deref() {
            Some("SplitToSequence") => {
                let attributes = Attributes::new(node, name);
                let (axis, keeps) =
                    (attributes.int("axis")?.unwrap_or(0), attributes.flag("keepdims")?.unwrap_or(true));
                let constant = |name: &String| self.editor.graph().initializer(self.editor.find(name)?).cloned();
                let (lengths, is_list) = match value(1) {
                    None => (vec![1], false),
                    Some(lengths) => match constant(lengths) {
                        Some(tensor) => (tensor.to_i64().unwrap_or_default(), !tensor.shape().is_empty()),
                        None => return Ok(false),
                    },
                };
                let Some(x) = self.value(first) else { return Ok(false) };
                let drops_axis = !keeps && value(1).is_none();
                let sequence = Sequence { node: name.to_owned(), x, axis, lengths, is_list, drops_axis };
                let Some(Some(indices)) = self.picks.get(output) else { return Ok(false) };
                let known = indices.iter().all(|index| self.index(index).and_then(|at| sequence.range(at)).is_some());
                if known {
                    self.sequences.insert(output.clone(), sequence);
                }
                Ok(known)
            }
            Some("SequenceAt") => {
                let index = value(1).and_then(|index| self.index(index));
                let (Some(sequence), Some(index)) = (self.sequences.get(first).cloned(), index) else {
                    return Ok(false);
                };
                let Some((start, end)) = sequence.range(index) else { return Ok(false) };
                // What has no name is known by the cut.
                let of_cut = format!("{}_{}", sequence.node, if sequence.drops_axis { "Gather" } else { "Slice" });
                let is_named = node.name.as_deref().is_some_and(|name| !name.is_empty());
                self.part(if is_named { name } else { &of_cut }, &sequence, (start, end), output);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn part(&mut self, name: &str, sequence: &Sequence, (start, end): (i64, i64), output: &str) {
        let output = self.value(output);
        let x = Some(sequence.x);
        let mut list = |what: &str, value: i64| {
            Some(self.editor.add_initializer(format!("{name}_{what}"), Tensor::from_i64(&[1], vec![value])))
        };
        let added = if sequence.drops_axis {
            let index = Some(self.editor.add_initializer(format!("{name}_index"), Tensor::from_i64(&[], vec![start])));
            self.editor.add_node(name, Operator::Gather { axis: sequence.axis }, vec![x, index], vec![output])
        } else {
            let inputs = vec![x, list("start", start), list("end", end), list("axis", sequence.axis)];
            self.editor.add_node(name, Operator::Slice, inputs, vec![output])
        };
        self.hints.observe(self.editor.graph(), added);
    }

    /// The number that a constant index is.
    fn index(&self, name: &str) -> Option<i64> {
        let tensor = self.editor.graph().initializer(self.editor.find(name)?)?;
        <[i64; 1]>::try_from(tensor.to_i64()?).ok().map(|[index]| index)
    }
}
