//! Choosing, adding and replacing elements.

/// What [`Operator::Pad`](super::Operator::Pad) writes beyond the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// How [`Operator::ScatterElements`](super::Operator::ScatterElements) and
/// [`Operator::ScatterNd`](super::Operator::ScatterNd) combine an update with what it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ScatterReduction {
    None,
    Add,
    Mul,
    Min,
    Max,
}

/// How [`Operator::DepthToSpace`](super::Operator::DepthToSpace) splits the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DepthOrder {
    /// Rows and columns of the block, then channels (`DCR`).
    BlockFirst,
    /// Channels, then rows and columns of the block (`CRD`), as PyTorch's pixel shuffle.
    ChannelsFirst,
}
