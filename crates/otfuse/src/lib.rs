//! Fuses independently trained neural networks into one network of the same cost, by optimal transport.
//!
//! This crate is the library's face, the only interface that is kept stable: networks ([`Model`]), samples ([`Dataset`]),
//! fusions ([`Fuse`]) and what else the product does, each a function with a typed result that serialises to the JSON of the
//! command line. All of it works in a [`Context`] and fails with one [`Error`]. The other crates of the workspace stand
//! behind it ([`graph`], [`formats`], [`transport`], [`fusion`], [`runtime`]), for those who build their own.
//!
//! ```standalone_crate
//! use otfuse::{Context, Dataset, Fuse, Model};
//!
//! fn main() -> Result<(), otfuse::Error> {
//! #   let _folder = prepared();
//!     let context = Context::new();
//!     let a = Model::open("a.onnx")?;
//!     let b = Model::open("b.onnx")?;
//!
//!     // What `otfuse fuse a.onnx b.onnx -o fused.onnx` does, to the byte: proved, aligned, averaged, repaired.
//!     let fused = Fuse::new([&a, &b]).run(&context)?;
//!     fused.save("fused.onnx")?;
//!     println!("{} neuron groups matched", fused.report.groups.len());
//!
//!     // With 1,000 unlabelled training samples, and measured on test samples.
//!     let data = Dataset::open("digits")?;
//!     let fitted = Fuse::new([&a, &b]).samples(data.train()?).run(&context)?;
//!     println!("{:?}", fitted.evaluate(&data.test()?, &context)?);
//!     fitted.save("fitted.onnx")
//! }
//! #
//! # /// A folder with two networks, from now on the one that names are relative to.
//! # fn prepared() -> tempfile::TempDir {
//! #     let folder = tempfile::tempdir().expect("a folder");
//! #     std::env::set_current_dir(folder.path()).expect("its own");
//! #     for (name, seed) in [("a.onnx", 1), ("b.onnx", 2)] {
//! #         let graph = otfuse::runtime::mlp(&[64, 16, 10], seed).expect("a network");
//! #         let proto = otfuse::formats::onnx::to_proto(&graph).expect("sound");
//! #         otfuse::formats::onnx::write_onnx(name.as_ref(), proto, &Default::default()).expect("written");
//! #     }
//! #     folder
//! # }
//! ```
//!
//! Cargo features: `training` (networks are trained, and the demo), `pages` (results as HTML pages with charts), `png` (their
//! charts as PNG as well; `pages` with it), `experiment` (experiments from YAML files; `training` and `pages` with it),
//! `images` (folders of images as data), `cuda`, `wgpu`.

mod activations;
mod align;
mod apply;
mod architecture;
mod card;
mod choices;
mod compare;
#[cfg(feature = "experiment")]
mod config;
mod context;
mod dataset;
#[cfg(feature = "training")]
mod demo;
mod depth;
pub mod diagram;
mod error;
mod evaluate;
#[cfg(feature = "experiment")]
pub mod experiment;
mod files;
mod fitting;
mod fusing;
mod generate;
mod inputs;
mod inspect;
mod interpolate;
mod latent;
mod layers;
#[cfg(feature = "training")]
mod learning;
#[cfg(feature = "training")]
mod making;
mod measure;
mod merging;
mod model;
mod noise;
mod options;
#[cfg(feature = "pages")]
pub mod pages;
mod prune;
mod registry;
mod run;
#[cfg(feature = "experiment")]
mod search;
mod suggestion;
mod sweep;
mod text;
mod ties;
#[cfg(feature = "training")]
mod train;
#[cfg(feature = "experiment")]
mod typed;
mod vectors;
mod verify;
mod work;

pub use activations::{RecordError, SampleRunner, record_activations};
pub use align::{align, aligning};
pub use apply::{Applied, ApplyOptions, ApplyReport, apply};
pub use architecture::{ArchitectureError, architecture, architecture_for};
pub use card::{card, card_path};
pub use choices::{
    Choice, ConsensusName, CostName, DepthName, EffortName, MarginalName, MembersName, MethodName, ModeName, NormName,
    OrderName, PointName, PresetName, ResidualName, SolverName, SplitName, StartName, StatisticName, SymmetryName,
    TypeName, VocabularyName,
};
pub use compare::{
    CompareOptions, CompareSeconds, ComparedAlignment, ComparedGroup, ComparedModel, Kernel, Kernels, LayerActivations,
    Layers, Likeness, Pair, Predictions, Quality, Statistics, compare,
};
#[cfg(feature = "experiment")]
pub use config::{Configuration, FuseConfig};
pub use context::{Context, Event, Observer};
pub use dataset::{DataOptions, Dataset, Samples};
#[cfg(feature = "training")]
pub use demo::{Demo, DemoRow, demo};
pub use depth::{DepthReport, PairedModel, deepen};
pub use error::{Error, ErrorKind, Result};
pub use evaluate::{EvaluatedModel, Evaluations, evaluate};
pub use files::check_inputs;
#[cfg(feature = "training")]
pub use fusing::DistilledNetwork;
pub use fusing::{
    Comparison, Coverage, Fuse, FusePlan, FuseReport, FuseSamples, FuseSeconds, FuseSettings, Fused, FusedGroup,
    FusedModel, NotAligned, Parent, Rehearsal, Sweeps, TriedWay, names_file,
};
pub use generate::{GenerateOptions, GenerateReference, GenerateReport, Generated, GeneratedModel, Range, generate};
pub use inputs::{InputShapes, random_inputs};
pub use inspect::{AxisOfWeight, DrawnLayer, InspectedGroup, Inspection, Pinned, Port, Repeated, brief, inspect};
pub use interpolate::{
    Barriers, Corner, InterpolateOptions, Plane, Walk, WalkOnTraining, WalkPoint, WalkSeconds, WalkSettings,
    interpolate,
};
pub use latent::MatchedInput;
pub use layers::{Layer, Recorded, layers, record_layers};
#[cfg(feature = "training")]
pub use learning::{Knowledge, LearnOptions, LearnReport, Learned, Learning, RecallName, learn};
#[cfg(feature = "training")]
pub use making::{Candidate, MadeReport, MakeOptions, make_samples};
pub use measure::{Barrier, Distance, Measure, Measured};
pub use merging::{Filtered, MergeParameters, Parameters, Setting};
#[cfg(feature = "experiment")]
pub use merging::{Merge, MergeReport};
pub use model::Model;
pub use options::{AlignOptions, FuseOptions, MergeName, Numbers, RepairName};
pub use otfuse_formats as formats;
pub use otfuse_formats::abandon_outputs;
pub use otfuse_fusion as fusion;
pub use otfuse_graph as graph;
#[cfg(feature = "pages")]
pub use otfuse_report as report;
pub use otfuse_runtime as runtime;
pub use otfuse_runtime::Cancellation;
pub use otfuse_transport as transport;
pub use prune::{Names, PruneOptions, PruneReport, Pruned, PrunedNeurons, prune};
pub use registry::Registry;
pub use run::{ArrayShape, Conversion, RunOutputs, RunReport, convert, outputs, run, run_on};
#[cfg(feature = "experiment")]
pub use search::{Objective, Search, SearchOptions, SearchTrial, Searched, search};
pub use sweep::{Sweep, SweepBarriers, SweepPoint, sweep};
pub use text::{visible, visible_json};
#[cfg(feature = "training")]
pub use train::{
    DistillOptions, OptimizerName, Student, TrainData, TrainOptions, TrainReport, TrainState, Trained, TrainedEpoch,
    UsedTraining, distill, finetune, schedule, train, untrained,
};
pub use vectors::{
    ExtractOptions, ExtractReport, ExtractedLayer, ExtractedLora, LoraAdapter, MergeLoraReport, MergedAdapter,
    MergedLora, TransportMeasures, TransportOptions, TransportRehearsal, TransportReport, TransportSeconds,
    Transported, adapted, extract_lora, merge_lora, rehearse_transport, transport_task_vector,
};
pub use verify::{
    ROTATION_TOLERANCE, RotationProof, TOLERANCE, Verification, Verified, VerifyError, random_orders, verify,
    verify_at, verify_graph, verify_groups,
};
