//! `otfuse align`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{DataOptions, Error, Registry, Result, aligning};

use super::fuse;
use crate::arguments::Aligning;
use crate::session::Session;

/// `align`.
#[derive(Args, Debug)]
pub struct Align {
    /// The network whose neurons are moved
    model: PathBuf,
    /// The network whose order they take
    to: PathBuf,
    /// Where to write the first network, aligned; the extension chooses the format
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    aligning: Aligning,
    /// Write what was matched with what, as JSON, for `apply`
    #[arg(long, value_name = "FILE")]
    save_alignment: Option<PathBuf>,
}

impl Align {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let paths = [self.model.clone(), self.to.clone()];
        let models = self.aligning.reading.open_all(&paths, &mut registry)?;
        let [model, to] = &models[..] else { return Err(Error::input("`align` takes two networks")) };
        let data = self.aligning.data.open(&DataOptions::default(), &mut registry)?;
        registry.result("output", &self.output, to)?;
        if let Some(path) = &self.save_alignment {
            registry.output("save-alignment", path)?;
        }
        let fusing = aligning(model, to, &self.aligning.options(), data.as_ref())?;
        let mut aligned = fusing.run(&session.context)?;
        aligned.write(&registry, &self.output, &session.context)?;
        if let Some(path) = &self.save_alignment {
            registry.write(path, &aligned.alignments_json()?)?;
        }
        registry.commit()?;
        session.print(&aligned.report, fuse::text)
    }
}
