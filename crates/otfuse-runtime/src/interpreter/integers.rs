//! Integer and boolean tensors, kept on the host: shapes, indices and masks.

use std::cell::Cell;

use otfuse_graph::{DataType, Tensor};

use super::array::Array;
use super::fault::{Fault, Outcome, broadcast, element_count};

/// A dense row-major tensor of integers or truth values (0 and 1).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Integers {
    pub(crate) data_type: DataType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<i64>,
}

impl Integers {
    /// Values of a type, wrapped around where they do not fit. As many as the shape asks for.
    pub(crate) fn new(data_type: DataType, shape: Vec<usize>, mut data: Vec<i64>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        if data_type != DataType::I64 {
            data.iter_mut().for_each(|value| *value = wrap(data_type, *value));
        }
        Self { data_type, shape, data }
    }

    pub(crate) fn list(data: Vec<i64>) -> Self {
        Self::new(DataType::I64, vec![data.len()], data)
    }

    /// Broadcasts two tensors and combines their elements.
    pub(crate) fn combine(
        &self,
        other: &Self,
        data_type: DataType,
        function: impl Fn(i64, i64) -> Outcome<i64>,
    ) -> Outcome<Self> {
        // The first fault is kept aside, so that numbers alone are collected.
        let fault = Cell::new(None);
        let number = |x, y| {
            function(x, y).unwrap_or_else(|found| {
                let first = fault.take();
                fault.set(first.or(Some(found)));
                0
            })
        };
        let (shape, data) = combine((&self.data, &self.shape), (&other.data, &other.shape), number)?;
        fault.into_inner().map_or_else(|| Ok(Self::new(data_type, shape, data)), Err)
    }

    pub(crate) fn to_tensor(&self) -> Tensor {
        let bytes: Vec<u8> = match self.data_type.size() {
            1 => self.data.iter().map(|&value| value as u8).collect(),
            2 => self.data.iter().flat_map(|&value| (value as u16).to_le_bytes()).collect(),
            4 => self.data.iter().flat_map(|&value| (value as u32).to_le_bytes()).collect(),
            _ => self.data.iter().flat_map(|&value| value.to_le_bytes()).collect(),
        };
        Tensor::new(self.data_type, self.shape.clone(), bytes.into()).expect("as many bytes as elements")
    }

    /// The element that every element of a broadcast `shape` comes from, in row-major order.
    fn gathered(&self, shape: Vec<usize>, strides: &[usize], start: usize) -> Self {
        let data = offsets(&shape, strides).map(|offset| self.data[start + offset]).collect();
        Self { data_type: self.data_type, shape, data }
    }
}

/// `value` as a number of the type, wrapped around.
fn wrap(data_type: DataType, value: i64) -> i64 {
    match data_type {
        DataType::I8 => i64::from(value as i8),
        DataType::I16 => i64::from(value as i16),
        DataType::I32 => i64::from(value as i32),
        DataType::U8 => i64::from(value as u8),
        DataType::U16 => i64::from(value as u16),
        DataType::U32 => i64::from(value as u32),
        DataType::Bool => i64::from(value != 0),
        _ => value,
    }
}

/// Row-major strides.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

/// Strides of a tensor broadcast to `rank` axes: 0 along the axes that repeat.
fn broadcast_strides(shape: &[usize], target: &[usize]) -> Vec<usize> {
    let lead = target.len() - shape.len();
    let own = strides(shape);
    (0..target.len())
        .map(|axis| match axis.checked_sub(lead) {
            Some(at) if shape[at] != 1 || target[axis] == 1 => own[at],
            _ => 0,
        })
        .collect()
}

/// The offsets of all elements of `shape` in row-major order under `strides`.
fn offsets<'a>(shape: &'a [usize], strides: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let count = if shape.contains(&0) { 0 } else { shape.iter().product() };
    let mut index = vec![0; shape.len()];
    let mut offset = 0;
    (0..count).map(move |_| {
        let current = offset;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= index[axis] * strides[axis];
            index[axis] = 0;
        }
        current
    })
}

/// Broadcasts two row-major tensors and combines their elements.
pub(crate) fn combine<A: Copy, B: Copy, C>(
    (a, a_shape): (&[A], &[usize]),
    (b, b_shape): (&[B], &[usize]),
    function: impl Fn(A, B) -> C,
) -> Outcome<(Vec<usize>, Vec<C>)> {
    let shape = broadcast(a_shape, b_shape)?;
    let (a_strides, b_strides) = (broadcast_strides(a_shape, &shape), broadcast_strides(b_shape, &shape));
    let data =
        offsets(&shape, &a_strides).zip(offsets(&shape, &b_strides)).map(|(i, j)| function(a[i], b[j])).collect();
    Ok((shape, data))
}

impl Array for Integers {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn reshaped(mut self, shape: &[usize]) -> Self {
        self.shape = shape.to_vec();
        self
    }

    fn permuted(self, permutation: &[usize]) -> Self {
        let own = strides(&self.shape);
        let shape = permutation.iter().map(|&axis| self.shape[axis]).collect();
        let strides: Vec<usize> = permutation.iter().map(|&axis| own[axis]).collect();
        self.gathered(shape, &strides, 0)
    }

    fn range(self, axis: usize, start: usize, length: usize) -> Self {
        let own = strides(&self.shape);
        let mut shape = self.shape.clone();
        shape[axis] = length;
        self.gathered(shape, &own, start * own[axis])
    }

    fn selected(self, axis: usize, indices: &[usize]) -> Self {
        let own = strides(&self.shape);
        let mut shape = self.shape.clone();
        shape[axis] = indices.len();
        let inner: usize = self.shape[axis + 1..].iter().product();
        let outer: usize = self.shape[..axis].iter().product();
        let length = self.shape[axis];
        let mut data = Vec::with_capacity(outer * indices.len() * inner);
        for block in 0..outer {
            for &index in indices {
                let start = block * length * inner + index * own[axis];
                data.extend_from_slice(&self.data[start..start + inner]);
            }
        }
        Self { shape, data, ..self }
    }

    fn concatenated(parts: Vec<Self>, axis: usize) -> Self {
        let mut shape = parts[0].shape.clone();
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let outer: usize = shape[..axis].iter().product();
        let mut data = Vec::with_capacity(shape.iter().product());
        for block in 0..outer {
            for part in &parts {
                let size: usize = part.shape[axis..].iter().product();
                data.extend_from_slice(&part.data[block * size..(block + 1) * size]);
            }
        }
        Self { data_type: parts[0].data_type, shape, data }
    }

    fn expanded(self, shape: &[usize]) -> Self {
        let strides = broadcast_strides(&self.shape, shape);
        self.gathered(shape.to_vec(), &strides, 0)
    }

    fn filled_like(&self, shape: &[usize], value: f64) -> Outcome<Self> {
        let count = element_count(shape)?;
        Ok(Self::new(self.data_type, shape.to_vec(), vec![value as i64; count]))
    }
}

impl TryFrom<&Tensor> for Integers {
    type Error = Fault;

    fn try_from(tensor: &Tensor) -> Outcome<Self> {
        let data = tensor.to_i64().ok_or_else(|| Fault::new("integers", "numbers below 2^63", tensor.data_type()))?;
        Ok(Self { data_type: tensor.data_type(), shape: tensor.shape().to_vec(), data })
    }
}
