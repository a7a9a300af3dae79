//! The order in which a sweep visits the groups.

use crate::split_mix::SplitMix;

/// The orders of the sweeps over `groups` groups, one after the other: always the topological one, or one at random for
/// each sweep (all the same for the same seed).
pub(crate) fn orders(groups: usize, random: Option<u64>) -> impl Iterator<Item = Vec<usize>> {
    let mut numbers = random.map(SplitMix);
    std::iter::repeat_with(move || match &mut numbers {
        Some(numbers) => numbers.order(groups),
        None => (0..groups).collect(),
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
