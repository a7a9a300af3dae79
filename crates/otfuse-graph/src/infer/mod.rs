//! Shape inference: the type, shape and, for small integer tensors, the contents of every value.
//!
//! Nodes are visited once, in topological order; each operator family has its rules in a file of its own. Lengths may
//! be symbolic ([`Dim`]). What no [`Dim`] can express (sums, rounded quotients) becomes a symbol named after its
//! expression, such as `((height+1)/2)`, so that two branches that shrink an axis alike still agree; expressions that
//! grow too long become a symbol named after the value and axis.

mod arithmetic;
mod broadcast;
mod constants;
mod contents;
mod control;
mod convolution;
mod elementwise;
mod error;
mod fact;
mod layout;
mod length;
mod linear;
mod normalization;
mod parts;
mod pooling;
mod quantization;
mod recurrent;
mod reduction;
mod repetition;
mod sampling;
mod scope;
mod selection;
mod slice;

use crate::graph::Declared;
use crate::{DataType, Dim, Graph, Operator, Random, RandomKind, Shape, ValueId};

pub use error::{InferenceError, Mismatch};
pub(crate) use fact::scalar;
pub use fact::{Element, Fact};
use scope::Scope;

/// More axes than any framework has.
const MOST_AXES: usize = 64;

/// Elements followed in a whole graph, so that memory is bounded by more than the number of nodes.
const MOST_ELEMENTS_OF_GRAPH: usize = 1 << 20;

/// What is known of every value of a graph.
#[derive(Clone, Debug)]
pub struct Facts {
    facts: Vec<Fact>,
}

impl Facts {
    /// Infers what can be known of every value. Where nothing can be inferred, what the file declares is believed; a
    /// declared length also replaces a symbolic one. Linear in the number of nodes.
    ///
    /// # Errors
    /// Inputs that do not fit an operator, or a declaration that contradicts what follows from the operators.
    pub fn of(graph: &Graph) -> Result<Self, InferenceError> {
        let mut facts = vec![Fact::default(); graph.values().len()];
        for (id, value) in graph.values() {
            facts[id.index()] = match (graph.initializer(id), &value.declared) {
                (Some(tensor), _) => Fact::of_tensor(tensor),
                (None, Some(declared)) => Fact::new(Some(declared.data_type), declared.shape.clone()),
                (None, None) => Fact::default(),
            };
        }
        let mut budget = MOST_ELEMENTS_OF_GRAPH;
        for (_, node) in graph.nodes() {
            let scope = Scope::new(graph, node, &facts);
            let inferred = infer(&scope)?;
            let mut agreed = Vec::with_capacity(node.outputs.len());
            for (position, output) in node.outputs.iter().enumerate() {
                let Some(output) = *output else { continue };
                let mut fact = inferred.get(position).cloned().unwrap_or_default();
                if let Some(declared) = &graph.value(output).declared {
                    agree(&scope, output, &mut fact, declared)?;
                }
                if let Some(shape) = fact.shape.as_ref().filter(|shape| shape.len() > MOST_AXES) {
                    let what = "the rank";
                    let found = shape.len().to_string();
                    return Err(scope.error_of(Some(output), Mismatch::TooLarge { what, found }));
                }
                fact.elements = followed(&mut fact, budget);
                budget -= fact.elements.as_ref().map_or(0, Vec::len);
                agreed.push((output, fact));
            }
            for (output, fact) in agreed {
                facts[output.index()] = fact;
            }
        }
        Ok(Self { facts })
    }

    /// What is known of a value. Panics if the id is of another graph.
    pub fn fact(&self, id: ValueId) -> &Fact {
        &self.facts[id.index()]
    }

    /// The element type, if it is known.
    pub fn data_type(&self, id: ValueId) -> Option<DataType> {
        self.fact(id).data_type
    }

    /// The length of each axis, if the rank is known.
    pub fn shape(&self, id: ValueId) -> Option<&Shape> {
        self.fact(id).shape.as_ref()
    }

    /// The contents of an integer tensor in row-major order, if all are known numbers.
    pub fn integers(&self, id: ValueId) -> Option<Vec<i64>> {
        self.fact(id).integers()
    }
}

/// The contents, if there are not too many; those of an empty integer tensor are known in any case.
fn followed(fact: &mut Fact, budget: usize) -> Option<Vec<Element>> {
    let count = fact.known_shape().and_then(|shape| contents::count(&shape))?;
    let elements = fact.elements.take();
    if count == 0 && fact.data_type.is_some_and(|data_type| !data_type.is_float()) {
        return Some(Vec::new());
    }
    elements.filter(|elements| elements.len() == count && count <= budget)
}

/// Completes what was inferred by what the file declares.
fn agree(scope: &Scope<'_>, output: ValueId, fact: &mut Fact, declared: &Declared) -> Result<(), InferenceError> {
    fact.data_type = fact.data_type.or(Some(declared.data_type));
    let Some(declared) = &declared.shape else {
        return Ok(());
    };
    let Some(inferred) = &mut fact.shape else {
        fact.shape = Some(declared.clone());
        return Ok(());
    };
    let contradict = |(inferred, declared): (&Dim, &Dim)| match (inferred.as_known(), declared.as_known()) {
        (Some(inferred), Some(declared)) => inferred != declared,
        _ => false,
    };
    if inferred.len() != declared.len() || inferred.iter().zip(declared).any(contradict) {
        let mismatch = Mismatch::Declared { declared: declared.clone(), inferred: inferred.clone() };
        return Err(scope.error_of(Some(output), mismatch));
    }
    for (inferred, declared) in inferred.iter_mut().zip(declared) {
        if inferred.as_known().is_none() && declared.as_known().is_some() {
            *inferred = declared.clone();
        }
    }
    Ok(())
}

/// What shape inference has to know of an operator's inputs to know the output's lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeSource {
    /// Shapes and attributes.
    Shapes,
    /// Also the contents of small integer inputs (axes, shapes, sizes): those computed from shapes are followed.
    Contents,
    /// The contents of the data: a length stays open.
    Data,
    /// Nothing is inferred: what the file declares is believed.
    Declared,
}

impl Operator {
    /// What shape inference needs for this operator.
    pub fn shape_source(&self) -> ShapeSource {
        match self {
            Self::Opaque { .. } => ShapeSource::Declared,
            Self::NonZero | Self::If { .. } | Self::Loop { .. } | Self::Scan(_) => ShapeSource::Data,
            Self::Reduce(_)
            | Self::Reshape { .. }
            | Self::Squeeze
            | Self::Unsqueeze
            | Self::Split { .. }
            | Self::Slice
            | Self::Pad(_)
            | Self::Expand
            | Self::Tile
            | Self::ConstantOfShape { .. }
            | Self::Range
            | Self::Resize(_)
            | Self::Col2Im(_)
            | Self::TopK { .. }
            | Self::OneHot { .. } => ShapeSource::Contents,
            _ => ShapeSource::Shapes,
        }
    }
}

/// The facts of a node's outputs. Outputs beyond those returned are unknown.
fn infer(scope: &Scope<'_>) -> Result<Vec<Fact>, InferenceError> {
    let fact = match &scope.node.operator {
        Operator::Gemm(gemm) => linear::gemm(scope, gemm),
        Operator::MatMul => linear::mat_mul(scope),
        Operator::Einsum(einsum) => linear::einsum(scope, einsum),
        Operator::Conv(conv) => convolution::conv(scope, conv),
        Operator::ConvTranspose(conv) => convolution::conv_transpose(scope, conv),
        Operator::BatchNormalization { .. } => normalization::of_channels(scope, 4),
        Operator::BatchNormalizationInTraining { .. } => return normalization::in_training(scope),
        Operator::InstanceNormalization { .. } => normalization::of_channels(scope, 2),
        Operator::LayerNormalization { axis, .. } => normalization::of_last_axes(scope, *axis),
        Operator::LocalResponseNormalization { .. } => normalization::of_neighbours(scope),
        Operator::Unary(unary) => elementwise::unary(scope, *unary),
        Operator::Binary(binary) => elementwise::binary(scope, *binary),
        Operator::Variadic(variadic) => elementwise::variadic(scope, *variadic),
        Operator::PRelu => elementwise::prelu(scope),
        Operator::Clip => elementwise::clip(scope),
        Operator::Where => elementwise::select(scope),
        Operator::Cast { to } => elementwise::cast(scope, *to),
        Operator::Identity => Ok(scope.input(0).clone()),
        Operator::Softmax { axis } | Operator::LogSoftmax { axis } => normalization::along_axis(scope, *axis),
        Operator::Reduce(reduce) => reduction::reduce(scope, reduce),
        Operator::ArgExtremum { axis, keep_dims, .. } => reduction::arg_extremum(scope, *axis, *keep_dims),
        Operator::Pool(pool) => pooling::pool(scope, pool),
        Operator::GlobalPool(_) => pooling::global_pool(scope),
        Operator::Flatten { axis } => layout::flatten(scope, *axis),
        Operator::Reshape { allow_zero } => layout::reshape(scope, *allow_zero),
        Operator::Transpose { permutation } => layout::transpose(scope, permutation.as_deref()),
        Operator::Squeeze => layout::squeeze(scope),
        Operator::Unsqueeze => layout::unsqueeze(scope),
        Operator::Concat { axis } => parts::concat(scope, *axis),
        Operator::Split { axis } => return parts::split(scope, *axis),
        Operator::Slice => slice::slice(scope),
        Operator::Gather { axis } => parts::gather(scope, *axis),
        Operator::Pad(_) => repetition::pad(scope),
        Operator::Expand => repetition::expand(scope),
        Operator::Tile => repetition::tile(scope),
        Operator::Shape { start, end } => constants::shape(scope, *start, *end),
        Operator::ConstantOfShape { value } => constants::constant_of_shape(scope, value),
        Operator::Range => constants::range(scope),
        Operator::DeformConv(deform) => convolution::deform_conv(scope, deform),
        Operator::MatMulInteger => quantization::mat_mul_integer(scope),
        Operator::QLinearConv(conv) => quantization::conv(scope, conv),
        Operator::QuantizeLinear { axis, data_type } => {
            let data_type = scope.data_type(2).or(*data_type).unwrap_or(DataType::U8);
            quantization::scaled(scope, *axis, Some(data_type))
        }
        Operator::DequantizeLinear { axis } => quantization::scaled(scope, *axis, scope.data_type(1)),
        Operator::GroupNormalization { groups, per_group, .. } => normalization::of_groups(scope, *groups, *per_group),
        Operator::Recurrent(recurrent) => return recurrent::recurrent(scope, recurrent),
        Operator::Attention(attention) => return recurrent::attention(scope, attention),
        Operator::Resize(resize) => sampling::resize(scope, resize),
        Operator::GridSample(_) => sampling::grid_sample(scope),
        Operator::DepthToSpace { block, .. } => sampling::depth(scope, *block, false),
        Operator::SpaceToDepth { block } => sampling::depth(scope, *block, true),
        Operator::Col2Im(window) => sampling::col2im(scope, window),
        Operator::CumSum { .. } => selection::cum_sum(scope),
        Operator::TopK { axis, .. } => return selection::top_k(scope, *axis),
        Operator::Hardmax { axis } => normalization::along_axis(scope, *axis),
        Operator::GatherElements { axis } => selection::gather_elements(scope, *axis),
        Operator::GatherNd { batch_dims } => selection::gather_nd(scope, *batch_dims),
        Operator::ScatterElements { axis, .. } => selection::scatter_elements(scope, *axis),
        Operator::ScatterNd { .. } => selection::scatter_nd(scope),
        Operator::OneHot { axis } => selection::one_hot(scope, *axis),
        Operator::NonZero => selection::non_zero(scope),
        Operator::Trilu { .. } => selection::trilu(scope),
        Operator::EyeLike { data_type, .. } => selection::eye_like(scope, *data_type),
        Operator::Size => selection::size(scope),
        Operator::If { then_branch, else_branch } => return Ok(control::of_branches(then_branch, else_branch)),
        Operator::Loop { body, states } => return Ok(control::of_loop(scope, body, *states)),
        Operator::Scan(scan) => return Ok(control::of_scan(scope, scan)),
        Operator::Random(random) => Ok(random_numbers(scope, random)),
        Operator::Opaque { .. } => Ok(Fact::default()),
    };
    Ok(vec![fact?])
}

/// Given by attributes, or as the input is.
fn random_numbers(scope: &Scope<'_>, random: &Random) -> Fact {
    let shape = match random.kind {
        RandomKind::Normal | RandomKind::Uniform => Some(random.shape.iter().copied().map(Dim::known).collect()),
        RandomKind::Multinomial => {
            scope.shape(0).and_then(|shape| Some(vec![shape.first()?.clone(), Dim::known(random.samples)]))
        }
        _ => scope.shape(0).cloned(),
    };
    let default = match random.kind {
        RandomKind::Normal | RandomKind::Uniform => Some(DataType::F32),
        RandomKind::Multinomial => Some(DataType::I32),
        _ => scope.data_type(0),
    };
    Fact::new(random.data_type.or(default), shape)
}
