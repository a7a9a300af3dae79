//! `otfuse compare`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use otfuse::pages::groups_csv;
use otfuse::{
    CompareOptions, ComparedAlignment, DataOptions, Likeness, Measure, Predictions, Registry, Result, compare,
};

use crate::arguments::{Aligning, Pages};
use crate::session::Session;
use crate::table::{count, percent, sizes, table};

/// `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// The networks, two or more; without --data of one architecture, widths may differ
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    aligning: Aligning,
    /// Use only the first N test samples for predictions
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Test samples, spread evenly, that layers are compared on [default: 256]
    #[arg(long, value_name = "N")]
    layer_samples: Option<usize>,
    #[command(flatten)]
    pages: Pages,
    /// Write the groups as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Compare {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let models = self.aligning.reading.open_all(&self.models, &mut registry)?;
        let data = self.aligning.data.open(&DataOptions::default(), &mut registry)?;
        self.pages.register(&mut registry)?;
        if let Some(path) = &self.csv {
            registry.output("csv", path)?;
        }
        let options =
            CompareOptions { aligning: self.aligning.options(), limit: self.limit, layer_samples: self.layer_samples };
        let found = compare(&models, &options, data.as_ref(), &session.context)?;
        self.pages.write(&found, &registry)?;
        if let Some(path) = &self.csv {
            registry.write(path, groups_csv(&found).as_bytes())?;
        }
        registry.commit()?;
        session.print(&found, text)
    }
}

fn text(found: &Likeness) -> String {
    let mut shown = String::new();
    // Writing to a string cannot fail.
    if let Some(difference) = &found.difference {
        let _ = writeln!(shown, "neurons are not compared: {difference}\n");
    }
    for alignment in found.alignments.iter().flatten() {
        let paths = (&found.models[alignment.model].path, &found.models[found.anchor].path);
        let _ = writeln!(shown, "{} against {}\n{}", paths.0, paths.1, neurons(alignment));
    }
    if let Some(predictions) = &found.predictions {
        shown += &said(found, predictions);
    }
    for pair in found.cka.iter().flat_map(|kernels| &kernels.pairs) {
        let paths = (&found.models[pair.first].path, &found.models[pair.second].path);
        let same: Vec<f64> =
            pair.values.iter().enumerate().filter_map(|(at, row)| row.get(at).copied().flatten()).collect();
        let mean = same.iter().sum::<f64>() / same.len().max(1) as f64;
        let _ = writeln!(shown, "{} and {}: linear CKA of layers in the same place {mean:.4}", paths.0, paths.1);
    }
    shown
}

/// The groups of a model, matched with the anchor's.
fn neurons(alignment: &ComparedAlignment) -> String {
    let optional = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3}"));
    let rows = alignment.groups.iter().map(|group| {
        vec![
            group.name.clone(),
            sizes(group.size, group.anchor_size),
            format!("{:.5}", group.cost),
            format!("{:.0} %", 100.0 * group.matched_fraction),
            format!("{:.0} %", 100.0 * group.moved),
            optional(group.before.as_ref().map(|quality| quality.mean)),
            optional(group.after.as_ref().map(|quality| quality.mean)),
        ]
    });
    let header = ["group", "neurons", "cost", "matched", "moved", "cosine before", "after"];
    table(&header, &header[1..], rows)
}

/// What the networks say of the samples.
fn said(found: &Likeness, predictions: &Predictions) -> String {
    let rows = found.models.iter().filter_map(|model| {
        let measure = model.measure?;
        Some([model.path.clone()].into_iter().chain(measure.columns().into_iter().map(|(_, value)| value)).collect())
    });
    let mut columns = vec!["model"];
    let first = found.models.first().and_then(|model| model.measure);
    columns.extend(first.iter().flat_map(Measure::columns).map(|(name, _)| name));
    let table = first.map_or_else(String::new, |_| table(&columns, &columns[1..], rows) + "\n");
    let mut shown = format!("{table}{} of {}\n", count(predictions.samples, "sample"), predictions.data);
    for pair in &predictions.pairs {
        let paths = (&found.models[pair.first].path, &found.models[pair.second].path);
        let _ = writeln!(shown, "{} and {} agree on {}", paths.0, paths.1, percent(pair.agreement));
    }
    shown
}
