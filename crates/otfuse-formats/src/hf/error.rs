//! What can be wrong with a Hugging Face folder.

use crate::FormatError;

/// Why the network of a Hugging Face folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HfError {
    /// One of the folder's files.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The folder lacks a file.
    #[error("expected a file, or a folder with {expected}; found a directory without")]
    MissingFile {
        /// The files that would do.
        expected: &'static str,
    },
    /// What was trained beside a base, and is no network without it.
    #[error("expected a network, found {kind}{}", of_base(.base))]
    Adapter {
        /// What kind it is.
        kind: String,
        /// The base that it was trained for, if it says so.
        base: Option<String>,
    },
    /// A setting that is missing, malformed, or not supported.
    #[error("config.json: '{field}': expected {expected}, found {found}")]
    Config {
        /// The setting.
        field: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The weights lack a tensor that the settings ask for.
    #[error("'{tensor}': expected {role}, found no such tensor")]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// What it is for.
        role: String,
    },
    /// A tensor of another form than the settings ask for.
    #[error("'{tensor}': expected {expected}, found {found}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// Type and shape that the settings ask for.
        expected: String,
        /// Type and shape there.
        found: String,
    },
    /// The layers do not make a network whose shapes agree.
    #[error("the layers do not fit together: {found}")]
    Graph {
        /// What the check of the graph found.
        found: String,
    },
}

impl HfError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Format(error) => error.hint(),
            Self::MissingFile { .. } => "name a file inside it, or a folder that save_pretrained has written".into(),
            Self::Adapter { kind, .. } if kind.contains("LoRA") => {
                "merge it into its base first: `otfuse merge-lora BASE ADAPTER -o MERGED`, then take the merged network"
                    .into()
            }
            Self::Adapter { .. } => "merge it into its base first: PeftModel.from_pretrained(base, folder)\
                                     .merge_and_unload().save_pretrained(merged), then fuse the merged folders"
                .into(),
            Self::Config { field, .. } if field == "model_type" => {
                "export the network to ONNX and add `--arch FILE.onnx`, or fuse the ONNX files themselves".into()
            }
            Self::Config { .. } => {
                "the network would compute something else; an ONNX export of it can be fused instead".into()
            }
            Self::MissingTensor { .. } | Self::Tensor { .. } | Self::Graph { .. } => {
                "config.json and the weights must be of the same network: save it again with save_pretrained".into()
            }
        }
    }
}

fn of_base(base: &Option<String>) -> String {
    base.as_ref().map_or_else(String::new, |base| format!(" of '{base}'"))
}
