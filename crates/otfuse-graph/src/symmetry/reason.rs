//! Why neurons cannot be reordered.

use std::fmt;

/// Why the order of an axis is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PinReason {
    /// The axis belongs to an input of the network: its order is the user's.
    NetworkInput { name: String, axis: usize },
    /// The axis belongs to an output of the network: its order is the user's.
    NetworkOutput { name: String, axis: usize },
    /// The axis counts positions (pixels, elements of a kernel), not neurons.
    Position,
    /// The axis belongs to a constant that is not a weight.
    Constant { name: String },
    /// The network's axes have more parts (behind concatenations and cuts) than are followed.
    TooManyParts,
    /// An operator treats the neurons differently by their index, or has no axis rule.
    Operator { node: String, operator: String, explanation: String },
}

/// Characters of a name that a reason keeps: there may be a reason for each axis, and a name may be as long as its file.
const MOST_OF_NAME: usize = 240;

/// A name as a reason keeps it, cut in the middle where it is longer than any that people read.
pub(crate) fn brief_name(name: &str) -> String {
    if name.len() <= MOST_OF_NAME {
        return name.to_owned();
    }
    let half = MOST_OF_NAME / 2 - 2;
    let (head, tail) = (name.floor_char_boundary(half), name.ceil_char_boundary(name.len() - half));
    format!("{}\u{2026}{}", &name[..head], &name[tail..])
}

impl fmt::Display for PinReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkInput { name, axis } => write!(f, "axis {axis} of the network's input '{name}'"),
            Self::NetworkOutput { name, axis } => write!(f, "axis {axis} of the network's output '{name}'"),
            Self::Position => f.write_str("positions, not neurons"),
            Self::Constant { name } => write!(f, "the constant '{name}' is not a weight"),
            Self::TooManyParts => f.write_str("the network's axes have more parts than are followed"),
            Self::Operator { node, operator, explanation } => write!(f, "{operator} (node '{node}') {explanation}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(brief_name("encoder.0.weight"), "encoder.0.weight");
        let long = brief_name(&"\u{e9}".repeat(1 << 20));
        assert!(long.len() <= MOST_OF_NAME && long.contains('\u{2026}'), "{long}");
    }
}
