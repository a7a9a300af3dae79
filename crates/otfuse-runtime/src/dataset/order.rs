//! The elements of samples in other orders: tasks that are as hard as the first one and share no input with it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::column::{Column, Values};
use super::{Dataset, DatasetError, Targets};
use crate::random::shuffle;

impl Dataset {
    /// The same samples, the places of each (the pixels of all channels alike) in an order that the seed draws; 0 leaves them as
    /// they are. The second array of samples that have several stays. Linear in the size of the samples.
    ///
    /// # Errors
    /// Samples of tokens, whose order is what they say.
    pub fn reordered(&self, seed: u64) -> Result<Self, DatasetError> {
        let mut chosen = self.clone();
        if seed == 0 {
            return Ok(chosen);
        }
        if self.vocabulary().is_some() {
            let (found, expected) = (format!("{}: tokens", self.name()), "samples of numbers, to be reordered".into());
            return Err(DatasetError::Partition { found, expected });
        }
        let column = &self.columns[0];
        let places: usize = match column.shape.as_slice() {
            [_, rest @ ..] if !rest.is_empty() => rest.iter().product(),
            shape => shape.iter().product(),
        };
        let mut order: Vec<usize> = (0..places).collect();
        shuffle(&mut order, &mut ChaCha8Rng::seed_from_u64(seed));
        let values = match &column.values {
            Values::Bytes { values, scale } => Values::Bytes { values: moved(values, &order), scale: *scale },
            Values::Floats(values) => Values::Floats(moved(values, &order)),
            Values::Integers(values) => Values::Integers(moved(values, &order)),
            Values::Tokens(values) => Values::Tokens(moved(values, &order)),
        };
        chosen.columns[0] = Column { name: column.name.clone(), shape: column.shape.clone(), values };
        chosen.name = format!("{} (pixel order {seed})", self.name);
        Ok(chosen)
    }

    /// The samples of this data set, then those of another one of the same form.
    ///
    /// # Errors
    /// Samples of another form.
    pub fn joined(mut self, other: &Self) -> Result<Self, DatasetError> {
        let wrong = || DatasetError::Partition {
            found: format!("{} behind {}", other.name(), self.name()),
            expected: "samples of one form, with labels of the same kind".into(),
        };
        let is_alike = self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).all(|(a, b)| a.shape == b.shape && a.name == b.name);
        if !is_alike {
            return Err(wrong());
        }
        let failure = wrong();
        let mut done = match (&mut self.targets, &other.targets) {
            (Targets::None, Targets::None) => true,
            (Targets::Classes { labels, shape, .. }, Targets::Classes { labels: more, shape: other, .. }) => {
                labels.extend_from_slice(more);
                shape == other
            }
            (Targets::Numbers { values, shape }, Targets::Numbers { values: more, shape: other }) => {
                values.extend_from_slice(more);
                shape == other
            }
            _ => false,
        };
        for (column, more) in self.columns.iter_mut().zip(&other.columns) {
            done &= match (&mut column.values, &more.values) {
                (Values::Bytes { values, scale }, Values::Bytes { values: more, scale: other }) => {
                    values.extend_from_slice(more);
                    scale == other
                }
                (Values::Floats(values), Values::Floats(more)) => extended(values, more),
                (Values::Integers(values), Values::Integers(more)) => extended(values, more),
                (Values::Tokens(values), Values::Tokens(more)) => extended(values, more),
                _ => false,
            };
        }
        self.count += other.count;
        if done { Ok(self) } else { Err(failure) }
    }
}

fn extended<T: Copy>(values: &mut Vec<T>, more: &[T]) -> bool {
    values.extend_from_slice(more);
    true
}

/// Each run of places in the order given.
fn moved<T: Copy>(values: &[T], order: &[usize]) -> Vec<T> {
    values.chunks_exact(order.len().max(1)).flat_map(|run| order.iter().map(|&at| run[at])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Dataset {
        Dataset::from_floats("x", vec![2, 2, 2], (0..16).map(|it| it as f32).collect(), vec![0, 1], 2).unwrap()
    }

    #[test]
    fn all_samples_and_channels_have_one_order() {
        let (plain, moved) = (images(), images().reordered(5).unwrap());
        let first = moved.samples([0]);
        assert_ne!(first, plain.samples([0]));
        let shifted = |by: f32| first[..4].iter().map(|it| it + by).collect::<Vec<f32>>();
        assert_eq!((first[4..].to_vec(), moved.samples([1])[..4].to_vec()), (shifted(4.0), shifted(8.0)));
        assert_eq!(images().reordered(0).unwrap().samples([0, 1]), plain.samples([0, 1]));
    }

    #[test]
    fn samples_are_joined() {
        let both = images().joined(&images().reordered(5).unwrap()).unwrap();
        assert_eq!((both.len(), both.labels().len()), (4, 4));
        assert_eq!(both.samples([3]), images().reordered(5).unwrap().samples([1]));
    }
}
