//! `otfuse inspect`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{Inspection, Port, Registry, Result, brief, inspect};

use crate::arguments::Reading;
use crate::session::Session;
use crate::table::{count, table};

/// `inspect`.
#[derive(Args, Debug)]
pub struct Inspect {
    /// The network
    model: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Draw the network, repeated blocks folded and boxes coloured by neuron group
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    /// Write the same drawing for Graphviz
    #[arg(long, value_name = "OUT.dot")]
    dot: Option<PathBuf>,
}

impl Inspect {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let model = self.reading.open(&self.model, &mut registry)?;
        for (option, path) in [("svg", &self.svg), ("dot", &self.dot)] {
            if let Some(path) = path {
                registry.output(option, path)?;
            }
        }
        let found = inspect(&model, &session.context)?;
        if let Some(path) = &self.svg {
            registry.write(path, found.svg().as_bytes())?;
        }
        if let Some(path) = &self.dot {
            registry.write(path, found.dot().as_bytes())?;
        }
        registry.commit()?;
        session.print(&found, text)
    }
}

fn text(found: &Inspection) -> String {
    let port = |port: &Port| {
        let shape = port.shape.as_ref().map_or("?".into(), |shape| shape.join(" x "));
        format!("{} [{shape}] {}", port.name, port.data_type.as_deref().unwrap_or("?"))
    };
    let ports = |ports: &[Port]| ports.iter().map(port).collect::<Vec<_>>().join(", ");
    let operators: Vec<String> = found.operators.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let groups = found.groups.iter().map(|group| {
        let size = match group.within {
            Some(outer) => format!("{} in each of group {outer}", group.size),
            None => group.size.to_string(),
        };
        vec![group.index.to_string(), size, brief(&group.members)]
    });
    let pinned = found.pinned.iter();
    let pinned = pinned.map(|group| vec![group.size.to_string(), brief(&group.members), group.reason.clone()]);
    format!(
        "{} ({})\n{}, {}\ninputs:    {}\noutputs:   {}\noperators: {}\n\n{}\n\n{}\n{}\n\npinned\n{}",
        found.path,
        found.format,
        count(found.parameters, "parameter"),
        count(found.nodes, "node"),
        ports(&found.inputs),
        ports(&found.outputs),
        operators.join(", "),
        found.drawing(),
        count(found.groups.len(), "neuron group"),
        table(&["group", "neurons", "producers -> consumers"], &["group", "neurons"], groups),
        table(&["size", "weights", "why"], &["size"], pinned),
    )
}
