//! Each parent's share in each neuron, and in the network's answer.

use otfuse_graph::{GroupId, Tensor, ValueId};

use super::choice::RepairError;
use super::unit::LinearUnit;
use super::refit::{Moments, Refit};

/// Batches from which a neuron's deviation is taken.
const BATCHES: usize = 2;

impl Refit<'_> {
    /// For every parent and every channel of a layer the parent's share in the channel's target; the shares of a channel
    /// add up to 1.
    ///
    /// A parent's neuron counts by its averaging weight times a power of its importance: the deviation of its values
    /// times the norm of the weights that take it in. Where parents know different things, the neuron of the one that
    /// makes use of it is blurred less by others that do not. All layers that write to a residual stream share what the first one
    /// found.
    pub(super) fn shares(
        &mut self,
        unit: &LinearUnit,
        observed: ValueId,
        power: f64,
    ) -> Result<Vec<Vec<f64>>, RepairError> {
        let networks = self.networks;
        let mut moments = Vec::with_capacity(self.parents.len());
        let mut axis = 0;
        for parent in 0..self.parents.len() {
            let mut of_parent = Moments::default();
            for batch in 0..self.fused.batches().min(BATCHES) {
                let tensor = self.parent_value(parent, batch, observed)?;
                axis = self.channel_axis(unit, tensor.shape());
                of_parent.add(&tensor, axis);
            }
            moments.push(of_parent.variances());
        }
        let channels = moments.first().map_or(0, Vec::len);
        let mut shares: Vec<Vec<f64>> = self.parents.iter().map(|parent| vec![parent.1; channels]).collect();
        let Some(layout) = self.fusion.layout(networks, observed, axis) else { return Ok(shares) };
        let size = |group: GroupId| networks.size(networks.anchor(), group);
        for group in layout.groups() {
            let neurons = layout.neurons(group, &size);
            if neurons.len() != channels {
                continue;
            }
            let of_group = match self.known.remove(&group) {
                Some(known) => known,
                None => self.importance(group, &neurons, &moments, power),
            };
            for (channel, neuron) in neurons.iter().enumerate().filter_map(|(at, neuron)| Some((at, (*neuron)?))) {
                shares.iter_mut().zip(&of_group).for_each(|(shares, known)| shares[channel] = known[neuron]);
            }
            self.known.insert(group, of_group);
        }
        Ok(shares)
    }

    /// Shares by neurons of a group.
    fn importance(&self, group: GroupId, neurons: &[Option<usize>], moments: &[Vec<f64>], power: f64) -> Vec<Vec<f64>> {
        let networks = self.networks;
        let count = networks.size(networks.anchor(), group);
        let mut found: Vec<Vec<f64>> = Vec::with_capacity(self.parents.len());
        for (parent, variances) in self.parents.iter().zip(moments) {
            let outgoing = self.fusion.outgoing_norms(networks, parent.0, group);
            let mut variance = vec![0.0; count];
            for (channel, neuron) in neurons.iter().enumerate().filter_map(|(at, neuron)| Some((at, (*neuron)?))) {
                variance[neuron] += variances[channel];
            }
            found.push(variance.into_iter().zip(outgoing).map(|(variance, norm)| variance.sqrt() * norm).collect());
        }
        // Relative to the most important partner, so that no power overflows.
        let most = |neuron: usize| found.iter().map(|parent| parent[neuron]).fold(0.0, f64::max);
        let most: Vec<f64> = (0..count).map(most).collect();
        let raised =
            |parent: usize, neuron: usize| self.parents[parent].1 * (found[parent][neuron] / most[neuron]).powf(power);
        let masses: Vec<Vec<f64>> =
            (0..found.len()).map(|parent| (0..count).map(|neuron| raised(parent, neuron)).collect()).collect();
        let total: Vec<f64> = (0..count).map(|neuron| masses.iter().map(|parent| parent[neuron]).sum()).collect();
        let share = |parent: usize, neuron: usize| {
            let share = masses[parent][neuron] / total[neuron];
            if total[neuron] > 0.0 && share.is_finite() { share } else { self.parents[parent].1 }
        };
        (0..self.parents.len()).map(|parent| (0..count).map(|neuron| share(parent, neuron)).collect()).collect()
    }
}

/// The logits of an ensemble: the logarithm of the parents' mean probability, at the mean of the parents' levels.
///
/// `members` are logits of as many rows, each with the parent's weight. The same logits from all parents are left as they
/// are.
pub(super) fn ensemble_logits(members: &[(Tensor, f64)]) -> Option<(Vec<usize>, Vec<f32>)> {
    let shape = members.first()?.0.shape().to_vec();
    let classes = *shape.last()?;
    let values: Vec<(Vec<f32>, f64)> =
        members.iter().map(|(tensor, weight)| Some((tensor.to_f32()?, *weight))).collect::<Option<_>>()?;
    let mut logits = Vec::with_capacity(shape.iter().product());
    for row in 0..shape.iter().product::<usize>() / classes.max(1) {
        let rows: Vec<(&[f32], f64, f64)> = values
            .iter()
            .map(|(values, weight)| {
                let row = &values[row * classes..(row + 1) * classes];
                (row, *weight, log_sum_exp(row.iter().map(|&value| f64::from(value))))
            })
            .collect();
        let level: f64 = rows.iter().map(|(_, weight, level)| weight * level).sum();
        let total: f64 = rows.iter().map(|(_, weight, _)| weight).sum();
        for class in 0..classes {
            let terms = rows.iter().map(|(row, weight, level)| (weight / total).ln() + f64::from(row[class]) - level);
            logits.push((log_sum_exp(terms) + level) as f32);
        }
    }
    Some((shape, logits))
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        largest
    } else {
        largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ensemble_of_equal_members_is_the_member_and_a_sure_member_outweighs_one_that_is_not() {
        let of = |values: &[f32]| Tensor::from_f32(&[1, 3], values.to_vec());
        let same = ensemble_logits(&[(of(&[1.0, -2.0, 0.5]), 0.5), (of(&[1.0, -2.0, 0.5]), 0.5)]).unwrap().1;
        assert!(same.iter().zip([1.0, -2.0, 0.5]).all(|(a, b)| (a - b).abs() < 1e-6), "{same:?}");
        // (0.98, 0.01, 0.01) and (0.3, 0.4, 0.3), as logarithms: the mean is (0.64, 0.205, 0.155).
        let sure = of(&[0.98_f32.ln(), 0.01_f32.ln(), 0.01_f32.ln()]);
        let unsure = of(&[0.3_f32.ln(), 0.4_f32.ln(), 0.3_f32.ln()]);
        let both = ensemble_logits(&[(sure, 0.5), (unsure, 0.5)]).unwrap().1;
        let expected = [0.64_f32, 0.205, 0.155];
        assert!(both.iter().zip(expected).all(|(found, expected)| (found.exp() - expected).abs() < 1e-5), "{both:?}");
    }
}
