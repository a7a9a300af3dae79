//! The command line's arguments that several commands share.

use std::path::{Path, PathBuf};

use clap::Args;
use otfuse::pages::{Paged, write_page};
use otfuse::{
    AlignOptions, CostName, DataOptions, Dataset, Error, InputShapes, MarginalName, MethodName, ModeName, Model,
    PointName, PresetName, Registry, Result, SolverName,
};

use crate::choice::{choice, said};

/// A number of bytes, as 800MB or 8GiB.
pub fn bytes(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => 0,
    };
    let number = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.filter(|&bytes| bytes > 0).ok_or_else(|| "expected a number of bytes, such as 8GiB, 800MB or 1000000".into())
}

/// How to read models without a graph.
#[derive(Args, Debug, Clone)]
pub struct Reading {
    /// Architecture of checkpoints without a graph: mlp, vgg, resnet, lenet, sequential, or an ONNX file or config.json
    /// of the same network; once for all networks, or once for each in their order
    #[arg(long, value_name = "NAME|FILE")]
    pub arch: Vec<String>,
    /// Of several state dicts in a PyTorch file the one under this key, as ema_state_dict or a.b
    #[arg(long, value_name = "KEY")]
    pub weights_key: Option<String>,
}

impl Reading {
    /// The network at a path, known to the registry with all that it is read from.
    pub fn open(&self, path: &Path, registry: &mut Registry) -> Result<Model> {
        self.check(1)?;
        self.open_one(path, self.arch.first(), &[], registry)
    }

    /// Those at several paths.
    pub fn open_all(&self, paths: &[PathBuf], registry: &mut Registry) -> Result<Vec<Model>> {
        self.check(paths.len())?;
        let of = |at: usize| self.arch.get(at).or(self.arch.last());
        paths.iter().enumerate().map(|(at, path)| self.open_one(path, of(at), paths, registry)).collect()
    }

    fn check(&self, models: usize) -> Result<()> {
        if self.arch.len() <= 1 || self.arch.len() == models {
            return Ok(());
        }
        let found = self.arch.len();
        Err(Error::input(format!("`arch` is given {found} times for {models} networks"))
            .hint("give it once for all networks, or once for each in their order"))
    }

    fn open_one(
        &self,
        path: &Path,
        architecture: Option<&String>,
        others: &[PathBuf],
        registry: &mut Registry,
    ) -> Result<Model> {
        if let Some(architecture) = architecture {
            registry.input("architecture", Path::new(architecture))?;
        }
        let key = self.weights_key.as_deref();
        let model = Model::open_beside(path, architecture.map(String::as_str), key, others)?;
        registry.model(&model)?;
        Ok(model)
    }
}

/// Where samples come from.
#[derive(Args, Debug, Clone)]
pub struct Data {
    /// Samples: digits (embedded) or KIND:PATH with KIND npz, images, mnist, cifar10, csv, text, ..
    ///
    /// All kinds: mnist, fashion-mnist, cifar10, cifar100, npz, npy, csv, safetensors, images (a folder per class, or images
    /// without classes), text or sst2 (also text@LENGTH, sst2@LENGTH: tokens of a sample), noise:normal and noise:uniform (also
    /// noise:normal,N: so many samples, drawn in the shape of the networks' inputs). Labels are needed only where networks are
    /// scored or trained.
    #[arg(long, value_name = "SPEC")]
    pub data: Option<String>,
    /// Normalisation in place of the data set's own: none, mnist, cifar10, imagenet, or MEAN/STD
    ///
    /// One number each, or one per channel, separated by commas: 0.5,0.5,0.5/0.2,0.2,0.2.
    #[arg(long, value_name = "NAME|MEAN/STD")]
    pub normalize: Option<String>,
    /// Scale the middle square of each image of images:DIR to N x N pixels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65535))]
    pub image_size: Option<u32>,
    /// Use one part of the data set: iid:K, labels:0-4/5-9, labels:K, specialist:CLASS,SHARE, split:SHARE or
    /// dirichlet:ALPHA,K
    #[arg(long, value_name = "KIND:ARGS")]
    pub partition: Option<String>,
    /// Which part, counted from 0
    #[arg(long, value_name = "I")]
    pub part: Option<usize>,
    /// Seed of the partition [default: 0]
    #[arg(long, value_name = "SEED")]
    pub partition_seed: Option<u64>,
    /// Put the pixels of all samples into an order drawn from this seed, 0 for their own; with several seeds all samples come in
    /// one order after the other
    #[arg(long, value_name = "SEED,..")]
    pub pixel_order: Option<String>,
}

impl Data {
    /// The data set, known to the registry; `settings` have the options that were not typed.
    pub fn open(&self, settings: &DataOptions, registry: &mut Registry) -> Result<Option<Dataset>> {
        let Some(spec) = &self.data else { return Ok(None) };
        let options = DataOptions {
            normalize: self.normalize.clone().or_else(|| settings.normalize.clone()),
            image_size: self.image_size.or(settings.image_size),
            partition: self.partition.clone().or_else(|| settings.partition.clone()),
            part: self.part.or(settings.part),
            partition_seed: self.partition_seed.unwrap_or(settings.partition_seed),
            pixel_order: self.pixel_order.clone().or_else(|| settings.pixel_order.clone()),
        };
        let data = Dataset::with(spec, &options)?;
        registry.data(&data)?;
        Ok(Some(data))
    }

    /// The data set of a command that needs one.
    pub fn required(&self, registry: &mut Registry) -> Result<Dataset> {
        self.open(&DataOptions::default(), registry)?.ok_or_else(|| {
            Error::input("no data set is given").hint(
                "--data digits, mnist:DIR, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR, npz:FILE, npy:DIR, csv:FILE, \
                 safetensors:FILE, images:DIR, text:FILE or sst2:DIR",
            )
        })
    }
}

/// Where a page goes.
#[derive(Args, Debug, Clone, Default)]
pub struct Pages {
    /// Write a page: one HTML file with charts, tables and all numbers, readable without a network
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write every chart of the page into this folder: NAME.svg, NAME.png and its numbers, NAME.csv
    #[arg(long, value_name = "FOLDER")]
    pub figures: Option<PathBuf>,
}

impl Pages {
    /// Makes them known.
    pub fn register(&self, registry: &mut Registry) -> Result<()> {
        if let Some(path) = &self.report {
            registry.output("report", path)?;
        }
        match &self.figures {
            Some(folder) => registry.figures("figures", folder),
            None => Ok(()),
        }
    }

    /// Stages the page and charts of a result.
    pub fn write(&self, result: &impl Paged, registry: &Registry) -> Result<()> {
        write_page(result, registry, self.report.as_deref(), self.figures.as_deref())
    }
}

/// How neurons are aligned; what is not here is as `fuse` does it.
#[derive(Args, Debug, Clone)]
pub struct Aligning {
    #[command(flatten)]
    pub reading: Reading,
    #[command(flatten)]
    pub data: Data,
    /// The model, counted from 0, that the others are aligned to; the last one if not given
    #[arg(long, value_name = "I")]
    anchor: Option<usize>,
    /// What describes a neuron; auto: activations and weights (both) with --data and without --preset, else weights
    /// [default: auto]
    #[arg(long, value_parser = choice::<ModeName>())]
    mode: Option<ModeName>,
    /// Settings that others do not override
    #[arg(long, value_parser = choice::<PresetName>())]
    preset: Option<PresetName>,
    /// Distance between the features of two neurons; euclidean, or what the preset says
    #[arg(long, value_parser = choice::<CostName>())]
    cost: Option<CostName>,
    /// Scale every neuron's features to unit length first
    #[arg(long)]
    normalize_features: bool,
    /// Samples for activations and repair, spread evenly over the training split [default: 200]
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Inputs that are nothing but noise: the other models' is turned to correspond to the anchor's
    #[arg(long, value_name = "INPUT,..")]
    free_inputs: Option<String>,
    #[command(flatten)]
    proof: Proof,
    /// Seed of the proof [default: 0]
    #[arg(long)]
    seed: Option<u64>,
}

impl Aligning {
    /// The options.
    pub fn options(&self) -> AlignOptions {
        AlignOptions {
            anchor: self.anchor,
            mode: self.mode,
            preset: self.preset,
            cost: self.cost,
            normalize_features: said(self.normalize_features),
            free_inputs: self.free_inputs.clone(),
            samples: self.samples,
            no_verify: said(self.proof.no_verify),
            shape: self.proof.shape(),
            seed: self.seed,
        }
    }
}

/// How the groups of neurons are proved.
#[derive(Args, Debug, Clone)]
pub struct Proof {
    /// Do not prove the neuron groups of each model first
    #[arg(long)]
    pub no_verify: bool,
    /// Lengths of an input that leaves some open, for the proof: x=1x3x640x640
    #[arg(long, value_name = "INPUT=AxBx..")]
    shape: Vec<InputShapes>,
}

impl Proof {
    /// The lengths of all inputs that were typed.
    pub fn shape(&self) -> Option<InputShapes> {
        InputShapes::joined(&self.shape)
    }
}

/// How neurons are matched by optimal transport.
#[derive(Args, Debug)]
pub struct Transport {
    /// How the neurons are brought into one order [default: ot]
    #[arg(long, value_parser = choice::<MethodName>())]
    pub method: Option<MethodName>,
    /// Scale every neuron's features to unit length first
    #[arg(long)]
    pub normalize_features: bool,
    /// Solver of the transport problems [default: exact]
    #[arg(long, value_parser = choice::<SolverName>())]
    pub solver: Option<SolverName>,
    /// Strength of the entropy with --solver sinkhorn, as a multiple of the mean cost [default: 0.05]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub epsilon: Option<f64>,
    /// Mass of each neuron [default: uniform]
    #[arg(long, value_parser = choice::<MarginalName>())]
    pub marginals: Option<MarginalName>,
    /// Where activations are taken [default: post with --mode auto, else pre]
    #[arg(long, value_parser = choice::<PointName>())]
    pub activation_point: Option<PointName>,
}
