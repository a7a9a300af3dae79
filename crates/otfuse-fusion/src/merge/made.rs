//! One tensor in the types of files.

use otfuse_graph::{DataType, Tensor};
use rayon::prelude::*;

use super::Merge;
use super::blocks::BLOCK;
use super::kernels;
use super::operands::{Operands, Values};
use crate::error::FusionError;

/// A tensor of a file, its elements rounded to the type that is computed in.
pub struct Stored<'a> {
    tensor: &'a Tensor,
    rounding: Option<DataType>,
}

impl<'a> Stored<'a> {
    /// Elements of a tensor as they are used where `working` is the type that is computed in.
    pub fn new(tensor: &'a Tensor, working: DataType) -> Self {
        let (own, narrow) = (tensor.data_type(), working.size() == 2);
        let is_rounded = own != working && (narrow || own.size() > working.size());
        Self { tensor, rounding: is_rounded.then_some(working) }
    }
}

impl Values for Stored<'_> {
    fn read(&self, first: usize, into: &mut [f64]) -> Result<(), FusionError> {
        let size = self.tensor.data_type().size();
        let bytes = &self.tensor.bytes()[first * size..(first + into.len()) * size];
        kernels::read(self.tensor.data_type(), bytes, into).ok_or_else(|| no_numbers(self.tensor.data_type()))?;
        kernels::round(self.rounding, into);
        Ok(())
    }
}

fn no_numbers(data_type: DataType) -> FusionError {
    FusionError::Merge { method: "merging", expected: "floating point numbers".into(), found: data_type.to_string() }
}

/// The merged tensor in a type of files, computed in the type of the operands' rounding.
///
/// # Errors
/// Those of the method; [`FusionError::ResultNotFinite`] for a number that is none.
pub fn made(method: &dyn Merge, tensor: &Operands<'_>, data_type: DataType) -> Result<Tensor, FusionError> {
    let finish = method.prepare(tensor)?;
    let width = data_type.size();
    let mut bytes = vec![0; tensor.len() * width];
    bytes.par_chunks_mut(BLOCK * width).enumerate().try_for_each_init(
        || vec![0.0; BLOCK],
        |block, (at, into)| {
            let block = &mut block[..into.len() / width];
            finish(at * BLOCK, block)?;
            if tensor.rounding != Some(data_type) {
                kernels::round(tensor.rounding, block);
            }
            if !kernels::is_finite(block) {
                let index = block.iter().position(|value| !value.is_finite()).unwrap_or(0);
                let (name, value) = (tensor.name.to_owned(), block[index] as f32);
                let data_type = data_type.to_string();
                return Err(FusionError::ResultNotFinite { tensor: name, index: at * BLOCK + index, value, data_type });
            }
            kernels::write(data_type, block, into).ok_or_else(|| no_numbers(data_type))
        },
    )?;
    Tensor::new(data_type, tensor.shape.to_vec(), bytes.into()).map_err(|_| no_numbers(data_type))
}

/// Rounds numbers to a type of floats.
pub fn round(data_type: DataType, values: &mut [f64]) {
    kernels::round(Some(data_type), values);
}
