//! Activation functions, and layers fitted to what comes out behind them.

use otfuse_graph::Unary;

/// A function of single numbers that neurons go through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Activation {
    function: Unary,
    /// How far a step goes: below 2 over the largest curvature of the squared error, so that steps are descents.
    pace: f32,
}

impl Activation {
    /// The function, if it is one that layers can be fitted behind.
    pub fn of(function: Unary) -> Option<Self> {
        let pace = match function {
            Unary::Relu => 1.8,
            Unary::LeakyRelu { alpha } | Unary::Elu { alpha } if (0.0..=1.0).contains(&alpha) => 1.8,
            Unary::Gelu { .. } | Unary::Swish { alpha: 1.0 } => 1.4,
            Unary::Tanh => 1.4,
            Unary::HardSwish => 0.8,
            Unary::Sigmoid => 8.0,
            _ => return None,
        };
        Some(Self { function, pace })
    }

    /// The function's value.
    pub fn at(self, x: f32) -> f32 {
        self.with_slope(x).0
    }

    /// Where the sum `x` is to go so that the function of it comes nearer to `wanted`, as a difference: a step down the
    /// squared error. Of a rectifier the error has the quadratic majorant `(y - x + s)^2` with this step `s` at a pace of 1,
    /// so that fitting all sums to their aims by least squares never makes it worse.
    pub fn step(self, x: f32, wanted: f32) -> (f32, f32) {
        let (value, slope) = self.with_slope(x);
        let error = wanted - value;
        (self.pace * slope * error, error * error)
    }

    fn with_slope(self, x: f32) -> (f32, f32) {
        match self.function {
            Unary::Relu => (x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
            Unary::LeakyRelu { alpha } if x < 0.0 => (alpha * x, alpha),
            Unary::Elu { alpha } if x < 0.0 => {
                let power = libm::expf(x);
                (alpha * (power - 1.0), alpha * power)
            }
            Unary::Gelu { .. } => {
                let below = 0.5 * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2));
                let density = libm::expf(-0.5 * x * x)
                    * (0.5 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2);
                (x * below, below + x * density)
            }
            Unary::Swish { .. } => {
                let gate = sigmoid(x);
                (x * gate, gate * (1.0 + x * (1.0 - gate)))
            }
            Unary::Tanh => {
                let value = libm::tanhf(x);
                (value, 1.0 - value * value)
            }
            Unary::HardSwish => match x {
                x if x <= -3.0 => (0.0, 0.0),
                x if x >= 3.0 => (x, 1.0),
                x => (x * (x + 3.0) / 6.0, (2.0 * x + 3.0) / 6.0),
            },
            Unary::Sigmoid => {
                let value = sigmoid(x);
                (value, value * (1.0 - value))
            }
            _ => (x, 1.0),
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Unary; 9] = [
        Unary::Relu,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Elu { alpha: 1.0 },
        Unary::Gelu { tanh: false },
        Unary::Gelu { tanh: true },
        Unary::Swish { alpha: 1.0 },
        Unary::Tanh,
        Unary::HardSwish,
        Unary::Sigmoid,
    ];

    #[test]
    fn slopes_are_those_of_the_values() {
        for function in ALL.map(|function| Activation::of(function).unwrap()) {
            for x in [-4.0, -1.3, -0.2, 0.3, 1.7, 5.0_f32] {
                let slope = (function.at(x + 1e-2) - function.at(x - 1e-2)) / 2e-2;
                assert!((slope - function.with_slope(x).1).abs() < 2e-3, "{function:?} at {x}");
            }
        }
    }

    #[test]
    fn steps_of_a_single_sum_come_nearer() {
        for function in ALL.map(|function| Activation::of(function).unwrap()) {
            for (start, wanted) in [(1.0, 0.4), (0.3, 0.9), (2.0, 0.1), (-0.5, 0.3_f32)] {
                let (mut x, first) = (start, function.step(start, wanted).1);
                let mut least = first;
                for _ in 0..200 {
                    x += function.step(x, wanted).0;
                    let error = function.step(x, wanted).1;
                    assert!(
                        error <= least * 1.0001 + 1e-9,
                        "{function:?} from {start} for {wanted}: {error} after {least}"
                    );
                    least = error.min(least);
                }
                // Where a rectifier is flat there is nowhere to go.
                assert!(least < first * 0.5 || x < 0.0, "{function:?}: {x} for {wanted}");
            }
        }
        assert_eq!(Activation::of(Unary::Exp), None);
    }
}
