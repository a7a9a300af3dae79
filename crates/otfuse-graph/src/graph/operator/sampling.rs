//! Sampling between positions.

/// See [`Operator::Resize`](super::Operator::Resize).
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// How elements between positions are made.
    pub mode: ResizeMode,
    /// Where in the input an element of the output lies.
    pub coordinates: Coordinates,
    /// The axes that `roi`, `scales` and `sizes` are for; all if absent. May be negative.
    pub axes: Option<Vec<i64>>,
    /// Widen the kernel when shrinking.
    pub antialias: bool,
    /// Neighbours beyond the edge have no weight; else the edge is repeated.
    pub exclude_outside: bool,
    /// Elements whose place is outside of the input, under [`Coordinates::CropAndResize`].
    pub extrapolation: f32,
    /// What `sizes` asks of the ratio of the axes.
    pub aspect: Aspect,
}

impl Resize {
    /// The output's length for a scale.
    pub fn scaled(length: usize, scale: f32) -> usize {
        (length as f32 * scale).floor() as usize
    }
}

/// How [`Resize`] makes elements between positions.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum ResizeMode {
    Nearest(Nearest),
    Linear,
    Cubic {
        /// The kernel's parameter.
        a: f32,
    },
}

/// Which neighbour is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// Where in the input an element of the output lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    CropAndResize,
}

/// What the sizes given to [`Resize`] ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// Exactly these sizes.
    Stretch,
    /// The largest of the same ratio within them.
    NotLarger,
    /// The smallest of the same ratio around them.
    NotSmaller,
}

impl Aspect {
    /// The lengths that sizes ask for, given the input's lengths along the same axes.
    pub fn sizes(self, lengths: &[usize], sizes: &[usize]) -> Vec<usize> {
        let ratios = lengths.iter().zip(sizes).map(|(&length, &size)| size as f64 / length.max(1) as f64);
        let ratio = match self {
            Self::Stretch => return sizes.to_vec(),
            Self::NotLarger => ratios.fold(f64::INFINITY, f64::min),
            Self::NotSmaller => ratios.fold(0.0, f64::max),
        };
        // A half is rounded up.
        lengths.iter().map(|&length| (ratio * length as f64 + 0.5).floor() as usize).collect()
    }
}

/// See [`Operator::GridSample`](super::Operator::GridSample).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GridSample {
    /// How elements between positions are made.
    pub mode: GridMode,
    /// What lies outside of the input.
    pub padding: GridPadding,
    /// -1 and 1 are the centres of the outermost elements instead of their edges.
    pub align_corners: bool,
}

/// How [`GridSample`] makes elements between positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum GridMode {
    Linear,
    Nearest,
    Cubic,
}

/// What lies outside of the input of [`GridSample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum GridPadding {
    Zeros,
    Border,
    Reflection,
}
