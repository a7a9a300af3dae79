//! How much mass every row gives and every column takes.

use crate::error::{TransportError, check_shape};

/// A probability vector: masses that are finite, not negative and sum to 1. Single masses may be zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Marginals {
    masses: Vec<f64>,
    uniform: bool,
}

impl Marginals {
    /// The uniform vector `1/len`.
    ///
    /// # Errors
    /// `len` is zero.
    pub fn uniform(len: usize) -> Result<Self, TransportError> {
        check_shape("marginals", len, 1)?;
        Ok(Self { masses: vec![1.0 / len as f64; len], uniform: true })
    }

    /// Any weights that are not negative, normalised to sum to 1. Equal weights give [`Marginals::uniform`] exactly.
    ///
    /// # Errors
    /// No weights, a weight that is negative, NaN or infinite, or weights that are all zero.
    ///
    /// ```
    /// use otfuse_transport::Marginals;
    /// let marginals = Marginals::from_weights(&[1.0, 0.0, 3.0])?;
    /// assert_eq!(marginals.as_slice(), [0.25, 0.0, 0.75]);
    /// assert!(Marginals::from_weights(&[0.0, 0.0]).is_err());
    /// # Ok::<(), otfuse_transport::TransportError>(())
    /// ```
    pub fn from_weights(weights: &[f64]) -> Result<Self, TransportError> {
        check_shape("marginals", weights.len(), 1)?;
        check_masses(weights)?;
        let largest = weights.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(TransportError::TotalMass { expected: "more than 0", total: 0.0 });
        }
        if weights.iter().all(|&weight| weight == largest) {
            return Self::uniform(weights.len());
        }
        // Dividing by the largest first keeps sums of huge (or denormal) weights in range.
        let mut masses: Vec<f64> = weights.iter().map(|weight| weight / largest).collect();
        let total: f64 = masses.iter().sum();
        masses.iter_mut().for_each(|mass| *mass /= total);
        Ok(Self { masses, uniform: false })
    }

    /// Masses that already are probabilities: their sum must be 1 within `1e-6`; they are renormalised to it.
    ///
    /// # Errors
    /// As [`Marginals::from_weights`], and a sum that is not 1.
    pub fn from_probabilities(masses: &[f64]) -> Result<Self, TransportError> {
        check_masses(masses)?;
        let total: f64 = masses.iter().sum();
        if !masses.is_empty() && (!total.is_finite() || (total - 1.0).abs() > 1e-6) {
            return Err(TransportError::TotalMass { expected: "1 within 1e-6", total });
        }
        Self::from_weights(masses)
    }

    /// Number of masses.
    pub fn len(&self) -> usize {
        self.masses.len()
    }

    /// Never true: a probability vector has an entry.
    pub fn is_empty(&self) -> bool {
        self.masses.is_empty()
    }

    /// Whether all masses are equal.
    pub fn is_uniform(&self) -> bool {
        self.uniform
    }

    /// The masses.
    pub fn as_slice(&self) -> &[f64] {
        &self.masses
    }
}

fn check_masses(masses: &[f64]) -> Result<(), TransportError> {
    match masses.iter().position(|mass| !(mass.is_finite() && *mass >= 0.0)) {
        None => Ok(()),
        Some(index) => Err(TransportError::Mass { index, value: masses[index] }),
    }
}
