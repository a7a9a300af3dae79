//! The sizes of a convolution over two spatial axes.

use std::ops::Range;

/// A spatial axis under a convolution. An axis of length 1 under a kernel of length 1 makes a convolution over one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingAxis {
    /// Elements of the input.
    pub input: usize,
    /// Elements of the kernel.
    pub kernel: usize,
    /// Input elements from one window to the next.
    pub stride: usize,
    /// Input elements from one element of a window to the next.
    pub dilation: usize,
    /// Zeros in front of the input.
    pub before: usize,
    /// Zeros behind the input.
    pub after: usize,
    /// Windows that fit: `(before + input + after - dilation (kernel - 1) - 1) / stride + 1`.
    pub output: usize,
}

impl SlidingAxis {
    /// Padded input elements that `outputs` windows in a row reach over.
    pub(super) fn reach(&self, outputs: usize) -> usize {
        (outputs - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
    }

    /// Of `length` padded elements from `start` on, those that are not padding, counted from `start`.
    pub(super) fn within(&self, start: usize, length: usize) -> Range<usize> {
        let first = self.before.saturating_sub(start).min(length);
        let end = (self.before + self.input).saturating_sub(start).clamp(first, length);
        first..end
    }
}

/// A convolution of an input `batch x in_channels x axes[0].input x axes[1].input` with weights
/// `out_channels x in_channels / groups x axes[0].kernel x axes[1].kernel`.
///
/// Both numbers of channels are multiples of `groups`; no length, stride or dilation is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionShape {
    /// Images.
    pub batch: usize,
    /// Groups that channels are divided into; each output channel reads the input channels of its group.
    pub groups: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Rows and columns.
    pub axes: [SlidingAxis; 2],
}

impl ConvolutionShape {
    /// Lengths of the input's axes.
    pub fn input(&self) -> [usize; 4] {
        [self.batch, self.in_channels, self.axes[0].input, self.axes[1].input]
    }

    /// Lengths of the weights' axes.
    pub fn weight(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups, self.axes[0].kernel, self.axes[1].kernel]
    }

    /// Lengths of the output's axes.
    pub fn output(&self) -> [usize; 4] {
        [self.batch, self.out_channels, self.axes[0].output, self.axes[1].output]
    }

    /// Input channels of a group.
    pub(super) fn group_inputs(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of a group.
    pub(super) fn group_outputs(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Elements of a kernel's plane.
    pub(super) fn taps(&self) -> usize {
        self.axes[0].kernel * self.axes[1].kernel
    }

    /// Elements of an input plane.
    pub(super) fn input_plane(&self) -> usize {
        self.axes[0].input * self.axes[1].input
    }

    /// Elements of an output plane.
    pub(super) fn output_plane(&self) -> usize {
        self.axes[0].output * self.axes[1].output
    }
}
