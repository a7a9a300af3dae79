//! A batch normalisation as the affine map that it is.

use otfuse_graph::{NodeId, Operator, ValueId};

use crate::networks::Networks;

/// What a batch normalisation right behind a linear node makes of the node's sums: `factor * sum + shift` per channel.
pub(crate) struct AffineNormalization {
    pub factors: Vec<f32>,
    /// With the node's bias folded in.
    pub shifts: Vec<f32>,
    /// Scale, shift, mean, variance and the node's bias, if any, in the anchor's ids.
    pub parameters: Vec<ValueId>,
}

impl AffineNormalization {
    /// The normalisation that alone reads what a node of the anchor computes, with the numbers of one model.
    pub fn behind(networks: &Networks, model: usize, node: NodeId) -> Option<Self> {
        let graph = networks.reference();
        let output = graph.node(node).output(0)?;
        let mut readers = graph.nodes().filter(|(_, reader)| reader.inputs.contains(&Some(output)));
        let (_, reader) = readers.next()?;
        let Operator::BatchNormalization { epsilon } = reader.operator else { return None };
        if readers.next().is_some() || reader.input(0) != Some(output) {
            return None;
        }
        let mut parameters: Vec<ValueId> = (1..5).map(|position| reader.input(position)).collect::<Option<_>>()?;
        let bias = graph.node(node).input(2);
        parameters.extend(bias);
        let vector = |&id: &ValueId| {
            graph.initializer(id)?;
            networks.tensor(model, id).to_f32()
        };
        let mut numbers = parameters.iter().map(vector).collect::<Option<Vec<_>>>()?;
        let channels = numbers[0].len();
        if numbers.iter().any(|numbers| numbers.len() != channels) {
            return None;
        }
        if bias.is_none() {
            numbers.push(vec![0.0; channels]);
        }
        let [scale, shift, mean, variance, bias] = <[Vec<f32>; 5]>::try_from(numbers).ok()?;
        let factors: Vec<f32> =
            scale.iter().zip(&variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
        let shifts = (0..channels).map(|i| (bias[i] - mean[i]) * factors[i] + shift[i]).collect();
        Some(Self { factors, shifts, parameters })
    }
}
