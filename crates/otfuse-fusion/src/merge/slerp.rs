//! Spherical linear interpolation.

use super::blocks::{Finish, combination, copy, products};
use super::operands::Operands;
use super::parameters::{ANY, Parameter};
use super::{Base, Merge, Others};
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
/// from the base, or else the first model, to the other one. The mean of vectors that differ is shorter than they are; on the
/// arc between them lengths stay. As in mergekit the interpolation is linear, `(1 - t) x + t y`, where the angle says
/// nothing: a norm of about 0, or a cosine beyond 0.9995 either way. `t = 0` and `t = 1` give the models themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slerp;

const T: Parameter = Parameter::of_tensor("t", None, ANY, "how far to go from the base (0) to the other model (1)");

impl Merge for Slerp {
    fn name(&self) -> &'static str {
        "slerp"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[T]
    }

    fn base(&self) -> Base {
        Base::Optional
    }

    fn others(&self) -> Others {
        Others::Pair
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let t = tensor.of_tensor(&T);
        let from = tensor.base.unwrap_or(0);
        let Some(to) = (0..tensor.models.len()).find(|&model| model != from) else { return Ok(copy(tensor, from)) };
        if t == 0.0 || t == 1.0 {
            return Ok(copy(tensor, if t == 0.0 { from } else { to }));
        }
        let found = products(tensor, &[from, to], false)?;
        let factors = factors(found[0][0].sqrt(), found[1][1].sqrt(), found[0][1], t);
        Ok(combination(tensor, vec![from, to], factors.into(), false))
    }
}

/// What two vectors of these norms and this inner product are multiplied with.
fn factors(of_x: f64, of_y: f64, product: f64, t: f64) -> [f64; 2] {
    if of_x <= NO_DIRECTION || of_y <= NO_DIRECTION {
        return [1.0 - t, t];
    }
    let cosine = product / of_x / of_y;
    if cosine.abs() > PARALLEL {
        return [1.0 - t, t];
    }
    let angle = cosine.acos();
    [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, near};
    use super::*;

    fn slerp(x: &[f32], y: &[f32], t: f64) -> Vec<f64> {
        merged(&Slerp, &[&x.to_vec(), &y.to_vec()], None, &[("t", t)], &[])
    }

    #[test]
    fn the_arc_between_orthogonal_vectors_is_a_quarter_of_a_circle() {
        let half = 0.5_f64.sqrt();
        near(&slerp(&[1.0, 0.0], &[0.0, 1.0], 0.5), &[half, half]);
        // A third of the way: 30 degrees.
        near(&slerp(&[1.0, 0.0], &[0.0, 1.0], 1.0 / 3.0), &[0.75_f64.sqrt(), 0.5]);
        // Lengths 2 and 4, sin 60 / sin 90 and sin 30 / sin 90 of them.
        near(&slerp(&[2.0, 0.0], &[0.0, 4.0], 1.0 / 3.0), &[3.0_f64.sqrt(), 2.0]);
        // 60 degrees apart, in the middle: sin 30 / sin 60 = 1 / sqrt 3 each, of x + y = (1, 2, 1).
        let third = 3.0_f64.sqrt().recip();
        near(&slerp(&[1.0, 1.0, 0.0], &[0.0, 1.0, 1.0], 0.5), &[third, 2.0 * third, third]);
    }

    #[test]
    fn the_base_is_where_it_begins() {
        let (x, y) = (vec![1.0_f32, 0.0], vec![0.0_f32, 1.0]);
        let from = |base| merged(&Slerp, &[&x, &y], base, &[("t", 1.0 / 3.0)], &[]);
        near(&from(Some(0)), &[0.75_f64.sqrt(), 0.5]);
        near(&from(Some(1)), &[0.5, 0.75_f64.sqrt()]);
    }

    #[test]
    fn the_ends_are_the_models_themselves() {
        let (x, y) = ([0.1_f32, -0.7, 3.3], [1.0_f32 / 3.0, 0.2, -0.9]);
        assert_eq!(slerp(&x, &y, 0.0), x.map(f64::from));
        assert_eq!(slerp(&x, &y, 1.0), y.map(f64::from));
    }

    #[test]
    fn where_there_is_no_angle_the_interpolation_is_linear() {
        near(&slerp(&[0.0, 0.0], &[4.0, 8.0], 0.25), &[1.0, 2.0]);
        near(&slerp(&[1.0, 2.0], &[3.0, 6.0], 0.5), &[2.0, 4.0]);
        near(&slerp(&[1.0, 2.0], &[-1.0, -2.0], 0.25), &[0.5, 1.0]);
        assert!(slerp(&[], &[], 0.5).is_empty());
    }
}
