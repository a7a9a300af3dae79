//! The answer of several classifiers together.

use otfuse_graph::Tensor;

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

/// Adds the probability of each class in each row of scores.
pub(super) fn add_probabilities(scores: &[f32], into: &mut [f64]) {
    for row in scores.chunks_exact(into.len().max(1)) {
        let level = log_sum_exp(row.iter().map(|&value| f64::from(value)));
        into.iter_mut().zip(row).for_each(|(sum, &score)| *sum += (f64::from(score) - level).exp());
    }
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
