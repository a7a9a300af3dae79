//! Heat maps: a matrix as colours.

use plotters::prelude::Text;

use super::axis::{range, shown};
use super::canvas::{Canvas, SIZE, TOP, WIDTH, clean, escape, right_aligned, short, style, upright, width};
use super::table::{Table, exact};
use super::{Chart, color};
use crate::ReportError;

/// A matrix whose entries are shown as colours.
#[derive(Clone, Debug, Default)]
pub struct HeatMap {
    /// What it shows.
    pub title: String,
    /// What the columns are.
    pub x_label: String,
    /// What the rows are.
    pub y_label: String,
    /// What the values are.
    pub value_label: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Row by row; none where there is no value.
    pub values: Vec<Option<f64>>,
    /// The values of the first and last colour; those of the matrix if none.
    pub range: Option<(f64, f64)>,
}

impl HeatMap {
    fn named(&self) -> impl Iterator<Item = (usize, usize, Option<f64>)> + '_ {
        let columns = self.columns.len().max(1);
        self.values
            .iter()
            .enumerate()
            .map(move |(index, value)| (index / columns, index % columns, value.filter(|value| value.is_finite())))
    }
}

impl Chart for HeatMap {
    fn title(&self) -> &str {
        &self.title
    }

    fn to_svg(&self) -> Result<String, ReportError> {
        let (expected, found) = (self.rows.len() * self.columns.len(), self.values.len());
        if expected != found {
            return Err(ReportError::Shape { chart: self.title.clone(), expected, found });
        }
        let names = |names: &[String]| names.iter().map(|name| short(&clean(name), 28)).collect::<Vec<_>>();
        let (rows, columns) = (names(&self.rows), names(&self.columns));
        let longest = |names: &[String]| names.iter().map(|name| width(name)).max().unwrap_or(0);
        let left = 44 + longest(&rows);
        let side = f64::from(WIDTH - left - 100) / columns.len().max(1) as f64;
        let cell = (side.min(56.0), side.clamp(4.0, 36.0));
        let (plot_width, plot_height) = (cell.0 * columns.len() as f64, cell.1 * rows.len() as f64);
        let bottom = f64::from(TOP) + plot_height;
        let height = (bottom as u32 + longest(&columns) + 48).max(TOP + 160);
        let mut canvas = Canvas::new(&self.title, height)?;
        let (low, high) = self.range.unwrap_or_else(|| {
            let (low, high) = range(self.named().filter_map(|(.., value)| value));
            // The margin of an axis has no colour of its own.
            (low + (high - low) / 22.0, high - (high - low) / 22.0)
        });
        let share = |value: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
        canvas.layer("axes", |area| {
            let text = |text| area.draw(&text).map_err(|error| error.to_string());
            let every = |length: f64| ((f64::from(SIZE) / length).ceil() as usize).max(1);
            for (index, name) in rows.iter().enumerate().step_by(every(cell.1)) {
                let middle = f64::from(TOP) + cell.1 * (index as f64 + 0.5);
                text(Text::new(name.as_str(), (left as i32 - 6, middle as i32), right_aligned(SIZE)))?;
            }
            for (index, name) in columns.iter().enumerate().step_by(every(cell.0)) {
                let center = f64::from(left) + cell.0 * (index as f64 + 0.5);
                text(Text::new(name.as_str(), (center as i32, bottom as i32 + 6), upright(SIZE)))?;
            }
            let (x_label, y_label) = (short(&clean(&self.x_label), 60), short(&clean(&self.y_label), 60));
            let center = (f64::from(left) + plot_width / 2.0) as i32 - width(&x_label) as i32 / 2;
            let drawn = Text::new(x_label.as_str(), (center.max(8), height as i32 - 24), style(SIZE));
            area.draw(&drawn).map_err(|error| error.to_string())?;
            let middle = f64::from(TOP) + plot_height / 2.0 - f64::from(width(&y_label)) / 2.0;
            let drawn = Text::new(y_label.as_str(), (16, middle.max(8.0) as i32), upright(SIZE));
            area.draw(&drawn).map_err(|error| error.to_string())
        })?;
        canvas.open("cells");
        for (row, column, value) in self.named() {
            let (x, y) = (f64::from(left) + cell.0 * column as f64, f64::from(TOP) + cell.1 * row as f64);
            let fill = color::hexadecimal(value.map_or(color::MISSING, |value| color::scale(share(value))));
            let value = value.map_or_else(|| "no value".into(), shown);
            let text = format!("{} and {}: {value}", self.rows[row], self.columns[column]);
            canvas.push(&format!(
                "<rect class=\"value\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\">\
                 <title>{}</title></rect>",
                cell.0,
                cell.1,
                escape(&text)
            ));
        }
        canvas.close();
        key(&mut canvas, &self.value_label, (low, high), share)?;
        let description = format!(
            "Heat map of {}: {} rows ({}) by {} columns ({}), from {} to {}.",
            self.value_label,
            rows.len(),
            self.y_label,
            columns.len(),
            self.x_label,
            shown(low),
            shown(high)
        );
        Ok(canvas.finish(&description))
    }

    fn table(&self) -> Table {
        let corner = format!("{} / {}", self.y_label, self.x_label);
        let mut table = Table::new(std::iter::once(&corner).chain(&self.columns));
        table.rows = self.rows.iter().map(|row| vec![row.clone()]).collect();
        for (row, _, value) in self.named().filter(|(row, ..)| *row < self.rows.len()) {
            table.rows[row].push(value.map_or_else(String::new, exact));
        }
        table
    }
}

/// The colours beside their values, at the right.
pub fn key(
    canvas: &mut Canvas<'_>,
    label: &str,
    (low, high): (f64, f64),
    share: impl Fn(f64) -> f64,
) -> Result<(), ReportError> {
    const STEPS: u32 = 24;
    let left = WIDTH - 80;
    canvas.open("key");
    for step in 0..STEPS {
        let value = low + (high - low) * (f64::from(STEPS - step) - 0.5) / f64::from(STEPS);
        let fill = color::hexadecimal(color::scale(share(value)));
        let top = TOP + 4 * step;
        canvas.push(&format!("<rect x=\"{left}\" y=\"{top}\" width=\"14\" height=\"4.5\" fill=\"{fill}\"/>"));
    }
    canvas.close();
    let values = [(high, TOP), (0.5 * (low + high), TOP + 2 * STEPS), (low, TOP + 4 * STEPS)];
    canvas.layer("axes", |area| {
        let ticks = super::axis::ticks((low, high));
        for (value, top) in values {
            let text = Text::new(ticks(&value), (left as i32 + 20, top as i32 - 7), style(SIZE));
            area.draw(&text).map_err(|error| error.to_string())?;
        }
        let label = short(&clean(label), 12);
        let text = Text::new(label, (left as i32, (TOP + 4 * STEPS) as i32 + 12), style(SIZE));
        area.draw(&text).map_err(|error| error.to_string())
    })
}
