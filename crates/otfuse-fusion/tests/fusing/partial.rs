//! Neurons without a good partner that stay apart.

use otfuse_fusion::{Apart, Fusion, FusionError, Merging, Networks, Settings, fuse, fuse_partially};
use otfuse_graph::Graph;

use crate::networks::{computed, difference, go_on, mlp, numbers, tensor};

fn wide(networks: &Networks, fusion: &Fusion, budget: f64, apart: Apart) -> Graph {
    fuse_partially(networks, fusion, budget, apart).unwrap().graph
}

#[test]
fn the_budget_is_the_width() {
    let (a, b) = (mlp(&[3, 8, 2], 1), mlp(&[3, 8, 2], 2));
    let networks = Networks::new(&[&a, &b], 0).unwrap();
    let fusion = fuse(&networks, &Settings::default(), &Merging::mean(), None, &go_on).unwrap();
    for (budget, width) in [(1.0, 8), (1.5, 12), (2.0, 16)] {
        let found = wide(&networks, &fusion, budget, Apart::WorstMatched);
        assert_eq!(tensor(&found, "0.weight").0, [width, 3], "{budget}");
        assert_eq!(tensor(&found, "1.weight").0, [2, width], "{budget}");
    }
    assert!(difference(&wide(&networks, &fusion, 1.0, Apart::WorstMatched), &fusion.graph) < 1e-6);
}

#[test]
fn with_all_neurons_apart_the_result_is_the_mean_of_both_outputs() {
    let (a, b) = (mlp(&[3, 8, 2], 1), mlp(&[3, 8, 2], 2));
    let networks = Networks::new(&[&a, &b], 0).unwrap();
    let settings = Settings { weights: vec![3.0, 1.0], ..Settings::default() };
    let fusion = fuse(&networks, &settings, &Merging::mean(), None, &go_on).unwrap();
    let found = wide(&networks, &fusion, 2.0, Apart::WorstMatched);
    for seed in 0..5 {
        let x = numbers(3, seed);
        for ((a, b), c) in computed(&a, &x).iter().zip(computed(&b, &x)).zip(computed(&found, &x)) {
            assert!((0.75 * a + 0.25 * b - c).abs() < 1e-5, "{c}");
        }
    }
}

#[test]
fn other_budgets_and_numbers_of_models_are_refused() {
    let models = [1, 2, 3].map(|seed| mlp(&[3, 8, 2], seed));
    for (count, budget) in [(2, 0.5), (2, 2.5), (2, f64::NAN), (3, 3.5)] {
        let networks = Networks::new(&models.iter().take(count).collect::<Vec<_>>(), 0).unwrap();
        let fusion = fuse(&networks, &Settings::default(), &Merging::mean(), None, &go_on).unwrap();
        let error = fuse_partially(&networks, &fusion, budget, Apart::WorstMatched).unwrap_err();
        assert!(matches!(error, FusionError::WidthBudget { .. }), "{error}");
    }
}

#[test]
fn three_models_apart_are_the_mean_of_their_outputs() {
    let models = [1, 2, 3].map(|seed| mlp(&[3, 8, 2], seed));
    let networks = Networks::new(&models.iter().collect::<Vec<_>>(), 2).unwrap();
    let settings = Settings { weights: vec![2.0, 1.0, 1.0], ..Settings::default() };
    let fusion = fuse(&networks, &settings, &Merging::mean(), None, &go_on).unwrap();
    assert_eq!(tensor(&wide(&networks, &fusion, 2.0, Apart::WorstMatched), "0.weight").0, [16, 3]);
    for apart in [Apart::WorstMatched, Apart::Strongest] {
        let found = wide(&networks, &fusion, 3.0, apart);
        let x = numbers(3, 7);
        let of = |graph: &Graph| computed(graph, &x);
        for (at, c) in of(&found).iter().enumerate() {
            let expected = 0.5 * of(&models[0])[at] + 0.25 * (of(&models[1])[at] + of(&models[2])[at]);
            assert!((expected - c).abs() < 1e-5, "{apart:?}: {expected} {c}");
        }
    }
}

#[test]
fn the_strongest_neurons_make_a_network_of_any_width() {
    let (a, b) = (mlp(&[3, 8, 2], 1), mlp(&[3, 8, 2], 2));
    let networks = Networks::new(&[&a, &b], 1).unwrap();
    let fusion = fuse(&networks, &Settings::default(), &Merging::mean(), None, &go_on).unwrap();
    for (budget, width) in [(0.5, 4), (1.0, 8), (1.5, 12)] {
        let found = wide(&networks, &fusion, budget, Apart::Strongest);
        assert_eq!(tensor(&found, "0.weight").0, [width, 3], "{budget}");
    }
}
