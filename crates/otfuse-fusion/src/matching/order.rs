//! The order in which a sweep visits the groups.

/// SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014): a stream of numbers for shuffling.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The orders of the sweeps over `groups` groups, one after the other: always the topological one, or one at random for
/// each sweep (all the same for the same seed).
pub(crate) fn orders(groups: usize, random: Option<u64>) -> impl Iterator<Item = Vec<usize>> {
    let mut numbers = random.map(SplitMix);
    std::iter::repeat_with(move || {
        let mut order: Vec<usize> = (0..groups).collect();
        if let Some(numbers) = &mut numbers {
            for last in (1..groups).rev() {
                // The bias of a remainder of 64 bits is far below anything a shuffle could show.
                order.swap(last, (numbers.next() % (last as u64 + 1)) as usize);
            }
        }
        order
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_orders_are_permutations_that_differ_from_sweep_to_sweep() {
        let drawn: Vec<Vec<usize>> = orders(20, Some(1)).take(3).collect();
        assert_ne!(drawn[0], drawn[1]);
        for order in &drawn {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        }
        assert_eq!(drawn, orders(20, Some(1)).take(3).collect::<Vec<_>>());
        assert_eq!(orders(3, None).nth(5), Some(vec![0, 1, 2]));
    }
}
