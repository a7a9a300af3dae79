//! Why nothing was drawn.

use thiserror::Error;

/// Why a chart or page could not be made.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The plotting library refused.
    #[error("'{chart}' cannot be drawn: {reason}")]
    Drawing {
        /// Title of the chart.
        chart: String,
        /// What the library says.
        reason: String,
    },
    /// A drawing cannot be made an image.
    #[error("a drawing cannot be written as PNG: {reason}")]
    Pixels {
        /// What the library says.
        reason: String,
    },
    /// The numbers do not have the shape that their labels say.
    #[error("'{chart}': expected {expected} values, found {found}")]
    Shape {
        /// Title of the chart.
        chart: String,
        /// As many as there are rows times columns.
        expected: usize,
        /// As many as there are.
        found: usize,
    },
}
