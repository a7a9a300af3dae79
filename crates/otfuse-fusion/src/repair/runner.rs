//! What a repair needs of whatever runs networks on samples.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use otfuse_graph::{Graph, Tensor, ValueId};

/// Why a network could not be run, in the words of what runs it.
pub type RunError = Box<dyn std::error::Error + Send + Sync>;

/// Runs networks on samples. This crate runs none itself; see `repair`.
pub trait Runner {
    /// The number of samples.
    fn samples(&self) -> usize;

    /// The number of classes that the samples have; 0 where nothing is known of them.
    fn classes(&self) -> usize;

    /// Whether each sample is of a class; `None` where nothing is known of them, so that networks of one row of scores a sample
    /// are taken for classifiers.
    fn is_classified(&self) -> Option<bool> {
        (self.classes() > 0).then_some(true)
    }

    /// Prepares a network.
    ///
    /// # Errors
    /// A network that cannot be run on the samples.
    fn load(&self, graph: &Graph) -> Result<Box<dyn Loaded + '_>, RunError>;

    /// The diagonal of the Fisher information of the weights that training changes, in the mean over the samples, by the ids of
    /// the graph: `E_x E_(y ~ p(y|x)) (d log p(y|x) / dw)^2`, where `p` is what the network itself answers. Random draws follow from
    /// `seed`; `observe` is told how many of how many samples are done.
    ///
    /// # Errors
    /// A network that cannot be run on the samples; a runner that computes no gradients, which is what one does that says nothing else; an
    /// observer that stopped the work.
    fn fisher(
        &self,
        graph: &Graph,
        seed: u64,
        observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<BTreeMap<ValueId, Vec<f32>>, RunError> {
        let _ = (graph, seed, observe);
        Err("what runs the networks computes no gradients".into())
    }
}

/// A network that is ready to be run. Values go by the ids of the graph that was loaded.
pub trait Loaded {
    /// What the samples are for the network's inputs, batch by batch. All networks of one runner get the same samples in
    /// the same batches.
    ///
    /// # Errors
    /// Samples that do not fit the network's inputs.
    fn inputs(&self) -> Result<Vec<BTreeMap<ValueId, Tensor>>, RunError>;

    /// Computes the values of `wanted` of one batch from values that are known already; what stands before these is not
    /// run.
    ///
    /// # Errors
    /// A value that does not follow from those given; operands that do not fit.
    fn run_from(&self, known: &[(ValueId, Tensor)], wanted: &[ValueId]) -> Result<BTreeMap<ValueId, Tensor>, RunError>;

    /// Replaces a constant tensor.
    ///
    /// # Errors
    /// A tensor that cannot be used.
    fn replace(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RunError>;
}
