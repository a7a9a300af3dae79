//! The inner loops over contiguous rows, written so that the compiler makes SIMD code of them, and compiled once per
//! instruction set; the one to use is chosen at run time (`pulp`). No loop uses fused multiply-add and all have a fixed
//! number of lanes, so results do not depend on the machine.

use pulp::Arch;

use crate::cost::CostValue;

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

    /// The first `j` with `values_j == value`.
    pub(crate) fn position(self, values: &[f64], value: f64) -> Option<usize> {
        self.arch.dispatch(|| {
            let mut at = 0;
            while at + LANES <= values.len() {
                // Without short circuit, so that it vectorises.
                if values[at..at + LANES].iter().fold(false, |found, x| found | (*x == value)) {
                    break;
                }
                at += LANES;
            }
            (at..values.len()).find(|&j| values[j] == value)
        })
    }

    /// Dijkstra's relaxation of one row: where `c_j - v_j - shift < distance_j`, sets the distance and `via_j` to
    /// `from`. Returns the smallest distance.
    pub(crate) fn relax<T: CostValue>(
        self,
        c: &[T],
        v: &[f64],
        shift: f64,
        from: f64,
        distance: &mut [f64],
        via: &mut [f64],
    ) -> f64 {
        self.arch.dispatch(|| {
            let v = &v[..c.len()];
            let distance = &mut distance[..c.len()];
            let via = &mut via[..c.len()];
            let mut best = [f64::INFINITY; LANES];
            let (c_chunks, v_chunks) = (c.chunks_exact(LANES), v.chunks_exact(LANES));
            let (c_tail, v_tail) = (c_chunks.remainder(), v_chunks.remainder());
            let mut distance_chunks = distance.chunks_exact_mut(LANES);
            let mut via_chunks = via.chunks_exact_mut(LANES);
            for (((c, v), d), p) in c_chunks.zip(v_chunks).zip(&mut distance_chunks).zip(&mut via_chunks) {
                for lane in 0..LANES {
                    let value = c[lane].into() - v[lane] - shift;
                    let closer = value < d[lane];
                    d[lane] = if closer { value } else { d[lane] };
                    p[lane] = if closer { from } else { p[lane] };
                    best[lane] = smaller(d[lane], best[lane]);
                }
            }
            let tail = distance_chunks.into_remainder().iter_mut().zip(via_chunks.into_remainder());
            let mut lowest = f64::INFINITY;
            for ((c, v), (d, p)) in c_tail.iter().zip(v_tail).zip(tail) {
                let value = (*c).into() - v - shift;
                if value < *d {
                    (*d, *p) = (value, from);
                }
                lowest = smaller(*d, lowest);
            }
            best.into_iter().fold(lowest, smaller)
        })
    }

    /// Where `c_j < lowest_j`, sets `lowest_j` to it and `argument_j` to `row`.
    pub(crate) fn lower<T: CostValue>(self, c: &[T], row: f64, lowest: &mut [f64], argument: &mut [f64]) {
        self.arch.dispatch(|| {
            for ((&c, low), argument) in c.iter().zip(lowest).zip(argument) {
                let c: f64 = c.into();
                let closer = c < *low;
                *low = if closer { c } else { *low };
                *argument = if closer { row } else { *argument };
            }
        });
    }

    /// `sum_j x_j y_j`.
    pub(crate) fn dot(self, x: &[f64], y: &[f64]) -> f64 {
        self.arch.dispatch(|| {
            let y = &y[..x.len()];
            let mut sums = [0.0; LANES];
            let (x_chunks, y_chunks) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
            let tail: f64 = x_chunks.remainder().iter().zip(y_chunks.remainder()).map(|(x, y)| x * y).sum();
            for (x, y) in x_chunks.zip(y_chunks) {
                for lane in 0..LANES {
                    sums[lane] += x[lane] * y[lane];
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
        for len in 1..70 {
            let c: Vec<f64> = (0..len).map(|j| f64::from((j * 37 + 11) % 23)).collect();
            let v: Vec<f64> = (0..len).map(|j| f64::from((j * 17 + 5) % 7)).collect();
            let mut values: Vec<f64> = c.iter().zip(&v).map(|(c, v)| c - v).collect();
            let first = values.iter().copied().fold(f64::INFINITY, f64::min);
            let at = values.iter().position(|&value| value == first);
            assert_eq!(kernels.minimum(&c, &v), first);
            assert_eq!(kernels.position_of_difference(&c, &v, 0, first), at);
            assert_eq!(kernels.position(&values, first), at);
            values.sort_by(f64::total_cmp);
            let second = values.get(1).copied().unwrap_or(f64::INFINITY);
            assert_eq!(kernels.two_smallest(&c, &v), (first, second));
        }
    }
}
