//! `otfuse interpolate`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use otfuse::{Barriers, InterpolateOptions, Measure, MergeName, Registry, RepairName, Result, Walk, interpolate};

use crate::arguments::{Aligning, Pages};
use crate::choice::choice;
use crate::session::Session;
use crate::table::{count, table};

/// `interpolate`.
#[derive(Args, Debug)]
pub struct Interpolate {
    /// The networks: two for a straight path from the first to the last, more for the simplex between all
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    models: Vec<PathBuf>,
    #[command(flatten)]
    aligning: Aligning,
    /// How aligned tensors become one [default: mean]
    #[arg(long, value_parser = choice::<MergeName>())]
    merge: Option<MergeName>,
    /// Points from one network to another, ends included, or for two networks the weights of the second; 11 for two
    /// networks, 5 for more
    #[arg(long, value_name = "N|W,W,..")]
    steps: Option<String>,
    /// Use only the first N test samples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Also measure on N training samples, spread evenly over the training split
    #[arg(long, value_name = "N")]
    train: Option<usize>,
    /// Also repair every point between the ends; all but none and data-free take --samples training samples
    /// [default: none]
    #[arg(long, value_parser = choice::<RepairName>())]
    repair: Option<RepairName>,
    /// Match and repair as `otfuse fuse` with the same data does where nothing else is said, so that halfway is what it writes
    #[arg(long)]
    as_fuse: bool,
    /// How strongly --repair least-squares holds weights at the averaged ones [default: 0.03]
    #[arg(long, value_name = "R")]
    ridge: Option<f64>,
    /// Also measure N x N points of the plane through the first three aligned networks, or through the first of two as it
    /// is, aligned, and the second
    #[arg(long, value_name = "N")]
    plane: Option<usize>,
    #[command(flatten)]
    pages: Pages,
    /// Write the points as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Interpolate {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let models = self.aligning.reading.open_all(&self.models, &mut registry)?;
        let data = self.aligning.data.required(&mut registry)?;
        self.pages.register(&mut registry)?;
        if let Some(path) = &self.csv {
            registry.output("csv", path)?;
        }
        let options = InterpolateOptions {
            aligning: self.aligning.options(),
            merge: self.merge,
            steps: self.steps.clone(),
            limit: self.limit,
            train: self.train,
            repair: self.repair,
            ridge: self.ridge,
            as_fuse: self.as_fuse,
            plane: self.plane,
        };
        let found = interpolate(&models, &options, &data, &session.context)?;
        self.pages.write(&found, &registry)?;
        if let Some(path) = &self.csv {
            registry.write(path, found.csv().as_bytes())?;
        }
        registry.commit()?;
        session.print(&found, text)
    }
}

fn text(found: &Walk) -> String {
    let accuracy = |measure: &Measure| measure.headline();
    let what = found.points.first().map_or("accuracy", |point| point.ot.headline_name());
    let optional = |measure: &Option<Measure>| measure.as_ref().map_or_else(|| "-".into(), accuracy);
    let rows = found.points.iter().map(|point| {
        let weights: Vec<String> = point.weights.iter().map(|weight| format!("{weight:.3}")).collect();
        vec![
            weights.join(" "),
            optional(&point.vanilla),
            accuracy(&point.ensemble),
            accuracy(&point.ot),
            optional(&point.repaired),
        ]
    });
    let parents = found
        .models
        .iter()
        .map(|parent| format!("{}: {}", parent.path, parent.measure.as_ref().map_or_else(String::new, accuracy)));
    let parents: Vec<String> = parents.collect();
    let header = ["weights", "vanilla", "ensemble", "ot", "repaired"];
    let mut shown = format!(
        "{}\n{}\n\n{what} on {} of {}\n{}",
        parents.join("\n"),
        table(&header, &header, rows),
        count(found.samples, "sample"),
        found.data,
        barriers("test", &found.barrier),
    );
    shown += &halfway(&found.settings.halfway, "--as-fuse makes it so");
    if let Some(train) = &found.train {
        // Writing to a string cannot fail.
        let _ = write!(shown, "\n{}", barriers("train", &train.barrier));
    }
    shown
}

/// Says what makes halfway another network than `fuse` writes.
pub fn halfway(differences: &[String], way_out: &str) -> String {
    if differences.is_empty() {
        return String::new();
    }
    let differences = differences.join(", ").replace('`', "");
    format!("\nhalfway (0.5) is not what otfuse fuse writes with this data: {differences}; {way_out}")
}

fn barriers(split: &str, barriers: &Barriers) -> String {
    let mut text = format!("loss barrier, {split}:");
    for (name, barrier) in barriers.all() {
        let weights: Vec<String> = barrier.weights.iter().map(|weight| format!("{weight:.3}")).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, "  {name} {:.4} at {}", barrier.loss, weights.join(" "));
    }
    text
}
