//! Experiments: networks trained, fused and measured as a YAML file says.
//!
//! [`file`] is the format; [`plan`] makes of it a list of [`plan::Task`]s, one per network, point and seed, each of them
//! a command of this program; [`work`] does what [`store`] does not have yet; [`result`] takes means, [`table`] and
//! [`chart`] write them.

pub mod chart;
pub mod file;
pub mod machine;
pub mod options;
pub mod plan;
pub mod recipe;
pub mod result;
pub mod store;
pub mod table;
pub mod variables;
pub mod work;
