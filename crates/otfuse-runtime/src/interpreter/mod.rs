//! Computes the operators of a graph on tensors, with ONNX semantics.
//!
//! Floating-point tensors live on the device of a backend, integers and truth values (shapes, indices, masks) on the
//! host. One file for each family of operators:
//!
//! - `unary`, `binary`: element by element, comparisons and choices;
//! - `linear`: Gemm and MatMul; `convolution`; `pooling`; `normalisation`;
//! - `layout`: what only moves elements, written once for both kinds of tensors over `Array`;
//! - `reduction`; `shape`: what makes tensors out of shapes.

mod array;
mod binary;
mod convolution;
mod executable;
mod fault;
mod floats;
mod integers;
mod layout;
mod linear;
mod normalisation;
mod pooling;
mod reduction;
mod shape;
mod unary;
mod value;
mod window;

use otfuse_graph::{Operator, Unary};

use crate::RuntimeBackend;
use fault::{Fault, Outcome};
use value::Operands;

pub(crate) use array::Array;
pub use executable::{Executable, run_graph};
pub(crate) use floats::Floats;
pub(crate) use value::Value;

/// Computes the outputs of an operator; `outputs` is how many the node lists.
fn apply<B: RuntimeBackend>(operator: &Operator, mut operands: Operands<B>, outputs: usize) -> Outcome<Vec<Value<B>>> {
    let operands = &mut operands;
    let one = match operator {
        Operator::Gemm(gemm) => Value::Floats(linear::gemm(gemm, operands)?),
        Operator::MatMul => Value::Floats(linear::matmul(operands)?),
        Operator::Conv(conv) => Value::Floats(convolution::convolution(conv, operands)?),
        Operator::ConvTranspose(conv) => Value::Floats(convolution::transposed(conv, operands)?),
        Operator::BatchNormalization { epsilon } => Value::Floats(normalisation::batch(*epsilon, operands)?),
        Operator::InstanceNormalization { epsilon } => Value::Floats(normalisation::instance(*epsilon, operands)?),
        Operator::LayerNormalization { axis, epsilon } => {
            Value::Floats(normalisation::layer(*axis, *epsilon, operands)?)
        }
        Operator::LocalResponseNormalization { alpha, beta, bias, size } => {
            Value::Floats(normalisation::local_response(*alpha, *beta, *bias, *size, operands)?)
        }
        Operator::Unary(Unary::Relu) => unary::rectified(operands)?,
        Operator::Unary(unary) => unary::unary(*unary, operands)?,
        Operator::Binary(binary) => binary::binary(*binary, operands)?,
        Operator::Variadic(variadic) => binary::variadic(*variadic, operands)?,
        Operator::PRelu => Value::Floats(binary::prelu(operands)?),
        Operator::Clip => binary::clip(operands)?,
        Operator::Where => binary::choose(operands)?,
        Operator::Softmax { axis } => Value::Floats(normalisation::softmax(*axis, false, operands)?),
        Operator::LogSoftmax { axis } => Value::Floats(normalisation::softmax(*axis, true, operands)?),
        Operator::Reduce(reduce) => reduction::reduce(*reduce, operands)?,
        Operator::ArgExtremum { largest, axis, keep_dims } => {
            reduction::arg_extremum(*largest, *axis, *keep_dims, operands)?
        }
        Operator::Pool(pool) => Value::Floats(pooling::pool(pool, operands)?),
        Operator::GlobalPool(kind) => Value::Floats(pooling::global(*kind, operands)?),
        Operator::Split { axis } => return layout::split(*axis, operands, outputs),
        Operator::Flatten { .. }
        | Operator::Reshape { .. }
        | Operator::Transpose { .. }
        | Operator::Squeeze
        | Operator::Unsqueeze
        | Operator::Concat { .. }
        | Operator::Slice
        | Operator::Pad(_)
        | Operator::Gather { .. }
        | Operator::Expand
        | Operator::Tile => layout::layout(operator, operands)?,
        Operator::Shape { start, end } => shape::shape(*start, *end, operands)?,
        Operator::ConstantOfShape { value } => shape::constant_of_shape(value, operands)?,
        Operator::Range => shape::range(operands)?,
        Operator::Cast { to } => shape::cast(*to, operands)?,
        Operator::Identity => operands.value(0)?,
        Operator::Opaque { .. } => return Err(Fault::Unsupported),
    };
    Ok(vec![one])
}
