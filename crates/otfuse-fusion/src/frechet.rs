//! How far two sets of features are apart, as distributions.

use crate::rotation::dense::Dense;

/// The Fréchet distance between the normal distributions that have the means and covariances of two tables of features,
/// row-major with `width` columns: `|m - n|^2 + tr(C + D - 2 (C D)^(1/2))` (D. Dowson and B. Landau 1982; of features of a
/// classifier it is the distance of M. Heusel et al., "GANs trained by a two time-scale update rule", NeurIPS 2017, without their
/// network). `O(rows width^2 + width^3)`; `None` with fewer than two rows in a table, or numbers that are not finite.
pub fn frechet_distance(a: &[f32], b: &[f32], width: usize) -> Option<f64> {
    let [(of_a, a), (of_b, b)] = [moments(a, width)?, moments(b, width)?];
    let means: f64 = of_a.iter().zip(&of_b).map(|(a, b)| (a - b).powi(2)).sum();
    let trace = |of: &Dense| (0..width).map(|at| of.get(at, at)).sum::<f64>();
    // The singular values of the product of the roots are the roots of the eigenvalues of the product.
    let common = root(&a)?.times(&root(&b)?).nuclear_norm();
    let distance = means + trace(&a) + trace(&b) - 2.0 * common;
    distance.is_finite().then(|| distance.max(0.0))
}

/// Mean and covariance, with rows less one.
fn moments(values: &[f32], width: usize) -> Option<(Vec<f64>, Dense)> {
    let rows = values.len() / width.max(1);
    if rows < 2 || width == 0 {
        return None;
    }
    let mut mean = vec![0.0; width];
    for row in values.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value) / rows as f64);
    }
    let centred =
        values.chunks_exact(width).flat_map(|row| row.iter().zip(&mean).map(|(&value, mean)| f64::from(value) - mean));
    let centred = Dense { rows, columns: width, data: centred.collect() };
    let mut covariance = Dense::zeros(width, width);
    covariance.add_products(&centred, &centred);
    covariance.data.iter_mut().for_each(|value| *value /= (rows - 1) as f64);
    Some((mean, covariance))
}

/// The root of a symmetric matrix without negative eigenvalues.
fn root(of: &Dense) -> Option<Dense> {
    let found = of.decomposed()?;
    Some(found.left.clone().scaled(|column| found.values[column].max(0.0).sqrt()).times(&found.left.transposed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_known_distributions() {
        // Two points each: means (0, 0) and (3, 4), the same covariance.
        let a = [-1.0, -1.0, 1.0, 1.0, 1.0, -1.0, -1.0, 1.0];
        let b: Vec<f32> = a.chunks(2).flat_map(|row| [row[0] + 3.0, row[1] + 4.0]).collect();
        assert!((frechet_distance(&a, &b, 2).unwrap() - 25.0).abs() < 1e-9);
        // Deviations 1 and 2 in each direction: (2 - 1)^2 times the variance, twice.
        let wide: Vec<f32> = a.iter().map(|value| 2.0 * value).collect();
        let variance = 4.0 / 3.0;
        assert!((frechet_distance(&a, &wide, 2).unwrap() - 2.0 * variance).abs() < 1e-9);
        assert!(frechet_distance(&a, &a, 2).unwrap() < 1e-9);
        assert_eq!(frechet_distance(&a[..2], &a, 2), None);
        assert_eq!(frechet_distance(&[f32::NAN; 8], &a, 2), None);
    }
}
