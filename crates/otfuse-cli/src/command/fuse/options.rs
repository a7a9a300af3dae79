//! The options of `otfuse fuse`, as they are typed.

use clap::Args;
use otfuse::{
    ConsensusName, CostName, DepthName, EffortName, FuseOptions, MembersName, MergeName, ModeName, OrderName,
    PresetName, RepairName, ResidualName, Result, StartName, StatisticName, SymmetryName, TypeName, VocabularyName,
};

use super::super::merging;
use crate::arguments::{Proof, Transport};
use crate::choice::{choice, said};

/// How networks are fused: see the library's options of the same names.
#[derive(Args, Debug)]
pub struct Options {
    #[command(flatten)]
    transport: Transport,
    #[command(flatten)]
    proof: Proof,
    /// How much work goes into the result [default: default]
    #[arg(long, value_parser = choice::<EffortName>())]
    effort: Option<EffortName>,
    /// Which symmetries of the networks are used to align them [default: auto]
    #[arg(long, value_parser = choice::<SymmetryName>())]
    symmetry: Option<SymmetryName>,
    /// Where samples come from without --data: parents (the networks make them), noise, none, or a file of them
    #[arg(long, value_name = "parents|noise|none|FILE", conflicts_with = "data")]
    samples_from: Option<String>,
    /// How aligned tensors become one [default: mean]
    #[arg(long, value_parser = choice::<MergeName>())]
    merge: Option<MergeName>,
    /// The share of the second of two models, in place of --weights
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    t: Option<f64>,
    /// What describes a neuron; auto: activations with --data and without --preset, else weights [default: auto]
    #[arg(long, value_parser = choice::<ModeName>())]
    mode: Option<ModeName>,
    /// Settings that others do not override; without, converged matching on features of unit length
    #[arg(long, value_parser = choice::<PresetName>())]
    preset: Option<PresetName>,
    /// Distance between the features of two neurons; what the preset says
    #[arg(long, value_parser = choice::<CostName>())]
    cost: Option<CostName>,
    /// The model, counted from 0, that the others are aligned to and whose shapes and format the result has; the last
    /// one if not given
    #[arg(long, value_name = "I", allow_negative_numbers = true)]
    anchor: Option<usize>,
    /// Which of networks of unequal depth gives the result its form [default: anchor]
    #[arg(long, value_parser = choice::<DepthName>())]
    depth: Option<DepthName>,
    /// Which layers of networks of unequal depth go together, as JSON: the report of an earlier fusion, or {"pairs": [[0, 0], ..]}
    #[arg(long, value_name = "FILE")]
    pairs: Option<String>,
    /// Inputs that are nothing but noise: each model's is turned to correspond to the anchor's. Without --data they are taken for
    /// normal noise
    #[arg(long, value_name = "INPUT,..")]
    free_inputs: Option<String>,
    /// What the merge is told, NAME=NUMBER or NAME=FIRST,..,LAST from the first layer to the last one; docs/merging.md lists the names
    #[arg(long, value_name = "NAME=NUMBER,..", allow_hyphen_values = true)]
    parameter: Vec<String>,
    /// The model, counted from 0, whose differences from the others are merged; the anchor where the merge needs one
    #[arg(long, value_name = "I")]
    base: Option<usize>,
    /// Averaging weight of each model; equal if not given
    #[arg(long, value_name = "W,W,..", value_delimiter = ',', allow_hyphen_values = true)]
    weights: Vec<f64>,
    /// Align the outputs of the network too, as the published code does (part of --preset paper)
    #[arg(long)]
    align_outputs: bool,
    /// Samples for activations and repair, spread evenly over the training split [default: 1000]
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Labelled samples, spread evenly over the test split of --data, on which parents, ensemble, plain average and fused
    /// network are compared; 0 for none [default: 1000]
    #[arg(long, value_name = "N")]
    check: Option<usize>,
    /// What is repaired after averaging; all but none and data-free need --data [default: auto]
    #[arg(long, value_parser = choice::<RepairName>())]
    repair: Option<RepairName>,
    /// How strongly --repair least-squares holds weights at the averaged ones, relative to the variance of a layer's
    /// inputs [default: 0.03]
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    ridge: Option<f64>,
    /// Steps of --repair distill; as many as some minutes allow if not given
    #[arg(long, value_name = "N")]
    repair_steps: Option<usize>,
    /// How often --repair least-squares fits layers again to what comes out behind their activation functions [default: 5, with
    /// --effort quick 0]
    #[arg(long, value_name = "N")]
    repair_rounds: Option<usize>,
    /// How much of a neuron the more important of its partners is with --repair least-squares: the power of its importance;
    /// 0 averages all alike [default: 4]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    importance: Option<f64>,
    /// Let a pair of neurons cost by their importance where activations are matched
    #[arg(long, value_name = "true|false")]
    importance_cost: Option<bool>,
    /// Fit the last layer of classifiers to scores averaged by each parent's share in a class, in place of the ensemble's
    #[arg(long, value_name = "true|false")]
    class_shares: Option<bool>,
    /// Let the worst matched neurons of two models stay apart, until each group has this many times its size: from 1, all
    /// averaged, to 2, which computes the mean of both models' outputs. Without repair
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    width_budget: Option<f64>,
    /// The width of the result, relative to the anchor's: below 1, all models are fused into a copy of the anchor from which
    /// the least important neurons of each group were taken out; above 1 as --width-budget
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    target_width: Option<f64>,
    /// What is kept of the activations [default: raw]
    #[arg(long, value_parser = choice::<StatisticName>())]
    activation_features: Option<StatisticName>,
    /// How the terms of a residual stream count in its matching: the sums behind each branch, or the terms alike, by their
    /// share of the absolute values, or by that share for each neuron [default: sums]
    #[arg(long, value_parser = choice::<ResidualName>())]
    residual: Option<ResidualName>,
    /// Write the first of two models aligned to the anchor, without averaging
    #[arg(long)]
    aligned_only: bool,
    /// Take weights that are not finite: the same weight of the result may then be as well. Without, they are an error
    #[arg(long)]
    allow_nonfinite: bool,
    /// The element type that the weights of the result are written in; the anchor's if not given
    #[arg(long, value_parser = choice::<TypeName>())]
    dtype: Option<TypeName>,
    /// Match rows of Hugging Face models' vocabularies by token, and what becomes of tokens that not all have
    #[arg(long, value_parser = choice::<VocabularyName>())]
    vocabulary: Option<VocabularyName>,
    /// Seed of the proof and of random orders [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    sweeping: Sweeping,
}

/// How matching goes on after the first sweep.
#[derive(Args, Debug)]
#[command(next_help_heading = "Converged matching")]
struct Sweeping {
    /// The most sweeps over all groups after the first; 0 for the forward sweep alone. As the preset says
    #[arg(long, value_name = "N")]
    sweeps: Option<usize>,
    /// Where the sweeps begin
    #[arg(long, value_parser = choice::<StartName>())]
    start: Option<StartName>,
    /// Which weights describe a neuron in the sweeps
    #[arg(long, value_parser = choice::<MembersName>())]
    members: Option<MembersName>,
    /// In which order a sweep visits the groups; random orders follow --seed
    #[arg(long, value_parser = choice::<OrderName>())]
    order: Option<OrderName>,
    /// Runs with seeds of their own, of which the best counts
    #[arg(long, value_name = "N")]
    starts: Option<usize>,
    /// Let all tensors count alike in the sweeps, whatever their norm
    #[arg(long)]
    balance: bool,
    /// The activations' share in the features with --mode both, from 0 to 1 [default: 0.5]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    activation_share: Option<f64>,
    /// What three and more models are aligned to
    #[arg(long, value_parser = choice::<ConsensusName>())]
    consensus: Option<ConsensusName>,
}

impl Options {
    /// The options; what was not typed is not said.
    pub fn typed(&self) -> Result<FuseOptions> {
        let sweeping = &self.sweeping;
        Ok(FuseOptions {
            method: self.transport.method,
            effort: self.effort,
            symmetry: self.symmetry,
            samples_from: self.samples_from.clone(),
            merge: self.merge,
            parameters: merging::parameters(&self.parameter)?,
            base: self.base,
            t: self.t,
            mode: self.mode,
            preset: self.preset,
            cost: self.cost,
            normalize_features: said(self.transport.normalize_features),
            solver: self.transport.solver,
            epsilon: self.transport.epsilon,
            sweeps: sweeping.sweeps,
            start: sweeping.start,
            members: sweeping.members,
            order: sweeping.order,
            starts: sweeping.starts,
            balance: said(sweeping.balance),
            activation_share: sweeping.activation_share,
            consensus: sweeping.consensus,
            marginals: self.transport.marginals,
            anchor: self.anchor,
            depth: self.depth,
            pairs: self.pairs.clone(),
            free_inputs: self.free_inputs.clone(),
            weights: (!self.weights.is_empty()).then(|| self.weights.clone().into()),
            align_outputs: said(self.align_outputs),
            samples: self.samples,
            check: self.check,
            repair: self.repair,
            ridge: self.ridge,
            repair_steps: self.repair_steps,
            repair_rounds: self.repair_rounds,
            importance: self.importance,
            importance_cost: self.importance_cost,
            class_shares: self.class_shares,
            width_budget: self.width_budget,
            target_width: self.target_width,
            activation_point: self.transport.activation_point,
            activation_features: self.activation_features,
            residual: self.residual,
            aligned_only: said(self.aligned_only),
            allow_nonfinite: said(self.allow_nonfinite),
            dtype: self.dtype,
            vocabulary: self.vocabulary,
            no_verify: said(self.proof.no_verify),
            shape: self.proof.shape(),
            seed: self.seed,
        })
    }
}
