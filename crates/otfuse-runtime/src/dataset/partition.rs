//! Parts of a data set for several models: the data protocols of experiments on fusion and federated learning.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Dataset, DatasetError};
use crate::random::shuffle;

/// How the samples of a data set are divided. Every sample is in one part at most, and in one exactly unless labels are
/// left out on purpose.
///
/// | text | parts |
/// |---|---|
/// | `iid:K` | K parts of equal sizes (up to one sample), every class spread evenly |
/// | `labels:0-4/5-9` | one part per list of labels; samples of labels in no list are in no part |
/// | `labels:K` | the classes in order, cut into K lists |
/// | `specialist:C,F` | part 0: all samples of class C and the share F of all others; part 1: the rest |
/// | `split:F` | part 0: the share F of each class (the small one); part 1: the rest (the big one) |
/// | `dirichlet:A,K` | of each class shares over K parts drawn from a symmetric Dirichlet distribution with parameter A |
#[derive(Clone, Debug, PartialEq)]
pub enum Partition {
    /// Equal parts of equal mixtures.
    Iid {
        /// The number of parts.
        parts: usize,
    },
    /// By labels.
    Labels {
        /// The labels of each part.
        parts: Vec<Vec<u32>>,
    },
    /// By labels, the classes cut into so many lists.
    LabelRanges {
        /// The number of parts.
        parts: usize,
    },
    /// A model that knows one class alone, and one that knows the others better (Singh and Jaggi 2020, section 5.1:
    /// models A and B).
    Specialist {
        /// The class that only part 0 has.
        class: u32,
        /// The share of each other class that part 0 has.
        share: f64,
    },
    /// A small part and a big one (Singh and Jaggi 2020, appendix).
    Split {
        /// The share of each class that part 0 has.
        share: f64,
    },
    /// Uneven mixtures (Hsu et al., "Measuring the effects of non-identical data distribution", 2019): the smaller the
    /// parameter, the more uneven.
    Dirichlet {
        /// The parameter.
        alpha: f64,
        /// The number of parts.
        parts: usize,
    },
}

/// The most parts that are made.
const MOST_PARTS: usize = 100_000;

impl Partition {
    /// The number of parts.
    pub fn parts(&self) -> usize {
        match self {
            Self::Iid { parts } | Self::LabelRanges { parts } | Self::Dirichlet { parts, .. } => *parts,
            Self::Labels { parts } => parts.len(),
            Self::Specialist { .. } | Self::Split { .. } => 2,
        }
    }

    /// The indices of the samples of each part, ascending. The same seed gives the same parts. Linear in the number of
    /// samples (times the logarithm).
    ///
    /// # Errors
    /// A label that the data set does not have.
    pub fn indices(&self, dataset: &Dataset, seed: u64) -> Result<Vec<Vec<usize>>, DatasetError> {
        // Samples without a class each are of one kind.
        let is_classified = dataset.labels_per_sample() == 1 && !dataset.labels().is_empty();
        let classes = if is_classified { dataset.classes() } else { 1 };
        let named: Vec<u32> = match self {
            Self::Labels { parts } => parts.concat(),
            Self::Specialist { class, .. } => vec![*class],
            _ => Vec::new(),
        };
        if let Some(label) = named.iter().find(|&&label| label as usize >= classes) {
            let expected = format!("labels below {classes}, as {} has", dataset.name());
            return Err(DatasetError::Partition { found: format!("{self}: label {label}"), expected });
        }
        if let Self::LabelRanges { parts } = self
            && *parts > classes
        {
            let expected = format!("at most {classes} parts, as {} has classes", dataset.name());
            return Err(DatasetError::Partition { found: self.to_string(), expected });
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
        for index in 0..dataset.len() {
            let class = if is_classified { dataset.labels()[index] } else { 0 };
            of_class[class as usize].push(index);
        }
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); self.parts()];
        let mut dealt = 0;
        for (class, mut indices) in of_class.into_iter().enumerate() {
            shuffle(&mut indices, &mut random);
            if let Self::Iid { parts: count } = self {
                // The deal goes on where the class before ended, so that sizes differ by one at most.
                for index in indices {
                    parts[dealt % count].push(index);
                    dealt += 1;
                }
                continue;
            }
            let ends = self.ends(class, classes, indices.len(), &mut random);
            let mut start = 0;
            for (part, end) in parts.iter_mut().zip(ends) {
                part.extend_from_slice(&indices[start..end]);
                start = end;
            }
        }
        for part in &mut parts {
            part.sort_unstable();
        }
        Ok(parts)
    }

    /// How many of a class's `count` samples are in the parts up to each one, cumulated.
    fn ends(&self, class: usize, classes: usize, count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
        let first = |share: f64| vec![(share * count as f64).round() as usize, count];
        // All samples to one part, or to none.
        let whole = |part: Option<usize>| -> Vec<usize> {
            (0..self.parts()).map(|at| if part.is_some_and(|part| at >= part) { count } else { 0 }).collect()
        };
        match self {
            Self::Iid { .. } => Vec::new(),
            Self::Labels { parts } => whole(parts.iter().position(|labels| labels.contains(&(class as u32)))),
            Self::LabelRanges { parts } => whole(Some(class * parts / classes.max(1))),
            Self::Specialist { class: special, .. } if *special as usize == class => vec![count, count],
            Self::Specialist { share, .. } | Self::Split { share } => first(*share),
            Self::Dirichlet { alpha, parts } => {
                let mut sum = 0.0;
                let shares = dirichlet(*alpha, *parts, random);
                let mut ends: Vec<usize> = shares
                    .into_iter()
                    .map(|share| {
                        sum += share;
                        ((sum * count as f64).round() as usize).min(count)
                    })
                    .collect();
                // The sum of all shares is 1 only up to rounding.
                if let Some(last) = ends.last_mut() {
                    *last = count;
                }
                ends
            }
        }
    }
}

impl Dataset {
    /// One part of the data set; its samples keep their order.
    ///
    /// # Errors
    /// A part that there is not, or that has no samples; a label that the data set does not have.
    pub fn part(&self, partition: &Partition, part: usize, seed: u64) -> Result<Self, DatasetError> {
        let wrong = |found: String, expected: String| DatasetError::Partition { found, expected };
        if part >= partition.parts() {
            let expected = format!("a part from 0 to {}", partition.parts() - 1);
            return Err(wrong(format!("{partition}: part {part}"), expected));
        }
        let indices = partition.indices(self, seed)?.swap_remove(part);
        if indices.is_empty() {
            return Err(wrong(format!("{partition}: part {part} has no samples"), "at least one sample".into()));
        }
        let mut chosen = self.chosen(&indices);
        chosen.name = format!("{} ({partition}, part {part})", self.name);
        Ok(chosen)
    }
}

/// A number between 0 and 1, never 0.
fn uniform(random: &mut ChaCha8Rng) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Shares of `parts` parts from a symmetric Dirichlet distribution: gamma variates, made to add up to 1. Logarithms keep
/// those of a small `alpha` from vanishing.
fn dirichlet(alpha: f64, parts: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let logarithms: Vec<f64> = (0..parts).map(|_| log_gamma_variate(alpha, random)).collect();
    let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logarithms.into_iter().map(|logarithm| (logarithm - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The logarithm of a gamma variate of shape `alpha` (Marsaglia and Tsang, "A simple method for generating gamma
/// variables", 2000; shapes below 1 by their section 6).
fn log_gamma_variate(alpha: f64, random: &mut ChaCha8Rng) -> f64 {
    if alpha < 1.0 {
        return log_gamma_variate(alpha + 1.0, random) + uniform(random).ln() / alpha;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        // Box and Muller's normal variate.
        let (u, angle) = (uniform(random), std::f64::consts::TAU * uniform(random));
        let x = (-2.0 * u.ln()).sqrt() * angle.cos();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && uniform(random).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d.ln() + v.ln();
        }
    }
}

impl FromStr for Partition {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let error = |expected: &str| DatasetError::Partition { found: text.to_owned(), expected: expected.to_owned() };
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let count = |text: &str| text.trim().parse().ok().filter(|parts| (1..=MOST_PARTS).contains(parts));
        let share = |text: &str| text.trim().parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
        match kind {
            "iid" => Ok(Self::Iid { parts: count(rest).ok_or_else(|| error("iid:K with a number of parts"))? }),
            "labels" => {
                if let Some(parts) = count(rest).filter(|_| !rest.contains('/')) {
                    return Ok(Self::LabelRanges { parts });
                }
                let expected = "labels:K, or lists of labels such as labels:0-4/5,6,9, none twice";
                let parts: Option<Vec<Vec<u32>>> = rest.split('/').map(labels).collect();
                let parts = parts.ok_or_else(|| error(expected))?;
                let mut all = parts.concat();
                all.sort_unstable();
                if all.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(error(expected));
                }
                Ok(Self::Labels { parts })
            }
            "specialist" => {
                let parsed =
                    rest.split_once(',').and_then(|(class, part)| Some((class.trim().parse().ok()?, share(part)?)));
                let (class, share) =
                    parsed.ok_or_else(|| error("specialist:CLASS,SHARE, for example specialist:4,0.1"))?;
                Ok(Self::Specialist { class, share })
            }
            "split" => Ok(Self::Split { share: share(rest).ok_or_else(|| error("split:SHARE from 0 to 1"))? }),
            "dirichlet" => {
                let parsed = rest.split_once(',').and_then(|(alpha, parts)| {
                    let alpha = alpha.trim().parse().ok().filter(|alpha: &f64| *alpha > 0.0 && alpha.is_finite())?;
                    Some((alpha, count(parts)?))
                });
                let (alpha, parts) = parsed.ok_or_else(|| error("dirichlet:ALPHA,K, for example dirichlet:0.5,4"))?;
                Ok(Self::Dirichlet { alpha, parts })
            }
            _ => {
                Err(error("iid:K, labels:0-4/5-9, labels:K, specialist:CLASS,SHARE, split:SHARE or dirichlet:ALPHA,K"))
            }
        }
    }
}

/// `0-4,7`: labels and ranges of labels.
fn labels(text: &str) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
                if last < first || (last - first) as usize >= MOST_PARTS {
                    return None;
                }
                found.extend(first..=last);
            }
            None => found.push(part.trim().parse().ok()?),
        }
    }
    Some(found)
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iid { parts } => write!(f, "iid:{parts}"),
            Self::LabelRanges { parts } => write!(f, "labels:{parts}"),
            Self::Labels { parts } => {
                let list = |labels: &Vec<u32>| labels.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
                write!(f, "labels:{}", parts.iter().map(list).collect::<Vec<_>>().join("/"))
            }
            Self::Specialist { class, share } => write!(f, "specialist:{class},{share}"),
            Self::Split { share } => write!(f, "split:{share}"),
            Self::Dirichlet { alpha, parts } => write!(f, "dirichlet:{alpha},{parts}"),
        }
    }
}

#[cfg(test)]
mod tests;
