//! Pages and charts that commands write beside their result.

mod experiment;
mod fusion;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use otfuse_formats::file::atomic_write;
use otfuse_report::{Block, Cell, Grid, Page, ReportError, Section, to_png};
use serde::Serialize;

pub use experiment::experiment_page;
pub use fusion::{compared, demo_page, evaluation_page, fusion_page};

use super::Failure;
use super::models::{check_output, file_failure, hash, shown};
use super::walk::Measure;

/// Pixels of an image per unit of a drawing.
const PIXELS: f32 = 2.0;

/// Where a page goes.
#[derive(Args, Debug, Clone, Default)]
pub struct Pages {
    /// Write a page: one HTML file with charts, tables and all numbers, readable without a network
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write every chart of the page into this folder: NAME.svg, NAME.png and its numbers, NAME.csv
    #[arg(long, value_name = "FOLDER")]
    pub figures: Option<PathBuf>,
}

impl Pages {
    /// Refuses what cannot be written, before any work is done.
    pub fn check(&self, inputs: &[PathBuf]) -> Result<(), Failure> {
        if let Some(path) = &self.report {
            check_output(path, inputs, None)?;
        }
        if let Some(folder) = &self.figures
            && folder.exists()
            && !folder.is_dir()
        {
            let message = format!("{}: expected a folder, found a file", folder.display());
            return Err(Failure::input(message).hint("--figures FOLDER is made if it is not there"));
        }
        Ok(())
    }

    /// Whether a page is needed.
    pub fn wanted(&self) -> bool {
        self.report.is_some() || self.figures.is_some()
    }

    /// Writes the page with `data`, the command's JSON, in it.
    pub fn write<T: Serialize>(
        &self,
        data: &T,
        page: impl FnOnce(&serde_json::Value) -> Result<Page, ReportError>,
    ) -> Result<(), Failure> {
        if !self.wanted() {
            return Ok(());
        }
        let data = json(data)?;
        let mut page = page(&data).map_err(Failure::run)?;
        page.generator = format!("otfuse {}", env!("CARGO_PKG_VERSION"));
        page.data = data;
        if let Some(folder) = &self.figures {
            std::fs::create_dir_all(folder).map_err(|error| {
                Failure::input(format!("{}: {error}", folder.display())).hint("the folder cannot be made")
            })?;
            for figure in page.figures() {
                write_text(&folder.join(format!("{}.svg", figure.name)), &figure.svg)?;
                let image = to_png(&figure.svg, PIXELS).map_err(Failure::run)?;
                write_bytes(&folder.join(format!("{}.png", figure.name)), &image)?;
                write_text(&folder.join(format!("{}.csv", figure.name)), &figure.table.to_csv())?;
            }
        }
        match &self.report {
            Some(path) => write_text(path, &page.to_html()),
            None => Ok(()),
        }
    }
}

/// What a command prints with `--json`.
pub fn json<T: Serialize>(report: &T) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(report).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))
}

/// Writes a text file, whole or not at all.
pub fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    write_bytes(path, text.as_bytes())
}

/// Writes a file, whole or not at all.
fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    atomic_write(path, |writer| writer.write_all(bytes)).map_err(|error| file_failure(&error))
}

/// A model that a command read.
#[derive(Clone, Serialize)]
pub struct Parent {
    /// As it was given.
    pub path: String,
    /// Of the file.
    pub sha256: String,
    /// Learned numbers.
    pub parameters: usize,
    /// On the test samples, where there are any.
    #[serde(flatten)]
    pub measure: Option<Measure>,
}

impl Parent {
    /// The model at this path.
    pub fn new(path: &Path, graph: &otfuse_graph::Graph, measure: Option<Measure>) -> Result<Self, Failure> {
        Ok(Self { path: shown(path), sha256: hash(path)?, parameters: graph.parameter_count(), measure })
    }
}

/// The section about the models; `models` of the page's JSON are they.
pub fn models_section(models: &[Parent]) -> Section {
    let measured = models.iter().any(|model| model.measure.is_some());
    let mut header: Vec<String> = vec!["Model".into(), "Parameters".into()];
    if measured {
        header.extend(["Accuracy".to_owned(), "Loss".to_owned()]);
    }
    header.push("SHA-256".into());
    let rows = models.iter().enumerate().map(|(index, model)| {
        let at = |key: &str| format!("/models/{index}/{key}");
        let mut row = vec![Cell::text(&model.path), Cell::count(model.parameters, at("parameters"))];
        if let Some(measure) = model.measure {
            row.push(Cell::percent(measure.accuracy, at("accuracy")));
            row.push(Cell::number(measure.loss, 4, at("loss")));
        }
        row.push(Cell::text(short_hash(&model.sha256)));
        row
    });
    let grid = Grid { caption: "The networks compared".into(), header, rows: rows.collect() };
    Section { heading: "Models".into(), blocks: vec![Block::Grid(grid)] }
}

/// The first digits of a hash; all of them stand in the JSON.
pub fn short_hash(hash: &str) -> String {
    format!("{}…", hash.get(..12).unwrap_or(hash))
}

/// The last part of a path, for legends; the whole path where two models would have one name.
pub fn names(paths: &[PathBuf]) -> Vec<String> {
    let last =
        |path: &PathBuf| path.file_name().map_or_else(|| shown(path), |name| name.to_string_lossy().into_owned());
    let short: Vec<String> = paths.iter().map(last).collect();
    paths
        .iter()
        .zip(&short)
        .map(|(path, name)| match short.iter().filter(|other| *other == name).count() {
            1 => name.clone(),
            _ => shown(path),
        })
        .collect()
}
