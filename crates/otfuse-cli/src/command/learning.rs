//! `otfuse fuse --into`.

use std::path::Path;

use clap::Args;
use otfuse::{
    Dataset, Error, FuseOptions, Knowledge, LearnOptions, LearnReport, Learned, Model, RecallName, Registry, Result,
};

use crate::arguments::Reading;
use crate::choice::{choice, said};
use crate::session::Session;
use crate::table::count;

/// How a network is fused into what is known.
#[derive(Args, Debug)]
#[command(next_help_heading = "With --into")]
pub struct Learning {
    /// How the two networks become one [default: least-squares]
    #[arg(long, value_parser = choice::<RecallName>(), requires = "into")]
    recall: Option<RecallName>,
    /// How much the class that least squares fits to all tasks counts between tasks of other classes, in units of scores
    /// [default: 10]
    #[arg(long, value_name = "B", allow_negative_numbers = true, requires = "into")]
    between: Option<f64>,
    /// Refuse samples of classes that were learned before
    #[arg(long, requires = "into")]
    disjoint: bool,
}

impl Learning {
    /// Fuses one network into what is known.
    pub fn run(
        &self,
        (into, reading): (&Path, &Reading),
        (models, data, options): (&[Model], Option<Dataset>, &FuseOptions),
        output: &Path,
        mut registry: Registry,
        session: &Session,
    ) -> Result<()> {
        let [model] = models else {
            let message = format!("`into` takes one network that learned the new task, found {}", models.len());
            return Err(
                Error::input(message).hint("fuse the others one after the other, each with its samples as --data")
            );
        };
        let data = data.ok_or_else(|| Error::input("`into` needs `data`").hint("samples of the new task"))?;
        let known = if into == Path::new("new") {
            None
        } else {
            let known = reading.open(into, &mut registry)?;
            registry.input("knowledge", &Knowledge::beside(into))?;
            Some(otfuse::Learning::of(known)?)
        };
        Learned::register(&mut registry, output, known.as_ref().map_or(model, |known| &known.model))?;
        let learning = LearnOptions { recall: self.recall, between: self.between, disjoint: said(self.disjoint) };
        let mut learned = otfuse::learn(known.as_ref(), model, &data, options, &learning, &session.context)?;
        learned.write(&registry, output)?;
        registry.commit()?;
        session.print(&learned.report, learned_text)
    }
}

/// What was learned, as text.
fn learned_text(report: &LearnReport) -> String {
    let listed = |classes: &[usize]| match classes {
        [] => String::new(),
        classes => format!(" of classes {}", classes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    let into = match &report.into {
        Some(into) => {
            format!("fused into {into} ({}, {})", report.recall, count(report.fitted_layers, "layer") + " fitted")
        }
        None => "the first task".to_owned(),
    };
    format!(
        "{}: {}, {into}\nlearned from {}{}; knows {}, {}{}\nwhat later tasks need: {}.knowledge, {} bytes",
        report.output,
        report.model,
        count(report.samples, "sample"),
        listed(&report.classes),
        count(report.tasks, "task"),
        count(report.known_samples, "sample"),
        listed(&report.known_classes),
        report.output,
        report.knowledge_bytes,
    )
}
