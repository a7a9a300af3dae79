//! Symbolic dimensions.

use std::fmt;
use std::sync::Arc;

/// The length of an axis: a number times named unknowns (`batch`, `12*batch`). Products and exact quotients stay
/// symbolic, which is all that reshapes of a network with a free batch size need.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dim {
    factor: usize,
    /// Sorted; a symbol stands as often as its power.
    symbols: Vec<Arc<str>>,
}

/// The lengths of all axes of a tensor.
pub type Shape = Vec<Dim>;

impl Dim {
    /// A length that is known.
    pub fn known(length: usize) -> Self {
        Self { factor: length, symbols: Vec::new() }
    }

    /// An unknown length; two dimensions of the same name are equal.
    pub fn symbol(name: impl Into<Arc<str>>) -> Self {
        Self { factor: 1, symbols: vec![name.into()] }
    }

    /// The length, if it is known.
    pub fn as_known(&self) -> Option<usize> {
        (self.symbols.is_empty() || self.factor == 0).then_some(self.factor)
    }

    /// The name, if the length is one unknown and nothing else.
    pub fn as_symbol(&self) -> Option<&str> {
        match self.symbols.as_slice() {
            [name] if self.factor == 1 => Some(name),
            _ => None,
        }
    }

    /// Whether the length is known to be 1: such an axis broadcasts.
    pub fn is_one(&self) -> bool {
        self.as_known() == Some(1)
    }

    /// The product of two lengths (saturating).
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        if self.factor == 0 || other.factor == 0 {
            return Self::known(0);
        }
        let mut symbols = [self.symbols.as_slice(), &other.symbols].concat();
        symbols.sort();
        Self { factor: self.factor.saturating_mul(other.factor), symbols }
    }

    /// The product of two lengths, unless the number overflows or more than 16 symbols stand in it.
    pub(crate) fn checked_times(&self, other: &Self) -> Option<Self> {
        self.factor.checked_mul(other.factor)?;
        (self.symbols.len() + other.symbols.len() <= 16).then(|| self.times(other))
    }

    /// The number before the symbols.
    pub(crate) fn factor(&self) -> usize {
        self.factor
    }

    /// The same symbols behind another number.
    pub(crate) fn with_factor(&self, factor: usize) -> Self {
        let symbols = if factor == 0 { Vec::new() } else { self.symbols.clone() };
        Self { factor, symbols }
    }

    /// Whether two lengths are multiples of the same unknown.
    pub(crate) fn same_symbols(&self, other: &Self) -> bool {
        self.symbols == other.symbols
    }

    /// The exact quotient of two lengths, if it is one.
    pub fn divided_by(&self, other: &Self) -> Option<Self> {
        if other.factor == 0 || !self.factor.is_multiple_of(other.factor) {
            return None;
        }
        let mut symbols = self.symbols.clone();
        for symbol in &other.symbols {
            let at = symbols.iter().position(|candidate| candidate == symbol)?;
            symbols.remove(at);
        }
        Some(Self { factor: self.factor / other.factor, symbols })
    }

    /// The product of all lengths of a shape (1 for a scalar).
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Self {
        dims.into_iter().fold(Self::known(1), |product, dim| product.times(dim))
    }
}

impl From<usize> for Dim {
    fn from(length: usize) -> Self {
        Self::known(length)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.symbols.is_empty() || self.factor != 1 {
            write!(f, "{}", self.factor)?;
        }
        for (i, symbol) in self.symbols.iter().enumerate() {
            let times = if i > 0 || self.factor != 1 { "*" } else { "" };
            write!(f, "{times}{symbol}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_quotients_stay_symbolic() {
        let batch = Dim::symbol("batch");
        let product = batch.times(&Dim::known(12));
        assert_eq!(product.to_string(), "12*batch");
        assert_eq!(product.divided_by(&batch), Some(Dim::known(12)));
        assert_eq!(product.divided_by(&Dim::known(5)), None);
        assert_eq!(Dim::known(12).divided_by(&batch), None);
        assert_eq!(product.as_known(), None);
    }
}
