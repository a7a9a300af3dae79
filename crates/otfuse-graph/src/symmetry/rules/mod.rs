//! How each operator maps the axes of its inputs to those of its outputs.
//!
//! A rule unifies the axes that must share one order and gives the output its axes. It may assume what shape inference
//! has checked. An operator without a rule pins everything that it touches.

mod attention;
mod elementwise;
mod indexing;
mod linear;
mod normalization;
mod packed;
mod quantization;
mod rearrange;
mod recurrent;
mod reduction;
mod sampling;
mod selection;
mod window;

use crate::symmetry::analysis::Analysis;
use crate::{Node, Operator};

/// What [`apply`] does for an operator, and the same in words.
struct Rule<'a> {
    /// One sentence without a full stop.
    statement: &'static str,
    pins: bool,
    #[allow(clippy::type_complexity)]
    apply: Box<dyn Fn(&mut Analysis<'_>, &Node) -> Option<()> + 'a>,
}

/// Applies the rule of a node's operator.
pub(crate) fn apply(analysis: &mut Analysis<'_>, node: &Node) {
    if packed::apply(analysis, node).is_some() {
        return;
    }
    let applied = (rule(&node.operator).apply)(analysis, node);
    if applied.is_none() {
        analysis.pin_node(node, "has no axis rule for these inputs");
    }
}

/// The axis rule of an operator, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisRule {
    /// Which axes share their order.
    Shares(&'static str),
    /// Why everything that the operator touches is pinned.
    Pins(&'static str),
}

impl Operator {
    /// The operator's axis rule in words: one sentence without a full stop.
    pub fn axis_rule(&self) -> AxisRule {
        let rule = rule(self);
        if rule.pins { AxisRule::Pins(rule.statement) } else { AxisRule::Shares(rule.statement) }
    }
}

fn rule_of<'a>(statement: &'static str, apply: impl Fn(&mut Analysis<'_>, &Node) -> Option<()> + 'a) -> Rule<'a> {
    Rule { statement, pins: false, apply: Box::new(apply) }
}

/// A node that pins what it touches.
fn pin<'a>(explanation: &'static str) -> Rule<'a> {
    let apply = Box::new(move |analysis: &mut Analysis<'_>, node: &Node| {
        analysis.pin_node(node, explanation);
        Some(())
    });
    Rule { statement: explanation, pins: true, apply }
}

/// The one place that pairs operators, rules and their statements.
fn rule(operator: &Operator) -> Rule<'_> {
    match operator {
        Operator::Gemm(gemm) => rule_of(
            "the summed axes of A and B are one; rows of A and columns of B become those of Y, C follows",
            |a, n| linear::gemm(a, n, gemm),
        ),
        Operator::MatMul => rule_of(
            "the summed axes of A and B are one; rows and columns become those of Y, batch axes broadcast",
            linear::matmul,
        ),
        Operator::Einsum(einsum) => {
            rule_of("axes of the same letter are one; those that Y does not have are summed over", |a, n| {
                linear::einsum(a, n, einsum)
            })
        }
        Operator::Conv(conv) => rule_of(
            "input channels are groups x axis 1 of W, output channels are axis 0 of W and the bias; positions are pinned, \
             but for windows of one element and stride 1",
            |a, n| linear::conv(a, n, conv),
        ),
        Operator::ConvTranspose(conv) => rule_of(
            "input channels are axis 0 of W, output channels are groups x axis 1 of W and the bias; positions are pinned, \
             but for windows of one element and stride 1",
            |a, n| linear::conv_transpose(a, n, conv),
        ),
        Operator::DeformConv(deform) => rule_of(
            "as Conv; positions, offsets and mask are pinned, and channels where parts of them have offsets of their own",
            |a, n| linear::deform_conv(a, n, deform),
        ),
        Operator::MatMulInteger => rule_of("as MatMul, for zero points of one number", quantization::mat_mul_integer),
        Operator::QLinearConv(_) => pin("has integer weights, which are no parameters here"),
        Operator::QuantizeLinear { axis, .. } | Operator::DequantizeLinear { axis } => {
            rule_of("element by element; scales and zero points of an axis share its order", |a, n| {
                quantization::scaled(a, n, *axis)
            })
        }
        Operator::BatchNormalization { .. }
        | Operator::BatchNormalizationInTraining { .. }
        | Operator::InstanceNormalization { .. } => {
            rule_of("all parameters share the order of the channels (axis 1)", normalization::per_channel)
        }
        Operator::LayerNormalization { axis, .. } => {
            rule_of("scale and bias share the order of the normalised axes", |a, n| {
                normalization::layer_norm(a, n, *axis)
            })
        }
        Operator::GroupNormalization { groups, per_group, .. } => rule_of(
            "channels are groups x inner: groups are permuted as wholes, channels within each; scale and \
             bias follow",
            |a, n| normalization::group_norm(a, n, *groups, *per_group),
        ),
        Operator::LocalResponseNormalization { .. } => rule_of(
            "the channels are pinned, as neighbours inhibit each other; other axes pass",
            normalization::local_response,
        ),
        Operator::Recurrent(recurrent) => rule_of(
            "all gates share one order of the hidden units, which W and B produce, R produces and consumes, and states, \
             peepholes and outputs carry; steps are pinned",
            |a, n| recurrent::recurrent(a, n, recurrent),
        ),
        Operator::Attention(attention) => rule_of(
            "heads are permuted as wholes, the width of queries and keys alike, that of values for itself; positions are \
             pinned where a causal mask or a cache orders them",
            |a, n| attention::attention(a, n, attention),
        ),
        Operator::Unary(_)
        | Operator::Binary(_)
        | Operator::Variadic(_)
        | Operator::PRelu
        | Operator::Clip
        | Operator::Where
        | Operator::Cast { .. }
        | Operator::Identity => rule_of(
            "element by element: axes of equal length share their order under broadcasting",
            elementwise::broadcast,
        ),
        Operator::Softmax { .. } | Operator::LogSoftmax { .. } => {
            rule_of("all axes pass: it commutes with every permutation", elementwise::broadcast)
        }
        Operator::Hardmax { axis } => {
            rule_of("the axis is pinned, as the first of equal elements wins; others pass", |a, n| {
                selection::pinned_along(
                    a,
                    n,
                    |rank| Some(vec![axis_index(*axis, rank)?]),
                    "chooses the first of equal elements",
                )
            })
        }
        Operator::Reduce(reduce) => {
            rule_of("reduced axes may have any order, the others pass", |a, n| reduction::reduce(a, n, reduce))
        }
        Operator::ArgExtremum { axis, keep_dims, .. } => {
            rule_of("the reduced axis is pinned, as its indices are the result; others pass", |a, n| {
                reduction::arg_extremum(a, n, *axis, *keep_dims)
            })
        }
        Operator::CumSum { .. } => rule_of("the axis summed along is pinned, others pass", selection::cum_sum),
        Operator::TopK { axis, .. } => {
            rule_of("the axis is pinned, as ranks and indices are the result; others pass", |a, n| {
                selection::top_k(a, n, *axis)
            })
        }
        Operator::Pool(_) | Operator::GlobalPool(_) => {
            rule_of("samples and channels pass; positions under a window are pinned", window::pool)
        }
        Operator::Flatten { .. } | Operator::Reshape { .. } | Operator::Squeeze | Operator::Unsqueeze => rule_of(
            "runs of axes of equal product are products of one another, the first axis being the slowest",
            rearrange::reshape,
        ),
        Operator::Transpose { permutation } => {
            rule_of("axes change places", |a, n| rearrange::transpose(a, n, permutation.as_deref()))
        }
        Operator::Concat { axis } => {
            rule_of("the axis is a sequence of the inputs' axes, the others are one", |a, n| {
                rearrange::concat(a, n, *axis)
            })
        }
        Operator::Split { axis } => rule_of("the axis is a sequence of the outputs' axes, the others pass", |a, n| {
            rearrange::split(a, n, *axis)
        }),
        Operator::Slice => {
            rule_of("a run of indices is a part of a sequence; any other choice pins the axis", indexing::slice)
        }
        Operator::Pad(mode) => {
            rule_of("constants before and after an axis are parts of a sequence; other modes pin the axis", |a, n| {
                indexing::pad(a, n, *mode)
            })
        }
        Operator::Gather { axis } => rule_of(
            "known consecutive indices take a part of a sequence, any others pin the axis; the other axes pass",
            |a, n| indexing::gather(a, n, *axis),
        ),
        Operator::GatherElements { axis } => {
            rule_of("the axis is pinned; along the others, data and indices share their order", |a, n| {
                selection::gather_elements(a, n, *axis)
            })
        }
        Operator::ScatterElements { axis, .. } => {
            rule_of("the axis is pinned; along the others, data, indices and updates share their order", |a, n| {
                selection::scatter_elements(a, n, *axis)
            })
        }
        Operator::GatherNd { batch_dims } => {
            rule_of("addressed axes are pinned, leading ones are shared with the indices, the others pass", |a, n| {
                selection::gather_nd(a, n, *batch_dims)
            })
        }
        Operator::ScatterNd { .. } => rule_of(
            "addressed axes are pinned; along the others, data and updates share their order",
            selection::scatter_nd,
        ),
        Operator::OneHot { axis } => {
            rule_of("the indices' axes pass, the new axis is pinned", |a, n| selection::one_hot(a, n, *axis))
        }
        Operator::Trilu { .. } => rule_of("the last two axes are pinned, others pass", |a, n| {
            let last = |rank: usize| Some(vec![rank.checked_sub(2)?, rank - 1]);
            selection::pinned_along(a, n, last, "keeps a triangle of the matrix")
        }),
        Operator::NonZero => pin("outputs indices"),
        Operator::Resize(resize) => {
            rule_of("axes of scale 1 pass, interpolated ones are pinned", |a, n| sampling::resize(a, n, resize))
        }
        Operator::GridSample(_) => rule_of(
            "samples and channels pass, positions are pinned; the grid's places become positions",
            sampling::grid_sample,
        ),
        Operator::DepthToSpace { block, order } => rule_of(
            "channels are a product of the block, pinned, and the output's channels; positions are pinned",
            |a, n| sampling::depth_to_space(a, n, *block, *order),
        ),
        Operator::SpaceToDepth { block } => rule_of(
            "the output's channels are a product of the block, pinned, and the input's; positions are pinned",
            |a, n| sampling::space_to_depth(a, n, *block),
        ),
        Operator::Col2Im(_) => {
            rule_of("rows are a product of channels and the block, pinned; positions are pinned", sampling::col2im)
        }
        Operator::Expand => {
            rule_of("axes pass; copies along an axis of length 1 may have any order", rearrange::expand)
        }
        Operator::Tile => rule_of("each axis is a product of the copies and the input's axis", rearrange::tile),
        Operator::Shape { .. } | Operator::Size | Operator::Range | Operator::EyeLike { .. } => {
            rule_of("nothing is asked of the inputs' axes; those of the output are positions", elementwise::unordered)
        }
        Operator::ConstantOfShape { .. } => rule_of(
            "nothing is asked of the input; all elements are equal, so that any order will do",
            elementwise::unordered,
        ),
        Operator::If { .. } | Operator::Loop { .. } | Operator::Scan(_) => {
            pin("runs another network, which axes are not followed through")
        }
        Operator::Random(_) => pin("draws random numbers"),
        Operator::Opaque { .. } => pin("has no axis rule"),
    }
}

/// The axis that a possibly negative number means.
pub(super) fn axis_index(axis: i64, rank: usize) -> Option<usize> {
    let index = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(index).ok().filter(|&index| index < rank)
}
