//! Methods of merging.

use otfuse_fusion::{FusionError, Merge, Settings, Slerp, Source};

use crate::networks::{difference, fused, layer, mlp, shuffled, tensor};

#[test]
fn slerp_follows_the_arc() {
    // A third of the way from (2, 0) to (0, 4): sin 60 / sin 90 of the one and sin 30 / sin 90 of the other.
    let settings = Settings { weights: vec![2.0, 1.0], ..Settings::default() };
    let fusion = fused(&[&layer(&[2.0, 0.0]), &layer(&[0.0, 4.0])], &settings, &Slerp).unwrap();
    let found = tensor(&fusion.graph, "weight").1;
    assert!((found[0] - 3.0_f32.sqrt()).abs() < 1e-6 && (found[1] - 2.0).abs() < 1e-6, "{found:?}");
}

#[test]
fn slerp_takes_two_models() {
    let models = [1, 2, 3].map(|seed| mlp(&[3, 4, 2], seed));
    let error = fused(&[&models[0], &models[1], &models[2]], &Settings::default(), &Slerp).unwrap_err();
    assert!(matches!(error, FusionError::Merge { method: "slerp", .. }), "{error}");
}

/// A method of one's own: the largest value.
#[derive(Debug)]
struct Largest;

impl Merge for Largest {
    fn name(&self) -> &'static str {
        "largest"
    }

    fn check(&self, weights: &[f64]) -> Result<(), FusionError> {
        match weights.iter().all(|&weight| weight > 0.0) {
            true => Ok(()),
            false => Err(FusionError::Merge {
                method: self.name(),
                expected: "models that all count".into(),
                found: format!("{weights:?}"),
            }),
        }
    }

    fn works_in_pieces(&self) -> bool {
        true
    }

    fn tensor(&self, length: usize, weights: &[f64], aligned: Source<'_>) -> Result<Vec<f64>, FusionError> {
        let mut largest = vec![f64::NEG_INFINITY; length];
        for model in 0..weights.len() {
            largest.iter_mut().zip(aligned(model)?).for_each(|(most, value)| *most = most.max(f64::from(value)));
        }
        Ok(largest)
    }
}

#[test]
fn a_method_of_ones_own_merges_aligned_tensors() {
    let fusion = fused(&[&layer(&[2.0, -1.0]), &layer(&[1.0, 4.0])], &Settings::default(), &Largest).unwrap();
    assert_eq!(tensor(&fusion.graph, "weight").1, [2.0, 4.0]);
    // Of a network and a shuffled copy the largest is the network: what is merged is aligned before.
    let network = mlp(&[4, 8, 3], 5);
    let fusion = fused(&[&network, &shuffled(&network, 1)], &Settings::default(), &Largest).unwrap();
    assert_eq!(difference(&fusion.graph, &network), 0.0);
    let settings = Settings { weights: vec![1.0, 0.0], ..Settings::default() };
    let error = fused(&[&network, &network], &settings, &Largest).unwrap_err();
    assert_eq!(error.to_string(), "largest takes models that all count, found [1.0, 0.0]");
}
