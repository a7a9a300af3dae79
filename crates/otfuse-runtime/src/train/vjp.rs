//! Gradients of a network by its inputs and constants.

use std::collections::BTreeMap;

use burn_autodiff::Autodiff;
use burn_backend::AutodiffBackend;
use burn_backend::ops::FloatTensorOps;
use otfuse_graph::{Graph, Tensor, ValueId};

use crate::device::Kind;
use crate::host::Limits;
use crate::interpreter::{Array, Floats, Program, Value};
use crate::{Cpu, Host, RuntimeBackend, RuntimeError};

/// The gradient of `<cotangent, output>`, summed over the given outputs, by each of `by` (inputs or constants of
/// floats), in the shape of each. `None` where the outputs do not depend on it differentiably.
///
/// Takes the time of a few forward passes, and memory for every inner value.
pub fn vector_jacobian_product(
    graph: &Graph,
    inputs: &[(ValueId, Tensor)],
    cotangents: &[(ValueId, Tensor)],
    by: &[ValueId],
    host: &Host,
) -> Result<BTreeMap<ValueId, Option<Tensor>>, RuntimeError> {
    match host.device().kind() {
        Kind::Cpu => product_on::<Cpu>(graph, inputs, cotangents, by, &burn_flex::FlexDevice, host.limits()),
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        Kind::Gpu(device) => product_on::<crate::device::Gpu>(graph, inputs, cotangents, by, device, host.limits()),
    }
}

fn product_on<B: RuntimeBackend>(
    graph: &Graph,
    inputs: &[(ValueId, Tensor)],
    cotangents: &[(ValueId, Tensor)],
    by: &[ValueId],
    device: &B::Device,
    limits: &Limits,
) -> Result<BTreeMap<ValueId, Option<Tensor>>, RuntimeError> {
    let mut program = Program::<Autodiff<B>>::new(graph, device, limits)?;
    let name = |id: ValueId| graph.value(id).name.clone();
    let upload = |id: ValueId, tensor: &Tensor| {
        Value::<Autodiff<B>>::from_tensor(tensor, device).map_err(|fault| fault.at(&name(id), "input"))
    };
    let mut tracked = BTreeMap::new();
    let mut track = |id: ValueId, value: Value<Autodiff<B>>| match value {
        Value::Floats(floats) if by.contains(&id) => {
            let shape = floats.shape().to_vec();
            let leaf = Autodiff::<B>::float_set_require_grad(floats.into_tensor(), true);
            tracked.insert(id, (leaf.clone(), shape.clone()));
            Value::Floats(Floats::new(leaf).reshaped(&shape))
        }
        other => other,
    };
    let mut given = Vec::with_capacity(inputs.len());
    for (id, tensor) in inputs {
        given.push((*id, track(*id, upload(*id, tensor)?)));
    }
    for &id in by {
        if let Some(constant) = program.constant(id).cloned() {
            program.set_constant(id, track(id, constant));
        }
    }
    let wanted: Vec<ValueId> = cotangents.iter().map(|(id, _)| *id).collect();
    let mut values = program.compute_replacing(given, &wanted, &mut |_, _, _| None)?;
    let mut total: Option<Floats<Autodiff<B>>> = None;
    for (id, cotangent) in cotangents {
        let (Some(Value::Floats(value)), Value::Floats(cotangent)) = (values.remove(id), upload(*id, cotangent)?)
        else {
            let (expected, found) = ("floats".to_owned(), "integers".to_owned());
            return Err(RuntimeError::Output { output: name(*id), expected, found });
        };
        if value.shape() != cotangent.shape() {
            let (expected, found) = (format!("{:?}", value.shape()), format!("{:?}", cotangent.shape()));
            return Err(RuntimeError::Output { output: name(*id), expected, found });
        }
        let product = Autodiff::<B>::float_mul(value.into_tensor(), cotangent.into_tensor());
        let sum = Floats::<Autodiff<B>>::new(Autodiff::<B>::float_sum(product));
        total = Some(match total {
            Some(total) => total.map(|total| Autodiff::<B>::float_add(total, sum.into_tensor())),
            None => sum,
        });
    }
    let gradients = total.map(|total| Autodiff::<B>::backward(total.into_tensor()));
    let mut result: BTreeMap<ValueId, Option<Tensor>> = by.iter().map(|&id| (id, None)).collect();
    for (id, (leaf, shape)) in tracked {
        let gradient = gradients.as_ref().and_then(|gradients| Autodiff::<B>::grad(&leaf, gradients));
        if let Some(gradient) = gradient {
            let values = Floats::<B>::new(gradient).into_vec().map_err(|fault| fault.at(&name(id), "gradient"))?;
            result.insert(id, Some(Tensor::from_f32(&shape, values)));
        }
    }
    Ok(result)
}
