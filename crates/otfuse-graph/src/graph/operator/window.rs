//! Sliding windows: what convolutions and pools share.

/// How the spatial axes are padded before a window slides over them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Padding {
    /// Elements added before each spatial axis, then after each (`[top, left, bottom, right]`); empty for none.
    Explicit(Vec<usize>),
    /// As much as makes the output `ceil(input / stride)`; the odd element goes to the end.
    SameUpper,
    /// As `SameUpper`; the odd element goes to the beginning.
    SameLower,
}

/// Strides, dilations and padding of a window. Empty lists stand for the operator's default (1 everywhere).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Step along each spatial axis.
    pub strides: Vec<usize>,
    /// Distance between the elements of the window along each spatial axis.
    pub dilations: Vec<usize>,
    /// Padding of each spatial axis.
    pub padding: Padding,
}

impl Default for Window {
    fn default() -> Self {
        Self { strides: Vec::new(), dilations: Vec::new(), padding: Padding::Explicit(Vec::new()) }
    }
}

impl Window {
    /// Whether a window of one element visits each element of a spatial axis, one of `rank`, once and in order.
    pub(crate) fn visits_each(&self, axis: usize, rank: usize) -> bool {
        let is_padded = match &self.padding {
            Padding::Explicit(pads) => [axis, axis + rank].iter().any(|&at| pads.get(at).is_some_and(|&pad| pad > 0)),
            Padding::SameUpper | Padding::SameLower => false,
        };
        !is_padded && self.strides.get(axis).is_none_or(|&stride| stride == 1)
    }

    /// A window with one stride and one symmetric padding for each of `rank` spatial axes.
    pub fn uniform(rank: usize, stride: usize, pad: usize) -> Self {
        Self { strides: vec![stride; rank], dilations: vec![1; rank], padding: Padding::Explicit(vec![pad; 2 * rank]) }
    }

    /// The step along a spatial axis.
    pub fn stride(&self, axis: usize) -> usize {
        self.strides.get(axis).copied().unwrap_or(1)
    }

    /// The dilation along a spatial axis.
    pub fn dilation(&self, axis: usize) -> usize {
        self.dilations.get(axis).copied().unwrap_or(1)
    }

    /// The input elements that a window of `kernel` elements spans along a spatial axis.
    pub fn extent(&self, axis: usize, kernel: usize) -> usize {
        kernel.saturating_sub(1).saturating_mul(self.dilation(axis)).saturating_add(1)
    }

    /// The elements added before and after a spatial axis of `input` elements (of `rank` spatial axes).
    pub fn pads(&self, axis: usize, rank: usize, input: usize, kernel: usize) -> (usize, usize) {
        match &self.padding {
            Padding::Explicit(pads) => {
                (pads.get(axis).copied().unwrap_or(0), pads.get(rank + axis).copied().unwrap_or(0))
            }
            same => {
                let stride = self.stride(axis).max(1);
                let output = input.div_ceil(stride);
                let spanned = output.saturating_sub(1) * stride + self.extent(axis, kernel);
                let total = spanned.saturating_sub(input);
                let small = total / 2;
                if *same == Padding::SameUpper { (small, total - small) } else { (total - small, small) }
            }
        }
    }

    /// The output length along a spatial axis, or `None` if the window does not fit once. With `ceil`, a last
    /// window may start inside the input or its leading padding and hang over the end.
    pub fn output(&self, axis: usize, rank: usize, input: usize, kernel: usize, ceil: bool) -> Option<usize> {
        let (before, after) = self.pads(axis, rank, input, kernel);
        let stride = self.stride(axis);
        let padded = input.checked_add(before)?.checked_add(after)?;
        let steps = padded.checked_sub(self.extent(axis, kernel))?;
        if stride == 0 {
            return None;
        }
        let mut output = if ceil { steps.div_ceil(stride) } else { steps / stride } + 1;
        if ceil && (output - 1) * stride >= input + before {
            output -= 1;
        }
        Some(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_lengths() {
        let window = Window::uniform(2, 2, 1);
        assert_eq!(window.output(0, 2, 32, 3, false), Some(16));
        assert_eq!(Window::default().output(0, 2, 2, 3, false), None);
        let same = Window { strides: vec![2], padding: Padding::SameUpper, ..Window::default() };
        assert_eq!(same.output(0, 1, 5, 3, false), Some(3));
        assert_eq!(same.pads(0, 1, 6, 3), (0, 1));
        let pool = Window { strides: vec![2], ..Window::default() };
        assert_eq!((pool.output(0, 1, 6, 3, false), pool.output(0, 1, 6, 3, true)), (Some(2), Some(3)));
    }
}
