//! Checked geometry of sliding windows.

use otfuse_graph::{Padding, Window};

use super::fault::{Fault, Outcome};

/// One spatial axis under a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sliding {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) before: usize,
    pub(super) after: usize,
    pub(super) output: usize,
}

impl Sliding {
    /// An axis of one element.
    pub(super) const SINGLE: Self = Self { kernel: 1, stride: 1, dilation: 1, before: 0, after: 0, output: 1 };

    /// The padded input elements that the windows cover.
    pub(super) fn covered(&self) -> usize {
        let steps = self.output.saturating_sub(1).saturating_mul(self.stride);
        steps.saturating_add(self.kernel.saturating_sub(1).saturating_mul(self.dilation)).saturating_add(1)
    }
}

/// The geometry of each of the spatial axes of an input.
pub(super) fn slide(window: &Window, input: &[usize], kernel: &[usize], ceil: bool) -> Outcome<Vec<Sliding>> {
    let rank = input.len();
    check(window, rank)?;
    if kernel.len() != rank || kernel.contains(&0) {
        let expected = format!("{rank} positive lengths");
        return Err(Fault::new("kernel", expected, format!("{kernel:?}")));
    }
    (0..rank)
        .map(|axis| {
            let (before, after) = window.pads(axis, rank, input[axis], kernel[axis]);
            let output = window.output(axis, rank, input[axis], kernel[axis], ceil);
            let output = output.filter(|&output| output > 0).ok_or_else(|| {
                let extent = window.extent(axis, kernel[axis]);
                let padded = input[axis].saturating_add(before).saturating_add(after);
                Fault::new(format!("padded spatial axis {axis}"), format!("at least {extent} elements"), padded)
            })?;
            Ok(Sliding {
                kernel: kernel[axis],
                stride: window.stride(axis),
                dilation: window.dilation(axis),
                before,
                after,
                output,
            })
        })
        .collect()
}

/// As many strides, dilations and pads as there are spatial axes (or none), strides and dilations positive.
pub(super) fn check(window: &Window, rank: usize) -> Outcome<()> {
    for (name, values) in [("strides", &window.strides), ("dilations", &window.dilations)] {
        if (!values.is_empty() && values.len() != rank) || values.contains(&0) {
            let expected = format!("{rank} positive numbers");
            return Err(Fault::new(name, expected, format!("{values:?}")));
        }
    }
    match &window.padding {
        Padding::Explicit(pads) if !pads.is_empty() && pads.len() != 2 * rank => {
            Err(Fault::new("pads", format!("{} numbers", 2 * rank), format!("{pads:?}")))
        }
        _ => Ok(()),
    }
}
