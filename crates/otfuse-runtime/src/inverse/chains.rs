//! Text that language models write.

use std::ops::ControlFlow;

use otfuse_graph::{Graph, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::tokens::TokenLayout;
use crate::{Executable, Head, Host, RuntimeError, fixed_batch_size};

/// How far scores may differ that should not.
const TOLERANCE: f32 = 1e-3;

/// Text to be written: `chains` of windows of `length` tokens, one window behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chains {
    /// Tokens of a window.
    pub length: usize,
    /// Tokens that there are.
    pub vocabulary: usize,
    /// Chains that are written side by side.
    pub chains: usize,
    /// Windows of each chain that are kept; the one before them is thrown away.
    pub windows: usize,
    /// Of the draws.
    pub seed: u64,
}

/// A language model, and the length that it fixes.
struct Writer {
    executable: Executable,
    head: Head,
    fixed: Option<usize>,
}

impl Writer {
    fn new(graph: &Graph, host: &Host) -> Result<Self, RuntimeError> {
        let declared = |&id| graph.value(id).declared.as_ref()?.shape.as_ref()?.get(1)?.as_known();
        let fixed = graph.inputs().iter().find_map(declared);
        Ok(Self { executable: Executable::new(graph, host)?, head: Head::find(graph)?, fixed })
    }

    /// The scores of the tokens behind position `at` of each row, which has `at + 1` tokens at least.
    fn scores(&self, rows: &[Vec<u32>], at: usize, vocabulary: usize) -> Result<Vec<f32>, RuntimeError> {
        let graph = self.executable.graph();
        let length = self.fixed.unwrap_or(at + 1);
        let layout = TokenLayout::fit(graph, length, None)?;
        let size = fixed_batch_size(graph).unwrap_or(rows.len()).max(1);
        let mut found = Vec::with_capacity(rows.len() * vocabulary);
        for part in rows.chunks(size) {
            // What is behind the position has no effect; what fills the batch is not looked at.
            let row = |row: &Vec<u32>| {
                let tokens = row[..=at].iter().map(|&token| token as f32);
                tokens.chain(std::iter::repeat(0.0)).take(length).collect::<Vec<f32>>()
            };
            let filling = part.iter().chain(std::iter::repeat(&part[0])).take(size.max(part.len()));
            let samples: Vec<f32> = filling.flat_map(row).collect();
            let given = layout.batch(&samples, samples.len() / length);
            let scores = self.executable.run_for(&given, &[self.head.logits])?.remove(&self.head.logits);
            found.extend(self.at(scores, part.len(), (length, at), vocabulary)?);
        }
        Ok(found)
    }

    fn at(
        &self,
        scores: Option<Tensor>,
        rows: usize,
        (length, at): (usize, usize),
        vocabulary: usize,
    ) -> Result<Vec<f32>, RuntimeError> {
        let wrong = |found: String| self.head.wrong(format!("scores of shape [batch, {length}, {vocabulary}]"), found);
        let scores = scores.ok_or_else(|| wrong("none".into()))?;
        let shape = scores.shape().to_vec();
        let (Some(values), &[count, positions, columns]) = (scores.to_f32(), shape.as_slice()) else {
            return Err(wrong(format!("shape {shape:?}")));
        };
        if count < rows || positions != length || columns < vocabulary {
            return Err(wrong(format!("shape {shape:?}")));
        }
        let start = |row: usize| (row * positions + at) * columns;
        Ok((0..rows).flat_map(|row| values[start(row)..start(row) + vocabulary].iter().copied()).collect())
    }
}

/// Whether a network of tokens says at each position what does not depend on the tokens behind it, as those do that predict
/// the next one. Takes two passes over one sample.
///
/// # Errors
/// A network whose inputs are no tokens, or whose scores are not one row a token.
pub fn is_causal(graph: &Graph, length: usize, vocabulary: usize, host: &Host) -> Result<bool, RuntimeError> {
    let mut writer = Writer::new(graph, host)?;
    let length = writer.fixed.unwrap_or(length).max(2);
    // So that the last token is read too.
    writer.fixed = Some(length);
    let layout = TokenLayout::fit(graph, length, None)?;
    let size = fixed_batch_size(graph).unwrap_or(1);
    let mut rows = Vec::new();
    for last in [0, 1] {
        let token = |at: usize| if at + 1 == length { last } else { (7 * at + 3) % vocabulary.max(1) };
        let samples: Vec<f32> = (0..size).flat_map(|_| (0..length).map(token)).map(|token| token as f32).collect();
        let scores = writer
            .executable
            .run_for(&layout.batch(&samples, size), &[writer.head.logits])?
            .remove(&writer.head.logits);
        rows.push(writer.at(scores, 1, (length, length - 2), vocabulary)?);
    }
    Ok(rows[0].iter().zip(&rows[1]).all(|(a, b)| (a - b).abs() <= TOLERANCE * (1.0 + a.abs())))
}

/// Windows that all networks write together, each with the token behind it: rows of `length + 1` tokens, chain after chain
/// within a window. A chain begins with any token, each next one is drawn from the mean of the networks' distributions behind
/// the window so far, and a window begins with the token behind the last one.
///
/// Takes `(windows + 1) x length` passes over all chains. `observe` is told of each.
///
/// # Errors
/// Networks that are no language models of the vocabulary, cancellation. `Ok(None)` where `observe` breaks off.
pub fn write(
    graphs: &[&Graph],
    chains: &Chains,
    host: &Host,
    observe: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Vec<u32>>, RuntimeError> {
    let Chains { length, vocabulary, chains: count, windows, seed } = *chains;
    let writers: Vec<Writer> = graphs.iter().map(|graph| Writer::new(graph, host)).collect::<Result<_, _>>()?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let mut rows: Vec<Vec<u32>> = (0..count)
        .map(|_| vec![((unit() * vocabulary as f64) as usize).min(vocabulary.saturating_sub(1)) as u32])
        .collect();
    let mut written = Vec::with_capacity(windows * count * (length + 1));
    for window in 0..=windows {
        for at in 0..length {
            let mut means = vec![0.0_f64; count * vocabulary];
            for writer in &writers {
                let scores = writer.scores(&rows, at, vocabulary)?;
                for (means, scores) in means.chunks_exact_mut(vocabulary).zip(scores.chunks_exact(vocabulary)) {
                    add_softmax(scores, means);
                }
            }
            for (row, means) in rows.iter_mut().zip(means.chunks_exact(vocabulary)) {
                row.push(drawn(means, unit()));
            }
            if observe(window * length + at + 1).is_break() {
                return Ok(None);
            }
        }
        if window > 0 {
            written.extend(rows.iter().flatten().copied());
        }
        rows.iter_mut().for_each(|row| *row = vec![row[length]]);
    }
    Ok(Some(written))
}

fn add_softmax(scores: &[f32], means: &mut [f64]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights = scores.iter().map(|score| f64::from(score - most).exp());
    let sum: f64 = weights.clone().sum();
    means.iter_mut().zip(weights).for_each(|(mean, weight)| *mean += weight / sum);
}

/// The token at a share of the weights; those that are no numbers weigh nothing.
fn drawn(weights: &[f64], share: f64) -> u32 {
    let weight = |&weight: &f64| if weight.is_finite() { weight } else { 0.0 };
    let mut left = share * weights.iter().map(weight).sum::<f64>();
    for (token, one) in weights.iter().map(weight).enumerate() {
        if left < one {
            return token as u32;
        }
        left -= one;
    }
    weights.len().saturating_sub(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_drawn_by_their_weights() {
        assert_eq!([0.0, 0.24, 0.26, 0.99].map(|share| drawn(&[1.0, 0.0, 3.0], share)), [0, 0, 2, 2]);
        assert_eq!(drawn(&[f64::NAN, 1.0], 0.5), 1);
        assert_eq!(drawn(&[0.0, 0.0], 0.5), 1);
    }
}
