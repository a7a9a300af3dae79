//! ONNX files: read into a graph, and written from one.
//!
//! | file | what it does |
//! |---|---|
//! | `proto/` | the messages of the format |
//! | `reader` | a model becomes a graph: constants, then nodes in the file's order |
//! | `attributes`, `call`, `hints` | one node on its way into the graph |
//! | `operators/` | each family of operators: every version's attributes in, the newest form's out |
//! | `shared` | equal constants that were written once get apart |
//! | `sequences` | parts of a tensor that are picked from a sequence |
//! | `control` | the bodies of control flow |
//! | `template` | the network's tensors back into the file that it came from |
//! | `writer` | a network as a file of its own |
//! | `disk` | files in and out |
//! | `external` | tensors in files beside the model |
//! | `encode` | the file's bytes, large tensors in a file beside it |

mod attributes;
mod call;
mod constants;
mod control;
mod data_type;
mod disk;
mod encode;
mod external;
mod hints;
mod names;
mod operators;
pub mod proto;
mod reader;
mod readers;
mod sequences;
mod shape;
mod shared;
mod template;
mod tensor;
mod undeclared;
mod writer;

pub use crate::error::OnnxError;
pub(crate) use disk::data_path;
pub use disk::{open_onnx, write_onnx, write_onnx_to};
pub use encode::{EncodedModel, ExternalData, WriteOptions, encode_onnx};
pub use operators::{FIRST_VERSIONS, first_version};
pub use reader::{OnnxModel, read_onnx};
pub use template::Template;
pub use writer::to_proto;
