//! What an operator finds wrong; the interpreter adds the node's name.

use crate::RuntimeError;
use crate::host::Exceeded;

/// A failed operator, before it is known which node it belongs to.
#[derive(Debug)]
pub(crate) enum Fault {
    /// An input or setting does not fit.
    Operand { subject: String, expected: String, found: String },
    /// The tensor library failed.
    Backend(String),
    /// A network inside of the operator failed; the error names the inner node.
    Inner(RuntimeError),
    /// More than the host's limits allow.
    Exceeded(Exceeded),
    /// Not executed, for a reason.
    Unsupported(String),
}

pub(crate) type Outcome<T> = Result<T, Fault>;

impl From<Exceeded> for Fault {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}

impl Fault {
    pub(crate) fn new(subject: impl Into<String>, expected: impl ToString, found: impl ToString) -> Self {
        Self::Operand { subject: subject.into(), expected: expected.to_string(), found: found.to_string() }
    }

    pub(crate) fn at(self, node: &str, operator: &str) -> RuntimeError {
        let (node, operator) = (node.to_owned(), operator.to_owned());
        match self {
            Self::Operand { subject, expected, found } => {
                RuntimeError::Operand { node, operator, subject, expected, found }
            }
            Self::Inner(error) => error,
            Self::Exceeded(exceeded) => exceeded.at(&node),
            Self::Backend(message) => RuntimeError::Backend { node, operator, message },
            Self::Unsupported(reason) => RuntimeError::Unsupported { node, operator, reason },
        }
    }
}

/// The most elements that one tensor may have: a limit on what a malformed graph can ask for.
pub(crate) const MOST_ELEMENTS: usize = 1 << 31;

/// The longest that the other axes of a tensor without elements may be together: indices along them are listed all the same.
const MOST_OF_NONE: usize = 1 << 24;

/// The number of elements of a shape, checked against [`MOST_ELEMENTS`].
pub(crate) fn element_count(shape: &[usize]) -> Outcome<usize> {
    let is_empty = shape.contains(&0);
    let most = if is_empty { MOST_OF_NONE } else { MOST_ELEMENTS };
    let count = shape.iter().filter(|&&dim| dim > 0).try_fold(1usize, |count, &dim| count.checked_mul(dim));
    count
        .filter(|&count| count <= most)
        .map(|count| if is_empty { 0 } else { count })
        .ok_or_else(|| Fault::new("result", format!("at most {MOST_ELEMENTS} elements"), format!("shape {shape:?}")))
}

/// An axis counted from the end if negative.
pub(crate) fn resolve_axis(axis: i64, rank: usize) -> Outcome<usize> {
    let resolved = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(resolved)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| Fault::new("axis", format!("an axis of {rank}"), axis))
}

/// NumPy's broadcasting of two shapes.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Outcome<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let shape: Option<Vec<usize>> = (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (a, b) if a == b => Some(a),
            (1, other) | (other, 1) => Some(other),
            _ => None,
        })
        .collect();
    let shape =
        shape.ok_or_else(|| Fault::new("shapes", format!("one that broadcasts with {a:?}"), format!("{b:?}")))?;
    element_count(&shape)?;
    Ok(shape)
}
