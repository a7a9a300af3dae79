//! Results as charts.

use super::result::Results;
use crate::cli::Failure;

/// Files with their contents.
pub fn charts(_results: &Results) -> Result<Vec<(String, String)>, Failure> {
    Ok(vec![])
}
