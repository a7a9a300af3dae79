//! What sections are made of.

use crate::{Chart, NarrowBar, ReportError, Table};

/// A part of a page with a heading.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// In reading order.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Clone, Debug)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Names and what they stand for.
    Facts(Vec<(String, Cell)>),
    /// A table to read.
    Grid(Grid),
    /// A chart with its numbers.
    Figure(Figure),
    /// One of several is shown, the reader chooses which; all of them on paper.
    Choice {
        /// What is chosen.
        label: String,
        /// Name and content of each.
        options: Vec<(String, Vec<Block>)>,
    },
}

/// A table to read: rounded numbers that name where they stand in the page's JSON.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// What it shows.
    pub caption: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// Cells, a row as long as the header; the first of a row names it.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub(crate) text: String,
    /// The whole of what `text` shortens.
    pub(crate) whole: Option<String>,
    pub(crate) is_number: bool,
    /// A JSON pointer (RFC 6901) to the exact value.
    pub(crate) pointer: Option<String>,
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Text that stands for a longer one, which is shown on hover.
    pub fn short(text: impl Into<String>, whole: impl Into<String>) -> Self {
        let (text, whole) = (text.into(), whole.into());
        Self { whole: (whole != text).then_some(whole), text, ..Self::default() }
    }

    /// A number with so many decimals; `pointer` says where it stands in the page's JSON.
    pub fn number(value: f64, decimals: usize, pointer: impl Into<String>) -> Self {
        let text = match value.is_finite() {
            true => format!("{value:.decimals$}"),
            false => value.to_string(),
        };
        Self { text, is_number: true, pointer: Some(pointer.into()), whole: None }
    }

    /// A share as a percentage with two decimals.
    pub fn percent(value: f64, pointer: impl Into<String>) -> Self {
        let text = match value.is_finite() {
            true => format!("{:.2} %", 100.0 * value),
            false => value.to_string(),
        };
        Self { text, is_number: true, pointer: Some(pointer.into()), whole: None }
    }

    /// A count.
    pub fn count(value: usize, pointer: impl Into<String>) -> Self {
        Self { text: value.to_string(), is_number: true, pointer: Some(pointer.into()), whole: None }
    }

    /// Where there is nothing.
    pub fn none() -> Self {
        Self { text: "–".into(), is_number: true, ..Self::default() }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::text(text)
    }
}

/// A chart, drawn, with its numbers.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// The drawing.
    pub svg: String,
    /// The numbers.
    pub table: Table,
    /// Of bar charts: the bars as lines of text and rectangles, for narrow screens.
    pub(crate) bars: Vec<NarrowBar>,
    /// Of line charts: the names of the series.
    pub(crate) legend: Vec<String>,
    /// A file name without extension for who saves it.
    pub name: String,
}

impl Figure {
    /// Draws a chart; `name` is what its files are called, without an extension.
    ///
    /// # Errors
    /// A chart that cannot be drawn.
    pub fn new(name: &str, chart: &dyn Chart) -> Result<Self, ReportError> {
        Ok(Self {
            title: chart.title().to_owned(),
            svg: chart.to_svg()?,
            table: chart.table(),
            bars: chart.bars(),
            legend: chart.legend(),
            name: name.to_owned(),
        })
    }
}
