//! What averaging breaks, repaired.
//!
//! Averaged neurons lose variance, layer upon layer, since their parents agree in part only (K. Jordan, H. Sedghi, O.
//! Saukh, R. Entezari, B. Neyshabur, "REPAIR: REnormalizing Permuted Activations for Interpolation Repair", ICLR 2023).
//! [`LinearUnit`] finds the layers of a network, [`repair_without_data`] restores their variance in closed form,
//! [`NormalEquations`] fits a layer to given outputs. [`balance`] gives the neurons of the result the scale
//! that training expects. [`repair`] goes through the layers with samples, the fused network and its parents side by side
//! (`stream`); networks are run by whatever implements [`Runner`].

mod balance;
mod cholesky;
mod choice;
mod data_free;
mod importance;
mod normal_equations;
mod patches;
mod refit;
mod runner;
mod shares;
mod stream;
mod unit;

pub use balance::balance;
pub use choice::{Repair, RepairError, repair};
pub use data_free::repair_without_data;
pub use normal_equations::{Fit, NormalEquations};
pub use runner::{Loaded, RunError, Runner};
pub use unit::{LinearUnit, Normalization};
