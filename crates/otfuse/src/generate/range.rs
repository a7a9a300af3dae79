//! Which numbers of an output are black and white.

use std::str::FromStr;

use otfuse_graph::{Graph, Operator, Unary};
use serde::Serialize;

use crate::Error;

/// The numbers that stand for black and white.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// Black.
    pub low: f64,
    /// White.
    pub high: f64,
}

impl Range {
    /// By the function that the first output ends in: -1 to 1 behind a hyperbolic tangent, 0 to 1 behind a sigmoid; of others by
    /// the `values`, the narrowest usual range that holds them (0 to 1, -1 to 1, 0 to 255), or their own, which is no usual one.
    pub(super) fn of(graph: &Graph, values: &[f32]) -> (Self, bool) {
        let range = |low, high| Self { low, high };
        let mut value = graph.outputs().first().copied();
        let made = |value| graph.nodes().find(|(_, node)| node.outputs.contains(&Some(value))).map(|(_, node)| node);
        while let Some(node) = value.and_then(made) {
            match &node.operator {
                Operator::Unary(Unary::Tanh) => return (range(-1.0, 1.0), true),
                Operator::Unary(Unary::Sigmoid) => return (range(0.0, 1.0), true),
                operator if operator.keeps_elements() || matches!(operator, Operator::Identity) => {
                    value = node.input(0)
                }
                _ => break,
            }
        }
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
            (low.min(value.into()), high.max(value.into()))
        });
        let usual = [range(0.0, 1.0), range(-1.0, 1.0), range(0.0, 255.0)];
        let holds = |range: &Self| {
            let room = 0.05 * (range.high - range.low);
            low >= range.low - room && high <= range.high + room
        };
        match usual.into_iter().find(holds) {
            Some(found) => (found, true),
            None => (range(low, high), false),
        }
    }

    /// 0 for black, 1 for white.
    pub(super) fn to_unit(self, value: f32) -> f32 {
        ((f64::from(value) - self.low) / (self.high - self.low)) as f32
    }
}

impl FromStr for Range {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::input(format!("`range` {text}: expected two finite numbers, the smaller one first"))
                .hint("for example -1,1 or 0,255")
        };
        let (low, high) = text.split_once(',').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low < high => Ok(Self { low, high }),
            _ => Err(wrong()),
        }
    }
}
