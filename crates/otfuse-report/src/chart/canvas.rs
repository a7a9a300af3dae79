//! What all charts stand on: layers drawn by plotters, put together to one `<svg>` element.
//!
//! Plotters draws shapes and text but names nothing. Every layer is therefore a drawing of its own, whose elements are
//! moved into a group, so that a page can hide a series and show values.

use std::fmt::{Display, Write as _};

use plotters::coord::Shift;
use plotters::coord::ranged1d::AsRangedCoord;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, DrawingArea, IntoDrawingArea, IntoTextStyle, SVGBackend, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, TextStyle};

use super::color::{GRID, INK};
use crate::ReportError;

/// Width of all charts.
pub const WIDTH: u32 = 720;
/// Where plots begin: below the title.
pub const TOP: u32 = 44;

/// The letters of all charts.
pub const FONT: &str = "sans-serif";
/// Their size, beside axes and in legends.
pub const SIZE: i32 = 16;
/// Plotters takes the size of a line of text; letters are smaller by this.
const LETTER: f64 = SIZE as f64 / 1.24;

/// A chart in the making.
pub struct Canvas<'a> {
    title: &'a str,
    height: u32,
    body: String,
}

/// What plotters draws on.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl<'a> Canvas<'a> {
    /// An empty chart with its title.
    pub fn new(title: &'a str, height: u32) -> Result<Self, ReportError> {
        let mut canvas = Self { title, height, body: String::new() };
        let shown = short(&clean(title), 80);
        canvas.layer("title", |area| area.draw(&Text::new(shown.as_str(), (16, 14), style(20))))?;
        Ok(canvas)
    }

    /// Draws a layer and keeps it as a group of this class.
    pub fn layer<E: Display>(
        &mut self,
        class: &str,
        draw: impl FnOnce(&Area<'_>) -> Result<(), E>,
    ) -> Result<(), ReportError> {
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, (WIDTH, self.height)).into_drawing_area();
            draw(&area).map_err(|error| self.failure(error))?;
            area.present().map_err(|error| self.failure(error))?;
        }
        let opened = text.find('>').map_or(0, |end| end + 1);
        let closed = text.rfind("</svg>").unwrap_or(text.len());
        self.open(class);
        self.body.push_str(text[opened..closed].trim_start());
        self.close();
        Ok(())
    }

    /// Opens a group; `class` is followed by further attributes, if any.
    pub fn open(&mut self, class: &str) {
        // Writing to a string cannot fail.
        let _ = match class.split_once(' ') {
            Some((class, attributes)) => writeln!(self.body, "<g class=\"{class}\" {attributes}>"),
            None => writeln!(self.body, "<g class=\"{class}\">"),
        };
    }

    /// Closes it.
    pub fn close(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// Appends an element.
    pub fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// The whole chart; `description` is for who does not see it.
    pub fn finish(self, description: &str) -> String {
        let Self { title, height, body } = self;
        let (title, description) = (escape(title), escape(description));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" font-family=\"{FONT}\">\n<title>{title}</title>\n\
             <desc>{description}</desc>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" \
             fill=\"#FFFFFF\"/>\n{body}</svg>\n"
        )
    }

    /// The user's view of an error of plotters.
    pub fn failure(&self, error: impl Display) -> ReportError {
        ReportError::Drawing { chart: self.title.to_owned(), reason: error.to_string() }
    }
}

/// How axes are drawn.
pub struct Frame<'a> {
    /// The part of the chart that plot and axes have: left, top, right, bottom.
    pub place: (u32, u32, u32, u32),
    /// Room for the values beside the vertical axis.
    pub left: u32,
    /// Below the horizontal axis.
    pub x_label: &'a str,
    /// Beside the vertical axis.
    pub y_label: &'a str,
}

/// A plot with two axes of numbers.
pub type Plot<'a, X, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>;

impl Frame<'_> {
    /// The plot without any ink: to draw series on, in the same coordinates as the axes.
    pub fn plot<'d, X: AsRangedCoord, Y: AsRangedCoord>(
        &self,
        area: &Area<'d>,
        x: X,
        y: Y,
    ) -> Result<Plot<'d, X::CoordDescType, Y::CoordDescType>, String> {
        let (left, top, right, bottom) = self.place;
        let (left, top, right, bottom) = (left as i32, top as i32, right as i32, bottom as i32);
        let area = area.clone().shrink((left, top), (right - left, bottom - top));
        let mut builder = ChartBuilder::on(&area);
        builder.set_label_area_size(plotters::prelude::LabelAreaPosition::Left, self.left);
        builder.set_label_area_size(plotters::prelude::LabelAreaPosition::Bottom, 50);
        builder.build_cartesian_2d(x, y).map_err(|error| error.to_string())
    }

    /// Grid, axes and their numbers, `x_count` at most beside the horizontal one.
    pub fn axes(&self, area: &Area<'_>, x: (f64, f64), x_count: usize, y: (f64, f64)) -> Result<(), String> {
        self.mesh(area, x, Some(x_count), y)
    }

    /// A vertical axis alone, with its grid.
    pub fn bars(&self, area: &Area<'_>, x: (f64, f64), y: (f64, f64)) -> Result<(), String> {
        self.mesh(area, x, None, y)
    }

    /// Without a count there is no horizontal axis.
    fn mesh(&self, area: &Area<'_>, x: (f64, f64), x_count: Option<usize>, y: (f64, f64)) -> Result<(), String> {
        let mut plot = self.plot(area, x.0..x.1, y.0..y.1)?;
        let (x_ticks, y_ticks) = (super::axis::ticks(x), super::axis::ticks(y));
        let mut mesh = plot.configure_mesh();
        match x_count {
            Some(count) => {
                mesh.x_labels(count).x_label_formatter(&x_ticks).x_desc(short(&clean(self.x_label), 80));
            }
            None => {
                mesh.disable_x_mesh().x_labels(0);
            }
        }
        mesh.y_labels(8)
            .y_label_formatter(&y_ticks)
            .y_desc(short(&clean(self.y_label), 40))
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(GRID.mix(0.0))
            .label_style(style(SIZE))
            .axis_desc_style(style(SIZE))
            .draw()
            .map_err(|error| error.to_string())
    }
}

/// Text in the colour of ink.
pub fn style(size: i32) -> TextStyle<'static> {
    (FONT, size).into_text_style(&(0, 0)).color(&INK)
}

/// Text that ends at its point, middle of its height.
pub fn right_aligned(size: i32) -> TextStyle<'static> {
    style(size).pos(Pos::new(HPos::Right, VPos::Center))
}

/// Text that is read from below, beginning at its point.
pub fn upright(size: i32) -> TextStyle<'static> {
    let font = (FONT, size).into_text_style(&(0, 0)).transform(FontTransform::Rotate270);
    font.color(&INK).pos(Pos::new(HPos::Right, VPos::Center))
}

/// Text without the characters that XML does not allow, on one line.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') || turns(c) => '\u{FFFD}',
            c => c,
        })
        .collect()
}

/// Whether a character turns the direction of what is written behind it, or hides.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text, its middle left out if it is longer than `most` characters.
pub fn short(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let kept = most - 1;
    let head: String = text.chars().take(kept / 2).collect();
    let tail: String = text.chars().skip(length - (kept - kept / 2)).collect();
    format!("{head}…{tail}")
}

/// The text as content or attribute of an element.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The width of a text in a legend or beside an axis, roughly: no font is needed to draw a chart.
pub fn width(text: &str) -> u32 {
    (0.56 * LETTER * text.chars().count() as f64).ceil() as u32
}
