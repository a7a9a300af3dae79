//! What can go wrong with a network in a file.

use std::fmt;
use std::path::{Path, PathBuf};

use otfuse_graph::{DataType, Tensor};

use crate::FormatError;
use crate::catalogue::{CatalogueError, Family};
use crate::hf::HfError;

/// A network could not be read from a file or written to one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file itself.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The state dict is not a network of the family asked for.
    #[error("{}: {source}", path.display())]
    Catalogue {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: Box<CatalogueError>,
    },
    /// A folder that is no network of a Hugging Face family known here.
    #[error("{}: {source}", path.display())]
    HuggingFace {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        source: Box<HfError>,
    },
    /// A file of tensors only, and nothing said of the network.
    #[error("{}: expected a network, found {tensors} tensors without a graph", path.display())]
    NoArchitecture {
        /// The file.
        path: PathBuf,
        /// The number of tensors.
        tensors: usize,
        /// The families that the tensors form a network of.
        fitting: Vec<Family>,
    },
    /// No family has this name.
    #[error("expected the name of an architecture or an ONNX file, found '{found}'")]
    UnknownArchitecture {
        /// What was given.
        found: String,
        /// The family that may be meant.
        suggestion: Option<Family>,
    },
    /// The tensors are not those of the ONNX file that stands for the network.
    #[error("{}: {}", path.display(), describe(architecture, problems, *count))]
    OtherNetwork {
        /// The state dict's file.
        path: PathBuf,
        /// The ONNX file.
        architecture: PathBuf,
        /// What differs: the first few.
        problems: Vec<TensorProblem>,
        /// How many tensors differ.
        count: usize,
    },
    /// The weights to be saved are not those of the network that was read.
    #[error("{}: tensor '{tensor}': expected {expected}, found {found}", path.display())]
    Save {
        /// The file to be written.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What the network that was read has.
        expected: String,
        /// What there is to save.
        found: String,
    },
}

/// What to do about integer weights.
pub(crate) const QUANTIZED: &str = "these weights are quantised: fuse the networks as they were before, in float32, float16 or \
                                    bfloat16, and quantise the result";

/// A difference between a state dict and an ONNX file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorProblem {
    /// The ONNX file has a weight that the state dict lacks.
    #[error("'{tensor}' of shape {expected:?} is missing")]
    Missing {
        /// The initializer.
        tensor: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// The state dict has a tensor that the ONNX file lacks.
    #[error("'{tensor}' of shape {found:?} is unexpected")]
    Unexpected {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// Both have it, in different forms.
    #[error("'{tensor}': expected {expected}, found {found}")]
    Mismatch {
        /// The tensor.
        tensor: String,
        /// That of the ONNX file.
        expected: Form,
        /// That of the state dict.
        found: Form,
    },
}

/// Type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The element type; none where it does not matter.
    pub data_type: Option<DataType>,
    /// The lengths of its axes.
    pub shape: Vec<usize>,
}

impl From<&Tensor> for Form {
    fn from(tensor: &Tensor) -> Self {
        Self { data_type: Some(tensor.data_type()), shape: tensor.shape().to_vec() }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.data_type {
            Some(data_type) => write!(f, "{data_type} of shape {:?}", self.shape),
            None => write!(f, "shape {:?}", self.shape),
        }
    }
}

impl TensorProblem {
    /// Whether integers stand where the network has numbers.
    fn is_quantized(&self) -> bool {
        let Self::Mismatch { expected, found, .. } = self else { return false };
        let is_float = |form: &Form| form.data_type.is_none_or(DataType::is_float);
        is_float(expected) && !is_float(found)
    }

    /// Whether both have as many axes, of other lengths.
    fn is_of_other_widths(&self) -> bool {
        let Self::Mismatch { expected, found, .. } = self else { return false };
        expected.shape.len() == found.shape.len() && expected.shape != found.shape
    }

    /// Whether both have the same lengths, of other element types.
    fn is_of_other_type(&self) -> bool {
        let Self::Mismatch { expected, found, .. } = self else { return false };
        expected.shape == found.shape
    }
}

fn describe(architecture: &Path, problems: &[TensorProblem], count: usize) -> String {
    let mut text = format!("expected the tensors of {}, found {count} that differ: ", architecture.display());
    let shown: Vec<String> = problems.iter().map(TensorProblem::to_string).collect();
    text.push_str(&shown.join(", "));
    if count > problems.len() {
        text.push_str(&format!(" and {} more", count - problems.len()));
    }
    text
}

impl ModelError {
    /// Whether the file is read once it is said what network its tensors are of.
    pub fn takes_architecture(&self) -> bool {
        match self {
            Self::NoArchitecture { .. } => true,
            Self::HuggingFace { source, .. } => {
                matches!(&**source, HfError::Config { field, .. } if field == "model_type")
            }
            _ => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let names = || Family::ALL.map(Family::name).join(", ");
        match self {
            Self::Format(error) => error.hint(),
            Self::Catalogue { source, .. } => source.hint(),
            Self::HuggingFace { source, .. } => source.hint(),
            Self::NoArchitecture { fitting, .. } if fitting.is_empty() => {
                "no family of the catalogue fits: give an ONNX file of the same network, --arch FILE.onnx".into()
            }
            Self::NoArchitecture { fitting, .. } => {
                let fitting: Vec<String> = fitting.iter().map(|family| format!("--arch {family}")).collect();
                format!("add {}, or an ONNX file of the same network, --arch FILE.onnx", fitting.join(" or "))
            }
            Self::UnknownArchitecture { suggestion: Some(family), .. } => {
                format!("did you mean '{family}'? there are {} and FILE.onnx", names())
            }
            Self::UnknownArchitecture { suggestion: None, .. } => format!("there are {} and FILE.onnx", names()),
            Self::OtherNetwork { problems, .. } if problems.iter().any(TensorProblem::is_quantized) => {
                QUANTIZED.into()
            }
            Self::OtherNetwork { problems, .. } if problems.iter().any(TensorProblem::is_of_other_widths) => {
                "the ONNX file is of a network of other widths: export it from this one (of a pruned network `otfuse prune` writes \
                 it, with --output NAME.onnx), and where networks are of unequal widths give --arch once for each of them, in \
                 their order"
                    .into()
            }
            Self::OtherNetwork { problems, .. } if problems.iter().all(TensorProblem::is_of_other_type) => {
                "save the weights in the type of the ONNX file, for float32 {k: v.float() for k, v in state_dict.items()}, or \
                 export it from the module in the type of the weights, as module.double()"
                    .into()
            }
            Self::OtherNetwork { .. } => {
                "export the ONNX file again from the module that the state dict is of, so that its \
                 tensors keep their names: torch.onnx.export(module.eval(), inputs, 'net.onnx', dynamo=True, \
                 optimize=False), before torch 2.5 torch.onnx.export(module.eval(), inputs, 'net.onnx', \
                 training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)"
                    .into()
            }
            Self::Save { expected, .. } if expected.ends_with("can hold") => {
                "choose a wider element type: `dtype` float32, or a network of a wider one as the anchor".into()
            }
            Self::Save { .. } => "save the network in the ONNX format".into(),
        }
    }
}
