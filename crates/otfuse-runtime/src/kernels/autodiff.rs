//! Gradients through the kernels, as operations of burn-autodiff.

use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_autodiff::{Autodiff, NodeId};
use burn_backend::tensor::FloatTensor;

use super::RuntimeBackend;
use super::shape::ConvolutionShape;

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
}
