//! The catalogue: networks for state dicts, which carry tensors and no graph.
//!
//! A family says how the layers hang together; sizes, depth and options are read off the names and shapes. Names of
//! initializers are the names in the state dict, so that a network's weights find their way back.
//!
//! | file | what it does |
//! |---|---|
//! | `layers` | tensors grouped into layers, wrappers' prefixes (`module.`) set aside |
//! | `sketch` | the graph, layer by layer |
//! | `geometry` | image size, padding and pools that lead to the first linear layer's inputs |
//! | `stages` | convolutions in a row, then linear layers |
//! | `mlp`, `vgg`, `resnet`, `lenet`, `sequential` | the families |
//! | `spec`, `draft` | the other way: names with depths, options and widths, and the tensors that PyTorch's module has |

mod draft;
mod error;
mod geometry;
mod layers;
mod lenet;
mod mlp;
mod resnet;
mod sequential;
mod sketch;
mod spec;
mod stages;
mod vgg;

use std::fmt;

use otfuse_graph::Graph;

use crate::StateDict;

pub use error::{CatalogueError, Misfit};
use layers::Layers;

pub use spec::{NetworkSpec, SpecError};

/// The name of every network's input.
pub const INPUT: &str = "input";
/// The name of every network's output: no softmax is added.
pub const OUTPUT: &str = "logits";

/// A family of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Linear layers with ReLU, and batch normalisation if the state dict has it.
    Mlp,
    /// VGG (Simonyan and Zisserman, 2015): `features.N`, `classifier`.
    Vgg,
    /// Residual networks (He et al., 2016) for CIFAR and ImageNet: `conv1`, `layer1.0.conv1`, ..., `fc`.
    ResNet,
    /// LeNet-5 (LeCun et al., 1998) as PyTorch's tutorial has it: `conv1`, `conv2`, `fc1`, ...
    LeNet,
    /// Convolutions, then linear layers, in the order of the state dict.
    Sequential,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 5] = [Self::Mlp, Self::Vgg, Self::ResNet, Self::LeNet, Self::Sequential];

    /// The family's name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Vgg => "vgg",
            Self::ResNet => "resnet",
            Self::LeNet => "lenet",
            Self::Sequential => "sequential",
        }
    }

    /// The family of a name; a depth, options or widths behind it (`resnet20`, `vgg11_bn`, `mlp:400-200`) are read off
    /// the tensors anyway.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let base = name.strip_suffix("_bn").unwrap_or(&name).trim_end_matches(|c: char| c.is_ascii_digit());
        let found = Self::ALL.into_iter().find(|family| family.name() == base.trim_end_matches(['-', '_']));
        found.or_else(|| name.parse::<NetworkSpec>().ok().map(|spec| spec.family()))
    }

    /// The network of a state dict.
    ///
    /// # Errors
    /// [`CatalogueError`] naming the tensor that does not fit and the families that would.
    pub fn build(self, dict: &StateDict) -> Result<Graph, CatalogueError> {
        self.draw(dict).map_err(|misfit| {
            let fits = |other: &Self| *other != self && other.draw(dict).is_ok();
            CatalogueError { family: self, misfit, others: Self::ALL.into_iter().filter(fits).collect() }
        })
    }

    /// The families that the tensors form a network of.
    pub fn fitting(dict: &StateDict) -> Vec<Self> {
        Self::ALL.into_iter().filter(|family| family.draw(dict).is_ok()).collect()
    }

    fn draw(self, dict: &StateDict) -> Result<Graph, Misfit> {
        let layers = Layers::of(dict)?;
        match self {
            Self::Mlp => mlp::draw(&layers),
            Self::Vgg => vgg::draw(&layers),
            Self::ResNet => resnet::draw(&layers),
            Self::LeNet => lenet::draw(&layers),
            Self::Sequential => sequential::draw(&layers),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
