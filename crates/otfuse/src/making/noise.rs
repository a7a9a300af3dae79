//! Noise whose spectrum falls as that of natural images does.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::inputs::normal;

/// What a channel has of its own, relative to what all have in common: natural images are nearly grey.
const COLOUR: f32 = 0.35;
/// Logarithm of the contrast: its mean and its deviation over the images.
const CONTRAST: (f32, f32) = (-0.1, 0.3);

/// Images of `channels x height x width` whose amplitudes fall with the inverse of the frequency (D. J. Field, "Relations
/// between the statistics of natural images and the response properties of cortical cells", J. Opt. Soc. Am. A 4, 1987), of
/// mean 0, their contrasts around 1; one after the other. Each image has its own place in the stream of the seed, so that
/// more images begin with the same ones.
pub(super) fn images(count: usize, [channels, height, width]: [usize; 3], seed: u64) -> Vec<f32> {
    let side = height.max(width).next_power_of_two();
    let plane = height * width;
    let mut images = Vec::with_capacity(count * channels * plane);
    for image in 0..count {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(image as u64 + 1);
        // The real and the imaginary part are independent fields.
        let mut fields = Vec::new();
        while fields.len() < channels + 1 {
            let (real, imaginary) = field(side, &mut random);
            fields.extend([real, imaginary]);
        }
        let cut = |field: &[f32]| -> Vec<f32> { (0..plane).map(|at| field[at / width * side + at % width]).collect() };
        let common = cut(&fields[0]);
        let start = images.len();
        for own in &fields[1..=channels] {
            let own = cut(own);
            let share = if channels == 1 { 0.0 } else { COLOUR };
            images.extend(common.iter().zip(own).map(|(common, own)| common + share * own));
        }
        let contrast = (CONTRAST.0 + CONTRAST.1 * normal(&mut random)).exp();
        scale(&mut images[start..], contrast);
    }
    images
}

/// Mean 0 and this deviation.
fn scale(values: &mut [f32], deviation: f32) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
    let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    let factor = f64::from(deviation) / variance.sqrt().max(1e-12);
    values.iter_mut().for_each(|value| *value = ((f64::from(*value) - mean) * factor) as f32);
}

/// Two independent periodic fields.
fn field(side: usize, random: &mut ChaCha8Rng) -> (Vec<f32>, Vec<f32>) {
    let frequency = |at: usize| at.min(side - at) as f32 / side as f32;
    let mut spectrum: Vec<(f32, f32)> = (0..side * side)
        .map(|at| {
            let size = frequency(at / side).hypot(frequency(at % side)).max(1.0 / side as f32);
            (normal(random) / size, normal(random) / size)
        })
        .collect();
    for row in spectrum.chunks_exact_mut(side) {
        transform(row);
    }
    let mut column = vec![(0.0, 0.0); side];
    for at in 0..side {
        column.iter_mut().enumerate().for_each(|(row, value)| *value = spectrum[row * side + at]);
        transform(&mut column);
        column.iter().enumerate().for_each(|(row, value)| spectrum[row * side + at] = *value);
    }
    spectrum.into_iter().unzip()
}

/// The discrete Fourier transform in place, of a power of two, without the factor: bits reversed, then butterflies.
fn transform(values: &mut [(f32, f32)]) {
    let count = values.len();
    if count < 2 {
        return;
    }
    let bits = count.trailing_zeros();
    for at in 0..count {
        let other = at.reverse_bits() >> (usize::BITS - bits);
        if at < other {
            values.swap(at, other);
        }
    }
    let mut half = 1;
    while half < count {
        for start in (0..count).step_by(2 * half) {
            for at in 0..half {
                let (sine, cosine) = (std::f32::consts::PI * at as f32 / half as f32).sin_cos();
                let (a, b) = (values[start + at], values[start + at + half]);
                let turned = (b.0 * cosine - b.1 * sine, b.0 * sine + b.1 * cosine);
                values[start + at] = (a.0 + turned.0, a.1 + turned.1);
                values[start + at + half] = (a.0 - turned.0, a.1 - turned.1);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_the_sum_that_defines_it() {
        let values: Vec<(f32, f32)> = (0..8).map(|at| ((at * at % 5) as f32, (at % 3) as f32)).collect();
        let mut found = values.clone();
        transform(&mut found);
        for (frequency, found) in found.iter().enumerate() {
            let expected = values.iter().enumerate().fold((0.0, 0.0), |sum: (f32, f32), (at, value)| {
                let (sine, cosine) = (std::f32::consts::TAU * (at * frequency) as f32 / 8.0).sin_cos();
                (sum.0 + value.0 * cosine - value.1 * sine, sum.1 + value.0 * sine + value.1 * cosine)
            });
            assert!((found.0 - expected.0).abs() < 1e-4 && (found.1 - expected.1).abs() < 1e-4);
        }
    }

    #[test]
    fn neighbours_are_alike_and_more_images_begin_with_the_same() {
        let few = images(3, [3, 20, 28], 5);
        assert_eq!(images(5, [3, 20, 28], 5)[..few.len()], few[..]);
        assert_ne!(images(3, [3, 20, 28], 6), few);
        let of = |pairs: &mut dyn Iterator<Item = (f32, f32)>| pairs.map(|(a, b)| a * b).sum::<f32>();
        let total = of(&mut few.iter().map(|&a| (a, a)));
        let near = of(&mut few.chunks(28).flat_map(|row| row.windows(2).map(|pair| (pair[0], pair[1]))));
        assert!(near > 0.5 * total, "{near} {total}");
        let mean = few.iter().sum::<f32>() / few.len() as f32;
        assert!(mean.abs() < 1e-3 && (0.3..3.0).contains(&(total / few.len() as f32)));
    }
}
