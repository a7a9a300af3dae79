//! Matrices of costs and masses from NumPy.

use std::sync::Arc;

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArrayMethods};
use otfuse::transport::{CostMatrix, CostValue, Marginals, TransportError};
use pyo3::prelude::*;

use crate::arrays::Lent;
use crate::error::input;

/// The exception of a transport problem that none is.
pub fn refused(py: Python<'_>, error: &TransportError) -> PyErr {
    let hint = match error {
        TransportError::NotFinite { .. } => "costs must be numbers: numpy.nan_to_num replaces what is none",
        TransportError::TotalMass { .. } => "the masses of both sides must have the same sum",
        TransportError::Mass { .. } => "masses are weights of 0 or more",
        TransportError::Length { .. } => "there is one mass for each row in a, and one for each column in b",
        _ => "help() of the function says what it expects",
    };
    input(py, error, hint)
}

/// The costs of an array, in place.
pub fn costs<T: CostValue + numpy::Element>(array: &Bound<'_, PyArray2<T>>) -> PyResult<CostMatrix<T>> {
    let py = array.py();
    let (rows, columns) = (array.shape()[0], array.shape()[1]);
    let lent = Lent::of(array).ok_or_else(|| input(py, "M: expected an array in C's order", "copy it first"))?;
    CostMatrix::lent(rows, columns, Arc::new(lent)).map_err(|error| refused(py, &error))
}

/// The masses of a side, which has so many; and their sum. None are all alike.
pub fn masses(side: Option<&Bound<'_, PyArray1<f64>>>, count: usize, py: Python<'_>) -> PyResult<(Marginals, f64)> {
    let made = match side {
        Some(array) if array.len() > 0 => {
            let masses = array.to_vec().map_err(|error| input(py, error, "copy it first"))?;
            let total: f64 = masses.iter().sum();
            if masses.len() != count {
                let (what, found) = ("marginals", masses.len());
                return Err(refused(py, &TransportError::Length { what, expected: count, found }));
            }
            Marginals::from_weights(&masses).map(|made| (made, total))
        }
        _ => Marginals::uniform(count).map(|made| (made, 1.0)),
    };
    made.map_err(|error| refused(py, &error))
}
