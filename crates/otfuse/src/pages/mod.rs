//! Results as pages: one HTML file with charts, tables and all numbers.

mod compare;
#[cfg(feature = "experiment")]
mod experiment;
mod fusion;
mod interpolate;
#[cfg(feature = "experiment")]
mod search;
mod terms;

use std::path::Path;

use otfuse_report::{Block, Cell, Grid, Page, ReportError, Section};
use serde::Serialize;

use crate::compare::ComparedModel;
use crate::{Error, Registry, Result};

pub use compare::groups_csv;

/// Pixels of an image per unit of a drawing.
#[cfg(feature = "png")]
const PIXELS: f32 = 2.0;

/// A result that can be shown as a page; its JSON stands in it whole.
pub trait Paged: Serialize {
    /// Title, sections and charts.
    ///
    /// # Errors
    /// A chart that cannot be drawn.
    fn page(&self) -> Result<Page, ReportError>;
}

/// The page of a result, its JSON in it.
///
/// # Errors
/// A chart that cannot be drawn.
pub fn page(result: &impl Paged) -> Result<Page> {
    let mut page = result.page().map_err(Error::run)?;
    page.terms = terms::terms(&page);
    page.generator = format!("otfuse {}", env!("CARGO_PKG_VERSION"));
    page.data = serde_json::to_value(result).map_err(|error| Error::run(format!("cannot write JSON: {error}")))?;
    Ok(page)
}

/// Stages a page, and every chart of it as SVG, PNG (with the feature `png`) and CSV into a folder.
///
/// # Errors
/// A chart that cannot be drawn, a file that cannot be written.
pub fn write_page(
    result: &impl Paged,
    registry: &Registry,
    report: Option<&Path>,
    figures: Option<&Path>,
) -> Result<()> {
    if report.is_none() && figures.is_none() {
        return Ok(());
    }
    let page = page(result)?;
    if let Some(folder) = figures {
        registry.outputs().create_folder(folder)?;
        for figure in page.figures() {
            registry.write(&folder.join(format!("{}.svg", figure.name)), figure.svg.as_bytes())?;
            #[cfg(feature = "png")]
            {
                let image = otfuse_report::to_png(&figure.svg, PIXELS).map_err(Error::run)?;
                registry.write(&folder.join(format!("{}.png", figure.name)), &image)?;
            }
            registry.write(&folder.join(format!("{}.csv", figure.name)), figure.table.to_csv().as_bytes())?;
        }
    }
    match report {
        Some(path) => registry.write(path, page.to_html().as_bytes()),
        None => Ok(()),
    }
}

/// The section about the models; `models` of the page's JSON are they.
fn models_section(models: &[ComparedModel]) -> Section {
    let measured = models.iter().any(|model| model.measure.is_some());
    let of_numbers = models.iter().filter_map(|model| model.measure).any(|measure| measure.is_of_numbers());
    let mut header: Vec<String> = vec!["Model".into(), "Parameters".into()];
    if measured {
        header.extend((!of_numbers).then(|| "Accuracy".to_owned()));
        header.push(if of_numbers { "Squared error" } else { "Loss" }.into());
    }
    header.push("SHA-256".into());
    let names = short_names(models);
    let rows = models.iter().enumerate().map(|(index, model)| {
        let at = |key: &str| format!("/models/{index}/{key}");
        let mut row = vec![Cell::short(&names[index], &model.path), Cell::count(model.parameters, at("parameters"))];
        if let Some(measure) = model.measure {
            row.extend((!of_numbers).then(|| Cell::percent(measure.accuracy, at("accuracy"))));
            row.push(Cell::number(measure.loss, 4, at("loss")));
        }
        row.push(Cell::text(short_hash(&model.sha256)));
        row
    });
    let grid = Grid { caption: "The networks compared".into(), header, rows: rows.collect() };
    Section { heading: "Models".into(), blocks: vec![Block::Grid(grid)] }
}

fn short_names(models: &[ComparedModel]) -> Vec<String> {
    crate::files::short_names(&models.iter().map(|model| model.path.clone()).collect::<Vec<_>>())
}

/// The first digits of a hash; all of them stand in the JSON.
fn short_hash(hash: &str) -> String {
    format!("{}…", hash.get(..12).unwrap_or(hash))
}
