//! Floating-point tensors on the device.

use burn_backend::tensor::{BoolTensor, Device, FloatTensor, IntTensor};
use burn_backend::{
    Backend, BoolDType, Scalar, Shape, Slice, TensorData, TensorMetadata, get_or_init_device_settings, try_read_sync,
};

use super::array::Array;
use super::fault::{Fault, Outcome, element_count};

/// Parts that are concatenated at once.
const MOST_AT_ONCE: usize = 16;

/// A float32 tensor. The backend's tensor has the same shape, but one axis of length 1 where the rank is 0.
#[derive(Clone, Debug)]
pub(crate) struct Floats<B: Backend> {
    tensor: FloatTensor<B>,
    shape: Vec<usize>,
}

impl<B: Backend> Floats<B> {
    pub(crate) fn new(tensor: FloatTensor<B>) -> Self {
        let shape = tensor.shape().to_vec();
        Self { tensor, shape }
    }

    /// Uploads numbers, as many as the shape asks for.
    pub(crate) fn from_vec(values: Vec<f32>, shape: &[usize], device: &Device<B>) -> Self {
        let tensor = B::float_from_data(TensorData::new(values, at_least_one_axis(shape)), device);
        Self { tensor, shape: shape.to_vec() }
    }

    pub(crate) fn full(shape: &[usize], value: f32, device: &Device<B>) -> Self {
        let tensor = B::float_full(
            at_least_one_axis(shape),
            Scalar::Float(f64::from(value)),
            device,
            burn_backend::FloatDType::F32,
        );
        Self { tensor, shape: shape.to_vec() }
    }

    /// The numbers in row-major order.
    pub(crate) fn to_vec(&self) -> Outcome<Vec<f32>> {
        self.clone().into_vec()
    }

    /// The numbers in row-major order.
    pub(crate) fn into_vec(self) -> Outcome<Vec<f32>> {
        let data = try_read_sync(B::float_into_data(self.tensor))
            .ok_or_else(|| Fault::Backend("the device cannot be read synchronously".into()))?
            .map_err(|error| Fault::Backend(format!("{error:?}")))?;
        data.try_into_vec::<f32>().map_err(|error| Fault::Backend(format!("{error:?}")))
    }

    /// The only number of a tensor with one element.
    pub(crate) fn to_scalar(&self) -> Outcome<f32> {
        match self.to_vec()?.as_slice() {
            &[value] => Ok(value),
            _ => Err(Fault::new("scalar", "one element", format!("shape {:?}", self.shape))),
        }
    }

    /// The backend's tensor, of rank 1 at least.
    pub(crate) fn into_tensor(self) -> FloatTensor<B> {
        self.tensor
    }

    pub(crate) fn tensor(&self) -> FloatTensor<B> {
        self.tensor.clone()
    }

    pub(crate) fn device(&self) -> Device<B> {
        self.tensor.device()
    }

    /// The backend's tensor with axes of length 1 put in front, up to `rank` (and to 1).
    pub(crate) fn aligned(self, rank: usize) -> FloatTensor<B> {
        let rank = rank.max(1);
        if self.shape.len() >= rank {
            return self.tensor;
        }
        let mut shape = vec![1; rank - self.shape.len()];
        shape.extend_from_slice(&self.shape);
        B::float_reshape(self.tensor, Shape::from(shape))
    }

    /// A function that keeps the shape.
    pub(crate) fn map(self, function: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>) -> Self {
        Self { tensor: function(self.tensor), shape: self.shape }
    }

    /// `self` where the mask is false, `other` where it is true; all of one shape.
    pub(crate) fn replaced(self, mask: BoolTensor<B>, other: Self) -> Self {
        Self { tensor: B::float_mask_where(self.tensor, mask, other.tensor), shape: self.shape }
    }
}

/// A mask on the device.
pub(crate) fn upload_mask<B: Backend>(values: &[i64], shape: &[usize], device: &Device<B>) -> BoolTensor<B> {
    let values: Vec<bool> = values.iter().map(|&value| value != 0).collect();
    let bool_type = get_or_init_device_settings::<B>(device).bool_dtype;
    B::bool_from_data(TensorData::new(values, at_least_one_axis(shape)).convert_dtype(bool_type.into()), device)
}

/// The type of masks that the backend computes.
pub(crate) fn bool_type<B: Backend>(tensor: &FloatTensor<B>) -> BoolDType {
    get_or_init_device_settings::<B>(&tensor.device()).bool_dtype
}

/// The larger or the smaller of two tensors of one shape, element by element; NaN wins over numbers.
pub(crate) fn extremum<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>, largest: bool) -> FloatTensor<B> {
    let bool_type = bool_type::<B>(&a);
    let better = if largest {
        B::float_greater(b.clone(), a.clone(), bool_type)
    } else {
        B::float_lower(b.clone(), a.clone(), bool_type)
    };
    let not_a_number = B::float_not_equal(b.clone(), b.clone(), bool_type);
    B::float_mask_where(a, B::bool_or(better, not_a_number), b)
}

/// Indices on the device, in the type that it counts in: some have no integers of 64 bits.
fn upload_indices<B: Backend>(indices: &[usize], device: &Device<B>) -> IntTensor<B> {
    let indices: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
    let count = indices.len();
    let int_type = get_or_init_device_settings::<B>(device).int_dtype;
    B::int_from_data(TensorData::new(indices, [count]).convert_dtype(int_type.into()), device)
}

fn at_least_one_axis(shape: &[usize]) -> Shape {
    Shape::from(if shape.is_empty() { vec![1] } else { shape.to_vec() })
}

impl<B: Backend> Array for Floats<B> {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn reshaped(self, shape: &[usize]) -> Self {
        if self.shape == shape {
            return self;
        }
        Self { tensor: B::float_reshape(self.tensor, at_least_one_axis(shape)), shape: shape.to_vec() }
    }

    fn permuted(self, permutation: &[usize]) -> Self {
        if permutation.iter().enumerate().all(|(axis, &from)| axis == from) {
            return self;
        }
        Self::new(B::float_permute(self.tensor, permutation))
    }

    fn range(self, axis: usize, start: usize, length: usize) -> Self {
        if start == 0 && length == self.shape[axis] {
            return self;
        }
        let slices: Vec<Slice> = self
            .shape
            .iter()
            .enumerate()
            .map(|(at, &size)| {
                let (from, to) = if at == axis { (start, start + length) } else { (0, size) };
                Slice::new(from as isize, Some(to as isize), 1)
            })
            .collect();
        Self::new(B::float_slice(self.tensor, &slices))
    }

    fn selected(self, axis: usize, indices: &[usize]) -> Self {
        let indices = upload_indices::<B>(indices, &self.device());
        Self::new(B::float_select(self.tensor, axis, indices))
    }

    fn concatenated(parts: Vec<Self>, axis: usize) -> Self {
        // Of many parts the backend copies the first ones again for each one behind them.
        if parts.len() > MOST_AT_ONCE {
            let size = parts.len().div_ceil(MOST_AT_ONCE).max(MOST_AT_ONCE);
            let (mut joined, mut rest) = (Vec::new(), parts.into_iter());
            loop {
                let some: Vec<Self> = rest.by_ref().take(size).collect();
                match some.len() {
                    0 => return Self::concatenated(joined, axis),
                    1 => joined.extend(some),
                    _ => joined.push(Self::concatenated(some, axis)),
                }
            }
        }
        Self::new(B::float_cat(parts.into_iter().map(|part| part.tensor).collect(), axis))
    }

    fn expanded(self, shape: &[usize]) -> Self {
        if self.shape == shape {
            return self;
        }
        Self::new(B::float_expand(self.aligned(shape.len()), Shape::from(shape.to_vec())))
    }

    fn filled_like(&self, shape: &[usize], value: f64) -> Outcome<Self> {
        element_count(shape)?;
        Ok(Self::full(shape, value as f32, &self.device()))
    }
}
