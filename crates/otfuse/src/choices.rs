//! Values that options choose among, by the names that they have in files, in JSON and on the command line.

/// A closed set of named values.
pub trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// Every value, its name and its meaning in a line.
    const ALL: &'static [(Self, &'static str, &'static str)];

    /// Other names that values are known by.
    const ALIASES: &'static [(Self, &'static str)] = &[];

    /// The value's name.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(value, ..)| *value == self).map_or("", |(_, name, _)| name)
    }

    /// The value of a name.
    fn of_name(name: &str) -> Option<Self> {
        let alias = || Self::ALIASES.iter().find(|(_, known)| *known == name).map(|(value, _)| *value);
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(value, ..)| *value).or_else(alias)
    }
}

macro_rules! choices {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $of:literal])+ $choice:ident = $text:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub enum $name { $($(#[doc = $of])+ #[serde(rename = $text $(, alias = $alias)*)] $choice),+ }

        impl $crate::choices::Choice for $name {
            const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$choice, $text, concat!($($of),+))),+];
            const ALIASES: &'static [(Self, &'static str)] = &[$($((Self::$choice, $alias),)*)+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::choices::Choice::name(*self))
            }
        }
    };
}
pub(crate) use choices;

choices!(
    /// How the neurons of the models are brought into one order.
    MethodName {
        /// Align by optimal transport, then average
        Ot = "ot",
        /// Average index by index, without alignment
        Average = "average",
    }
);
choices!(
    /// The element type that the weights of a result are written in.
    TypeName {
        /// 32 bits
        Float32 = "float32",
        /// 16 bits with 5 bits of exponent
        Float16 = "float16",
        /// 16 bits with the exponent of float32
        BFloat16 = "bfloat16",
    }
);

impl TypeName {
    pub(crate) fn data_type(self) -> otfuse_graph::DataType {
        match self {
            Self::Float32 => otfuse_graph::DataType::F32,
            Self::Float16 => otfuse_graph::DataType::F16,
            Self::BFloat16 => otfuse_graph::DataType::BF16,
        }
    }
}

choices!(
    /// How much work goes into a result.
    EffortName {
        /// Matching and one repair in closed form, as fast as can be
        Quick = "quick",
        /// What pays within a minute or two
        Default = "default",
        /// All repairs, minutes
        Thorough = "thorough",
    }
);
choices!(
    /// Which symmetries of the networks are used to align them.
    SymmetryName {
        /// All that a network is proved to have
        Auto = "auto",
        /// Permutations of neurons alone
        Permutations = "permutations",
    }
);
choices!(
    /// Which of networks of unequal depth gives the result its form.
    DepthName {
        /// The anchor
        Anchor = "anchor",
        /// A shallowest one: blocks are taken out of the fused network, and the others fitted to it
        Shallow = "shallow",
        /// A deepest one
        Deep = "deep",
    }
);
choices!(
    /// What becomes of tokens that not all models have.
    VocabularyName {
        /// The anchor's tokens stay; rows that another model lacks are the anchor's alone
        Anchor = "anchor",
        /// Only tokens that all models have stay; the result's tokenizer is written anew
        Intersect = "intersect",
    }
);

choices!(
    /// What describes a neuron.
    ModeName {
        /// What suits what is given
        Auto = "auto",
        /// Its incoming weights; needs no data
        Weights = "weights",
        /// Its activations on samples; needs data
        Activations = "activations",
        /// Activations first, then both together; needs data
        Both = "both",
    }
);
choices!(
    /// Named settings.
    PresetName {
        /// One forward sweep on incoming weights, no repair
        Forward = "forward",
        /// The published code's choices: last layer aligned too, no biases in the features, the anchor's marginals on both sides
        Paper = "paper",
        /// Weight matching of Git Re-Basin: sweeps in random order from the identity until nothing changes
        GitRebasin = "git-rebasin",
        /// The forward sweep, then sweeps over all weights of each group until nothing changes
        Converged = "converged",
    }
);
choices!(
    /// Where the sweeps begin.
    StartName {
        /// With the forward sweep
        Forward = "forward",
        /// With every neuron where it is
        Identity = "identity",
    }
);
choices!(
    /// Which weights describe a neuron.
    MembersName {
        /// Incoming weights only
        Producers = "producers",
        /// Incoming and outgoing weights
        All = "all",
    }
);
choices!(
    /// The order of a sweep.
    OrderName {
        /// From the inputs to the outputs
        Topological = "topological",
        /// At random, anew for each sweep
        Random = "random",
    }
);
choices!(
    /// What three and more models are aligned to.
    ConsensusName {
        /// The anchor
        Anchor = "anchor",
        /// The mean of all other models, in turn, until nothing changes
        Mean = "mean",
    }
);
choices!(
    /// Distance between features.
    CostName {
        /// Euclidean distance
        Euclidean = "euclidean",
        /// Squared Euclidean distance
        Sqeuclidean = "sqeuclidean",
        /// One minus the cosine
        Cosine = "cosine",
    }
);
choices!(
    /// Solver of the transport problems.
    SolverName {
        /// Exact, with a certificate
        Exact = "exact",
        /// Entropic: soft matches
        Sinkhorn = "sinkhorn",
    }
);
choices!(
    /// Mass of each neuron.
    MarginalName {
        /// The same for all
        Uniform = "uniform",
        /// L1 norm of the neuron's features
        L1 = "l1",
        /// L2 norm of the neuron's features
        L2 = "l2",
    }
);
choices!(
    /// Norm of weights.
    NormName {
        /// Sum of absolute values
        L1 = "l1",
        /// Root of the sum of squares
        L2 = "l2",
    }
);
choices!(
    /// Where activations are taken.
    PointName {
        /// Before the nonlinearity
        Pre = "pre",
        /// Behind the nonlinearity
        Post = "post",
    }
);
choices!(
    /// What is kept of activations.
    StatisticName {
        /// Every sample and position
        Raw = "raw",
        /// Mean and standard deviation
        Moments = "moments",
    }
);
choices!(
    /// How the terms of a residual stream count in its matching.
    ResidualName {
        /// The sums behind each branch
        Sums = "sums",
        /// The terms alike
        Uniform = "uniform",
        /// By their share of the absolute values
        Scaled = "scaled",
        /// By that share for each neuron
        Neurons = "neurons",
    }
);
choices!(
    /// Part of a data set.
    SplitName {
        /// The test samples
        Test = "test",
        /// The training samples
        Train = "train",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files() {
        for (value, name, meaning) in PresetName::ALL {
            assert_eq!(serde_json::to_string(value).ok(), Some(format!("\"{name}\"")));
            assert_eq!(PresetName::of_name(name), Some(*value));
            assert!(!meaning.is_empty());
        }
        assert_eq!(MethodName::of_name("OT"), None);
    }
}
