//! What became of a task vector.

use serde::Serialize;

use crate::{Measure, RepairName};

/// What was carried where.
#[derive(Clone, Debug, Serialize)]
pub struct TransportReport {
    /// Where the network was written.
    pub output: String,
    /// The network that was tuned, before.
    pub base: String,
    /// The same after.
    pub tuned: String,
    /// The network that the difference was added to.
    pub target: String,
    /// How often the difference was added.
    pub scale: f64,
    /// How much the tuned network itself was followed.
    pub follow: f64,
    /// What was repaired.
    pub repair: RepairName,
    /// The data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Samples that layers were fitted on.
    pub samples: usize,
    /// Layers that were fitted.
    pub fitted_layers: usize,
    /// Neuron groups that were matched.
    pub groups: usize,
    /// Groups that were not in their place.
    pub moved: usize,
    /// The norm of the difference, relative to that of the network before.
    pub difference: f64,
    /// How the networks do on labelled samples, where there are such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measures: Option<TransportMeasures>,
    /// Where the time went.
    pub seconds: TransportSeconds,
}

/// What would be carried where.
#[derive(Clone, Debug, Serialize)]
pub struct TransportRehearsal {
    /// The network that was tuned, before.
    pub base: String,
    /// The same after.
    pub tuned: String,
    /// The network that the difference would be added to.
    pub target: String,
    /// How often.
    pub scale: f64,
    /// What would be repaired.
    pub repair: RepairName,
    /// The data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Neuron groups that would be matched.
    pub groups: usize,
    /// Learned numbers of the result.
    pub parameters: usize,
}

/// How the four networks do on the same labelled samples.
#[derive(Clone, Debug, Serialize)]
pub struct TransportMeasures {
    /// The samples' data set.
    pub data: String,
    /// The split that they are from.
    pub split: &'static str,
    /// How many.
    pub samples: usize,
    /// The network before.
    pub base: Measure,
    /// The network after.
    pub tuned: Measure,
    /// The network that the difference was added to.
    pub target: Measure,
    /// The result.
    pub result: Measure,
    /// The gain of the result over its base, in gains of the tuned network over its own; none where that gained nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<f64>,
}

/// Seconds that were spent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TransportSeconds {
    /// Proving neuron groups.
    pub verify: f64,
    /// Recording activations.
    pub activations: f64,
    /// Aligning.
    pub align: f64,
    /// Adding the difference.
    pub add: f64,
    /// Fitting layers.
    pub repair: f64,
    /// Measuring.
    pub measure: f64,
}
