//! Computes the operators of a graph on tensors, with ONNX semantics.
//!
//! Floating-point tensors live on the device of a backend, integers and truth values (shapes, indices, masks) on the
//! host. One file for each family of operators:
//!
//! - `unary`, `binary`: element by element, comparisons and choices;
//! - `linear`: Gemm and MatMul; `convolution`, `deform`; `pooling`; `normalisation`; `attention`; `recurrent`;
//! - `resize`, `sampling`; `selection`: by indices; `quantization`;
//! - `layout`: what only moves elements, written once for both kinds of tensors over `Array`;
//! - `reduction`; `shape`: what makes tensors out of shapes.

mod array;
mod attention;
mod binary;
mod control;
mod convolution;
mod deform;
mod einsum;
mod fault;
mod floats;
mod integers;
mod layout;
mod linear;
mod needs;
mod normalisation;
mod plan;
mod pooling;
mod program;
mod quantization;
mod recurrent;
mod reduction;
mod resize;
mod sampling;
mod selection;
mod shape;
mod support;
mod unary;
mod value;
mod window;

use otfuse_graph::{Operator, Unary};

use crate::RuntimeBackend;
#[cfg(feature = "training")]
pub(crate) use array::Array;
pub(crate) use fault::{Fault, Outcome};
pub(crate) use floats::Floats;
#[cfg(feature = "training")]
pub(crate) use normalisation::{BatchStatistics, batch_with_own_statistics};
pub(crate) use program::Program;
pub use support::{passes_gradients, refusal};
pub(crate) use value::{Operands, Value};

/// Computes the outputs of an operator; `outputs` is how many the node lists.
fn apply<B: RuntimeBackend>(operator: &Operator, mut operands: Operands<B>, outputs: usize) -> Outcome<Vec<Value<B>>> {
    let operands = &mut operands;
    let one = match operator {
        Operator::Gemm(gemm) => Value::Floats(linear::gemm(gemm, operands)?),
        Operator::MatMul => Value::Floats(linear::matmul(operands)?),
        Operator::Einsum(einsum) => Value::Floats(einsum::einsum(einsum, operands)?),
        Operator::Conv(conv) => Value::Floats(convolution::convolution(conv, operands)?),
        Operator::ConvTranspose(conv) => Value::Floats(convolution::transposed(conv, operands)?),
        Operator::BatchNormalization { epsilon } => Value::Floats(normalisation::batch(*epsilon, operands)?),
        Operator::BatchNormalizationInTraining { epsilon, momentum } => {
            return normalisation::batch_in_training(*epsilon, *momentum, operands);
        }
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
        Operator::DeformConv(deform) => Value::Floats(deform::convolution(deform, operands)?),
        Operator::MatMulInteger => Value::Integers(quantization::mat_mul_integer(operands)?),
        Operator::QLinearConv(conv) => Value::Integers(quantization::convolution(conv, operands)?),
        Operator::QuantizeLinear { axis, data_type } => {
            Value::Integers(quantization::quantize(*axis, *data_type, operands)?)
        }
        Operator::DequantizeLinear { axis } => Value::Floats(quantization::dequantize(*axis, operands)?),
        Operator::GroupNormalization { groups, per_group, epsilon } => {
            Value::Floats(normalisation::group(*groups, *per_group, *epsilon, operands)?)
        }
        Operator::Recurrent(recurrent) => return recurrent::recurrent(recurrent, operands),
        Operator::Attention(attention) => return attention::attention(attention, operands),
        Operator::Resize(resize) => resize::resize(resize, operands)?,
        Operator::GridSample(sample) => Value::Floats(sampling::grid_sample(*sample, operands)?),
        Operator::DepthToSpace { block, order } => sampling::depth_to_space(*block, *order, operands)?,
        Operator::SpaceToDepth { block } => sampling::space_to_depth(*block, operands)?,
        Operator::Col2Im(window) => Value::Floats(sampling::col2im(window, operands)?),
        Operator::CumSum { exclusive, reverse } => selection::cum_sum(*exclusive, *reverse, operands)?,
        Operator::TopK { axis, largest } => return selection::top_k(*axis, *largest, operands),
        Operator::Hardmax { axis } => Value::Floats(selection::hardmax(*axis, operands)?),
        Operator::GatherElements { axis } => selection::gather_elements(*axis, operands)?,
        Operator::GatherNd { batch_dims } => selection::gather_nd(*batch_dims, operands)?,
        Operator::ScatterElements { axis, reduction } => selection::scatter_elements(*axis, *reduction, operands)?,
        Operator::ScatterNd { reduction } => selection::scatter_nd(*reduction, operands)?,
        Operator::OneHot { axis } => selection::one_hot(*axis, operands)?,
        Operator::NonZero => Value::Integers(selection::non_zero(operands)?),
        Operator::Trilu { upper } => selection::trilu(*upper, operands)?,
        Operator::EyeLike { data_type, offset } => shape::eye_like(*data_type, *offset, operands)?,
        Operator::Size => shape::size(operands)?,
        Operator::If { then_branch, else_branch } => return control::branch(then_branch, else_branch, operands),
        Operator::Loop { body, states } => return control::repeat(body, *states, operands),
        Operator::Scan(scan) => return control::scan(scan, operands),
        Operator::Random(_) | Operator::Opaque { .. } => {
            return Err(Fault::Unsupported(refusal(operator).unwrap_or_default().to_owned()));
        }
    };
    Ok(vec![one])
}
