//! Task vectors: what a network learned since, as a difference of weights, in the neurons of another network.

use otfuse_graph::{GraphEditor, Operator, Tensor, ValueId};

use crate::error::FusionError;
use crate::fuse::{Aligned, Fusion};
use crate::merge::Merging;
use crate::networks::Networks;

impl Aligned {
    /// The networks of `networks`, each mapped as the model of these whose number `like` gives for it: later checkpoints of
    /// networks that were aligned go the same way. The anchors of both are one network.
    ///
    /// # Errors
    /// [`FusionError::Shape`] where a network has a weight of another shape than the one that it is to be mapped like.
    pub fn extended(&self, networks: &Networks, like: &[usize]) -> Result<Self, FusionError> {
        for (model, &like) in like.iter().enumerate() {
            check_shapes((networks, model), (&self.networks, like))?;
        }
        Ok(Self {
            networks: networks.clone(),
            maps: like.iter().map(|&like| self.maps.get(like).cloned().unwrap_or_default()).collect(),
            is_of_sequences: self.is_of_sequences,
            rotated: self.rotated.clone(),
            measurements: Default::default(),
            alignments: self.alignments.clone(),
            alignment_time: self.alignment_time,
        })
    }

    /// The anchor's weights and `scale` times the difference between two models' mapped weights, `after - before` (G. Ilharco
    /// et al., "Editing models with task arithmetic", ICLR 2023, with the difference of one network added to another). The
    /// variances of batch normalisations are multiplied by `(after / before)^scale`, so that they stay positive.
    ///
    /// # Errors
    /// Unequal shapes without alignment; a result that is not finite.
    pub fn with_difference(&self, [before, after]: [usize; 2], scale: f64) -> Result<Fusion, FusionError> {
        let mut weights = vec![0.0; self.networks.len()];
        weights[self.networks.anchor()] = 1.0;
        weights[before] -= scale;
        weights[after] += scale;
        let mut fusion = self.fused(&Merging::mean(), &weights)?;
        let anchor = self.networks.reference();
        let mut editor = GraphEditor::edit(fusion.graph.clone());
        for (id, epsilon) in variances(&self.networks) {
            let Some(tensor) = anchor.initializer(id) else { continue };
            let Some(found) = editor.find(&anchor.value(id).name) else { continue };
            let of = |model| fusion.aligned_weight(&self.networks, model, id);
            let own = tensor.to_f32().unwrap_or_default();
            let moved = own.iter().zip(of(before)).zip(of(after)).map(|((&own, before), after)| {
                let [own, before, after] = [own, before, after].map(|value| f64::from(value.max(0.0)) + epsilon);
                ((own * (after / before).powf(scale)) - epsilon).max(0.0) as f32
            });
            let data_type = fusion.graph.find_value(&anchor.value(id).name).and_then(|id| fusion.graph.initializer(id));
            let data_type = data_type.map_or(tensor.data_type(), Tensor::data_type);
            editor.set_tensor(found, Tensor::from_f32_as(data_type, tensor.shape(), moved.collect()));
        }
        fusion.graph = editor.finish()?;
        Ok(fusion)
    }

    /// The norm of the difference between two models' weights, relative to that of the first. Linear in their number.
    pub fn relative_difference(&self, [before, after]: [usize; 2]) -> f64 {
        let anchor = self.networks.reference();
        let (mut difference, mut norm) = (0.0_f64, 0.0_f64);
        for (id, _) in anchor.initializers().filter(|(id, _)| anchor.is_weight(*id)) {
            let (before, after) = (self.networks.values(before, id), self.networks.values(after, id));
            for (before, after) in before.into_iter().zip(after) {
                difference += f64::from(after - before).powi(2);
                norm += f64::from(before).powi(2);
            }
        }
        if norm > 0.0 { (difference / norm).sqrt() } else { 0.0 }
    }
}

/// The running variances of the anchor's batch normalisations, each with what is added to it.
fn variances(networks: &Networks) -> Vec<(ValueId, f64)> {
    let of = |operator: &Operator| match operator {
        Operator::BatchNormalization { epsilon } => Some(f64::from(*epsilon)),
        _ => None,
    };
    let nodes = networks.reference().nodes();
    nodes.filter_map(|(_, node)| Some((node.input(4)?, of(&node.operator)?))).collect()
}

/// Refuses a network with a weight of another shape than the one that it is to be mapped like.
fn check_shapes((networks, model): (&Networks, usize), (others, like): (&Networks, usize)) -> Result<(), FusionError> {
    let anchor = networks.reference();
    for (id, _) in anchor.initializers().filter(|(id, _)| anchor.is_weight(*id)) {
        let (expected, found) = (others.tensor(like, id).shape(), networks.tensor(model, id).shape());
        if expected != found {
            let tensor = networks.graph(model).value(networks.value(model, id)).name.clone();
            return Err(FusionError::Shape { model, tensor, expected: expected.to_vec(), found: found.to_vec() });
        }
    }
    Ok(())
}
