//! Networks as chains of blocks.
//!
//! A value that every path from the inputs to the outputs passes is a *waist*; what lies between two of them is a
//! [`Segment`]: an activation, a convolution, or a residual branch together with its sum. Segments that occur again and
//! again are the blocks of a network, whatever its family ([`blocks_of`]).

mod repeat;
mod segment;

pub use repeat::{Block, blocks_of};
pub use segment::{Segment, segments};
