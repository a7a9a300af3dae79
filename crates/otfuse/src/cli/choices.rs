//! Values that options choose among, as they are typed and as they stand in JSON.

use clap::ValueEnum;

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $choice:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        #[serde(rename_all = "lowercase")]
        #[value(rename_all = "lowercase")]
        pub enum $name { $($(#[$of])* $choice),* }
    };
}

choices!(
    /// How the models become one.
    MethodName {
        /// Align by optimal transport, then average
        Ot,
        /// Average index by index, without alignment
        Average,
    }
);
choices!(
    /// What describes a neuron.
    ModeName {
        /// What suits what is given
        Auto,
        /// Its incoming weights; needs no data
        Weights,
        /// Its activations on samples; needs --data
        Activations,
        /// Activations first, then both together; needs --data
        Both,
    }
);
choices!(
    /// Named settings.
    PresetName {
        /// One forward sweep on incoming weights, no repair
        Forward,
        /// The published code's choices: last layer aligned too, no biases in the features, the anchor's marginals on
        /// both sides
        Paper,
        /// Weight matching of Git Re-Basin: sweeps in random order from the identity until nothing changes
        #[value(name = "git-rebasin")]
        #[serde(rename = "git-rebasin")]
        GitRebasin,
        /// The forward sweep, then sweeps over all weights of each group until nothing changes
        Converged,
    }
);
choices!(
    /// Where the sweeps begin.
    StartName {
        /// With the forward sweep
        Forward,
        /// With every neuron where it is
        Identity,
    }
);
choices!(
    /// Which weights describe a neuron.
    MembersName {
        /// Incoming weights only
        Producers,
        /// Incoming and outgoing weights
        All,
    }
);
choices!(
    /// The order of a sweep.
    OrderName {
        /// From the inputs to the outputs
        Topological,
        /// At random, anew for each sweep
        Random,
    }
);
choices!(
    /// What three and more models are aligned to.
    ConsensusName {
        /// The anchor
        Anchor,
        /// The mean of all other models, in turn, until nothing changes
        Mean,
    }
);
choices!(
    /// What is repaired after averaging.
    RepairName {
        /// Least squares with --data, else data-free; nothing with --preset, --method average or --aligned-only
        Auto,
        /// Nothing
        None,
        /// The variance of every layer, from the weights alone
        #[value(name = "data-free")]
        #[serde(rename = "data-free")]
        DataFree,
        /// The running statistics of batch normalisations
        #[value(name = "bn")]
        Bn,
        /// Mean and standard deviation of every neuron
        Repair,
        /// The standard deviation of every neuron
        Rescale,
        /// Every layer, fitted to the mean of its parents' sums
        #[value(name = "least-squares")]
        #[serde(rename = "least-squares")]
        LeastSquares,
    }
);
choices!(
    /// Distance between features.
    CostName {
        /// Euclidean distance
        Euclidean,
        /// Squared Euclidean distance
        Sqeuclidean,
        /// One minus the cosine
        Cosine,
    }
);
choices!(
    /// Solver of the transport problems.
    SolverName {
        /// Exact, with a certificate
        Exact,
        /// Entropic: soft matches
        Sinkhorn,
    }
);
choices!(
    /// Mass of each neuron.
    MarginalName {
        /// The same for all
        Uniform,
        /// L1 norm of the neuron's features
        L1,
        /// L2 norm of the neuron's features
        L2,
    }
);
choices!(
    /// Norm of weights.
    NormName {
        /// Sum of absolute values
        L1,
        /// Root of the sum of squares
        L2,
    }
);
choices!(
    /// Where activations are taken.
    PointName {
        /// Before the nonlinearity
        Pre,
        /// Behind the nonlinearity
        Post,
    }
);
choices!(
    /// What is kept of activations.
    StatisticName {
        /// Every sample and position
        Raw,
        /// Mean and standard deviation
        Moments,
    }
);
choices!(
    /// Part of a data set.
    SplitName {
        /// The test samples
        Test,
        /// The training samples
        Train,
    }
);
