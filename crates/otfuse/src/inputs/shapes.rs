//! Shapes of inputs, as a user gives them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use otfuse_graph::{Dim, Facts, Graph};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The lengths of the axes of some inputs by their names, for networks that leave lengths open: `x=1x3x640x640`, several
/// of them separated by commas.
///
/// ```
/// let shapes: otfuse::InputShapes = "x=1x3x64x64,mask=1x64".parse()?;
/// assert_eq!(shapes.to_string(), "mask=1x64,x=1x3x64x64");
/// # Ok::<(), otfuse::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InputShapes(BTreeMap<String, Vec<usize>>);

impl InputShapes {
    /// The lengths of an input's axes, if they are given.
    pub fn get(&self, input: &str) -> Option<&[usize]> {
        self.0.get(input).map(Vec::as_slice)
    }

    /// Gives the lengths of an input's axes.
    pub fn set(&mut self, input: impl Into<String>, lengths: Vec<usize>) {
        self.0.insert(input.into(), lengths);
    }

    /// All of several together; `None` if there are none.
    pub fn joined(several: &[Self]) -> Option<Self> {
        let all = several.iter().flat_map(|shapes| shapes.0.clone()).collect::<BTreeMap<_, _>>();
        (!all.is_empty()).then_some(Self(all))
    }

    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses inputs that the network does not have, and lengths that contradict those that it declares.
    pub(crate) fn check(&self, graph: &Graph, facts: &Facts) -> Result<()> {
        let names = || graph.inputs().iter().map(|&input| graph.value(input).name.as_str()).collect::<Vec<_>>();
        for (name, lengths) in &self.0 {
            let input = graph.inputs().iter().find(|&&input| graph.value(input).name == *name);
            let Some(&input) = input else {
                let message = format!("`shape`: the network has no input '{name}'");
                return Err(Error::input(message).hint(format!("its inputs are {}", names().join(", "))));
            };
            let fits = |(dim, &length): (&Dim, &usize)| dim.as_known().is_none_or(|known| known == length);
            let declared = facts.shape(input);
            let agrees =
                declared.is_none_or(|shape| shape.len() == lengths.len() && shape.iter().zip(lengths).all(fits));
            if !agrees {
                let expected = declared.map_or_else(String::new, |shape| joined(shape));
                let message = format!("`shape`: the input '{name}': expected {expected}, found {}", joined(lengths));
                return Err(Error::input(message).hint("lengths that are numbers there are fixed, names stand for any"));
            }
        }
        Ok(())
    }
}

/// Lengths with an `x` between them.
pub(crate) fn joined<T: ToString>(lengths: &[T]) -> String {
    lengths.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

impl fmt::Display for InputShapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: Vec<String> = self.0.iter().map(|(name, lengths)| format!("{name}={}", joined(lengths))).collect();
        f.write_str(&shapes.join(","))
    }
}

impl FromStr for InputShapes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |part: &str| {
            Error::input(format!(
                "`shape` {part}: expected an input and the lengths of its axes, such as x=1x3x640x640"
            ))
            .hint("`otfuse inspect` shows the network's inputs")
        };
        let mut shapes = Self::default();
        for part in text.split(',') {
            let (name, lengths) =
                part.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| wrong(part))?;
            let lengths = lengths.split('x').filter(|length| !length.is_empty()).map(str::parse::<usize>);
            shapes.set(name, lengths.collect::<Result<_, _>>().map_err(|_| wrong(part))?);
        }
        Ok(shapes)
    }
}

impl TryFrom<String> for InputShapes {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<InputShapes> for String {
    fn from(shapes: InputShapes) -> Self {
        shapes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lengths_are_read() {
        let shapes: InputShapes = "a=b=2x3,scalar=".parse().unwrap();
        assert_eq!((shapes.get("a=b"), shapes.get("scalar")), (Some(&[2, 3][..]), Some(&[][..])));
        for text in ["", "x", "=2x3", "x=2xy", "x=-1"] {
            assert!(text.parse::<InputShapes>().is_err(), "{text}");
        }
    }
}
