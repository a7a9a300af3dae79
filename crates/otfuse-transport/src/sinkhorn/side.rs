//! How strictly a marginal is kept.

/// One of the two marginal constraints: `rho KL(marginal | masses)` is added to the objective, or, for an infinite
/// `rho`, the marginal must be met.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    penalty: f64,
}

impl Side {
    pub(super) fn new(penalty: f64) -> Self {
        Self { penalty }
    }

    pub(super) fn is_balanced(self) -> bool {
        self.penalty == f64::INFINITY
    }

    /// What the logarithm of a marginal's excess is multiplied with in an update: `rho / (rho + epsilon)`.
    pub(super) fn relaxation(self, epsilon: f64) -> f64 {
        if self.is_balanced() { 1.0 } else { self.penalty / (self.penalty + epsilon) }
    }

    /// The mass, relative to the one given, that a potential asks for: `exp(-f / rho)`.
    pub(super) fn mass(self, potential: f64) -> f64 {
        if self.is_balanced() { 1.0 } else { (-potential / self.penalty).exp() }
    }

    /// `1 / rho`.
    pub(super) fn stiffness(self) -> f64 {
        if self.is_balanced() { 0.0 } else { 1.0 / self.penalty }
    }

    /// `log sum_i w_i exp(-f_i / rho)`.
    pub(super) fn log_mass(self, masses: &[f64], potentials: impl Iterator<Item = f64> + Clone) -> f64 {
        if self.is_balanced() {
            return 0.0;
        }
        let exponents = potentials.map(|potential| -potential / self.penalty);
        let largest = exponents.clone().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = masses.iter().zip(exponents).map(|(mass, exponent)| mass * (exponent - largest).exp()).sum();
        largest + sum.ln()
    }

    /// `rho <w, exp(-f / rho) - 1>`, what the dual objective loses; `-<w, f>` in the limit of the balanced case.
    pub(super) fn conjugate(self, masses: &[f64], potentials: &[f64]) -> f64 {
        let term = |potential: f64| {
            if self.is_balanced() { -potential } else { self.penalty * (-potential / self.penalty).exp_m1() }
        };
        masses.iter().zip(potentials).map(|(mass, &potential)| mass * term(potential)).sum()
    }

    /// `rho KL(found | masses)`, with `KL(x | y) = sum_k x_k log(x_k / y_k) - x_k + y_k`; zero in the balanced case, where the marginal is met.
    pub(super) fn divergence(self, found: &[f64], masses: &[f64]) -> f64 {
        if self.is_balanced() {
            return 0.0;
        }
        let term = |(&x, &y): (&f64, &f64)| if x > 0.0 { x * (x / y).ln() - x + y } else { y };
        self.penalty * found.iter().zip(masses).map(term).sum::<f64>()
    }
}
