//! The inner loops over contiguous rows, written so that the compiler makes SIMD code of them, and compiled once per
//! instruction set; the one to use is chosen at run time (`pulp`). No loop uses fused multiply-add and all have a fixed
//! number of lanes, so results do not depend on the machine.

use crate::value::CostValue;
use pulp::Arch;

/// Independent accumulators of a reduction: two AVX-512 or four AVX2 registers.
const LANES: usize = 16;

#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// The loops, bound to an instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Kernels {
    arch: Arch,
}

impl Kernels {
    pub(crate) fn new() -> Self {
        Self { arch: Arch::new() }
    }

    /// `min_j (c_j - v_j)`.
    pub(crate) fn minimum<T: CostValue>(self, c: &[T], v: &[f64]) -> f64 {
        self.arch.dispatch(|| {
            let v = &v[..c.len()];
            let mut best = [f64::INFINITY; LANES];
            let (c_chunks, v_chunks) = (c.chunks_exact(LANES), v.chunks_exact(LANES));
            let tail = c_chunks.remainder().iter().zip(v_chunks.remainder());
            let tail = tail.fold(f64::INFINITY, |best, (c, v)| smaller((*c).into() - v, best));
            for (c, v) in c_chunks.zip(v_chunks) {
                for lane in 0..LANES {
                    best[lane] = smaller(c[lane].into() - v[lane], best[lane]);
                }
            }
            best.into_iter().fold(tail, smaller)
        })
    }

    /// The smallest and the second smallest `c_j - v_j` (equal where the smallest occurs twice; the second is infinite
    /// where there is one column).
    pub(crate) fn two_smallest<T: CostValue>(self, c: &[T], v: &[f64]) -> (f64, f64) {
        self.arch.dispatch(|| {
            let v = &v[..c.len()];
            let mut first = [f64::INFINITY; LANES];
            let mut second = [f64::INFINITY; LANES];
            let (c_chunks, v_chunks) = (c.chunks_exact(LANES), v.chunks_exact(LANES));
            let tail = c_chunks.remainder().iter().zip(v_chunks.remainder());
            for (c, v) in c_chunks.zip(v_chunks) {
                for lane in 0..LANES {
                    let value = c[lane].into() - v[lane];
                    second[lane] = smaller(larger(value, first[lane]), second[lane]);
                    first[lane] = smaller(value, first[lane]);
                }
            }
            let tail = tail.map(|(c, v)| ((*c).into() - v, f64::INFINITY));
            first.into_iter().zip(second).chain(tail).fold((f64::INFINITY, f64::INFINITY), |(low, next), (a, b)| {
                (smaller(low, a), smaller(larger(low, a), smaller(next, b)))
            })
        })
    }

    /// The first `j >= start` with `c_j - v_j == value`.
    pub(crate) fn position_of_difference<T: CostValue>(
        self,
        c: &[T],
        v: &[f64],
        start: usize,
        value: f64,
    ) -> Option<usize> {
        self.arch.dispatch(|| {
            let v = &v[..c.len()];
            let mut at = start;
            while at + LANES <= c.len() {
                let (c, v) = (&c[at..at + LANES], &v[at..at + LANES]);
                let mut found = false;
                for lane in 0..LANES {
                    found |= c[lane].into() - v[lane] == value;
                }
                if found {
                    break;
                }
                at += LANES;
            }
            (at..c.len()).find(|&j| c[j].into() - v[j] == value)
        })
    }

    /// `into_j = c_j - v_j`.
    pub(crate) fn difference<T: CostValue>(self, c: &[T], v: &[f64], into: &mut Vec<f64>) {
        into.resize(c.len(), 0.0);
        self.arch.dispatch(|| {
            for ((&c, v), into) in c.iter().zip(v).zip(into.iter_mut()) {
                *into = c.into() - v;
            }
        });
    }

    /// `min_j values_j`.
    pub(crate) fn lowest(self, values: &[f64]) -> f64 {
        self.arch.dispatch(|| {
            let mut best = [f64::INFINITY; LANES];
            let parts = values.chunks_exact(LANES);
            let tail = parts.remainder().iter().fold(f64::INFINITY, |best, &value| smaller(value, best));
            for part in parts {
                for lane in 0..LANES {
                    best[lane] = smaller(part[lane], best[lane]);
                }
            }
            best.into_iter().fold(tail, smaller)
        })
    }

    /// `lowest_j = min(lowest_j, values_j - by)`.
    pub(crate) fn lower_by(self, values: &[f64], by: f64, lowest: &mut [f64]) {
        self.arch.dispatch(|| lowest.iter_mut().zip(values).for_each(|(low, value)| *low = smaller(value - by, *low)));
    }

    /// `into_j += values_j - mean`.
    pub(crate) fn add_excess(self, values: &[f64], mean: f64, into: &mut [f64]) {
        self.arch.dispatch(|| into.iter_mut().zip(values).for_each(|(into, value)| *into += value - mean));
    }

    /// `values_j = exp(values_j)`; returns the sum. No value may exceed 700.
    pub(crate) fn exponentiate(self, values: &mut [f64]) -> f64 {
        self.arch.dispatch(|| {
            values.iter_mut().for_each(|value| *value = exponential(*value));
            values.iter().sum()
        })
    }

    /// `minima_k = min(minima_k, min_j values_j)` over the `j` that leave the remainder `k`, for as many remainders as
    /// there are minima. The last, incomplete part of `values` is left out.
    pub(crate) fn interleaved_minima(self, values: &[f64], minima: &mut [f64]) {
        self.arch.dispatch(|| {
            for part in values.chunks_exact(minima.len()) {
                minima.iter_mut().zip(part).for_each(|(low, &value)| *low = smaller(value, *low));
            }
        });
    }

    /// The `j` with `values_j <= bound`, ascending; false, and not all of them, where there are more than `most`.
    pub(crate) fn positions_up_to(self, values: &[f64], bound: f64, most: usize, into: &mut Vec<u32>) -> bool {
        let start = into.len();
        // Written past the end and then cut, so that nothing depends on what was found.
        into.resize(start + most.min(values.len()) + LANES, 0);
        let mut found = start;
        let fits = self.arch.dispatch(|| {
            for (part, values) in values.chunks(LANES).enumerate() {
                // Without short circuit, so that it vectorises.
                if !values.iter().fold(false, |found, x| found | (*x <= bound)) {
                    continue;
                }
                let first = (part * LANES) as u32;
                let room = &mut into[found..found + LANES];
                let mut count = 0;
                for (lane, value) in values.iter().enumerate() {
                    room[count & (LANES - 1)] = first + lane as u32;
                    count += usize::from(*value <= bound);
                }
                found += count;
                if found - start > most {
                    return false;
                }
            }
            true
        });
        into.truncate(found);
        fits
    }

    /// The `j` with `c_j - v_j - shift < distance_j`, ascending.
    pub(crate) fn nearer<T: CostValue>(self, c: &[T], v: &[f64], shift: f64, distance: &[f64], into: &mut Vec<u32>) {
        into.clear();
        self.arch.dispatch(|| {
            let parts = c.chunks(LANES).zip(v.chunks(LANES)).zip(distance.chunks(LANES));
            for (part, ((c, v), d)) in parts.enumerate() {
                let entries = || c.iter().zip(v).zip(d).map(|((&c, v), d)| c.into() - v - shift < *d);
                if !entries().fold(false, |found, near| found | near) {
                    continue;
                }
                let start = (part * LANES) as u32;
                into.extend((start..).zip(entries()).filter(|(_, near)| *near).map(|(at, _)| at));
            }
        });
    }

    /// The smallest, the largest and the sum of absolute values, these times `scale`.
    pub(crate) fn summary<T: CostValue>(self, c: &[T], scale: f64) -> (f64, f64, f64) {
        self.arch.dispatch(|| {
            let (mut low, mut high, mut sum) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES], [0.0; LANES]);
            let parts = c.chunks_exact(LANES);
            let tail = parts.remainder();
            for part in parts {
                for lane in 0..LANES {
                    let value: f64 = part[lane].into();
                    low[lane] = smaller(value, low[lane]);
                    high[lane] = larger(value, high[lane]);
                    sum[lane] += value.abs() * scale;
                }
            }
            let tail = tail.iter().map(|&value| value.into());
            let lanes = low.into_iter().zip(high).zip(sum).map(|((low, high), sum)| (low, high, sum));
            lanes
                .chain(tail.map(|value| (value, value, value.abs() * scale)))
                .fold((f64::INFINITY, f64::NEG_INFINITY, 0.0), |(low, high, sum), part| {
                    (smaller(part.0, low), larger(part.1, high), sum + part.2)
                })
        })
    }

    /// `sum_j x_j`.
    pub(crate) fn sum(self, x: &[f64]) -> f64 {
        self.arch.dispatch(|| {
            let mut sums = [0.0; LANES];
            let parts = x.chunks_exact(LANES);
            let tail: f64 = parts.remainder().iter().sum();
            for part in parts {
                for lane in 0..LANES {
                    sums[lane] += part[lane];
                }
            }
            sums.into_iter().sum::<f64>() + tail
        })
    }

    /// `x_j *= factor_j`.
    pub(crate) fn multiply(self, factor: &[f64], x: &mut [f64]) {
        self.arch.dispatch(|| x.iter_mut().zip(factor).for_each(|(x, factor)| *x *= factor));
    }

    /// `x_j *= factor`.
    pub(crate) fn scale(self, factor: f64, x: &mut [f64]) {
        self.arch.dispatch(|| x.iter_mut().for_each(|x| *x *= factor));
    }

    /// Whether all `f + v_j <= c_j`.
    pub(crate) fn feasible<T: CostValue>(self, c: &[T], v: &[f64], f: f64) -> bool {
        self.arch.dispatch(|| {
            // Without short circuit in a part, so that it vectorises.
            let part = |(c, v): (&[T], &[f64])| c.iter().zip(v).fold(true, |fits, (&c, v)| fits & (f + v <= c.into()));
            c.chunks(16 * LANES).zip(v.chunks(16 * LANES)).all(part)
        })
    }

    /// Whether all `x_j` are finite and not negative.
    pub(crate) fn are_masses(self, x: &[f64]) -> bool {
        self.arch.dispatch(|| x.iter().fold(true, |fit, &x| fit & (0.0..f64::INFINITY).contains(&x)))
    }

    /// `sum_j x_j y_j`.
    pub(crate) fn dot<T: CostValue>(self, x: &[T], y: &[f64]) -> f64 {
        self.arch.dispatch(|| {
            let y = &y[..x.len()];
            let mut sums = [0.0; LANES];
            let (x_chunks, y_chunks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
            let tail = x_chunks.remainder().iter().zip(y_chunks.remainder());
            let tail: f64 = tail.map(|(&x, y)| x.into() * y).sum();
            for (x, y) in x_chunks.zip(y_chunks) {
                for lane in 0..LANES {
                    sums[lane] += x[lane].into() * y[lane];
                }
            }
            sums.into_iter().sum::<f64>() + tail
        })
    }

    /// `into_j += factor x_j`.
    pub(crate) fn add_scaled(self, factor: f64, x: &[f64], into: &mut [f64]) {
        self.arch.dispatch(|| into.iter_mut().zip(x).for_each(|(to, x)| *to += factor * x));
    }

    /// `sum_j (x_j - y_j)^2`.
    pub(crate) fn squared_distance(self, x: &[f64], y: &[f64]) -> f64 {
        self.arch.dispatch(|| {
            let y = &y[..x.len()];
            let mut sums = [0.0; LANES];
            let (x_chunks, y_chunks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
            let tail = x_chunks.remainder().iter().zip(y_chunks.remainder());
            let tail: f64 = tail.map(|(x, y)| (x - y) * (x - y)).sum();
            for (x, y) in x_chunks.zip(y_chunks) {
                for lane in 0..LANES {
                    let difference = x[lane] - y[lane];
                    sums[lane] += difference * difference;
                }
            }
            sums.into_iter().sum::<f64>() + tail
        })
    }

    /// `into_j = exp(slope (v_j - c_j) + offset)`; returns the sum. Exponents must not exceed 700.
    pub(crate) fn exponentials<T: CostValue>(
        self,
        c: &[T],
        v: &[f64],
        slope: f64,
        offset: f64,
        into: &mut [f64],
    ) -> f64 {
        self.arch.dispatch(|| {
            let mut sums = [0.0; LANES];
            let (c_chunks, v_chunks) = (c.chunks_exact(LANES), v[..c.len()].chunks_exact(LANES));
            let mut into_chunks = into[..c.len()].chunks_exact_mut(LANES);
            let tail = c_chunks.remainder().iter().zip(v_chunks.remainder());
            for ((c, v), to) in c_chunks.zip(v_chunks).zip(&mut into_chunks) {
                for lane in 0..LANES {
                    let value = exponential(slope * (v[lane] - c[lane].into()) + offset);
                    to[lane] = value;
                    sums[lane] += value;
                }
            }
            let mut total = sums.into_iter().sum::<f64>();
            for ((c, v), to) in tail.zip(into_chunks.into_remainder()) {
                *to = exponential(slope * (v - (*c).into()) + offset);
                total += *to;
            }
            total
        })
    }
}

/// `exp(x)` for `x <= 700` within 2 units in the last place; 0 below -700. Branch-free, so that it vectorises.
#[inline(always)]
fn exponential(x: f64) -> f64 {
    // x = k ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let clamped = larger(x, -700.0);
    let shifted = clamped * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (clamped - k * LN_2_HIGH) - k * LN_2_LOW;
    // Taylor to degree 13: the remainder (ln 2 / 2)^14 / 14! is below 1e-17.
    let mut sum = 1.0 / 6_227_020_800.0;
    for inverse in [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * r + inverse;
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    if x < -700.0 { 0.0 } else { sum * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_agrees_with_the_standard_library() {
        for step in -70_000..=70_000 {
            let x = f64::from(step) * 0.00999;
            let (found, expected) = (exponential(x), x.exp());
            assert!((found - expected).abs() <= 1e-15 * expected, "exp({x}): {found} against {expected}");
        }
        assert_eq!(exponential(-1e300), 0.0);
        assert_eq!(exponential(f64::NEG_INFINITY), 0.0);
        assert_eq!(exponential(0.0), 1.0);
    }

    #[test]
    fn searches_agree_with_plain_loops() {
        let kernels = Kernels::new();
        for len in 1..70_u32 {
            let c: Vec<f64> = (0..len).map(|j| f64::from((j * 37 + 11) % 23)).collect();
            let v: Vec<f64> = (0..len).map(|j| f64::from((j * 17 + 5) % 7)).collect();
            let mut values: Vec<f64> = c.iter().zip(&v).map(|(c, v)| c - v).collect();
            let first = values.iter().copied().fold(f64::INFINITY, f64::min);
            let at = values.iter().position(|&value| value == first);
            assert_eq!(kernels.minimum(&c, &v), first);
            assert_eq!(kernels.position_of_difference(&c, &v, 0, first), at);
            let mut reduced = Vec::new();
            kernels.difference(&c, &v, &mut reduced);
            assert_eq!(reduced, values);
            let bound = (first + 3.0).min(20.0);
            let expected: Vec<u32> = (0..len).filter(|&j| values[j as usize] <= bound).collect();
            let (mut found, mut nearer) = (Vec::new(), Vec::new());
            assert!(kernels.positions_up_to(&values, bound, values.len(), &mut found));
            assert_eq!(found, expected);
            kernels.nearer(&c, &v, 0.5, &vec![bound - 0.25; values.len()], &mut nearer);
            assert_eq!(nearer, expected);
            let mut minima = [f64::INFINITY];
            kernels.interleaved_minima(&values, &mut minima);
            assert_eq!(minima, [first]);
            values.sort_by(f64::total_cmp);
            let second = values.get(1).copied().unwrap_or(f64::INFINITY);
            assert_eq!(kernels.two_smallest(&c, &v), (first, second));
        }
    }
}
