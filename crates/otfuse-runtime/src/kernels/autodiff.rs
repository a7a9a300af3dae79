//! Gradients through the kernels, as operations of burn-autodiff.

use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_autodiff::{Autodiff, NodeId};
use burn_backend::tensor::FloatTensor;

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
        // What a tape of either kind does with its operation; the kinds differ in the number of parents.
        macro_rules! record {
            ($parents:expr, $bias:expr) => {
                match Backward::<B, _>::prepare::<C>(Convolution, $parents).compute_bound().stateful() {
                    OpsKind::Tracked(mut operation) => {
                        let state = (operation.checkpoint(&x), operation.checkpoint(&weight), *shape);
                        operation.finish(state, compute($bias))
                    }
                    OpsKind::UnTracked(operation) => operation.finish(compute($bias)),
                }
            };
        }
        match bias {
            Some(bias) => {
                let (bias, node) = bias.into_parts();
                record!([x.node(), weight.node(), node], Some(bias))
            }
            None => record!([x.node(), weight.node()], None),
        }
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
