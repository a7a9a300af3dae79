//! Neurons without a good partner that stay apart.

use otfuse_fusion::{FusionError, Mean, Networks, Settings, fuse, fuse_partially};

use crate::networks::{computed, difference, go_on, mlp, numbers, tensor};

#[test]
fn the_budget_is_the_width() {
    let (a, b) = (mlp(&[3, 8, 2], 1), mlp(&[3, 8, 2], 2));
    let networks = Networks::new(&[&a, &b], 0).unwrap();
    let fusion = fuse(&networks, &Settings::default(), &Mean, None, &go_on).unwrap();
    for (budget, width) in [(1.0, 8), (1.5, 12), (2.0, 16)] {
        let wide = fuse_partially(&networks, &fusion, budget).unwrap();
        assert_eq!(tensor(&wide, "0.weight").0, [width, 3], "{budget}");
        assert_eq!(tensor(&wide, "1.weight").0, [2, width], "{budget}");
    }
    assert!(difference(&fuse_partially(&networks, &fusion, 1.0).unwrap(), &fusion.graph) < 1e-6);
}

#[test]
fn with_all_neurons_apart_the_result_is_the_mean_of_both_outputs() {
    let (a, b) = (mlp(&[3, 8, 2], 1), mlp(&[3, 8, 2], 2));
    let networks = Networks::new(&[&a, &b], 0).unwrap();
    let settings = Settings { weights: vec![3.0, 1.0], ..Settings::default() };
    let fusion = fuse(&networks, &settings, &Mean, None, &go_on).unwrap();
    let wide = fuse_partially(&networks, &fusion, 2.0).unwrap();
    for seed in 0..5 {
        let x = numbers(3, seed);
        for ((a, b), found) in computed(&a, &x).iter().zip(computed(&b, &x)).zip(computed(&wide, &x)) {
            assert!((0.75 * a + 0.25 * b - found).abs() < 1e-5, "{found}");
        }
    }
}

#[test]
fn other_budgets_and_numbers_of_models_are_refused() {
    let models = [1, 2, 3].map(|seed| mlp(&[3, 8, 2], seed));
    for (count, budget) in [(2, 0.5), (2, 2.5), (2, f64::NAN), (3, 1.5)] {
        let networks = Networks::new(&models.iter().take(count).collect::<Vec<_>>(), 0).unwrap();
        let fusion = fuse(&networks, &Settings::default(), &Mean, None, &go_on).unwrap();
        let error = fuse_partially(&networks, &fusion, budget).unwrap_err();
        assert!(matches!(error, FusionError::WidthBudget { .. }), "{error}");
    }
}
