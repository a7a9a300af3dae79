//! Ten thousand small problems against the cheapest of all their plans with whole-numbered flows.
//!
//! With whole-numbered masses some optimal plan has whole-numbered flows: split into units, it is an assignment, and
//! all assignments can be looked at. The masses here sum to at most six units.

mod support;

use otfuse_transport::{CostMatrix, Marginals, Problem, Solver};
use support::{assert_optimal, cheapest_permutation};

/// A linear congruential sequence.
struct Sequence(u64);

impl Sequence {
    fn real(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: usize) -> usize {
        ((self.real() * limit as f64) as usize).min(limit - 1)
    }

    /// `total` units thrown into `len` places, of which some stay empty.
    fn masses(&mut self, len: usize, total: usize) -> Vec<usize> {
        let mut masses = vec![0; len];
        (0..total).for_each(|_| masses[self.below(len)] += 1);
        masses
    }

    /// Real, whole-numbered (with ties), huge or tiny costs, of either sign, sometimes with a constant row.
    fn costs(&mut self, rows: usize, columns: usize) -> CostMatrix {
        let scale = [1.0, 1.0, 1e12, 1e-12, 1e297, 1e-290][self.below(6)];
        let levels = [0, 0, 2, 4][self.below(4)];
        let mut data: Vec<f64> = (0..rows * columns)
            .map(|_| if levels > 0 { self.below(levels) as f64 } else { 2.0 * self.real() - 1.0 })
            .map(|c| c * scale)
            .collect();
        if self.below(5) == 0 {
            let row = self.below(rows);
            data[row * columns..(row + 1) * columns].fill(scale);
        }
        CostMatrix::new(rows, columns, data).unwrap()
    }
}

/// Every index as often as its mass says.
fn units(masses: &[usize]) -> Vec<usize> {
    masses.iter().enumerate().flat_map(|(at, &mass)| vec![at; mass]).collect()
}

fn marginals(masses: &[usize]) -> Marginals {
    Marginals::from_weights(&masses.iter().map(|&mass| mass as f64).collect::<Vec<_>>()).unwrap()
}

#[test]
fn ten_thousand_problems_are_solved() {
    let mut sequence = Sequence(2024);
    let (mut assignments, mut rectangular, mut empty) = (0, 0, 0);
    for case in 0..10_000 {
        let total = 1 + sequence.below(6);
        let (a, b) = if case % 2 == 0 {
            (vec![1; total], vec![1; total])
        } else {
            let (n, m) = (1 + sequence.below(6), 1 + sequence.below(6));
            (sequence.masses(n, total), sequence.masses(m, total))
        };
        let cost = sequence.costs(a.len(), b.len());
        let (rows, columns) = (units(&a), units(&b));
        let split =
            rows.iter().flat_map(|&row| columns.iter().map(|&column| cost.get(row, column)).collect::<Vec<_>>());
        let split = CostMatrix::new(total, total, split.collect()).unwrap();
        let expected = cheapest_permutation(&split);
        let tolerance = 1e-9 * cost.max_abs();
        let problem = Problem::new(cost, marginals(&a), marginals(&b)).unwrap();
        let solution = Solver::Exact.solve(&problem).unwrap();
        assert_optimal(&problem, &solution);
        assert!((solution.cost - expected).abs() <= tolerance, "case {case}: {} for {expected}", solution.cost);
        // The same problem as an assignment of units, by the other algorithm.
        let assignment = Solver::Exact.solve(&Problem::uniform(split).unwrap()).unwrap();
        assert!((assignment.cost - expected).abs() <= tolerance, "case {case}: {} for {expected}", assignment.cost);
        assignments += usize::from(problem.is_assignment());
        rectangular += usize::from(a.len() != b.len());
        empty += usize::from(a.contains(&0) || b.contains(&0));
    }
    assert!(assignments > 4_000 && rectangular > 3_000 && empty > 2_000, "{assignments} {rectangular} {empty}");
}

/// Masses that differ from uniform by a rounding take the simplex method.
#[test]
fn both_algorithms_agree_on_squares() {
    let mut sequence = Sequence(7);
    for case in 0..500 {
        let n = 2 + sequence.below(30);
        let cost = sequence.costs(n, n);
        let mut weights = vec![1.0; n];
        weights[sequence.below(n)] += 1e-15;
        let almost = Marginals::from_weights(&weights).unwrap();
        assert!(!almost.is_uniform());
        let tolerance = 1e-9 * cost.max_abs();
        let simplex = Solver::Exact.solve(&Problem::new(cost.clone(), almost.clone(), almost).unwrap()).unwrap();
        let assignment = Solver::Exact.solve(&Problem::uniform(cost).unwrap()).unwrap();
        assert!((simplex.cost - assignment.cost).abs() <= tolerance, "case {case}");
    }
}
