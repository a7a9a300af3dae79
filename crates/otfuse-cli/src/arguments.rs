//! The command line's arguments, as typed by the user.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use super::choices::{
    ConsensusName, CostName, MarginalName, MembersName, MethodName, ModeName, NormName, OrderName, PointName,
    PresetName, RepairName, SolverName, SplitName, StartName, StatisticName,
};
use super::command::align::{Align, Apply};
use super::command::compare::Compare;
use super::command::interpolate::Interpolate;
use super::pages::Pages;
use super::residual::ResidualName;
use super::training::Training;

/// How strongly least squares holds weights at the averaged ones, if nothing else is said.
pub const RIDGE: f64 = 0.03;

/// Fuse independently trained neural networks into one, by optimal transport.
///
/// MODEL is an ONNX file, a safetensors file or a PyTorch checkpoint; the content decides. A checkpoint without a graph
/// takes --arch.
#[derive(Parser, Debug)]
#[command(name = "otfuse", version, max_term_width = 110)]
pub struct Arguments {
    /// Print the result as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Where networks are run and trained: cpu, cuda, cuda:N or wgpu (GPUs where the program is built with the feature
    /// cuda or wgpu)
    #[arg(long, global = true, value_name = "NAME")]
    pub device: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show a network: inputs, outputs, operators, parameters and neuron groups
    Inspect(Inspect),
    /// Prove a network's neuron groups: permute all of them at random and compare the outputs
    Verify(Verify),
    /// Fuse two or more networks into one
    Fuse(Box<Fuse>),
    /// Bring a network's neurons into the order of another's, for other tools to merge
    Align(Box<Align>),
    /// Bring a network's neurons into the order that an earlier alignment found
    Apply(Apply),
    /// Compare networks: neurons, layers, predictions
    Compare(Box<Compare>),
    /// Measure the networks on the way between networks, before and after alignment
    Interpolate(Box<Interpolate>),
    /// Take the least important neurons out of a network
    Prune(Prune),
    /// Measure accuracy and loss of networks, and of their ensemble
    Eval(Eval),
    /// Run a network on arrays
    Run(Run),
    /// Write a network in another format
    Convert(Convert),
    /// Train a network from scratch
    Train(Box<Train>),
    /// Train a network further
    Finetune(Box<Finetune>),
    /// Train a network to follow others
    Distill(Box<Distill>),
    /// Run an experiment: train, fuse and measure as a YAML file says
    Experiment(super::command::experiment::Experiment),
    /// Train two small networks on embedded digits, fuse them and compare
    Demo(Demo),
}

/// How to read models without a graph.
#[derive(Args, Debug, Clone)]
pub struct Reading {
    /// Architecture of checkpoints without a graph: mlp, vgg, resnet, lenet, sequential, or an ONNX file or config.json
    /// of the same network
    #[arg(long, value_name = "NAME|FILE")]
    pub arch: Option<String>,
}

/// `inspect`.
#[derive(Args, Debug)]
pub struct Inspect {
    /// The network
    pub model: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    /// Draw the network, repeated blocks folded and boxes coloured by neuron group
    #[arg(long, value_name = "OUT.svg")]
    pub svg: Option<PathBuf>,
    /// Write the same drawing for Graphviz
    #[arg(long, value_name = "OUT.dot")]
    pub dot: Option<PathBuf>,
}

/// `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// The network
    pub model: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    /// Seed of the permutations and inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Where samples come from.
#[derive(Args, Debug, Clone)]
pub struct Data {
    /// Data set: digits (embedded) or KIND:PATH with KIND mnist, fashion-mnist, cifar10, cifar100, npz, npy, csv,
    /// safetensors, images (a folder per class), text or sst2 (also text@LENGTH, sst2@LENGTH: tokens of a sample)
    #[arg(long, value_name = "SPEC")]
    pub data: Option<String>,
    /// Normalisation in place of the data set's own: none, mnist, cifar10, imagenet, or MEAN/STD (one number or one per
    /// channel, separated by commas)
    #[arg(long, value_name = "NAME|MEAN/STD")]
    pub normalize: Option<String>,
    /// Scale the middle square of each image of images:DIR to N x N pixels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65535))]
    pub image_size: Option<u32>,
    /// Use one part of the data set: iid:K, labels:0-4/5-9, labels:K, specialist:CLASS,SHARE, split:SHARE or
    /// dirichlet:ALPHA,K
    #[arg(long, value_name = "KIND:ARGS", requires = "part")]
    pub partition: Option<String>,
    /// Which part, counted from 0
    #[arg(long, value_name = "I", requires = "partition")]
    pub part: Option<usize>,
    /// Seed of the partition
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub partition_seed: u64,
}

impl Data {
    /// The same data set, not a part of it.
    pub fn whole(&self) -> Self {
        Self { partition: None, part: None, ..self.clone() }
    }
}

/// `fuse`.
#[derive(Args, Debug, Clone)]
pub struct Fuse {
    /// The networks, two or more; or a file CONFIG.yml that names them and options, as mergekit writes it
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    /// Where to write the result; the extension chooses the format (.onnx, .safetensors, .pt ...)
    #[arg(short, long, value_name = "OUT", required_unless_present = "sweep")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    /// How the models become one
    #[arg(long, value_enum, default_value_t = MethodName::Ot)]
    pub method: MethodName,
    /// What describes a neuron; auto: activations with --data and without --preset, else weights
    #[arg(long, value_enum, default_value_t = ModeName::Auto)]
    pub mode: ModeName,
    /// Settings that others do not override; without, converged matching on features of unit length
    #[arg(long, value_enum)]
    pub preset: Option<PresetName>,
    /// Distance between the features of two neurons; what the preset says
    #[arg(long, value_enum)]
    pub cost: Option<CostName>,
    /// Scale every neuron's features to unit length first
    #[arg(long)]
    pub normalize_features: bool,
    /// Solver of the transport problems
    #[arg(long, value_enum, default_value_t = SolverName::Exact)]
    pub solver: SolverName,
    /// Strength of the entropy with --solver sinkhorn, as a multiple of the mean cost
    #[arg(long, value_name = "E", default_value_t = 0.05)]
    pub epsilon: f64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sweeping: Sweeping,
    /// Mass of each neuron
    #[arg(long, value_enum, default_value_t = MarginalName::Uniform)]
    pub marginals: MarginalName,
    /// The model, counted from 0, that the others are aligned to and whose shapes and format the result has; the last
    /// one if not given
    #[arg(long, value_name = "I")]
    pub anchor: Option<usize>,
    /// Averaging weight of each model
    #[arg(long, value_name = "W,W,..", value_delimiter = ',', allow_hyphen_values = true)]
    pub weights: Vec<f64>,
    /// Align the outputs of the network too, as the published code does (part of --preset paper)
    #[arg(long)]
    pub align_outputs: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Data,
    /// Samples for activations and repair, spread evenly over the training split
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub samples: usize,
    /// Labelled samples, spread evenly over the test split of --data, on which parents, ensemble, plain average and fused
    /// network are compared; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub check: usize,
    /// What is repaired after averaging; all but none and data-free need --data
    #[arg(long, value_enum, default_value_t = RepairName::Auto)]
    pub repair: RepairName,
    /// How strongly --repair least-squares holds weights at the averaged ones, relative to the variance of a layer's inputs
    #[arg(long, value_name = "R", default_value_t = RIDGE)]
    pub ridge: f64,
    /// How much of a neuron the more important of its partners is with --repair least-squares: the power of its importance;
    /// 0 averages all alike
    #[arg(long, value_name = "P", default_value_t = 4.0)]
    pub importance: f64,
    /// Let the worst matched neurons of two models stay apart, until each group has this many times its size: from 1, all
    /// averaged, to 2, which computes the mean of both models' outputs. Without repair
    #[arg(long, value_name = "B", conflicts_with_all = ["sweep", "aligned_only", "method"])]
    pub width_budget: Option<f64>,
    /// The width of the result, relative to the anchor's: below 1, all models are fused into a copy of the anchor from which
    /// the least important neurons of each group were taken out; above 1 as --width-budget
    #[arg(long, value_name = "W", conflicts_with_all = ["sweep", "aligned_only", "method", "width_budget"])]
    pub target_width: Option<f64>,
    /// Where activations are taken
    #[arg(long, value_enum, default_value_t = PointName::Pre)]
    pub activation_point: PointName,
    /// What is kept of the activations
    #[arg(long, value_enum, default_value_t = StatisticName::Raw)]
    pub activation_features: StatisticName,
    /// How the terms of a residual stream count in its matching: the sums behind each branch, or the terms alike, by their
    /// share of the absolute values, or by that share for each neuron
    #[arg(long, value_enum, default_value_t = ResidualName::Sums)]
    pub residual: ResidualName,
    /// Write what was matched with what, as JSON
    #[arg(long, value_name = "FILE")]
    pub save_alignment: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pages: Pages,
    /// Write a model card beside the result, OUT.README.md; a folder has one always, README.md
    #[arg(long)]
    pub card: bool,
    /// Write the first of two models aligned to the anchor, without averaging
    #[arg(long)]
    pub aligned_only: bool,
    /// Measure instead of writing a result: align two models once, and evaluate averages with N weights of the second
    /// one from 0 to 1, or with these weights, on the test samples of --data
    #[arg(long, value_name = "N|W,W,..", requires = "data", conflicts_with_all = ["output", "report", "figures", "card", "aligned_only", "save_alignment", "weights", "method"])]
    pub sweep: Option<String>,
    /// Write the measurements of --sweep as comma-separated values
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub csv: Option<PathBuf>,
    /// Use only the first N test samples in --sweep
    #[arg(long, value_name = "N", requires = "sweep")]
    pub limit: Option<usize>,
    /// Do not prove the neuron groups of each model first
    #[arg(long)]
    pub no_verify: bool,
    /// Seed of the proof
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// `prune`.
#[derive(Args, Debug)]
pub struct Prune {
    /// The network
    pub model: PathBuf,
    /// Where to write the result; the extension chooses the format (.onnx, .safetensors, .pt ...)
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    /// Share of the neurons that go; every group keeps at least two
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, allow_negative_numbers = true)]
    pub amount: f64,
    /// Norm of its incoming weights that makes a neuron important
    #[arg(long, value_enum, default_value_t = NormName::L1)]
    pub norm: NormName,
    /// Take the share of all groups together, the least weights first, instead of each
    #[arg(long)]
    pub global: bool,
    /// Only these groups: numbers as `otfuse inspect` counts them, or weights (a name, or how names begin)
    #[arg(long, value_name = "G,G,..", value_delimiter = ',')]
    pub groups: Vec<String>,
    /// All groups but these
    #[arg(long, value_name = "G,G,..", value_delimiter = ',')]
    pub exclude: Vec<String>,
}

/// How matching goes on after the first sweep.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Converged matching")]
pub struct Sweeping {
    /// The most sweeps over all groups after the first; 0 for the forward sweep alone. As the preset says
    #[arg(long, value_name = "N")]
    pub sweeps: Option<usize>,
    /// Where the sweeps begin
    #[arg(long, value_enum)]
    pub start: Option<StartName>,
    /// Which weights describe a neuron in the sweeps
    #[arg(long, value_enum)]
    pub members: Option<MembersName>,
    /// In which order a sweep visits the groups; random orders follow --seed
    #[arg(long, value_enum)]
    pub order: Option<OrderName>,
    /// Runs with seeds of their own, of which the best counts
    #[arg(long, value_name = "N")]
    pub starts: Option<usize>,
    /// Let all tensors count alike in the sweeps, whatever their norm
    #[arg(long)]
    pub balance: bool,
    /// The activations' share in the features with --mode both, from 0 to 1
    #[arg(long, value_name = "S", default_value_t = 0.5)]
    pub activation_share: f64,
    /// What three and more models are aligned to
    #[arg(long, value_enum)]
    pub consensus: Option<ConsensusName>,
}

/// `eval`.
#[derive(Args, Debug)]
pub struct Eval {
    /// The networks
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Data,
    /// Also evaluate the mean of all networks' probabilities
    #[arg(long)]
    pub ensemble: bool,
    /// Which part of the data set
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    pub split: SplitName,
    /// Use only the first N samples
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pages: Pages,
}

/// `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// The network
    pub model: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    /// The inputs by name
    #[arg(long, value_name = "X.npz")]
    pub inputs: PathBuf,
    /// Where to write the outputs by name
    #[arg(short, long, value_name = "Y.npz")]
    pub output: PathBuf,
}

/// `convert`.
#[derive(Args, Debug)]
pub struct Convert {
    /// The network
    pub input: PathBuf,
    /// Where to write it; the extension chooses the format
    pub output: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
}

/// `train`.
#[derive(Args, Debug)]
pub struct Train {
    /// Architecture: mlp:400-200-100, vgg11, vgg11-nobias, vgg11-bn, resnet20, resnet18, lenet or cnn; a number behind a
    /// colon multiplies all widths (vgg11:0.5). Transformers: gpt2:LAYERS,WIDTH,HEADS (also bert, roberta, distilbert,
    /// llama, mistral, qwen2, qwen3, vit), or a folder with config.json; they are written as folders
    pub arch: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub training: Training,
}

/// `finetune`.
#[derive(Args, Debug)]
pub struct Finetune {
    /// The network
    pub model: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub training: Training,
}

/// `distill`.
#[derive(Args, Debug)]
pub struct Distill {
    /// The networks to follow; the mean of their probabilities counts
    #[arg(required = true, value_name = "TEACHER")]
    pub teachers: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    /// Architecture of a student from scratch, as for `train`
    #[arg(long, value_name = "ARCH")]
    pub student: Option<String>,
    /// A network to begin with in place of --student: a parent, or a fused network
    #[arg(long, value_name = "MODEL")]
    pub start: Option<PathBuf>,
    /// What scores are divided by before they become probabilities
    #[arg(long, value_name = "T", default_value_t = 4.0)]
    pub temperature: f64,
    /// Weight of the teachers in the loss, 0 to 1; the labels have the rest
    #[arg(long, value_name = "W", default_value_t = 0.9)]
    pub teacher_weight: f64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub training: Training,
}

/// `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pages: Pages,
}
