//! Arithmetic on lengths that may be symbolic.

use super::error::{InferenceError, Mismatch};
use super::scope::Scope;
use crate::Dim;

impl Scope<'_> {
    /// The product of lengths.
    pub(super) fn product<'a>(
        &self,
        axis: usize,
        dims: impl IntoIterator<Item = &'a Dim>,
    ) -> Result<Dim, InferenceError> {
        let mut product = Dim::known(1);
        for dim in dims {
            product = self.times(axis, &product, dim)?;
        }
        Ok(product)
    }

    /// The product of two lengths.
    pub(super) fn times(&self, axis: usize, left: &Dim, right: &Dim) -> Result<Dim, InferenceError> {
        if let Some(product) = left.checked_times(right) {
            return Ok(product);
        }
        match left.factor().checked_mul(right.factor()) {
            Some(_) => Ok(self.fresh(axis)),
            None => Err(self.too_large("a length", format!("{left} * {right}"))),
        }
    }

    /// A length plus a number, `None` if that is negative or overflows.
    pub(super) fn plus(&self, axis: usize, dim: &Dim, offset: i64) -> Option<Dim> {
        match dim.as_known() {
            Some(length) => Some(Dim::known(usize::try_from(length as i128 + i128::from(offset)).ok()?)),
            None if offset == 0 => Some(dim.clone()),
            None => Some(self.expression(axis, format!("({dim}{offset:+})"))),
        }
    }

    /// The sum of two lengths, `None` if it overflows.
    pub(super) fn sum(&self, axis: usize, left: &Dim, right: &Dim) -> Option<Dim> {
        match (left.as_known(), right.as_known()) {
            (Some(number), _) => self.plus(axis, right, i64::try_from(number).ok()?),
            (_, Some(number)) => self.plus(axis, left, i64::try_from(number).ok()?),
            _ if left.same_symbols(right) => Some(left.with_factor(left.factor().checked_add(right.factor())?)),
            _ => {
                let (first, second) = if left <= right { (left, right) } else { (right, left) };
                Some(self.expression(axis, format!("({first}+{second})")))
            }
        }
    }

    /// `floor((dim + offset) / divisor)`, `None` if that is negative or overflows, or the divisor is 0.
    pub(super) fn quotient(&self, axis: usize, dim: &Dim, offset: i64, divisor: usize) -> Option<Dim> {
        let signed = i64::try_from(divisor).ok().filter(|&divisor| divisor > 0)?;
        if let Some(length) = dim.as_known() {
            let sum = i64::try_from(length).ok()?.checked_add(offset)?;
            return Some(Dim::known(usize::try_from(sum.div_euclid(signed)).ok()?));
        }
        if dim.factor().is_multiple_of(divisor) {
            return self.plus(axis, &dim.with_factor(dim.factor() / divisor), offset.div_euclid(signed));
        }
        let sum = self.plus(axis, dim, offset)?;
        Some(self.expression(axis, format!("({sum}/{divisor})")))
    }

    /// The smaller of two lengths.
    pub(super) fn least(&self, axis: usize, left: &Dim, right: &Dim) -> Dim {
        match (left.as_known(), right.as_known()) {
            (Some(left), Some(right)) => Dim::known(left.min(right)),
            _ if left == right => left.clone(),
            (Some(0), _) | (_, Some(0)) => Dim::known(0),
            _ => {
                let (first, second) = if left <= right { (left, right) } else { (right, left) };
                self.expression(axis, format!("min({first},{second})"))
            }
        }
    }

    /// An error about a size that cannot be represented.
    pub(super) fn too_large(&self, what: &'static str, found: impl Into<String>) -> InferenceError {
        let found = found.into();
        self.error_of(None, Mismatch::TooLarge { what, found })
    }
}
