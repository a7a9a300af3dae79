//! Fusing small networks.

mod alignment;
mod cancellation;
mod merging;
mod networks;
mod partial;
mod pruning;
mod widths;
