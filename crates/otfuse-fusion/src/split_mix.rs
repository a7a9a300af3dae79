//! Numbers that only look random: the same for the same seed, everywhere.

/// What the state grows by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014): a stream of numbers from a seed.
pub(crate) struct SplitMix(pub u64);

impl SplitMix {
    /// The number at a place of the stream from 0.
    pub fn at(index: u64) -> u64 {
        Self(index.wrapping_mul(STEP)).next()
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1, never 0.
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// A permutation.
    pub fn order(&mut self, size: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..size).collect();
        for last in (1..size).rev() {
            // The bias of a remainder of 64 bits is far below anything a shuffle could show.
            order.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_the_stream_is_what_comes_there() {
        let mut stream = SplitMix(0);
        let drawn: Vec<u64> = (0..4).map(|_| stream.next()).collect();
        assert_eq!(drawn, (0..4).map(SplitMix::at).collect::<Vec<_>>());
        assert_eq!(drawn[0], 0xe220_a839_7b1d_cdaf);
    }
}
