//! Functions of one number.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Scalar};
use otfuse_graph::{DataType, Unary};

use super::array::Array;
use super::fault::{Fault, Outcome};
use super::integers::Integers;
use super::value::{Operands, Value};
use crate::RuntimeBackend;

pub(super) fn unary<B: RuntimeBackend>(unary: Unary, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    Ok(match operands.value(0)? {
        Value::Floats(x) if unary.is_test() => {
            let test = |value: f32| match unary {
                Unary::IsInf { negative, positive } => {
                    value.is_infinite() && if value > 0.0 { positive } else { negative }
                }
                _ => value.is_nan(),
            };
            let shape = x.shape().to_vec();
            let data = x.into_vec()?.into_iter().map(|value| i64::from(test(value))).collect();
            Value::Integers(Integers::new(DataType::Bool, shape, data))
        }
        Value::Floats(_) if matches!(unary, Unary::Not | Unary::BitwiseNot) => {
            return Err(Fault::new("input 0", if unary == Unary::Not { "truth values" } else { "integers" }, "floats"));
        }
        Value::Floats(floats) => Value::Floats(floats.map(|x| function::<B>(unary, x))),
        Value::Integers(integers) => Value::Integers(of_integers(unary, integers)?),
    })
}

/// As [`unary`], by the backend's kernel.
pub(super) fn rectified<B: RuntimeBackend>(operands: &mut Operands<B>) -> Outcome<Value<B>> {
    Ok(match operands.value(0)? {
        Value::Floats(floats) => Value::Floats(floats.map(B::rectified)),
        Value::Integers(integers) => Value::Integers(of_integers(Unary::Relu, integers)?),
    })
}

/// By the backend's kernel where it has one.
pub(super) fn function<B: RuntimeBackend>(unary: Unary, x: FloatTensor<B>) -> FloatTensor<B> {
    B::function(x, unary).unwrap_or_else(|x| of_floats::<B>(unary, x))
}

fn of_floats<B: Backend>(unary: Unary, x: FloatTensor<B>) -> FloatTensor<B> {
    match unary {
        Unary::Relu => B::relu(x),
        Unary::Sigmoid => B::sigmoid(x),
        Unary::Tanh => B::float_tanh(x),
        Unary::Exp => B::float_exp(x),
        Unary::Log => B::float_log(x),
        Unary::Sqrt => B::float_sqrt(x),
        Unary::Reciprocal => B::float_recip(x),
        Unary::Abs => B::float_abs(x),
        Unary::Neg => B::float_neg(x),
        Unary::Sign => B::float_sign(x),
        Unary::Erf => B::float_erf(x),
        Unary::Floor => B::float_floor(x),
        Unary::Ceil => B::float_ceil(x),
        Unary::Round => B::float_round(x),
        Unary::Sin => B::float_sin(x),
        Unary::Cos => B::float_cos(x),
        Unary::Tan => B::float_tan(x),
        // Answered or refused before: there are no float truth values.
        Unary::Not | Unary::BitwiseNot | Unary::IsNan | Unary::IsInf { .. } => x,
        Unary::Asin => B::float_asin(x),
        Unary::Acos => B::float_acos(x),
        Unary::Atan => B::float_atan(x),
        Unary::Sinh => B::float_sinh(x),
        Unary::Cosh => B::float_cosh(x),
        Unary::Asinh => B::float_asinh(x),
        Unary::Acosh => B::float_acosh(x),
        Unary::Atanh => B::float_atanh(x),
        Unary::Swish { alpha } => B::float_mul(x.clone(), B::sigmoid(B::float_mul_scalar(x, scalar(alpha)))),
        Unary::Shrink { bias, lambda } => {
            let bool_type = super::floats::bool_type::<B>(&x);
            let mask = B::float_lower_equal_elem(B::float_abs(x.clone()), scalar(lambda), bool_type);
            let towards_zero = B::float_mul_scalar(B::float_sign(x.clone()), scalar(bias));
            B::float_mask_fill(B::float_sub(x, towards_zero), mask, scalar(0.0))
        }
        Unary::Softplus => softplus::<B>(x),
        Unary::Softsign => {
            let scale = B::float_add_scalar(B::float_abs(x.clone()), scalar(1.0));
            B::float_div(x, scale)
        }
        Unary::Mish => B::float_mul(x.clone(), B::float_tanh(softplus::<B>(x))),
        Unary::HardSwish => B::float_mul(x.clone(), hard_sigmoid::<B>(x, 1.0 / 6.0, 0.5)),
        Unary::LeakyRelu { alpha } => {
            let negative = B::float_mul_scalar(negative_part::<B>(x.clone()), scalar(alpha));
            B::float_add(B::relu(x), negative)
        }
        Unary::Elu { alpha } => {
            let negative = B::float_mul_scalar(exp_minus_one::<B>(negative_part::<B>(x.clone())), scalar(alpha));
            B::float_add(B::relu(x), negative)
        }
        Unary::Celu { alpha } => {
            let scaled = B::float_div_scalar(negative_part::<B>(x.clone()), scalar(alpha));
            B::float_add(B::relu(x), B::float_mul_scalar(exp_minus_one::<B>(scaled), scalar(alpha)))
        }
        Unary::Selu { alpha, gamma } => {
            let negative = B::float_mul_scalar(exp_minus_one::<B>(negative_part::<B>(x.clone())), scalar(alpha));
            B::float_mul_scalar(B::float_add(B::relu(x), negative), scalar(gamma))
        }
        Unary::HardSigmoid { alpha, beta } => hard_sigmoid::<B>(x, alpha, beta),
        Unary::ThresholdedRelu { alpha } => {
            let bool_type = super::floats::bool_type::<B>(&x);
            let mask = B::float_lower_equal_elem(x.clone(), scalar(alpha), bool_type);
            B::float_mask_fill(x, mask, scalar(0.0))
        }
        Unary::Gelu { tanh: false } => {
            let erf = B::float_erf(B::float_mul_scalar(x.clone(), scalar(std::f32::consts::FRAC_1_SQRT_2)));
            half_product::<B>(x, erf)
        }
        Unary::Gelu { tanh: true } => {
            // Hendrycks & Gimpel, Gaussian Error Linear Units, section 2.
            let cube = B::float_mul(B::float_mul(x.clone(), x.clone()), x.clone());
            let inner = B::float_add(x.clone(), B::float_mul_scalar(cube, scalar(0.044_715)));
            let factor = (2.0 / std::f32::consts::PI).sqrt();
            let tanh = B::float_tanh(B::float_mul_scalar(inner, scalar(factor)));
            half_product::<B>(x, tanh)
        }
    }
}

pub(super) fn scalar(value: f32) -> Scalar {
    Scalar::Float(f64::from(value))
}

/// `x (1 + y) / 2`.
fn half_product<B: Backend>(x: FloatTensor<B>, y: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul_scalar(B::float_mul(x, B::float_add_scalar(y, scalar(1.0))), scalar(0.5))
}

/// `min(x, 0)`.
fn negative_part<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_neg(B::relu(B::float_neg(x)))
}

fn exp_minus_one<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sub_scalar(B::float_exp(x), scalar(1.0))
}

/// `log(1 + exp(x))` without overflow.
fn softplus<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let magnitude = B::float_abs(x.clone());
    let tail = B::float_log1p(B::float_exp(B::float_neg(magnitude.clone())));
    // max(x, 0), with a derivative at 0 that makes that of the sum right.
    let half = scalar(0.5);
    let positive = B::float_add(B::float_mul_scalar(x, half), B::float_mul_scalar(magnitude, half));
    B::float_add(positive, tail)
}

fn hard_sigmoid<B: Backend>(x: FloatTensor<B>, alpha: f32, beta: f32) -> FloatTensor<B> {
    let line = B::float_add_scalar(B::float_mul_scalar(x, scalar(alpha)), scalar(beta));
    B::float_clamp(line, scalar(0.0), scalar(1.0))
}

fn of_integers(unary: Unary, x: Integers) -> Outcome<Integers> {
    let function: fn(i64) -> i64 = match unary {
        Unary::Not => |value| i64::from(value == 0),
        Unary::Abs => i64::wrapping_abs,
        Unary::Neg => i64::wrapping_neg,
        Unary::Sign => i64::signum,
        Unary::Relu => |value| value.max(0),
        Unary::BitwiseNot => |value| !value,
        _ => return Err(Fault::new("input 0", "floats", x.data_type)),
    };
    if (unary == Unary::Not) != (x.data_type == DataType::Bool) {
        let expected = if unary == Unary::Not { "truth values" } else { "numbers" };
        return Err(Fault::new("input 0", expected, x.data_type));
    }
    let data = x.data.into_iter().map(function).collect();
    Ok(Integers::new(x.data_type, x.shape, data))
}
