//! What flows through a graph while it runs.

use burn_backend::Backend;
use burn_backend::tensor::Device;
use otfuse_graph::Tensor;

use super::array::Array;
use super::fault::{Fault, Outcome, element_count};
use super::floats::Floats;
use super::integers::Integers;
use crate::host::Limits;

/// A tensor: numbers on the device, integers and truth values on the host.
#[derive(Clone, Debug)]
pub(crate) enum Value<B: Backend> {
    Floats(Floats<B>),
    Integers(Integers),
}

impl<B: Backend> Value<B> {
    /// Uploads a tensor; floats of every width become float32.
    pub(crate) fn from_tensor(tensor: &Tensor, device: &Device<B>) -> Outcome<Self> {
        element_count(tensor.shape())?;
        if let Some(values) = tensor.to_f32() {
            return Ok(Self::Floats(Floats::from_vec(values, tensor.shape(), device)));
        }
        Integers::try_from(tensor).map(Self::Integers)
    }

    pub(crate) fn into_tensor(self) -> Outcome<Tensor> {
        Ok(match self {
            Self::Integers(integers) => integers.to_tensor(),
            Self::Floats(floats) => {
                let shape = floats.shape().to_vec();
                let values = floats.into_vec()?;
                if values.len() != shape.iter().product::<usize>() {
                    return Err(Fault::new("the result of the device", format!("shape {shape:?}"), values.len()));
                }
                Tensor::from_f32(&shape, values)
            }
        })
    }

    /// The bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Floats(floats) => 4_u64.saturating_mul(floats.shape().iter().product::<usize>() as u64),
            Self::Integers(integers) => 8 * integers.data.len() as u64,
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::Floats(floats) => floats.shape(),
            Self::Integers(integers) => integers.shape(),
        }
    }

    /// The value as floats; integers are converted.
    pub(crate) fn into_floats(self, device: &Device<B>) -> Floats<B> {
        match self {
            Self::Floats(floats) => floats,
            Self::Integers(integers) => {
                let values = integers.data.iter().map(|&value| value as f32).collect();
                Floats::from_vec(values, &integers.shape, device)
            }
        }
    }
}

/// The inputs of a node, taken one by one.
pub(crate) struct Operands<B: Backend> {
    pub(crate) values: Vec<Option<Value<B>>>,
    pub(crate) device: Device<B>,
    /// For networks inside of the operator.
    pub(crate) limits: Limits,
    /// The bytes that are alive outside of the operator.
    pub(crate) held: u64,
}

impl<B: Backend> Operands<B> {
    pub(crate) fn optional(&mut self, index: usize) -> Option<Value<B>> {
        self.values.get_mut(index)?.take()
    }

    pub(crate) fn value(&mut self, index: usize) -> Outcome<Value<B>> {
        self.optional(index).ok_or_else(|| Fault::new(format!("input {index}"), "a tensor", "nothing"))
    }

    /// An input that must be a tensor of floats.
    pub(crate) fn floats(&mut self, index: usize) -> Outcome<Floats<B>> {
        match self.value(index)? {
            Value::Floats(floats) => Ok(floats),
            Value::Integers(integers) => Err(Fault::new(format!("input {index}"), "floats", integers.data_type)),
        }
    }

    pub(crate) fn optional_floats(&mut self, index: usize) -> Outcome<Option<Floats<B>>> {
        match self.values.get(index) {
            Some(Some(_)) => self.floats(index).map(Some),
            _ => Ok(None),
        }
    }

    /// An input that must be a list of integers (or one integer).
    pub(crate) fn integers(&mut self, index: usize) -> Outcome<Integers> {
        match self.value(index)? {
            Value::Integers(integers) => Ok(integers),
            Value::Floats(floats) => {
                Err(Fault::new(format!("input {index}"), "integers", format!("floats of shape {:?}", floats.shape())))
            }
        }
    }

    pub(crate) fn optional_integers(&mut self, index: usize) -> Outcome<Option<Vec<i64>>> {
        match self.values.get(index) {
            Some(Some(_)) => Ok(Some(self.integers(index)?.data)),
            _ => Ok(None),
        }
    }
}
