//! Bars in groups.

use plotters::element::{ErrorBar, Rectangle};
use plotters::prelude::Text;
use plotters::style::Color;

use super::axis::{range, shown};
use super::canvas::{Canvas, Frame, SIZE, WIDTH, clean, escape, short, style, upright, width};
use super::legend::Legend;
use super::table::{Table, exact};
use super::{Chart, color};
use crate::ReportError;

/// Bars: one for each series in each group.
#[derive(Clone, Debug, Default)]
pub struct BarChart {
    /// What it shows.
    pub title: String,
    /// What the groups are.
    pub x_label: String,
    /// The vertical axis and its unit.
    pub y_label: String,
    /// Names of the series.
    pub series: Vec<String>,
    /// From left to right.
    pub groups: Vec<BarGroup>,
}

/// Bars that stand together.
#[derive(Clone, Debug, Default)]
pub struct BarGroup {
    /// As it stands below.
    pub name: String,
    /// Value and half the length of the error bar of each series; none where there is no bar.
    pub bars: Vec<Option<(f64, Option<f64>)>>,
}

impl BarGroup {
    /// Bars without errors.
    pub fn new(name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        Self { name: name.into(), bars: values.into_iter().map(|value| Some((value, None))).collect() }
    }

    /// Index of the series, value and error of the bars that can be drawn.
    fn drawn(&self) -> impl Iterator<Item = (usize, f64, Option<f64>)> + '_ {
        let bars = self.bars.iter().enumerate().filter_map(|(series, bar)| {
            let (value, error) = (*bar)?;
            Some((series, value, error.filter(|error| error.is_finite())))
        });
        bars.filter(|(_, value, _)| value.is_finite())
    }
}

/// A bar that lies on a line of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct NarrowBar {
    /// What it is of: the group, on its first bar.
    pub group: Option<String>,
    /// The series, where there are several.
    pub series: Option<String>,
    /// The index of its colour.
    pub color: usize,
    /// Where it begins, in percent of the width.
    pub left: f64,
    /// How long it is, in percent of the width.
    pub length: f64,
    /// Its value as text.
    pub value: String,
}

/// Where everything of a chart stands.
struct Layout<'c> {
    frame: Frame<'c>,
    /// The ends of the axes.
    x: (f64, f64),
    y: (f64, f64),
    /// Names of the groups as they are drawn.
    names: Vec<String>,
    /// The width of a group.
    slot: f64,
    /// Whether the names are read from below.
    is_upright: bool,
    /// Of the whole chart.
    height: u32,
}

impl BarChart {
    /// Below the legend, which ends at `top`.
    fn layout(&self, top: u32) -> Layout<'_> {
        let names: Vec<String> = self.groups.iter().map(|group| short(&clean(&group.name), 24)).collect();
        let longest = names.iter().map(|name| width(name)).max().unwrap_or(0);
        let slot = f64::from(WIDTH - 116) / self.groups.len().max(1) as f64;
        let is_upright = f64::from(longest) > slot - 6.0;
        let below = if is_upright { longest + 8 } else { 8 };
        let height = top + 360 + below;
        let ends = self.groups.iter().flat_map(BarGroup::drawn).flat_map(|(_, value, error)| {
            let error = error.unwrap_or(0.0).abs();
            [value - error, value + error]
        });
        let y = match range(ends.chain([0.0])) {
            // Bars stand on zero.
            (low, high) if self.groups.iter().flat_map(BarGroup::drawn).all(|(_, value, _)| value >= 0.0) => {
                (low.max(0.0), high)
            }
            other => other,
        };
        let x = (0.0, self.groups.len().max(1) as f64);
        // Below the axis there is room for its label; the names of the groups stand between.
        let place = (8, top, WIDTH - 16, height - 24 - below + 16);
        let frame = Frame { place, left: 76, x_label: "", y_label: &self.y_label };
        Layout { frame, x, y, names, slot, is_upright, height }
    }

    /// The axes, and the names of the groups.
    fn draw_axes(&self, canvas: &mut Canvas<'_>, layout: &Layout<'_>) -> Result<(), ReportError> {
        let Layout { frame, x, y, .. } = layout;
        canvas.layer("axes", |area| {
            frame.bars(area, *x, *y)?;
            let plot = frame.plot(area, x.0..x.1, y.0..y.1)?;
            let bottom = plot.backend_coord(&(0.0, y.0)).1;
            let step = (f64::from(SIZE + 2) / layout.slot).ceil().max(1.0) as usize;
            for (index, name) in layout.names.iter().enumerate().step_by(if layout.is_upright { step } else { 1 }) {
                let center = plot.backend_coord(&(index as f64 + 0.5, y.0)).0;
                let text = match layout.is_upright {
                    true => Text::new(name.as_str(), (center, bottom + 8), upright(SIZE)),
                    false => Text::new(name.as_str(), (center - width(name) as i32 / 2, bottom + 8), style(SIZE)),
                };
                area.draw(&text).map_err(|error| error.to_string())?;
            }
            let label = short(&clean(&self.x_label), 80);
            let left = (WIDTH + 76) as i32 / 2 - width(&label) as i32 / 2;
            let text = Text::new(label, (left, layout.height as i32 - 24), style(SIZE));
            area.draw(&text).map_err(|error| error.to_string())
        })
    }

    /// The bars of a series, and what shows their values.
    fn draw_series(&self, canvas: &mut Canvas<'_>, layout: &Layout<'_>, series: usize) -> Result<(), ReportError> {
        let Layout { frame, x, y, .. } = layout;
        let count = self.series.len().max(1) as f64;
        let mut places = Vec::new();
        canvas.layer("bars", |area| {
            let mut plot = frame.plot(area, x.0..x.1, y.0..y.1)?;
            let ink = color::series(series);
            for (index, group) in self.groups.iter().enumerate() {
                for (_, value, error) in group.drawn().filter(|&(found, ..)| found == series) {
                    let left = index as f64 + 0.1 + 0.8 * series as f64 / count;
                    let right = left + 0.76 / count;
                    let bar = Rectangle::new([(left, 0.0), (right, value)], ink.filled());
                    plot.draw_series([bar]).map_err(|error| error.to_string())?;
                    if let Some(error) = error {
                        let center = 0.5 * (left + right);
                        let (low, high) = (value - error, value + error);
                        let bar = ErrorBar::new_vertical(center, low, value, high, color::INK.filled(), 8);
                        plot.draw_series([bar]).map_err(|error| error.to_string())?;
                    }
                    let ends = [plot.backend_coord(&(left, 0.0)), plot.backend_coord(&(right, value))];
                    places.push((ends, group, value, error));
                }
            }
            Ok::<(), String>(())
        })?;
        for ([(left, zero), (right, top)], group, value, error) in places {
            let error = error.map_or_else(String::new, |error| format!(" ± {}", shown(error)));
            let text = format!("{}, {}: {}{error}", group.name, self.series[series], shown(value));
            let (top, bottom) = (top.min(zero) - 4, top.max(zero) + 4);
            canvas.push(&format!(
                "<rect class=\"value\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill-opacity=\"0\">\
                 <title>{}</title></rect>",
                (right - left).max(1),
                bottom - top,
                escape(&text)
            ));
        }
        Ok(())
    }
}

impl Chart for BarChart {
    fn title(&self) -> &str {
        &self.title
    }

    fn to_svg(&self) -> Result<String, ReportError> {
        let legend = Legend::new(self.series.iter().map(String::as_str));
        let layout = self.layout(legend.bottom);
        let mut canvas = Canvas::new(&self.title, layout.height)?;
        self.draw_axes(&mut canvas, &layout)?;
        for series in 0..self.series.len() {
            canvas.open(&format!("series data-series=\"{series}\""));
            self.draw_series(&mut canvas, &layout, series)?;
            canvas.close();
        }
        legend.draw(&mut canvas, |area, index, (left, top)| {
            let square = Rectangle::new([(left - 7, top - 7), (left + 7, top + 7)], color::series(index).filled());
            area.draw(&square).map_err(|error| error.to_string())
        })?;
        let description = format!(
            "Bar chart of {} for {} groups. Series: {}.",
            self.y_label,
            self.groups.len(),
            self.series.join("; ")
        );
        Ok(canvas.finish(&description))
    }

    fn bars(&self) -> Vec<NarrowBar> {
        let values = self.groups.iter().flat_map(BarGroup::drawn).map(|(_, value, _)| value);
        let (low, high) = values.fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let share = |value: f64| if high > low { 100.0 * (value / (high - low)) } else { 0.0 };
        let mut bars = Vec::new();
        for group in &self.groups {
            for (at, (series, value, error)) in group.drawn().enumerate() {
                let error = error.map_or_else(String::new, |error| format!(" ± {}", shown(error)));
                bars.push(NarrowBar {
                    group: (at == 0).then(|| group.name.clone()),
                    series: self.series.get(series).filter(|_| self.series.len() > 1).cloned(),
                    color: series,
                    left: share(value.min(0.0) - low),
                    length: share(value.abs()),
                    value: format!("{}{error}", shown(value)),
                });
            }
        }
        bars
    }

    fn table(&self) -> Table {
        let mut table = Table::new([&self.x_label, "series", &self.y_label, "error"]);
        for group in &self.groups {
            for (name, bar) in self.series.iter().zip(&group.bars) {
                let Some((value, error)) = bar else { continue };
                let error = error.map_or_else(String::new, exact);
                table.rows.push(vec![group.name.clone(), name.clone(), exact(*value), error]);
            }
        }
        table
    }
}
