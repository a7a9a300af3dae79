//! Filled contours: a function on a plane.

use ::contour::ContourBuilder;
use plotters::element::{Circle, Cross};
use plotters::prelude::Text;
use plotters::style::Color;

use super::axis::{MOST, range, shown};
use super::canvas::{Canvas, Frame, SIZE, TOP, WIDTH, clean, escape, short, style, width};
use super::table::{Table, exact};
use super::{Chart, color, heat};
use crate::ReportError;

/// Bands between the levels.
const BANDS: usize = 14;

/// A function on a rectangle, known on a grid.
#[derive(Clone, Debug, Default)]
pub struct ContourMap {
    /// What it shows.
    pub title: String,
    /// The horizontal axis.
    pub x_label: String,
    /// The vertical axis.
    pub y_label: String,
    /// What the values are.
    pub value_label: String,
    /// Ascending, at equal distances, two or more.
    pub x: Vec<f64>,
    /// Ascending, at equal distances, two or more.
    pub y: Vec<f64>,
    /// Row by row, each row for one of `y`; what is not finite counts as the largest.
    pub values: Vec<f64>,
    /// Points with a name.
    pub marks: Vec<Mark>,
    /// Values beyond it have the last colour, so that others can be told apart; the largest value if none.
    pub ceiling: Option<f64>,
}

/// A point with a name.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// As it stands beside the point.
    pub name: String,
    /// Horizontal.
    pub x: f64,
    /// Vertical.
    pub y: f64,
}

/// What the bands lie between.
struct Levels {
    low: f64,
    /// Where the last colour begins.
    high: f64,
    /// The largest value.
    largest: f64,
}

/// A value of the grid: where it is drawn, where it is, and what it is.
type Target = ((i32, i32), f64, f64, f64);

/// The first and the last of some places.
fn ends(places: &[f64]) -> (f64, f64) {
    (places[0], places[places.len() - 1])
}

impl ContourMap {
    fn levels(&self) -> Levels {
        let finite = self.values.iter().copied().filter(|value| value.is_finite());
        let (low, largest) =
            finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, largest) = if low <= largest { (low, largest) } else { (0.0, 1.0) };
        let high = self.ceiling.filter(|ceiling| *ceiling > low).map_or(largest, |ceiling| ceiling.min(largest));
        let high = if high > low { high } else { range([low]).1 };
        Levels { low, high, largest }
    }

    /// Fills the bands; where the values of the grid stand.
    fn draw_bands(
        &self,
        canvas: &mut Canvas<'_>,
        frame: &Frame<'_>,
        &Levels { low, high, .. }: &Levels,
    ) -> Result<Vec<Target>, ReportError> {
        let (columns, rows) = (self.x.len(), self.y.len());
        let (x, y) = (ends(&self.x), ends(&self.y));
        // Values in the middle of cells: the library's polygons reach half a cell beyond the outermost ones.
        let (x_step, y_step) = ((x.1 - x.0) / (columns - 1) as f64, (y.1 - y.0) / (rows - 1) as f64);
        let builder = ContourBuilder::new(columns, rows, true)
            .x_origin(x.0 - 0.5 * x_step)
            .y_origin(y.0 - 0.5 * y_step)
            .x_step(x_step)
            .y_step(y_step);
        let margin = 1e-9 * (high - low);
        let values: Vec<f64> =
            self.values.iter().map(|&value| if value.is_finite() { value.min(high) } else { high }).collect();
        let level = |band: usize| low + (high - low) * band as f64 / BANDS as f64;
        let mut levels: Vec<f64> = (0..=BANDS).map(level).collect();
        levels[0] -= margin;
        levels[BANDS] += margin;
        let bands = builder.isobands(&values, &levels).map_err(|error| canvas.failure(error))?;
        let mut paths = Vec::new();
        let mut targets = Vec::new();
        canvas.layer("grid", |area| {
            let plot = frame.plot(area, x.0..x.1, y.0..y.1)?;
            let at =
                |x_value: f64, y_value: f64| plot.backend_coord(&(x_value.clamp(x.0, x.1), y_value.clamp(y.0, y.1)));
            for (index, band) in bands.iter().enumerate() {
                let mut path = String::new();
                for polygon in &band.geometry().0 {
                    for ring in std::iter::once(polygon.exterior()).chain(polygon.interiors()) {
                        for (corner, point) in ring.0.iter().enumerate() {
                            let (left, top) = at(point.x, point.y);
                            path.push_str(&format!("{}{left} {top}", if corner == 0 { 'M' } else { 'L' }));
                        }
                        path.push('Z');
                    }
                }
                paths.push((index, path));
            }
            for (row, &y_value) in self.y.iter().enumerate() {
                for (column, &x_value) in self.x.iter().enumerate() {
                    targets.push((at(x_value, y_value), x_value, y_value, self.values[row * columns + column]));
                }
            }
            Ok::<(), String>(())
        })?;
        canvas.open("bands");
        for (index, path) in paths {
            let fill = color::hexadecimal(color::scale((index as f64 + 0.5) / BANDS as f64));
            canvas.push(&format!("<path fill=\"{fill}\" stroke=\"{fill}\" fill-rule=\"evenodd\" d=\"{path}\"/>"));
        }
        canvas.close();
        Ok(targets)
    }

    /// The points with a name.
    fn draw_marks(&self, canvas: &mut Canvas<'_>, frame: &Frame<'_>) -> Result<(), ReportError> {
        let (x, y) = (ends(&self.x), ends(&self.y));
        canvas.layer("marks", |area| {
            let plot = frame.plot(area, x.0..x.1, y.0..y.1)?;
            for mark in &self.marks {
                let (left, top) = plot.backend_coord(&(mark.x, mark.y));
                let name = short(&clean(&mark.name), 40);
                let text = |error: plotters::drawing::DrawingAreaErrorKind<_>| error.to_string();
                let white = plotters::style::WHITE;
                area.draw(&Circle::new((left, top), 8, white.filled())).map_err(text)?;
                area.draw(&Cross::new((left, top), 4, plotters::style::BLACK.stroke_width(2))).map_err(text)?;
                let right_edge = WIDTH as i32 - 110;
                let fits = left + 12 + width(&name) as i32 <= right_edge;
                let (x, top) = match fits {
                    true => (left + 12, top),
                    false => ((right_edge - width(&name) as i32).max(90), top + 22),
                };
                let mut letters = style(SIZE);
                letters.color = white.to_backend_color();
                let halo = plotters::element::Rectangle::new(
                    [(x - 3, top - 10), (x + width(&name) as i32 + 3, top + 10)],
                    plotters::style::BLACK.mix(0.55).filled(),
                );
                area.draw(&halo).map_err(text)?;
                area.draw(&Text::new(name, (x, top - 8), letters)).map_err(text)?;
            }
            Ok::<(), String>(())
        })
    }
}

impl Chart for ContourMap {
    fn title(&self) -> &str {
        &self.title
    }

    fn to_svg(&self) -> Result<String, ReportError> {
        let (columns, rows) = (self.x.len(), self.y.len());
        let (expected, found) = (columns * rows, self.values.len());
        if expected != found || columns < 2 || rows < 2 {
            return Err(ReportError::Shape { chart: self.title.clone(), expected: expected.max(4), found });
        }
        let levels = self.levels();
        let height = TOP + 500;
        let mut canvas = Canvas::new(&self.title, height)?;
        let place = (8, TOP, WIDTH - 100, height - 8);
        let frame = Frame { place, left: 76, x_label: &self.x_label, y_label: &self.y_label };
        let targets = self.draw_bands(&mut canvas, &frame, &levels)?;
        canvas.layer("axes", |area| frame.axes(area, ends(&self.x), MOST, ends(&self.y)))?;
        canvas.open("values");
        for ((left, top), x_value, y_value, value) in targets {
            let text = format!("{} at {}, {}", shown(value), shown(x_value), shown(y_value));
            canvas.push(&format!(
                "<circle class=\"value\" cx=\"{left}\" cy=\"{top}\" r=\"9\" fill-opacity=\"0\"><title>{}</title></circle>",
                escape(&text)
            ));
        }
        canvas.close();
        self.draw_marks(&mut canvas, &frame)?;
        let Levels { low, high, largest } = levels;
        let share = |value: f64| (((value - low) / (high - low) * BANDS as f64).floor() + 0.5) / BANDS as f64;
        heat::key(&mut canvas, &self.value_label, (low, high), share)?;
        let names: Vec<&str> = self.marks.iter().map(|mark| mark.name.as_str()).collect();
        let description = format!(
            "Contour map of {} from {} to {}. Marked points: {}.",
            self.value_label,
            shown(low),
            shown(largest),
            names.join("; ")
        );
        Ok(canvas.finish(&description))
    }

    fn table(&self) -> Table {
        let mut table = Table::new([&self.x_label, &self.y_label, &self.value_label]);
        for (row, &y) in self.y.iter().enumerate() {
            for (column, &x) in self.x.iter().enumerate() {
                let value = self.values.get(row * self.x.len() + column).copied().unwrap_or(f64::NAN);
                table.rows.push(vec![exact(x), exact(y), exact(value)]);
            }
        }
        table
    }
}
