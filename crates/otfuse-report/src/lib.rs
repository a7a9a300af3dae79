//! Charts and pages: numbers and strings as SVG, PNG and self-contained HTML.
//!
//! This crate knows nothing of networks. A [`LineChart`], [`BarChart`], [`HeatMap`] or [`ContourMap`] is a value that its
//! user fills in and draws:
//!
//! ```
//! use otfuse_report::{Chart, LineChart, Point, Series};
//!
//! let chart = LineChart {
//!     title: "Loss along the path".into(),
//!     x_label: "weight of the second model".into(),
//!     y_label: "loss".into(),
//!     series: vec![Series {
//!         name: "aligned".into(),
//!         points: vec![Point::new(0.0, 0.1), Point::new(0.5, 0.3).with_error(0.02), Point::new(1.0, 0.1)],
//!     }],
//! };
//! let svg = chart.to_svg()?;
//! assert!(svg.starts_with("<svg"));
//! # Ok::<(), otfuse_report::ReportError>(())
//! ```
//!
//! The same values give the same bytes. Every value that is drawn has a `<title>`, which browsers show on hover; series
//! are told apart by colour and by the shape of their marks. What is not finite is left out. A [`Page`] holds charts, tables
//! and text as one HTML file.
//!
//! Cargo feature: `png` (drawings as pixels, `to_png`; on by default).

mod chart;
mod error;
#[cfg(feature = "png")]
mod letters;
mod page;
#[cfg(feature = "png")]
mod png;

pub use chart::{BarChart, BarGroup, Chart, ContourMap, HeatMap, LineChart, Mark, NarrowBar, Point, Series, Table};
pub use error::ReportError;
pub use page::{Block, Cell, Figure, Grid, Page, Section};
#[cfg(feature = "png")]
pub use png::to_png;
