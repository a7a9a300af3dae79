//! `otfuse demo`.

use clap::Args;
use otfuse::{Registry, Result, demo};

use crate::arguments::Pages;
use crate::session::Session;
use crate::table::{percent, table};

/// `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    pages: Pages,
}

impl Demo {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        self.pages.register(&mut registry)?;
        let found = demo(self.seed, &session.context)?;
        self.pages.write(&found, &registry)?;
        registry.commit()?;
        session.print(&found, text)
    }
}

fn text(found: &otfuse::Demo) -> String {
    let rows = found.rows.iter().map(|row| {
        vec![row.name.to_owned(), percent(row.accuracy), format!("{:.2} s", row.seconds), row.explanation.to_owned()]
    });
    let table = table(&["network", "accuracy", "time", ""], &["accuracy", "time"], rows);
    format!("Two perceptrons (64-128-64-10) on handwritten digits, made one; accuracy on held-out samples\n{table}")
}
