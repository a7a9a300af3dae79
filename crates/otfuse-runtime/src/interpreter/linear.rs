//! Products of matrices.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Shape};
use otfuse_graph::Gemm;

use super::array::Array;
use super::fault::{Fault, Outcome, broadcast, element_count};
use super::floats::Floats;
use super::unary::scalar;
use super::value::{Operands, Value};
use crate::RuntimeBackend;

/// `alpha A' B' + beta C`.
pub(super) fn gemm<B: RuntimeBackend>(gemm: &Gemm, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    if is_layer(gemm, operands) {
        let (x, weight) = (operands.floats(0)?, operands.floats(1)?);
        element_count(&[x.shape()[0], weight.shape()[0]])?;
        let bias = operands.optional_floats(2)?.map(Floats::into_tensor);
        return Ok(Floats::new(B::layer(x.into_tensor(), weight.into_tensor(), bias)));
    }
    let a = matrix(operands.floats(0)?, "A", gemm.transpose_a)?;
    let b = matrix(operands.floats(1)?, "B", gemm.transpose_b)?;
    let shape = product_shape(a.shape(), b.shape())?;
    let mut product = B::float_matmul(a.into_tensor(), b.into_tensor());
    if gemm.alpha != 1.0 {
        product = B::float_mul_scalar(product, scalar(gemm.alpha));
    }
    if let Some(c) = operands.optional_floats(2)? {
        if broadcast(&shape, c.shape())? != shape {
            let expected = format!("a shape that broadcasts to {shape:?}");
            return Err(Fault::new("C", expected, format!("{:?}", c.shape())));
        }
        let mut c = c.aligned(2);
        if gemm.beta != 1.0 {
            c = B::float_mul_scalar(c, scalar(gemm.beta));
        }
        product = B::float_add(product, c);
    }
    Ok(Floats::new(product))
}

/// Whether this is a linear layer, `x W^t + b` with a bias for each output, of operands that fit.
fn is_layer<B: RuntimeBackend>(gemm: &Gemm, operands: &Operands<B>) -> bool {
    let shape = |index: usize| match operands.values.get(index) {
        Some(Some(Value::Floats(floats))) => Some(floats.shape()),
        _ => None,
    };
    let plain = !gemm.transpose_a && gemm.transpose_b && gemm.alpha == 1.0 && gemm.beta == 1.0;
    let (Some(&[_, inputs]), Some(&[outputs, columns])) = (shape(0), shape(1)) else { return false };
    let no_bias = operands.values.get(2).is_none_or(Option::is_none);
    plain && inputs == columns && (no_bias || shape(2) == Some([outputs].as_slice()))
}

fn matrix<B: Backend>(x: Floats<B>, name: &str, transpose: bool) -> Outcome<Floats<B>> {
    if x.rank() != 2 {
        return Err(Fault::new(name, "a matrix", format!("shape {:?}", x.shape())));
    }
    Ok(if transpose { x.permuted(&[1, 0]) } else { x })
}

fn product_shape(a: &[usize], b: &[usize]) -> Outcome<Vec<usize>> {
    if a[1] != b[0] {
        return Err(Fault::new("rows of the second matrix", a[1], b[0]));
    }
    let shape = vec![a[0], b[1]];
    element_count(&shape)?;
    Ok(shape)
}

/// NumPy's `matmul`.
pub(super) fn matmul<B: Backend>(operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let (a, b) = (operands.floats(0)?, operands.floats(1)?);
    if a.rank() == 0 || b.rank() == 0 {
        let found = format!("shapes {:?} and {:?}", a.shape(), b.shape());
        return Err(Fault::new("inputs", "one axis at least", found));
    }
    let (a_vector, b_vector) = (a.rank() == 1, b.rank() == 1);
    let a_shape = if a_vector { vec![1, a.shape()[0]] } else { a.shape().to_vec() };
    let b_shape = if b_vector { vec![b.shape()[0], 1] } else { b.shape().to_vec() };
    let (a, b) = (a.reshaped(&a_shape), b.reshaped(&b_shape));

    let (a_batch, a_matrix) = a_shape.split_at(a_shape.len() - 2);
    let (b_batch, b_matrix) = b_shape.split_at(b_shape.len() - 2);
    let matrix = product_shape(a_matrix, b_matrix)?;
    let batch = broadcast(a_batch, b_batch)?;
    let mut shape = [batch.as_slice(), &matrix].concat();
    element_count(&shape)?;

    let product = if b_batch.is_empty() {
        // One large product instead of many small ones.
        let rows = a_shape[..a_shape.len() - 1].iter().product();
        let a = a.reshaped(&[rows, a_matrix[1]]);
        Floats::new(B::float_matmul(a.into_tensor(), b.into_tensor()))
    } else {
        let a = stack(a, &batch);
        let b = stack(b, &batch);
        Floats::new(B::float_matmul(a, b))
    };
    if b_vector {
        shape.pop();
    }
    if a_vector {
        shape.remove(shape.len() - if b_vector { 1 } else { 2 });
    }
    Ok(product.reshaped(&shape))
}

/// All matrices of a batch behind one axis.
fn stack<B: Backend>(x: Floats<B>, batch: &[usize]) -> FloatTensor<B> {
    let matrix = x.shape()[x.rank() - 2..].to_vec();
    let expanded = x.expanded(&[batch, &matrix].concat()).into_tensor();
    let count = batch.iter().product();
    B::float_reshape(expanded, Shape::from(vec![count, matrix[0], matrix[1]]))
}
