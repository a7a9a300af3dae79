//! Spherical linear interpolation.

use super::{Merge, Source};
use crate::error::FusionError;

/// A norm up to this has no direction.
const NO_DIRECTION: f64 = 1e-8;

/// Beyond this cosine, either way, the two directions span no arc that could be told from a line.
const PARALLEL: f64 = 0.9995;

/// Spherical linear interpolation between two models (K. Shoemake, "Animating rotation with quaternion curves", SIGGRAPH
/// 1985), tensor by tensor, each one vector:
///
/// ```text
/// sin((1 - t) theta) / sin(theta) * x  +  sin(t theta) / sin(theta) * y,      cos(theta) = <x, y> / (|x| |y|)
/// ```
///
/// where `t` is the second model's share of the weights. The mean of vectors that differ is shorter than they are; on the
/// arc between them lengths stay. As in mergekit the interpolation is linear, `(1 - t) x + t y`, where the angle says
/// nothing: a norm of about 0, or a cosine beyond 0.9995 either way. `t = 0` and `t = 1` give the models themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slerp;

impl Merge for Slerp {
    fn name(&self) -> &'static str {
        "slerp"
    }

    fn check(&self, weights: &[f64]) -> Result<(), FusionError> {
        let wrong = |expected: &str, found: String| {
            Err(FusionError::Merge { method: self.name(), expected: expected.into(), found })
        };
        if weights.len() != 2 {
            return wrong("two models", weights.len().to_string());
        }
        let total = weights[0] + weights[1];
        if !(weights.iter().all(|&weight| weight >= 0.0) && total > 0.0 && total.is_finite()) {
            return wrong("weights from 0 on that are not all 0", format!("{weights:?}"));
        }
        Ok(())
    }

    fn works_in_pieces(&self) -> bool {
        false
    }

    fn tensor(&self, _: usize, weights: &[f64], aligned: Source<'_>) -> Result<Vec<f64>, FusionError> {
        self.check(weights)?;
        let whole = |model: usize| -> Result<Vec<f64>, FusionError> {
            Ok(aligned(model)?.into_iter().map(f64::from).collect())
        };
        match weights {
            [_, 0.0] => return whole(0),
            [0.0, _] => return whole(1),
            _ => {}
        }
        let (x, y) = (whole(0)?, whole(1)?);
        let [of_x, of_y] = factors(&x, &y, weights[1] / (weights[0] + weights[1]));
        Ok(x.iter().zip(&y).map(|(x, y)| of_x * x + of_y * y).collect())
    }
}

/// What the two vectors are multiplied with.
fn factors(x: &[f64], y: &[f64], t: f64) -> [f64; 2] {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (of_x, of_y) = (dot(x, x).sqrt(), dot(y, y).sqrt());
    if of_x <= NO_DIRECTION || of_y <= NO_DIRECTION {
        return [1.0 - t, t];
    }
    let cosine = dot(x, y) / of_x / of_y;
    if cosine.abs() > PARALLEL {
        return [1.0 - t, t];
    }
    let angle = cosine.acos();
    [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slerp(x: &[f32], y: &[f32], weights: [f64; 2]) -> Vec<f64> {
        let aligned = |model: usize| Ok([x, y][model].to_vec());
        Slerp.tensor(x.len(), &weights, &aligned).unwrap()
    }

    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} is not {expected:?}");
    }

    #[test]
    fn the_arc_between_orthogonal_vectors_is_a_quarter_of_a_circle() {
        let half = 0.5_f64.sqrt();
        near(&slerp(&[1.0, 0.0], &[0.0, 1.0], [0.5, 0.5]), &[half, half]);
        // A third of the way: 30 degrees.
        near(&slerp(&[1.0, 0.0], &[0.0, 1.0], [2.0, 1.0]), &[0.75_f64.sqrt(), 0.5]);
        // Lengths 2 and 4, sin 60 / sin 90 and sin 30 / sin 90 of them.
        near(&slerp(&[2.0, 0.0], &[0.0, 4.0], [2.0, 1.0]), &[3.0_f64.sqrt(), 2.0]);
        // 60 degrees apart, in the middle: sin 30 / sin 60 = 1 / sqrt 3 each, of x + y = (1, 2, 1).
        let third = 3.0_f64.sqrt().recip();
        near(&slerp(&[1.0, 1.0, 0.0], &[0.0, 1.0, 1.0], [0.5, 0.5]), &[third, 2.0 * third, third]);
    }

    #[test]
    fn the_ends_are_the_models_themselves() {
        let (x, y) = ([0.1_f32, -0.7, 3.3], [1.0_f32 / 3.0, 0.2, -0.9]);
        assert_eq!(slerp(&x, &y, [1.0, 0.0]), x.map(f64::from));
        assert_eq!(slerp(&x, &y, [0.0, 0.3]), y.map(f64::from));
    }

    #[test]
    fn where_there_is_no_angle_the_interpolation_is_linear() {
        near(&slerp(&[0.0, 0.0], &[4.0, 8.0], [0.75, 0.25]), &[1.0, 2.0]);
        near(&slerp(&[1.0, 2.0], &[3.0, 6.0], [0.5, 0.5]), &[2.0, 4.0]);
        near(&slerp(&[1.0, 2.0], &[-1.0, -2.0], [0.75, 0.25]), &[0.5, 1.0]);
        assert!(slerp(&[], &[], [0.5, 0.5]).is_empty());
    }

    #[test]
    fn other_than_two_models_are_refused() {
        let error = Slerp.check(&[0.2, 0.3, 0.5]).unwrap_err();
        assert!(matches!(error, FusionError::Merge { method: "slerp", .. }), "{error}");
        assert!(
            Slerp.check(&[1.0]).is_err() && Slerp.check(&[0.0, 0.0]).is_err() && Slerp.check(&[2.0, -1.0]).is_err()
        );
    }
}
