//! How the terms of a residual stream count in the stream's map.
//!
//! A residual stream is a sum: what stands at its beginning, and what each branch adds. Imfeld et al. ("Transformer Fusion
//! with Optimal Transport", ICLR 2024, section 4) find a map for every term and combine the maps wherever two terms
//! meet: by their average, by one weight per term (the share of the term's activations), or by one weight per neuron
//! and term. Maps that change along the stream change the network's function. Here the stream has one map; the same
//! policies say how much each term contributes to the costs that this map minimises:
//!
//! ```text
//! cost(i, j)^2 = sum over terms t of  w_t(i) w_t(j) |x_t(i) / |x_t|  -  y_t(j) / |y_t||^2     for Euclidean costs and
//!                                                                                               w_t(i) = w_t(j)
//! ```
//!
//! with `x_t` the features of all neurons in term `t` of the model and `y_t` those of the anchor. (Where the weights of `i`
//! and `j` differ each scales its own features.)

use std::collections::HashSet;

use otfuse_graph::{Binary, GroupId, Observation, Operator, ValueId, Variadic};

use crate::networks::Networks;

/// Which observations of a residual stream describe its neurons, and how much each counts. Streams of other networks are not
/// concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Residual {
    /// The sums: the stream behind each branch, as it is. In weight mode the weights of all terms, as they are.
    #[default]
    Sums,
    /// The terms, all counting alike (averaging).
    Uniform,
    /// The terms, each by its share of the absolute values (weighted by scalars).
    Scaled,
    /// The terms, for each neuron by the term's share of the neuron's absolute values (weighted by matrices).
    Neurons,
}

impl Networks {
    /// The terms of the sums that make a group a residual stream, in the anchor's ids; none for other groups.
    pub(crate) fn terms(&self, group: GroupId) -> Vec<Observation> {
        let graph = self.reference();
        let observations = &self.groups().group(group).observations;
        let observed = |value: ValueId| observations.iter().find(|observation| observation.value == value);
        // What is computed from weights alone (a converted bias) is no term.
        let mut constant: HashSet<ValueId> = graph.initializers().map(|(id, _)| id).collect();
        let mut sums: HashSet<ValueId> = HashSet::new();
        let mut terms: Vec<Observation> = Vec::new();
        for (_, node) in graph.nodes() {
            if !node.inputs.is_empty() && node.inputs.iter().flatten().all(|input| constant.contains(input)) {
                constant.extend(node.outputs.iter().flatten());
            }
            if !matches!(node.operator, Operator::Binary(Binary::Add) | Operator::Variadic(Variadic::Sum)) {
                continue;
            }
            let operands = node.inputs.iter().flatten().filter(|input| !constant.contains(input));
            let operands: Vec<&Observation> = operands.filter_map(|&input| observed(input)).collect();
            if operands.len() < 2 {
                continue;
            }
            sums.extend(node.output(0));
            for operand in operands {
                if !sums.contains(&operand.value) && terms.iter().all(|term| term.value != operand.value) {
                    terms.push(operand.clone());
                }
            }
        }
        terms
    }
}

/// Scales the features of a stream's `neurons`, one table per term, so that the terms count as the policy says.
pub(crate) fn weigh(tables: &mut [Vec<f32>], neurons: usize, residual: Residual) {
    if residual == Residual::Sums || neurons == 0 {
        return;
    }
    let mean =
        |values: &[f32]| values.iter().map(|&value| f64::from(value.abs())).sum::<f64>() / values.len().max(1) as f64;
    let share = |part: f64, whole: f64| if whole > 0.0 { (part / whole).sqrt() } else { 0.0 };
    let norm = |table: &[f32]| table.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let norms: Vec<f64> = tables.iter().map(|table| norm(table)).collect();
    let sizes: Vec<f64> = tables.iter().map(|table| mean(table)).collect();
    let whole: f64 = sizes.iter().sum();
    let row = |table: &[f32], neuron: usize| {
        let width = table.len() / neurons;
        neuron * width..(neuron + 1) * width
    };
    let of_neurons: Vec<f64> =
        (0..neurons).map(|neuron| tables.iter().map(|table| mean(&table[row(table, neuron)])).sum()).collect();
    for ((table, norm), size) in tables.iter_mut().zip(norms).zip(sizes) {
        if norm == 0.0 {
            continue;
        }
        for (neuron, &of_neuron) in of_neurons.iter().enumerate() {
            let row = row(table, neuron);
            let values = &mut table[row];
            let weight = match residual {
                Residual::Scaled => share(size, whole),
                Residual::Neurons => share(mean(values), of_neuron),
                _ => 1.0,
            };
            values.iter_mut().for_each(|value| *value = (f64::from(*value) * weight / norm) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weighed(residual: Residual) -> Vec<Vec<f32>> {
        let mut tables = vec![vec![3.0, 0.0, 0.0, 4.0], vec![0.0, 1.0]];
        weigh(&mut tables, 2, residual);
        tables
    }

    fn near(found: &[Vec<f32>], expected: &[Vec<f64>]) {
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn terms_count_as_the_policy_says() {
        assert_eq!(weighed(Residual::Sums), [vec![3.0, 0.0, 0.0, 4.0], vec![0.0, 1.0]]);
        near(&weighed(Residual::Uniform), &[vec![0.6, 0.0, 0.0, 0.8], vec![0.0, 1.0]]);
        // Mean absolute values 7/4 and 1/2: shares 7/9 and 2/9.
        let (a, b) = ((7.0_f64 / 9.0).sqrt(), (2.0_f64 / 9.0).sqrt());
        near(&weighed(Residual::Scaled), &[vec![0.6 * a, 0.0, 0.0, 0.8 * a], vec![0.0, b]]);
        // The first neuron is in the first term alone; of the second 2/3 are in the first term.
        let (a, b) = ((2.0_f64 / 3.0).sqrt(), (1.0_f64 / 3.0).sqrt());
        near(&weighed(Residual::Neurons), &[vec![0.6, 0.0, 0.0, 0.8 * a], vec![0.0, b]]);
    }
}
