//! What can be asked of a fusion. Whatever is not said has the product's default, which [`Fuse`](crate::Fuse) resolves.

use otfuse_fusion::merge::{self, Merge};
use otfuse_fusion::{Answer, Repair};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::choices::choices;
use crate::{
    ConsensusName, CostName, DepthName, EffortName, InputShapes, MarginalName, MembersName, MergeParameters,
    MethodName, ModeName, OrderName, PointName, PresetName, ResidualName, SolverName, StartName, StatisticName,
    SymmetryName, TypeName, VocabularyName,
};

/// A struct of options, none of which has to be said, as files name them.
macro_rules! options {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $of:literal])+ $field:ident ($key:literal): $type:ty),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[doc = $of])+ #[serde(rename = $key, skip_serializing_if = "Option::is_none")] pub $field: Option<$type>),+
        }

        impl $name {
            /// Their names in files.
            pub const KEYS: &'static [&'static str] = &[$($key),+];

            /// These, and `other` where they leave something open.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field)),+ }
            }
        }
    };
}
pub(crate) use options;

choices!(
    /// How aligned tensors become one: docs/merging.md. Where a method needs a base, the anchor is it.
    MergeName {
        /// Their weighted mean
        Mean = "mean" | "linear",
        /// A point on the great circle between two
        Slerp = "slerp",
        /// The same with weights, also of rows
        NuSlerp = "nuslerp",
        /// The mean of directions, at the mean of lengths
        MultiSlerp = "multislerp",
        /// The mean on a sphere
        Karcher = "karcher",
        /// The base, and the differences from it
        TaskArithmetic = "task_arithmetic",
        /// The largest differences that agree in sign
        Ties = "ties",
        /// Differences drawn at random
        DareLinear = "dare_linear",
        /// The same, those that agree in sign
        DareTies = "dare_ties",
        /// Differences drawn by their rank
        DellaLinear = "della_linear",
        /// The same, those that agree in sign
        Della = "della",
        /// Differences that are neither small nor the largest
        Breadcrumbs = "breadcrumbs",
        /// The same, those that agree in sign
        BreadcrumbsTies = "breadcrumbs_ties",
        /// The mean, drawn towards the base by the angle between differences
        ModelStock = "model_stock",
        /// The other model where it is near to the base
        NearSwap = "nearswap",
        /// The most important differences
        ArceeFusion = "arcee_fusion",
        /// Differences where models differ most, weighted by their squares
        Sce = "sce",
        /// The middle value
        Median = "median",
        /// The mean without the ends
        TrimmedMean = "trimmed_mean",
        /// The mean by how much each model depends on each weight, on samples
        Fisher = "fisher",
        /// Layers that say of each model's inputs what the model says, on samples
        RegMean = "regmean",
    }
);

impl MergeName {
    /// The method of this name.
    pub(crate) fn method(self) -> &'static dyn Merge {
        use crate::Choice;
        let name = if self == Self::Mean { "linear" } else { self.name() };
        merge::method(name).unwrap_or(merge::METHODS[0])
    }
}

choices!(
    /// What is repaired after merging.
    RepairName {
        /// Least squares with data (then distill with effort thorough), else data-free; nothing with a preset, without alignment or merging
        Auto = "auto",
        /// Nothing
        None = "none",
        /// The variance of every layer, from the weights alone
        DataFree = "data-free",
        /// The running statistics of batch normalisations
        Bn = "bn",
        /// Mean and standard deviation of every neuron
        Repair = "repair",
        /// The standard deviation of every neuron
        Rescale = "rescale",
        /// Every layer, fitted to the mean of its parents' sums
        LeastSquares = "least-squares",
        /// Least squares, then the network follows the mean of its parents on the same samples
        Distill = "distill",
    }
);

impl RepairName {
    /// The repair of this name.
    pub(crate) fn repair(self, ridge: f64, importance: f64, answer: Answer, rounds: usize) -> Repair {
        match self {
            Self::Auto | Self::None => Repair::None,
            Self::DataFree => Repair::DataFree,
            Self::Bn => Repair::BatchNorm,
            Self::Repair => Repair::Renormalize,
            Self::Rescale => Repair::Rescale,
            Self::LeastSquares | Self::Distill => Repair::LeastSquares { ridge, importance, answer, rounds },
        }
    }

    /// Whether it works on samples.
    pub(crate) fn needs_samples(self) -> bool {
        !matches!(self, Self::None | Self::DataFree)
    }
}

options!(
    /// Options of a fusion, by the names that they have on the command line and in files.
    FuseOptions {
        /// How the neurons are brought into one order; ot.
        method ("method"): MethodName,
        /// How much work goes into the result; default.
        effort ("effort"): EffortName,
        /// Which symmetries of the networks are used to align them; auto.
        symmetry ("symmetry"): SymmetryName,
        /// Where samples come from without a data set: parents, noise, none, or a file of them; what the effort says.
        samples_from ("samples-from"): String,
        /// How aligned tensors become one; mean.
        merge ("merge"): MergeName,
        /// What the merge is told: numbers, gradients over layers or choices by names, by parameter; for all models and for each.
        parameters ("parameters"): MergeParameters,
        /// The model, counted from 0, whose differences from the others are merged; the anchor where the merge needs one.
        base ("base"): usize,
        /// The share of the second of two models, in place of `weights`.
        t ("t"): f64,
        /// What describes a neuron; auto.
        mode ("mode"): ModeName,
        /// Settings that others do not override; none: converged matching on features of unit length.
        preset ("preset"): PresetName,
        /// Distance between the features of two neurons; what the preset says.
        cost ("cost"): CostName,
        /// Scale every neuron's features to unit length first.
        normalize_features ("normalize-features"): bool,
        /// Solver of the transport problems; exact.
        solver ("solver"): SolverName,
        /// Strength of the entropy with the solver sinkhorn, as a multiple of the mean cost; 0.05.
        epsilon ("epsilon"): f64,
        /// The most sweeps over all groups after the first; what the preset says.
        sweeps ("sweeps"): usize,
        /// Where the sweeps begin.
        start ("start"): StartName,
        /// Which weights describe a neuron in the sweeps.
        members ("members"): MembersName,
        /// In which order a sweep visits the groups.
        order ("order"): OrderName,
        /// Runs with seeds of their own, of which the best counts.
        starts ("starts"): usize,
        /// Let all tensors count alike in the sweeps, whatever their norm.
        balance ("balance"): bool,
        /// The activations' share in the features with mode both, from 0 to 1; 0.5.
        activation_share ("activation-share"): f64,
        /// What three and more models are aligned to.
        consensus ("consensus"): ConsensusName,
        /// Mass of each neuron; uniform.
        marginals ("marginals"): MarginalName,
        /// The model, counted from 0, that the others are aligned to and whose shapes and format the result has; the last.
        anchor ("anchor"): usize,
        /// Which of networks of unequal depth gives the result its form; anchor.
        depth ("depth"): DepthName,
        /// A file that says which layers of networks of unequal depth go together; found if not given.
        pairs ("pairs"): String,
        /// Inputs that are noise, by name, separated by commas: each model's is turned to correspond to the anchor's.
        free_inputs ("free-inputs"): String,
        /// Averaging weight of each model; equal.
        weights ("weights"): Numbers,
        /// Align the outputs of the network too, as the published code does.
        align_outputs ("align-outputs"): bool,
        /// Samples for activations and repair, spread evenly over the training split; 1000.
        samples ("samples"): usize,
        /// Test samples on which parents, ensemble, plain average and result are compared; 1000, 0 for none.
        check ("check"): usize,
        /// What is repaired after merging; auto.
        repair ("repair"): RepairName,
        /// How strongly least squares holds weights at the averaged ones; 0.03.
        ridge ("ridge"): f64,
        /// Steps of the repair distill; as many as some minutes allow.
        repair_steps ("repair-steps"): usize,
        /// How often least squares fits layers again to what comes out behind their activation functions; 5, with effort quick 0.
        repair_rounds ("repair-rounds"): usize,
        /// The power of a neuron's importance that is its share in the target of least squares; 4.
        importance ("importance"): f64,
        /// Let a pair of neurons cost by their importance where activations are matched; what the effort says.
        importance_cost ("importance-cost"): bool,
        /// Fit the last layer of classifiers to scores averaged by each parent's share in a class; what the effort says.
        class_shares ("class-shares"): bool,
        /// Let the worst matched neurons stay apart, until each group has this many times its size.
        width_budget ("width-budget"): f64,
        /// The width of the result, relative to the anchor's.
        target_width ("target-width"): f64,
        /// Where activations are taken; post with mode auto, else pre.
        activation_point ("activation-point"): PointName,
        /// What is kept of the activations; raw.
        activation_features ("activation-features"): StatisticName,
        /// How the terms of a residual stream count in its matching; sums.
        residual ("residual"): ResidualName,
        /// The first of two models aligned to the anchor, without merging.
        aligned_only ("aligned-only"): bool,
        /// The element type of the result's weights; the anchor's.
        dtype ("dtype"): TypeName,
        /// Match rows of Hugging Face models' vocabularies by token, and what becomes of tokens that not all have.
        vocabulary ("vocabulary"): VocabularyName,
        /// Weights of the result that are not finite are no error where the same weight of a model is not finite either.
        allow_nonfinite ("allow-nonfinite"): bool,
        /// Do not prove the neuron groups of each model first.
        no_verify ("no-verify"): bool,
        /// Lengths of inputs that the proof is made on, where a network leaves them open.
        shape ("shape"): InputShapes,
        /// Seed of proofs and random orders; 0.
        seed ("seed"): u64,
    }
);

options!(
    /// Options of an alignment without fusing; what is not here is as in a fusion.
    AlignOptions {
        /// The model, counted from 0, that the others are aligned to; the last.
        anchor ("anchor"): usize,
        /// What describes a neuron; auto: activations and weights (both) with data and without preset, else weights.
        mode ("mode"): ModeName,
        /// Settings that others do not override.
        preset ("preset"): PresetName,
        /// Distance between the features of two neurons.
        cost ("cost"): CostName,
        /// Scale every neuron's features to unit length first.
        normalize_features ("normalize-features"): bool,
        /// Inputs that are noise, by name, separated by commas: the model's is turned to correspond to the anchor's.
        free_inputs ("free-inputs"): String,
        /// Samples for activations and repair; 200.
        samples ("samples"): usize,
        /// Do not prove the neuron groups of each model first.
        no_verify ("no-verify"): bool,
        /// Lengths of inputs that the proof is made on, where a network leaves them open.
        shape ("shape"): InputShapes,
        /// Seed of the proof; 0.
        seed ("seed"): u64,
    }
);

impl AlignOptions {
    /// The options of a fusion as `fuse` takes them: what is not said has its defaults.
    pub(crate) fn as_typed(&self) -> FuseOptions {
        FuseOptions {
            anchor: self.anchor,
            mode: self.mode,
            preset: self.preset,
            cost: self.cost,
            normalize_features: self.normalize_features,
            free_inputs: self.free_inputs.clone(),
            samples: self.samples,
            no_verify: self.no_verify,
            seed: self.seed,
            ..FuseOptions::default()
        }
    }

    /// The options of a fusion that mean the same.
    pub(crate) fn fusing(&self, has_data: bool) -> FuseOptions {
        let mode = match self.mode.unwrap_or(ModeName::Auto) {
            ModeName::Auto if self.preset.is_none() && has_data => ModeName::Both,
            ModeName::Auto => ModeName::Weights,
            mode => mode,
        };
        FuseOptions {
            anchor: self.anchor,
            mode: Some(mode),
            preset: self.preset,
            cost: self.cost,
            normalize_features: self.normalize_features,
            free_inputs: self.free_inputs.clone(),
            samples: Some(self.samples.unwrap_or(200)),
            no_verify: self.no_verify,
            shape: self.shape.clone(),
            seed: self.seed,
            repair: Some(RepairName::None),
            ..FuseOptions::default()
        }
    }
}

/// A list of numbers; in files also one number, or numbers separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Numbers(pub Vec<f64>);

impl From<Vec<f64>> for Numbers {
    fn from(numbers: Vec<f64>) -> Self {
        Self(numbers)
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numeric;

        impl<'de> Visitor<'de> for Numeric {
            type Value = Numbers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("numbers, as a list or separated by commas")
            }

            fn visit_f64<E>(self, number: f64) -> Result<Numbers, E> {
                Ok(Numbers(vec![number]))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Numbers, E> {
                Ok(Numbers(vec![number as f64]))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Numbers, E> {
                Ok(Numbers(vec![number as f64]))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Numbers, E> {
                let number = |part: &str| part.trim().parse().map_err(|_| E::custom(format!("'{part}' is no number")));
                text.split(',').map(number).collect::<Result<_, E>>().map(Numbers)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Numbers, A::Error> {
                let mut numbers = Vec::new();
                while let Some(value) = sequence.next_element::<serde_json::Value>()? {
                    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
                    numbers.push(number.ok_or_else(|| A::Error::custom(format!("{value} is no number")))?);
                }
                Ok(Numbers(numbers))
            }
        }

        deserializer.deserialize_any(Numeric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_by_name_and_completed() {
        let read = |text| serde_json::from_str::<FuseOptions>(text);
        let typed = read(r#"{"repair": "least-squares", "weights": "0.25, 0.75"}"#).unwrap();
        assert_eq!(typed.weights, Some(Numbers(vec![0.25, 0.75])));
        let both = typed.or(read(r#"{"repair": "none", "anchor": 1, "weights": [1, 2]}"#).unwrap());
        assert_eq!((both.repair, both.anchor), (Some(RepairName::LeastSquares), Some(1)));
        assert!(read(r#"{"report": "x.html"}"#).is_err());
    }
}
