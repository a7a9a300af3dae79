//! `otfuse eval`.

use std::path::{Path, PathBuf};

use clap::Args;
use otfuse::{Evaluations, Measured, Model, Registry, Result, SplitName, evaluate};

use crate::arguments::{Data, Pages, Reading};
use crate::choice::choice;
use crate::session::Session;
use crate::table::{count, table};

/// `eval`.
#[derive(Args, Debug)]
pub struct Eval {
    /// The networks
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    data: Data,
    /// Also evaluate the mean of all networks' probabilities
    #[arg(long)]
    ensemble: bool,
    /// Which part of the data set
    #[arg(long, value_parser = choice::<SplitName>(), default_value = "test")]
    split: SplitName,
    /// Use only the first N samples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    pages: Pages,
}

impl Eval {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let data = self.data.required(&mut registry)?;
        let models = self.reading.open_all(&self.models, &mut registry)?;
        self.pages.register(&mut registry)?;
        let samples = data.samples(self.split, self.limit)?;
        let models: Vec<&Model> = models.iter().collect();
        let found = evaluate(&models, &samples, self.ensemble, &session.context)?;
        self.pages.write(&found, &registry)?;
        registry.commit()?;
        session.print(&found, text)
    }
}

fn text(found: &Evaluations) -> String {
    let row = |name: &str, measured: &Measured| {
        let perplexity = measured.perplexity.map(|perplexity| format!("{perplexity:.3}"));
        let cells = measured.columns().into_iter().map(|(_, value)| value);
        [name.to_owned()].into_iter().chain(cells).chain(perplexity).collect()
    };
    let name = |path: &str| {
        Path::new(path).file_name().map_or_else(|| path.into(), |name| name.to_string_lossy().into_owned())
    };
    let names: Vec<String> = found.models.iter().map(|model| name(&model.path)).collect();
    let ensemble = format!("ensemble of {}", names.join(", "));
    let rows = found.models.iter().map(|model| row(&model.path, &model.measured));
    let rows = rows.chain(found.ensemble.iter().map(|measured| row(&ensemble, measured)));
    let samples = found.models.first().map_or(0, |model| model.measured.samples);
    let is_language = found.models.iter().any(|model| model.measured.perplexity.is_some());
    let mut columns = vec!["model"];
    columns.extend(found.models.iter().take(1).flat_map(|model| model.measured.columns()).map(|(name, _)| name));
    columns.extend(is_language.then_some("perplexity"));
    let numbers = columns[1..].to_vec();
    let table = table(&columns, &numbers, rows);
    format!("{table}\n{} of {}", count(samples, "sample"), found.data)
}
