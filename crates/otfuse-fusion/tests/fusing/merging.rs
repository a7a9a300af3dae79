//! Methods of merging.

use otfuse_fusion::merge::{Base, Finish, Merge, Operands, Others, Parameter};
use otfuse_fusion::{FusionError, Merging, Settings};

use crate::networks::{difference, fused, layer, mlp, shuffled, tensor};

#[test]
fn slerp_follows_the_arc() {
    // A third of the way from (2, 0) to (0, 4): sin 60 / sin 90 of the one and sin 30 / sin 90 of the other.
    let settings = Settings { weights: vec![2.0, 1.0], ..Settings::default() };
    let fusion = fused(&[&layer(&[2.0, 0.0]), &layer(&[0.0, 4.0])], &settings, &Merging::slerp()).unwrap();
    let found = tensor(&fusion.graph, "weight").1;
    assert!((found[0] - 3.0_f32.sqrt()).abs() < 1e-6 && (found[1] - 2.0).abs() < 1e-6, "{found:?}");
}

#[test]
fn slerp_takes_two_models() {
    let models = [1, 2, 3].map(|seed| mlp(&[3, 4, 2], seed));
    let error = fused(&[&models[0], &models[1], &models[2]], &Settings::default(), &Merging::slerp()).unwrap_err();
    assert!(matches!(error, FusionError::Merge { method: "slerp", .. }), "{error}");
}

/// A method of one's own: the largest value.
#[derive(Debug)]
struct Largest;

impl Merge for Largest {
    fn name(&self) -> &'static str {
        "largest"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    fn others(&self) -> Others {
        Others::AtLeast(2)
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        Ok(Box::new(|first, into| {
            let mut values = vec![0.0; into.len()];
            into.fill(f64::NEG_INFINITY);
            for model in tensor.others() {
                tensor.read(model, first, &mut values)?;
                into.iter_mut().zip(&values).for_each(|(most, value)| *most = most.max(*value));
            }
            Ok(())
        }))
    }
}

#[test]
fn a_method_of_ones_own_merges_aligned_tensors() {
    let fusion =
        fused(&[&layer(&[2.0, -1.0]), &layer(&[1.0, 4.0])], &Settings::default(), &Merging::of(&Largest)).unwrap();
    assert_eq!(tensor(&fusion.graph, "weight").1, [2.0, 4.0]);
    // Of a network and a shuffled copy the largest is the network: what is merged is aligned before.
    let network = mlp(&[4, 8, 3], 5);
    let fusion = fused(&[&network, &shuffled(&network, 1)], &Settings::default(), &Merging::of(&Largest)).unwrap();
    assert_eq!(difference(&fusion.graph, &network), 0.0);
}
