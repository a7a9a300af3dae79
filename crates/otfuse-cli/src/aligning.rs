//! What the commands that align networks without fusing them share: options, networks read and proved.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, FromArgMatches, ValueEnum};
use otfuse_formats::Model;
use otfuse_fusion::{Aligned, Method, Networks, Settings, align_all};
use otfuse_graph::Graph;

use super::Failure;
use super::arguments::{CostName, Data, Fuse, ModeName, PresetName, Reading};
use super::failure::fusion_failure;
use super::fusing::{Plan, cost_of, mode_of, prove};
use super::models::open_finite;
use super::progress::Progress;

/// How neurons are aligned; what is not here is as `fuse` does it.
#[derive(Args, Debug, Clone)]
pub struct Aligning {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Data,
    /// The model, counted from 0, that the others are aligned to; the last one if not given
    #[arg(long, value_name = "I")]
    pub anchor: Option<usize>,
    /// What describes a neuron; auto: activations and weights (both) with --data and without --preset, else weights
    #[arg(long, value_enum, default_value_t = ModeName::Auto)]
    pub mode: ModeName,
    /// Settings that others do not override
    #[arg(long, value_enum)]
    pub preset: Option<PresetName>,
    /// Distance between the features of two neurons; euclidean, or what the preset says
    #[arg(long, value_enum)]
    pub cost: Option<CostName>,
    /// Scale every neuron's features to unit length first
    #[arg(long)]
    pub normalize_features: bool,
    /// Samples for activations and repair, spread evenly over the training split
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub samples: usize,
    /// Do not prove the neuron groups of each model first
    #[arg(long)]
    pub no_verify: bool,
    /// Seed of the proof
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl Aligning {
    fn resolved_mode(&self) -> ModeName {
        match self.mode {
            ModeName::Auto if self.preset.is_none() && self.data.data.is_some() => ModeName::Both,
            ModeName::Auto => ModeName::Weights,
            mode => mode,
        }
    }

    /// The arguments of `fuse` that mean the same.
    pub fn fuse(&self, models: &[PathBuf]) -> Result<Fuse, Failure> {
        let mut line: Vec<std::ffi::OsString> = vec!["fuse".into(), "--output".into(), "unused".into(), "--".into()];
        line.extend(models.iter().map(|path| path.clone().into_os_string()));
        let matches = Fuse::augment_args(clap::Command::new("fuse")).try_get_matches_from(line);
        let defaults = matches.and_then(|matches| Fuse::from_arg_matches(&matches));
        let defaults = defaults.map_err(|error| Failure::input(error.to_string().trim_end()))?;
        Ok(Fuse {
            output: None,
            reading: self.reading.clone(),
            data: self.data.clone(),
            anchor: self.anchor,
            mode: self.resolved_mode(),
            preset: self.preset,
            cost: self.cost,
            normalize_features: self.normalize_features,
            samples: self.samples,
            no_verify: self.no_verify,
            seed: self.seed,
            ..defaults
        })
    }
}

/// The settings of an alignment as they were used: option and value.
pub fn shown_settings(plan: &Plan, arguments: &Fuse) -> Vec<(&'static str, String)> {
    let name = |value: Option<PossibleValue>| value.map_or_else(String::new, |value| value.get_name().to_owned());
    let mode = mode_of(arguments);
    let preset = match arguments.preset {
        Some(preset) => name(preset.to_possible_value()),
        None => "default".to_owned(),
    };
    let mut shown = vec![
        ("preset", preset),
        ("mode", name(mode.to_possible_value())),
        ("cost", name(cost_of(&plan.settings).to_possible_value())),
        ("normalize features", if plan.settings.ground_cost.normalize { "yes" } else { "no" }.into()),
        ("sweeps", plan.settings.matching.max_sweeps.to_string()),
    ];
    if mode != ModeName::Weights {
        shown.push(("samples", arguments.samples.to_string()));
    }
    shown
}

/// The models at these paths.
pub fn open_all(paths: &[PathBuf], reading: &Reading) -> Result<Vec<Model>, Failure> {
    paths.iter().map(|path| open_finite(path, reading)).collect()
}

/// The networks of the graphs, matched, checked and proved as `fuse` does it, and whether their groups could be proved.
pub fn networks<'a>(graphs: &[&'a Graph], plan: &Plan, arguments: &Fuse) -> Result<(Networks<'a>, bool), Failure> {
    let failure = |error| fusion_failure(&error, &arguments.models, plan.anchor);
    let networks = plan.networks(graphs).map_err(failure)?;
    networks.check_finite().map_err(failure)?;
    let verified = !arguments.no_verify && prove(graphs, arguments)?;
    Ok((networks, verified))
}

/// The networks, their neurons aligned to the anchor's.
pub fn aligned<'n, 'a>(networks: &'n Networks<'a>, plan: &Plan, arguments: &Fuse) -> Result<Aligned<'n, 'a>, Failure> {
    let activations = plan.activations(networks, arguments)?;
    let bar = Progress::new("aligning neuron groups", networks.groups().len() * (networks.len() - 1));
    align_all(networks, &plan.settings, activations.as_deref(), &|_| bar.step())
        .map_err(|error| fusion_failure(&error, &arguments.models, plan.anchor))
}

/// The networks as they are, to be averaged index by index; none if their shapes differ.
pub fn unaligned<'n, 'a>(
    networks: &'n Networks<'a>,
    plan: &Plan,
    arguments: &Fuse,
) -> Result<Option<Aligned<'n, 'a>>, Failure> {
    if !networks.equal_sizes() {
        return Ok(None);
    }
    let plain = Settings { method: Method::Average, ..plan.settings.clone() };
    let found = align_all(networks, &plain, None, &|_| {});
    found.map(Some).map_err(|error| fusion_failure(&error, &arguments.models, plan.anchor))
}
