//! Which elements of a task vector stay.

use otfuse_graph::DataType;
use rayon::prelude::*;

use super::blocks::each_block;
use super::kernels;
use super::largest::{Keys, Largest, Ties, keys_of};
use super::operands::Operands;
use crate::error::FusionError;
use crate::split_mix::SplitMix;

/// How a task vector is thinned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sparsity {
    /// Not at all.
    All,
    /// The largest stay (TIES).
    Largest,
    /// Each stays with the same probability (DARE).
    Random,
    /// The largest are left out, then the smallest (breadcrumbs).
    Middle,
    /// Each stays with a probability by its rank in its row (DELLA).
    Ranked,
}

/// Which elements stay.
pub(super) enum Kept {
    All,
    None,
    Largest(Largest),
    Middle { most: Largest, except: Largest },
    Random { key: u64, density: f64 },
    Listed(Vec<bool>),
}

impl Kept {
    /// 1 for each element of a block of task vectors that stays, 0 for the others; `None` where all do. The block begins at `first`.
    pub fn of_block(&self, first: usize, values: &[f64]) -> Option<Vec<f64>> {
        let keys = || {
            let mut keys = vec![0; values.len()];
            keys_of(values, &mut keys);
            keys
        };
        Some(match self {
            Self::All => return None,
            Self::None => vec![0.0; values.len()],
            Self::Largest(largest) => largest.of_block(first, &keys()),
            Self::Middle { most, except } => {
                let keys = keys();
                let mut kept = most.of_block(first, &keys);
                kernels::zip(&mut kept, &except.of_block(first, &keys), |most, except| most * (1.0 - except));
                kept
            }
            Self::Random { key, density } => {
                let mut kept = vec![0.0; values.len()];
                let (key, density) = (*key, *density);
                kernels::wide(|| {
                    for (at, kept) in kept.iter_mut().enumerate() {
                        *kept = if unit(key, first + at) < density { 1.0 } else { 0.0 };
                    }
                });
                kept
            }
            Self::Listed(kept) => {
                kept[first..first + values.len()].iter().map(|kept| f64::from(u8::from(*kept))).collect()
            }
        })
    }
}

/// What `sparsity` needs to know of one model.
pub(super) struct Wanted {
    pub sparsity: Sparsity,
    pub density: f64,
    pub gamma: f64,
    pub epsilon: f64,
}

/// Which elements of a model's task vector stay.
pub(super) fn kept(tensor: &Operands<'_>, model: usize, wanted: &Wanted) -> Result<Kept, FusionError> {
    let Wanted { sparsity, density, gamma, epsilon } = *wanted;
    if sparsity == Sparsity::All || density >= 1.0 {
        return Ok(Kept::All);
    }
    let length = tensor.len();
    let keys = |first: usize, into: &mut [u32]| {
        let mut values = vec![0.0; into.len()];
        let base = tensor.base_values(first, into.len())?;
        tensor.differences(model, base.as_deref(), first, &mut values)?;
        keys_of(&values, into);
        Ok(())
    };
    let keys: &Keys<'_> = &keys;
    // The product is rounded down, as Python's int() does.
    let share = |of: f64| (of * length as f64) as usize;
    Ok(match sparsity {
        Sparsity::All => Kept::All,
        Sparsity::Largest if density <= 0.0 => Kept::None,
        Sparsity::Largest => Kept::Largest(Largest::of(length, share(density).max(1), keys)?),
        Sparsity::Random if density <= 0.0 => Kept::None,
        Sparsity::Random => Kept::Random { key: stream(tensor, model), density: probability(tensor, density) },
        Sparsity::Middle => {
            let (stay, top) = (share(density), share(gamma));
            // Where more than all would go, fewer of the largest do.
            let most = (stay + top).min(length);
            let find = |count| Largest::with_ties(length, count, keys, Ties::Last);
            Kept::Middle { most: find(most)?, except: find(most - stay)? }
        }
        Sparsity::Ranked if density <= 0.0 => Kept::None,
        Sparsity::Ranked => Kept::Listed(ranked(tensor, model, density, epsilon)?),
    })
}

/// Draws by ranks: in a row of `n`, the element of rank `r` from below stays with probability
/// `density - epsilon + 2 epsilon r / (n - 1)`.
fn ranked(tensor: &Operands<'_>, model: usize, density: f64, epsilon: f64) -> Result<Vec<bool>, FusionError> {
    if density + epsilon >= 1.0 || density - epsilon <= 0.0 {
        let expected = "density - epsilon above 0 and density + epsilon below 1".to_owned();
        let found = format!("density {density} and epsilon {epsilon}");
        return Err(FusionError::Merge { method: "della", expected, found });
    }
    let length = tensor.len();
    let found = each_block(length, |first, count| {
        let mut values = vec![0.0; count];
        let base = tensor.base_values(first, count)?;
        tensor.differences(model, base.as_deref(), first, &mut values)?;
        let mut keys = vec![0; count];
        keys_of(&values, &mut keys);
        Ok(keys)
    })?;
    let keys: Vec<u32> = found.into_iter().flatten().collect();
    // Rows go along the second axis; a vector is one.
    let (size, step) = match tensor.shape {
        [] | [_] => (length, 1),
        [_, size, rest @ ..] => (*size, rest.iter().product()),
    };
    let stream = stream(tensor, model);
    let rows = length.checked_div(size).unwrap_or(0);
    let of_row = |row: usize| {
        let element = |at: usize| row / step * size * step + at * step + row % step;
        let mut order: Vec<usize> = (0..size).collect();
        order.sort_by_key(|&at| keys[element(at)]);
        let mut kept = vec![false; size];
        for (rank, at) in order.into_iter().enumerate() {
            let place = |rank: usize| probability(tensor, rank as f64 + 1.0);
            let (rank, least, most) = (place(rank), place(0), place(size - 1));
            let share = probability(tensor, probability(tensor, rank - least) / probability(tensor, most - least));
            let share = if size > 1 { share.clamp(0.0, 1.0) } else { 0.5 };
            let spread = probability(tensor, 2.0 * share * f64::from(epsilon as f32));
            kept[at] = unit(stream, element(at)) < probability(tensor, spread + probability(tensor, density - epsilon));
        }
        kept
    };
    let of_rows: Vec<Vec<bool>> = (0..rows).into_par_iter().map(of_row).collect();
    let mut kept = vec![false; length];
    for (row, of_row) in of_rows.into_iter().enumerate() {
        for (at, is_kept) in of_row.into_iter().enumerate() {
            kept[row / step * size * step + at * step + row % step] = is_kept;
        }
    }
    Ok(kept)
}

/// A number of a draw in the type that tools compute it in.
fn probability(tensor: &Operands<'_>, value: f64) -> f64 {
    if tensor.rounding == Some(DataType::BF16) { tensor.rounded(value) } else { f64::from(value as f32) }
}

/// What the draws of one model's tensor begin with. They depend on the seed, the tensor's name and the model's place alone.
fn stream(tensor: &Operands<'_>, model: usize) -> u64 {
    let hash = tensor
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let place = (model as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let of_tensor = SplitMix(hash.wrapping_add(place)).next();
    SplitMix(tensor.seed ^ of_tensor).next()
}

/// The draw for an element, from 0 up to 1, never 1.
#[inline(always)]
fn unit(stream: u64, element: usize) -> f64 {
    let place = (element as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (SplitMix(stream.wrapping_add(place)).next() >> 11) as f64 / (1_u64 << 53) as f64
}
