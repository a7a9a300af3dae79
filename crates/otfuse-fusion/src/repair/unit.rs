//! The layers of a network whose weights can be fitted on their own.

use std::collections::HashMap;

use otfuse_graph::{Binary, Graph, Node, NodeId, Operator, Unary, ValueId, Variadic};

/// The parameters of a batch normalisation in inference mode, one number per channel each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// Factors behind the division by the standard deviation.
    pub scale: ValueId,
    /// What is added at the end.
    pub shift: ValueId,
    /// Running means.
    pub mean: ValueId,
    /// Running variances.
    pub variance: ValueId,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Normalization {
    /// What each channel is multiplied with.
    pub(crate) fn factors(&self, of: &dyn Fn(ValueId) -> Vec<f32>) -> Vec<f64> {
        let (scales, variances) = (of(self.scale), of(self.variance));
        let factor = |(scale, variance)| f64::from(scale) / (f64::from(variance) + f64::from(self.epsilon)).sqrt();
        scales.into_iter().zip(variances).map(factor).collect()
    }
}

/// A linear layer with weights of its own: a matrix product or convolution, its bias and the batch normalisation right
/// behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearUnit {
    /// The matrix product or convolution.
    pub node: NodeId,
    /// What flows in.
    pub input: ValueId,
    /// The weight.
    pub weight: ValueId,
    /// The axis of the weight that counts outputs.
    pub output_axis: usize,
    /// The bias, one number per output.
    pub bias: Option<ValueId>,
    /// The normalisation behind it.
    pub normalization: Option<Normalization>,
    /// The weighted sums, bias included, before the normalisation.
    pub sums: ValueId,
    /// What flows out, normalisation included.
    pub output: ValueId,
    /// Where the output is added to another value: the sum and the other value.
    pub residual: Option<(ValueId, ValueId)>,
    /// The function that the output goes through, where nothing else reads it.
    pub activation: Option<Unary>,
}

/// Readers of values, and which values are constant.
struct Wiring<'a> {
    graph: &'a Graph,
    readers: HashMap<ValueId, Vec<(NodeId, usize)>>,
    /// Turned weights that count as weights.
    turned: HashMap<ValueId, ValueId>,
    /// Whether transposed convolutions are layers.
    takes_transposed: bool,
}

/// The input and the output that an element of a weight of this shape connects, whose outputs are counted on an axis.
pub(crate) fn place(output_axis: usize, shape: &[usize], at: usize) -> (usize, usize) {
    let (outputs, inner) = (shape[output_axis], shape[output_axis + 1..].iter().product::<usize>());
    (at / (outputs * inner) * inner + at % inner, at / inner % outputs)
}

impl LinearUnit {
    /// The layers of a graph in topological order. Weights that several nodes read are left out: fitting them to one would
    /// change the others. Linear in the size of the graph.
    pub fn of(graph: &Graph) -> Vec<Self> {
        let wiring = Wiring { graph, readers: graph.consumers(), turned: HashMap::new(), takes_transposed: false };
        graph.nodes().filter_map(|(id, _)| wiring.unit(id)).collect()
    }

    /// The same with transposed convolutions of one group.
    pub(crate) fn with_transposed(graph: &Graph) -> Vec<Self> {
        let wiring = Wiring { graph, readers: graph.consumers(), turned: HashMap::new(), takes_transposed: true };
        graph.nodes().filter_map(|(id, _)| wiring.unit(id)).collect()
    }

    /// The input and the output that an element of the weight, of this shape, connects.
    pub(crate) fn place(&self, shape: &[usize], at: usize) -> (usize, usize) {
        place(self.output_axis, shape, at)
    }

    /// Adds the layer's weights to a row-major `inputs x outputs` matrix, normalisations folded in, each output `shares` times; `of`
    /// gives the values of its tensors, `shape` is that of the weight.
    pub(crate) fn add_to(
        &self,
        matrix: &mut [f64],
        shape: &[usize],
        shares: Vec<f64>,
        of: &dyn Fn(ValueId) -> Vec<f32>,
    ) {
        let mut factors = shares;
        if let Some(normalization) = self.normalization {
            factors.iter_mut().zip(normalization.factors(of)).for_each(|(share, factor)| *share *= factor);
        }
        let outputs = shape[self.output_axis];
        for (at, value) in of(self.weight).into_iter().enumerate() {
            let (input, output) = self.place(shape, at);
            matrix[input * outputs + output] += factors[output] * f64::from(value);
        }
    }

    /// The layer's weights as such a matrix.
    pub(crate) fn folded(&self, shape: &[usize], of: &dyn Fn(ValueId) -> Vec<f32>) -> Vec<f64> {
        let mut matrix = vec![0.0; shape.iter().product()];
        self.add_to(&mut matrix, shape, vec![1.0; shape[self.output_axis]], of);
        matrix
    }

    /// The same with the layers whose weight is turned before it is multiplied with.
    pub(crate) fn with_turned(graph: &Graph) -> Vec<Self> {
        Self::turned_too(graph, false)
    }

    /// The same with both of these.
    pub(crate) fn with_all(graph: &Graph) -> Vec<Self> {
        Self::turned_too(graph, true)
    }

    fn turned_too(graph: &Graph, takes_transposed: bool) -> Vec<Self> {
        let readers = graph.consumers();
        let is_turn = |operator: &Operator| match operator {
            Operator::Transpose { permutation } => permutation.as_deref().is_none_or(|order| order == [1, 0]),
            _ => false,
        };
        let of = |(_, node): (NodeId, &Node)| {
            let (weight, turned) = (node.input(0)?, node.output(0)?);
            let is_matrix = graph.initializer(weight)?.shape().len() == 2 && is_turn(&node.operator);
            let is_own = readers.get(&turned).is_some_and(|readers| readers.len() == 1);
            (is_matrix && is_own).then_some((turned, weight))
        };
        let turned = graph.nodes().filter_map(of).collect();
        let wiring = Wiring { graph, readers, turned, takes_transposed };
        graph.nodes().filter_map(|(id, _)| wiring.unit(id)).collect()
    }
}

impl Wiring<'_> {
    fn unit(&self, id: NodeId) -> Option<LinearUnit> {
        let node = self.graph.node(id);
        let (input, factor, sums) = (node.input(0)?, node.input(1)?, node.output(0)?);
        let (weight, is_turned) = match self.turned.get(&factor) {
            Some(&weight) => (weight, true),
            None => (factor, false),
        };
        let rank = self.graph.initializer(weight)?.shape().len();
        let output_axis = match &node.operator {
            Operator::Conv(_) if !is_turned => 0,
            Operator::ConvTranspose(conv) if self.takes_transposed && !is_turned && conv.groups == 1 => 1,
            Operator::Gemm(gemm) if gemm.alpha == 1.0 && gemm.beta == 1.0 && !gemm.transpose_a => {
                usize::from(gemm.transpose_b == is_turned)
            }
            Operator::MatMul if rank == 2 => usize::from(!is_turned),
            _ => return None,
        };
        if self.graph.initializer(input).is_some() || !self.is_own(weight) {
            return None;
        }
        let outputs = *self.graph.initializer(weight)?.shape().get(output_axis)?;
        let mut unit = LinearUnit {
            node: id,
            input,
            weight,
            output_axis,
            bias: None,
            normalization: None,
            sums,
            output: sums,
            residual: None,
            activation: None,
        };
        match node.input(2) {
            Some(bias) if self.is_vector(bias, outputs) => unit.bias = Some(bias),
            Some(_) => return None,
            None => self.follow_bias(&mut unit, outputs),
        }
        self.follow_normalization(&mut unit, outputs);
        unit.residual = self.residual(unit.output);
        unit.activation = self.activation(unit.output);
        Some(unit)
    }

    /// Whether a constant of one node only has `length` elements.
    fn is_vector(&self, id: ValueId, length: usize) -> bool {
        let is_long = self.graph.initializer(id).is_some_and(|tensor| {
            tensor.data_type().is_float() && tensor.len() == length && tensor.shape().last() == Some(&length)
        });
        is_long && self.is_own(id)
    }

    fn is_own(&self, id: ValueId) -> bool {
        self.readers.get(&id).is_some_and(|readers| readers.len() == 1) && !self.graph.outputs().contains(&id)
    }

    /// The only reader of a value, unless the value is an output.
    fn only_reader(&self, value: ValueId) -> Option<(NodeId, usize)> {
        match self.readers.get(&value).map(Vec::as_slice) {
            Some(&[reader]) if !self.graph.outputs().contains(&value) => Some(reader),
            _ => None,
        }
    }

    /// A bias that is added by a node of its own, behind a matrix product.
    fn follow_bias(&self, unit: &mut LinearUnit, outputs: usize) {
        let Some((next, position)) = self.only_reader(unit.output) else { return };
        let node = self.graph.node(next);
        let other = node.input(1 - position.min(1));
        if self.graph.node(unit.node).operator == Operator::MatMul
            && node.operator == Operator::Binary(Binary::Add)
            && let (Some(bias), Some(output)) = (other, node.output(0))
            && self.is_vector(bias, outputs)
        {
            unit.bias = Some(bias);
            (unit.sums, unit.output) = (output, output);
        }
    }

    fn follow_normalization(&self, unit: &mut LinearUnit, outputs: usize) {
        let Some((next, 0)) = self.only_reader(unit.output) else { return };
        let node = self.graph.node(next);
        let Operator::BatchNormalization { epsilon } = node.operator else { return };
        let parameter = |position| node.input(position).filter(|&id| self.is_vector(id, outputs));
        if let (Some(scale), Some(shift), Some(mean), Some(variance), Some(output)) =
            (parameter(1), parameter(2), parameter(3), parameter(4), node.output(0))
        {
            unit.normalization = Some(Normalization { scale, shift, mean, variance, epsilon });
            unit.output = output;
        }
    }

    /// The function of single numbers that alone reads a value; `x sigmoid(x)` may be two nodes.
    fn activation(&self, value: ValueId) -> Option<Unary> {
        let is_output = self.graph.outputs().contains(&value);
        match self.readers.get(&value).map(Vec::as_slice).filter(|_| !is_output)? {
            [(only, _)] => match self.graph.node(*only).operator {
                Operator::Unary(function) => Some(function),
                _ => None,
            },
            [(a, _), (b, _)] => {
                let [a, b] = [a, b].map(|&id| self.graph.node(id));
                let (gate, product) = if a.operator == Operator::Unary(Unary::Sigmoid) { (a, b) } else { (b, a) };
                let is_gated = gate.operator == Operator::Unary(Unary::Sigmoid)
                    && product.operator == Operator::Binary(Binary::Mul)
                    && product.inputs.contains(&gate.output(0))
                    && self.is_own(gate.output(0)?);
                is_gated.then_some(Unary::Swish { alpha: 1.0 })
            }
            _ => None,
        }
    }

    fn residual(&self, output: ValueId) -> Option<(ValueId, ValueId)> {
        let (next, position) = self.only_reader(output)?;
        let node = self.graph.node(next);
        let adds = matches!(node.operator, Operator::Binary(Binary::Add) | Operator::Variadic(Variadic::Sum));
        if !adds || node.inputs.len() != 2 {
            return None;
        }
        let other = node.input(1 - position).filter(|&other| self.graph.initializer(other).is_none())?;
        Some((node.output(0)?, other))
    }
}
