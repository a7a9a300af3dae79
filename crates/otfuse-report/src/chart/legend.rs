//! The names of series, each beside its mark.

use plotters::prelude::Text;

use super::canvas::{Area, Canvas, SIZE, TOP, WIDTH, clean, escape, short, style, width};
use crate::ReportError;

/// Between the rows of a legend.
const ROW: u32 = 24;

/// Where each name goes.
pub struct Legend {
    /// Left and top of each.
    places: Vec<(u32, u32)>,
    names: Vec<String>,
    /// Where the plot begins.
    pub bottom: u32,
}

impl Legend {
    /// Names in rows below the title.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<String> = names.into_iter().map(|name| short(&clean(name), 60)).collect();
        let (mut left, mut top) = (16, TOP);
        let mut places = Vec::new();
        for name in &names {
            let needed = 34 + width(name) + 18;
            if left > 16 && left + needed > WIDTH {
                (left, top) = (16, top + ROW);
            }
            places.push((left, top));
            left += needed;
        }
        let bottom = if names.is_empty() { TOP } else { top + ROW + 6 };
        Self { places, names, bottom }
    }

    /// Draws each name as a group of class `legend`, which a page makes a switch; `mark` draws what stands before it.
    pub fn draw(
        &self,
        canvas: &mut Canvas<'_>,
        mark: impl Fn(&Area<'_>, usize, (i32, i32)) -> Result<(), String>,
    ) -> Result<(), ReportError> {
        for (index, (name, &(left, top))) in self.names.iter().zip(&self.places).enumerate() {
            let (left, top) = (left as i32, top as i32);
            let class = format!("legend data-series=\"{index}\" data-name=\"{}\"", escape(name));
            canvas.layer(&class, |area| {
                mark(area, index, (left + 12, top + 8))?;
                let text = Text::new(name.as_str(), (left + 32, top), style(SIZE));
                area.draw(&text).map_err(|error| error.to_string())
            })?;
        }
        Ok(())
    }
}
