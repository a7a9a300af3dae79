//! Applying the maps of whole groups along single axes: for networks without groups within groups, where every axis can be
//! mapped by itself.

use otfuse_graph::{AxisLayout, GroupId};

use crate::map::LinearMap;

/// Sizes and maps of the groups on an axis.
pub(crate) struct AxisMaps<'a> {
    /// The model's number of neurons of a group.
    pub size: &'a dyn Fn(GroupId) -> usize,
    /// The group's map; `None` to leave its neurons where they are.
    pub map: &'a dyn Fn(GroupId) -> Option<&'a LinearMap>,
}

impl AxisMaps<'_> {
    /// Maps the middle axis, laid out as `layout`, of an `outer x length x inner` array. Returns the new array and the
    /// new length of the axis.
    pub fn apply(&self, data: Vec<f32>, outer: usize, layout: &AxisLayout, inner: usize) -> (Vec<f32>, usize) {
        match layout {
            AxisLayout::Fixed(length) => (data, *length),
            AxisLayout::Group(group) => match (self.map)(*group) {
                Some(map) => (map.apply(&data, outer, inner), map.targets()),
                None => (data, (self.size)(*group)),
            },
            AxisLayout::Product(factors) => self.product(data, outer, factors, inner),
            AxisLayout::Sequence(parts) => self.sequence(&data, outer, parts, inner),
        }
    }

    fn product(&self, data: Vec<f32>, outer: usize, factors: &[AxisLayout], inner: usize) -> (Vec<f32>, usize) {
        let mut rest: usize = factors.iter().map(|factor| factor.length(&self.size)).product();
        let mut mapped = 1;
        let mut data = data;
        for factor in factors {
            rest /= factor.length(&self.size).max(1);
            let length;
            (data, length) = self.apply(data, outer * mapped, factor, rest * inner);
            mapped *= length;
        }
        (data, mapped)
    }

    fn sequence(&self, data: &[f32], outer: usize, parts: &[AxisLayout], inner: usize) -> (Vec<f32>, usize) {
        let lengths: Vec<usize> = parts.iter().map(|part| part.length(&self.size)).collect();
        let row = lengths.iter().sum::<usize>() * inner;
        let mut offset = 0;
        let mapped: Vec<(Vec<f32>, usize)> = parts
            .iter()
            .zip(&lengths)
            .map(|(part, &length)| {
                let columns = offset * inner..(offset + length) * inner;
                offset += length;
                let piece = (0..outer).flat_map(|o| &data[o * row..][columns.clone()]).copied().collect();
                self.apply(piece, outer, part, inner)
            })
            .collect();
        let total: usize = mapped.iter().map(|(_, length)| length).sum();
        let mut joined = Vec::with_capacity(outer * total * inner);
        for o in 0..outer {
            for (piece, length) in &mapped {
                joined.extend_from_slice(&piece[o * length * inner..(o + 1) * length * inner]);
            }
        }
        (joined, total)
    }
}
