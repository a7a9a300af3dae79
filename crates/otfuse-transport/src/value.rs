//! The numbers that costs are stored as.

use std::fmt::Debug;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// How a cost is stored: `f64`, or `f32` where memory counts.
///
/// Solvers compute in `f64` in either case and never copy the matrix: a solution is exact for the stored costs.
pub trait CostValue: Copy + PartialEq + Debug + Default + Into<f64> + Send + Sync + sealed::Sealed + 'static {
    /// The difference between 1 and the next number.
    #[doc(hidden)]
    const EPSILON: f64;
}

impl CostValue for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
}
impl CostValue for f64 {
    const EPSILON: f64 = f64::EPSILON;
}
