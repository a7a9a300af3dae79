//! Networks of unequal depth.
//!
//! Layers of two networks are paired in order ([`pair_blocks`]); the shallower one gets blocks that change nothing where the
//! deeper one has more ([`deepen`]), so that both are one architecture and are fused as usual; and blocks can be taken out of the
//! result again, the others being fitted to what it computes ([`shorten`]). Pairing layers of networks of unequal depth by
//! dynamic programming is due to D. Nguyen et al., "On cross-layer alignment for model fusion of heterogeneous neural networks"
//! (CLAFusion, arXiv:2110.15538), who average the layers in between or insert identities behind rectifiers.

mod deepen;
mod error;
mod likeness;
mod nothing;
mod pairs;
mod range;
mod shorten;
mod template;
mod walk;

pub use deepen::{Deepened, deepen};
pub use error::DepthError;
pub use likeness::{Alike, likeness_of_weights};
pub use pairs::{Cut, pair_blocks};
pub use shorten::{shorten, split_weights};
