//! Charts as values, and how they are drawn.

mod axis;
mod bar;
mod canvas;
mod color;
mod contour;
mod heat;
mod legend;
mod line;
mod table;

pub use bar::{BarChart, BarGroup, NarrowBar};
pub(crate) use canvas::escape;
pub use contour::{ContourMap, Mark};
pub use heat::HeatMap;
pub use line::{LineChart, Point, Series};
pub use table::Table;

use crate::ReportError;

/// Something that can be drawn, and read as a table by who cannot see it.
pub trait Chart {
    /// What it shows.
    fn title(&self) -> &str;

    /// As a drawing: one `<svg>` element with a white background, 720 units wide.
    fn to_svg(&self) -> Result<String, ReportError>;

    /// The numbers that are drawn, all digits.
    fn table(&self) -> Table;

    /// Of lines: the names of the series, for a legend beside the drawing, where there is no room in it.
    fn legend(&self) -> Vec<String> {
        Vec::new()
    }

    /// Of bars: each for a line of its own, where there is no room for the drawing.
    fn bars(&self) -> Vec<NarrowBar> {
        Vec::new()
    }
}
