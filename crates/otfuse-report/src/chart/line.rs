//! Curves with marks and error bars.

use plotters::element::{Circle, Cross, ErrorBar, PathElement, Polygon, Rectangle};
use plotters::prelude::LineSeries;
use plotters::style::Color;

use super::axis::{count, range, shown};
use super::canvas::{Area, Canvas, Frame, WIDTH, escape};
use super::legend::Legend;
use super::table::{Table, exact};
use super::{Chart, color};
use crate::ReportError;

/// Curves over a common horizontal axis.
#[derive(Clone, Debug, Default)]
pub struct LineChart {
    /// What it shows.
    pub title: String,
    /// The horizontal axis and its unit.
    pub x_label: String,
    /// The vertical axis and its unit.
    pub y_label: String,
    /// The curves.
    pub series: Vec<Series>,
}

/// A curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// As it stands in the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<Point>,
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Horizontal.
    pub x: f64,
    /// Vertical; the curve has a gap where it is not finite.
    pub y: f64,
    /// Half the length of the error bar.
    pub error: Option<f64>,
}

impl Point {
    /// A point without an error bar.
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, error: None }
    }

    /// The point with an error bar from `y - error` to `y + error`.
    pub fn with_error(self, error: f64) -> Self {
        Self { error: Some(error), ..self }
    }

    fn is_finite(&self) -> bool {
        self.x.is_finite() && self.y.is_finite()
    }

    fn half_bar(&self) -> f64 {
        self.error.filter(|error| error.is_finite()).map_or(0.0, f64::abs)
    }
}

impl Chart for LineChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn to_svg(&self) -> Result<String, ReportError> {
        let legend = Legend::new(self.series.iter().map(|series| series.name.as_str()));
        let height = legend.bottom + 400;
        let mut canvas = Canvas::new(&self.title, height)?;
        let points = || self.series.iter().flat_map(|series| &series.points).filter(|point| point.is_finite());
        let x = range(points().map(|point| point.x));
        let y = range(points().flat_map(|point| [point.y - point.half_bar(), point.y + point.half_bar()]));
        let place = (8, legend.bottom, WIDTH - 16, height - 8);
        let frame = Frame { place, left: 76, x_label: &self.x_label, y_label: &self.y_label };
        let x_count = count(points().map(|point| point.x));
        canvas.layer("axes", |area| frame.axes(area, x, x_count, y))?;
        for (index, series) in self.series.iter().enumerate() {
            canvas.open(&format!("series data-series=\"{index}\""));
            let mut marks = Vec::new();
            canvas.layer("curve", |area| {
                let mut plot = frame.plot(area, x.0..x.1, y.0..y.1)?;
                let ink = color::series(index);
                let text = |error: plotters::drawing::DrawingAreaErrorKind<_>| error.to_string();
                for run in series.points.split(|point| !point.is_finite()).filter(|run| !run.is_empty()) {
                    let line = run.iter().map(|point| (point.x, point.y));
                    plot.draw_series(LineSeries::new(line, ink.stroke_width(2))).map_err(text)?;
                }
                for point in series.points.iter().filter(|point| point.is_finite()) {
                    if point.error.is_some() {
                        let (low, high) = (point.y - point.half_bar(), point.y + point.half_bar());
                        let bar = ErrorBar::new_vertical(point.x, low, point.y, high, ink.filled(), 8);
                        plot.draw_series([bar]).map_err(text)?;
                    }
                    let at = plot.backend_coord(&(point.x, point.y));
                    mark(area, index, at)?;
                    marks.push((at, point));
                }
                Ok::<(), String>(())
            })?;
            for ((left, top), point) in marks {
                let error = point.error.map_or_else(String::new, |error| format!(" ± {}", shown(error)));
                let value = format!("{}: {} at {}{error}", series.name, shown(point.y), shown(point.x));
                canvas.push(&format!(
                    "<circle class=\"value\" cx=\"{left}\" cy=\"{top}\" r=\"9\" fill-opacity=\"0\"><title>{}</title></circle>",
                    escape(&value)
                ));
            }
            canvas.close();
        }
        legend.draw(&mut canvas, |area, index, (left, top)| {
            let line = PathElement::new([(left - 11, top), (left + 11, top)], color::series(index).stroke_width(2));
            area.draw(&line).map_err(|error| error.to_string())?;
            mark(area, index, (left, top))
        })?;
        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        let description =
            format!("Line chart of {} over {}. Series: {}.", self.y_label, self.x_label, names.join("; "));
        Ok(canvas.finish(&description))
    }

    fn legend(&self) -> Vec<String> {
        self.series.iter().map(|series| series.name.clone()).collect()
    }

    fn table(&self) -> Table {
        let mut table = Table::new(["series", &self.x_label, &self.y_label, "error"]);
        for series in &self.series {
            for point in &series.points {
                let error = point.error.map_or_else(String::new, exact);
                table.rows.push(vec![series.name.clone(), exact(point.x), exact(point.y), error]);
            }
        }
        table
    }
}

/// Draws the mark of a series at a place on the canvas.
fn mark(area: &Area<'_>, index: usize, (x, y): (i32, i32)) -> Result<(), String> {
    let ink = color::series(index);
    let drawn = match index % 5 {
        0 => area.draw(&Circle::new((x, y), 4, ink.filled())),
        1 => area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], ink.filled())),
        2 => area.draw(&Polygon::new([(x - 5, y + 4), (x + 5, y + 4), (x, y - 5)], ink.filled())),
        3 => area.draw(&Polygon::new([(x - 5, y), (x, y + 5), (x + 5, y), (x, y - 5)], ink.filled())),
        _ => area.draw(&Cross::new((x, y), 4, ink.stroke_width(2))),
    };
    drawn.map_err(|error| error.to_string())
}
