//! What is drawn at random in several places.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// Fisher and Yates's shuffle. The bias is below 2^-32 for fewer than 2^32 elements.
pub(crate) fn shuffle(order: &mut [usize], random: &mut ChaCha8Rng) {
    for last in (1..order.len()).rev() {
        let other = (random.next_u64() % (last as u64 + 1)) as usize;
        order.swap(last, other);
    }
}
