//! Gradients through the kernels, as operations of burn-autodiff.

use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_autodiff::{Autodiff, NodeId};
use burn_backend::tensor::FloatTensor;
use burn_backend::{Shape, TensorMetadata};

use super::RuntimeBackend;
use super::shape::{ConvolutionShape, SlidingAxis};

/// A recorded convolution; its state is where its input and its weights are kept.
#[derive(Debug)]
struct Convolution;

type State = (NodeId, NodeId, ConvolutionShape);

/// Registers the gradients by the input and the weights, as far as they are wanted; returns that by the output.
fn register<B: RuntimeBackend>(
    x: Option<NodeId>,
    weight: Option<NodeId>,
    gradient: FloatTensor<B>,
    state: State,
    gradients: &mut Gradients,
    checkpointer: &mut Checkpointer,
) -> FloatTensor<B> {
    let (x_state, weight_state, shape) = state;
    let x_value = checkpointer.retrieve_node_output::<FloatTensor<B>>(x_state);
    let weight_value = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight_state);
    if let Some(id) = x {
        let by_input = B::convolution_input_gradient(x_value.clone(), weight_value.clone(), gradient.clone(), &shape);
        gradients.register::<B>(id, by_input);
    }
    if let Some(id) = weight {
        let by_weight = B::convolution_weight_gradient(x_value, weight_value, gradient.clone(), &shape);
        gradients.register::<B>(id, by_weight);
    }
    gradient
}

impl<B: RuntimeBackend> Backward<B, 2> for Convolution {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight] = ops.parents.map(|parent| parent.map(|node| node.id));
        register::<B>(x, weight, gradient, ops.state, gradients, checkpointer);
    }
}

impl<B: RuntimeBackend> Backward<B, 3> for Convolution {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight, bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        let shape = ops.state.2;
        let gradient = register::<B>(x, weight, gradient, ops.state, gradients, checkpointer);
        if let Some(id) = bias {
            gradients.register::<B>(id, B::convolution_bias_gradient(gradient, &shape));
        }
    }
}

/// A recorded linear layer; its state is where its input and its weights are kept. The gradient by the weights comes out
/// in their own order, where that of a product with transposed weights would have to be transposed in turn.
#[derive(Debug)]
struct Linear;

/// As `register`, for a linear layer.
fn register_linear<B: RuntimeBackend>(
    x: Option<NodeId>,
    weight: Option<NodeId>,
    gradient: &FloatTensor<B>,
    state: (NodeId, NodeId),
    gradients: &mut Gradients,
    checkpointer: &mut Checkpointer,
) {
    // Both are retrieved in any case: the tape counts the readers.
    let x_value = checkpointer.retrieve_node_output::<FloatTensor<B>>(state.0);
    let weight_value = checkpointer.retrieve_node_output::<FloatTensor<B>>(state.1);
    if let Some(id) = x {
        gradients.register::<B>(id, B::layer_input_gradient(weight_value, gradient.clone()));
    }
    if let Some(id) = weight {
        gradients.register::<B>(id, B::layer_weight_gradient(x_value, gradient.clone()));
    }
}

impl<B: RuntimeBackend> Backward<B, 2> for Linear {
    type State = (NodeId, NodeId);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight] = ops.parents.map(|parent| parent.map(|node| node.id));
        register_linear::<B>(x, weight, &gradient, ops.state, gradients, checkpointer);
    }
}

impl<B: RuntimeBackend> Backward<B, 3> for Linear {
    type State = (NodeId, NodeId);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight, bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        register_linear::<B>(x, weight, &gradient, ops.state, gradients, checkpointer);
        if let Some(id) = bias {
            let outputs = gradient.shape()[1];
            let sum = B::float_sum_dim(gradient, 0);
            gradients.register::<B>(id, B::float_reshape(sum, Shape::from(vec![outputs])));
        }
    }
}

/// A recorded pool; its state is where its input is kept.
#[derive(Debug)]
struct MaxPool;

impl<B: RuntimeBackend> Backward<B, 1> for MaxPool {
    type State = (NodeId, [SlidingAxis; 2]);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let ([parent], (x_state, axes)) = (ops.parents, ops.state);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x_state);
        if let Some(node) = parent {
            gradients.register::<B>(node.id, B::max_pool_gradient(x, gradient, &axes));
        }
    }
}

/// A recorded rectifier; its state is its output.
#[derive(Debug)]
struct Rectified;

impl<B: RuntimeBackend> Backward<B, 1> for Rectified {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            gradients.register::<B>(node.id, B::rectified_gradient(ops.state, gradient));
        }
    }
}

/// Records an operation on an input, weights and perhaps a bias: what a tape of either kind does with it. The kinds
/// differ in the number of parents.
macro_rules! record {
    ($operation:expr, $x:ident, $weight:ident, $bias:ident, $compute:ident $(, $kept:expr)*) => {
        match $bias {
            Some(bias) => {
                let (bias, node) = bias.into_parts();
                record!($operation, $x, $weight, [$x.node(), $weight.node(), node], $compute(Some(bias)) $(, $kept)*)
            }
            None => record!($operation, $x, $weight, [$x.node(), $weight.node()], $compute(None) $(, $kept)*),
        }
    };
    ($operation:expr, $x:ident, $weight:ident, [$($parent:expr),*], $output:expr $(, $kept:expr)*) => {
        match Backward::<B, _>::prepare::<C>($operation, [$($parent),*]).compute_bound().stateful() {
            OpsKind::Tracked(mut operation) => {
                let state = (operation.checkpoint(&$x), operation.checkpoint(&$weight) $(, $kept)*);
                operation.finish(state, $output)
            }
            OpsKind::UnTracked(operation) => operation.finish($output),
        }
    };
}

impl<B: RuntimeBackend, C: CheckpointStrategy> RuntimeBackend for Autodiff<B, C> {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        shape: &ConvolutionShape,
    ) -> FloatTensor<Self> {
        let compute = |bias: Option<FloatTensor<B>>| {
            B::convolution(x.primitive().clone(), weight.primitive().clone(), bias, shape)
        };
        record!(Convolution, x, weight, bias, compute, *shape)
    }

    fn layer(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: Option<FloatTensor<Self>>) -> FloatTensor<Self> {
        let compute = |bias: Option<FloatTensor<B>>| B::layer(x.primitive().clone(), weight.primitive().clone(), bias);
        record!(Linear, x, weight, bias, compute)
    }

    fn max_pool(x: FloatTensor<Self>, axes: &[SlidingAxis; 2]) -> FloatTensor<Self> {
        match Backward::<B, 1>::prepare::<C>(MaxPool, [x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut operation) => {
                let state = (operation.checkpoint(&x), *axes);
                operation.finish(state, B::max_pool(x.into_primitive(), axes))
            }
            OpsKind::UnTracked(operation) => operation.finish(B::max_pool(x.into_primitive(), axes)),
        }
    }

    fn rectified(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match Backward::<B, 1>::prepare::<C>(Rectified, [node]).compute_bound().stateful() {
            OpsKind::Tracked(operation) => {
                let output = B::rectified(x);
                operation.finish(output.clone(), output)
            }
            OpsKind::UnTracked(operation) => operation.finish(B::rectified(x)),
        }
    }
}
