//! Transcendental functions of single precision, for the widest vectors that the processor has, chosen at run time (`pulp`).
//!
//! Nothing branches, so that loops over them are vectorised; there is no fused multiply-add, so that all processors and systems
//! compute the same bits. Polynomials are minimax fits of this project's own. Errors, measured over 2^22 arguments each: `exp`,
//! `tanh`, `erf` and `sigmoid` are within 4 units in the last place of the exact value; `gelu` adds its products' rounding.

use otfuse_graph::Unary;
use pulp::Arch;

use super::elementwise;

/// A function with a kernel.
#[derive(Clone, Copy)]
pub(super) enum Function {
    Exp,
    Tanh,
    Sigmoid,
    Erf,
    Gelu,
    GeluByTanh,
    Swish { alpha: f32 },
}

impl Function {
    /// That of an operator, if there is a kernel for it.
    pub(super) fn of(unary: Unary) -> Option<Self> {
        Some(match unary {
            Unary::Exp => Self::Exp,
            Unary::Tanh => Self::Tanh,
            Unary::Sigmoid => Self::Sigmoid,
            Unary::Erf => Self::Erf,
            Unary::Gelu { tanh: false } => Self::Gelu,
            Unary::Gelu { tanh: true } => Self::GeluByTanh,
            Unary::Swish { alpha } => Self::Swish { alpha },
            _ => return None,
        })
    }

    /// Puts the function of each element in its place.
    pub(super) fn apply(self, values: &mut [f32]) {
        let arch = Arch::new();
        macro_rules! each {
            ($function:expr) => {
                elementwise::change_parts(values, |values| {
                    arch.dispatch(
                        #[inline(always)]
                        || values.iter_mut().for_each(|value| *value = $function(*value)),
                    )
                })
            };
        }
        match self {
            Self::Exp => each!(exp),
            Self::Tanh => each!(tanh),
            Self::Sigmoid => each!(sigmoid),
            Self::Erf => each!(erf),
            Self::Gelu => each!(gelu),
            Self::GeluByTanh => each!(gelu_by_tanh),
            Self::Swish { alpha } => each!(|x: f32| x * sigmoid(x * alpha)),
        }
    }
}

/// Numbers that are added up beside each other, whatever the width of vectors.
const LANES: usize = 16;

/// Puts `exp(x) / sum exp(x)` of each row of so many elements in its place.
pub(super) fn softmax(values: &mut [f32], length: usize) {
    let arch = Arch::new();
    elementwise::change_rows(values, length, |rows| {
        arch.dispatch(
            #[inline(always)]
            || rows.chunks_exact_mut(length).for_each(softmax_of_row),
        )
    });
}

#[inline(always)]
fn softmax_of_row(row: &mut [f32]) {
    // A number that is none is no maximum here, and makes the sum none.
    let larger = |most, x| if x > most { x } else { most };
    let most = folded(row, f32::NEG_INFINITY, larger, larger);
    row.iter_mut().for_each(|x| *x = exp(*x - most));
    let sum = folded(row, 0.0_f32, |sum, x| sum + x, |a, b| a + b);
    row.iter_mut().for_each(|x| *x /= sum);
}

/// Gives each row of so many elements mean 0 and variance 1; `epsilon` is added to the variance.
pub(super) fn standardise(values: &mut [f32], length: usize, epsilon: f32) {
    let arch = Arch::new();
    elementwise::change_rows(values, length, |rows| {
        arch.dispatch(
            #[inline(always)]
            || rows.chunks_exact_mut(length).for_each(|row| standardise_row(row, epsilon)),
        )
    });
}

/// Sums in double precision: a row may be a whole picture.
#[inline(always)]
fn standardise_row(row: &mut [f32], epsilon: f32) {
    let mean = (folded(row, 0.0_f64, |sum, x| sum + f64::from(x), |a, b| a + b) / row.len() as f64) as f32;
    row.iter_mut().for_each(|x| *x -= mean);
    let squares = folded(row, 0.0_f64, |sum, x| sum + f64::from(x * x), |a, b| a + b);
    let deviation = ((squares / row.len() as f64) as f32 + epsilon).sqrt();
    row.iter_mut().for_each(|x| *x /= deviation);
}

/// Folds each lane, then the lanes.
#[inline(always)]
fn folded<T: Copy>(row: &[f32], start: T, function: impl Fn(T, f32) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut lanes = [start; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = function(lanes[lane], chunk[lane]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = function(*lane, x);
    }
    lanes.into_iter().reduce(join).unwrap_or(start)
}

/// A polynomial, its coefficients from the constant on.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for at in (0..N - 1).rev() {
        sum = sum * x + coefficients[at];
    }
    sum
}

/// Subnormal results too; infinite from 88.73 on.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Added and taken away, it rounds to whole numbers, which are then the last bits of the sum: 1.5 * 2^23.
    const ROUND: f32 = 12_582_912.0;
    // Ln 2 in two parts, of which the first has so few bits that its products with powers are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * LN_2[0] - whole * LN_2[1];
    let curve = polynomial(rest, [0.5, 0.166_665_14, 0.041_666_187, 0.008_369_59, 0.001_395_170_5]);
    let of_rest = rest * rest * curve + rest + 1.0;
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    // Two factors, each of which is a normal number.
    let scale = |power: i32| f32::from_bits((power.wrapping_add(127) << 23) as u32);
    let half = power >> 1;
    of_rest * scale(half) * scale(power.wrapping_sub(half))
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let curve = polynomial(square, [-0.333_332_72, 0.133_311_52, -0.053_714_108, 0.020_551_717, -0.005_603_911_4]);
    let small = size * square * curve + size;
    let large = 1.0 - 2.0 / (exp(size + size) + 1.0);
    let tanh = if size < 0.625 { small } else { large };
    tanh.copysign(x)
}

#[inline(always)]
fn erf(x: f32) -> f32 {
    let (size, square) = (x.abs(), x * x);
    let curve = polynomial(
        square,
        [
            std::f32::consts::FRAC_2_SQRT_PI,
            -0.376_126_26,
            0.112_836,
            -0.026_854_444,
            0.005_189_535,
            -8.020_841_6e-4,
            7.889_121_5e-5,
        ],
    );
    let small = size * curve;
    // The logarithm of what is missing to 1, which from 4 on is less than single precision tells apart.
    let size_to_4 = if size > 4.0 { 4.0 } else { size };
    let logarithm = polynomial(
        size_to_4,
        [
            1.884_608e-4,
            -1.129_580_3,
            -0.633_216_44,
            -0.108_422_026,
            0.025_210_293,
            -0.004_205_267_4,
            4.414_691e-4,
            -2.169_731e-5,
        ],
    );
    let large = 1.0 - exp(logarithm);
    let erf = if size < 1.0 { small } else { large };
    erf.copysign(x)
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    x * (erf(x * std::f32::consts::FRAC_1_SQRT_2) + 1.0) * 0.5
}

/// Hendrycks & Gimpel, Gaussian Error Linear Units, section 2.
#[inline(always)]
fn gelu_by_tanh(x: f32) -> f32 {
    const FACTOR: f32 = 0.797_884_6; // sqrt(2 / pi)
    let inner = x * x * x * 0.044_715 + x;
    x * (tanh(inner * FACTOR) + 1.0) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest distance in units in the last place from what double precision says.
    fn distance(function: Function, exact: impl Fn(f64) -> f64, range: f32) -> f64 {
        let count = 1 << 22;
        let arguments: Vec<f32> = (0..=count).map(|at| (at as f32 / count as f32 * 2.0 - 1.0) * range).collect();
        let mut values = arguments.clone();
        function.apply(&mut values);
        let of = |(&x, &found): (&f32, &f32)| {
            let exact = exact(f64::from(x));
            let unit = f64::from((exact as f32).abs().max(f32::MIN_POSITIVE)) * f64::from(f32::EPSILON) / 2.0;
            (f64::from(found) - exact).abs() / unit
        };
        arguments.iter().zip(&values).map(of).fold(0.0, f64::max)
    }

    #[test]
    fn functions_are_as_exact_as_they_say() {
        // Of erf double precision has no function here: its series, and beyond it the continued fraction of what is missing to 1.
        let erf = |x: f64| {
            let size = x.abs();
            let erf = if size < 3.0 {
                let term = |(sum, term): (f64, f64), n: i32| {
                    let term = term * 2.0 * size * size / f64::from(2 * n + 1);
                    (sum + term, term)
                };
                let first = (-size * size).exp() * size * 2.0 / std::f64::consts::PI.sqrt();
                (1..120).fold((first, first), term).0
            } else {
                let fraction = (1..60).rev().fold(size, |below, n| size + f64::from(n) / 2.0 / below);
                1.0 - (-size * size).exp() / std::f64::consts::PI.sqrt() / fraction
            };
            erf.copysign(x)
        };
        let found = [
            distance(Function::Exp, f64::exp, 87.0),
            distance(Function::Tanh, f64::tanh, 12.0),
            distance(Function::Tanh, f64::tanh, 0.01),
            distance(Function::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 80.0),
            distance(Function::Erf, erf, 5.0),
            distance(Function::Erf, erf, 0.01),
        ];
        assert!(found.iter().all(|distance| *distance < 8.0), "halves of units in the last place: {found:?}");
    }

    #[test]
    fn rows_add_up_to_one() {
        for length in [1, 7, 16, 50, 129] {
            let values: Vec<f32> = (0..length * 300).map(|at| ((at * 37 % 101) as f32 - 50.0) * 0.3).collect();
            let mut found = values.clone();
            softmax(&mut found, length);
            for (row, found) in values.chunks_exact(length).zip(found.chunks_exact(length)) {
                let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                assert!(row.iter().zip(found).all(|(&x, &y)| (f64::from(x).exp() / sum - f64::from(y)).abs() < 1e-6));
            }
        }
        let mut masked = [1.0, f32::NEG_INFINITY, 1.0, f32::NAN, 0.0, 0.0];
        softmax(&mut masked, 3);
        assert_eq!(masked[..3], [0.5, 0.0, 0.5]);
        assert!(masked[3..].iter().all(|x| x.is_nan()));
    }

    #[test]
    fn rows_have_mean_0_and_variance_1() {
        for length in [1, 5, 16, 100, 40_000] {
            let mut values: Vec<f32> = (0..length * 3).map(|at| 100.0 + (at * 37 % 101) as f32 * 0.1).collect();
            standardise(&mut values, length, 1e-5);
            for row in values.chunks_exact(length) {
                let mean = |power: i32| row.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / length as f64;
                assert!(mean(1).abs() < 1e-4, "{length}");
                assert!((mean(2) - f64::from(u8::from(length > 1))).abs() < 1e-3, "{length}");
            }
        }
    }

    #[test]
    fn ends_are_right() {
        let of = |function: Function, x: f32| {
            let mut values = [x; 9];
            function.apply(&mut values);
            assert!(values.iter().all(|value| value.to_bits() == values[0].to_bits()));
            values[0]
        };
        let (up, down) = (f32::INFINITY, f32::NEG_INFINITY);
        assert_eq!(
            [of(Function::Exp, up), of(Function::Exp, 88.8), of(Function::Exp, down), of(Function::Exp, 0.0)],
            [up, up, 0.0, 1.0]
        );
        assert_eq!(of(Function::Exp, -100.0), (-100.0_f64).exp() as f32);
        assert_eq!(
            [of(Function::Tanh, up), of(Function::Tanh, down), of(Function::Erf, up), of(Function::Erf, down)],
            [1.0, -1.0, 1.0, -1.0]
        );
        assert_eq!(
            [of(Function::Sigmoid, up), of(Function::Sigmoid, down), of(Function::Sigmoid, 0.0)],
            [1.0, 0.0, 0.5]
        );
        assert!(of(Function::Tanh, -0.0).is_sign_negative());
        for function in
            [Function::Exp, Function::Tanh, Function::Sigmoid, Function::Erf, Function::GeluByTanh, Function::Gelu]
        {
            assert!(of(function, f32::NAN).is_nan());
        }
        assert_eq!(of(Function::GeluByTanh, up), up);
        assert!(of(Function::Gelu, -30.0).abs() < 1e-6);
    }
}
