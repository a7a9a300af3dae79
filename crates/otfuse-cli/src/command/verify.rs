//! `otfuse verify`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{InputShapes, Registry, Result, Verified, verify_at};

use crate::arguments::Reading;
use crate::session::Session;
use crate::table::count;

/// `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// The network
    model: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Seed of the permutations and inputs
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Lengths of an input that leaves some open, in place of those that are found: x=1x3x640x640
    #[arg(long, value_name = "INPUT=AxBx..")]
    shape: Vec<InputShapes>,
}

impl Verify {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let model = self.reading.open(&self.model, &mut Registry::new())?;
        let shapes = InputShapes::joined(&self.shape).unwrap_or_default();
        let found = verify_at(&model, &shapes, self.seed, &session.context)?;
        session.print(&found, text)?;
        found.failure.map_or(Ok(()), Err)
    }
}

fn text(found: &Verified) -> String {
    if found.free_groups == 0 {
        let pinned = count(found.pinned.len(), "neuron group");
        return format!("{}: no neurons can be reordered ({pinned} pinned), so that nothing was proved", found.path);
    }
    let rotated = found.rotations.as_ref().map_or_else(String::new, |proof| {
        let streams = count(proof.streams, "residual stream");
        let heads = count(proof.heads, "channel group");
        let also = if proof.heads > 0 { format!(" and {heads} in heads") } else { String::new() };
        format!("\n{streams}{also} rotated at random; largest relative change of an output {:.2e}", proof.max_rel_error)
    });
    format!(
        "{}: {}\n{} permuted at random, {} pinned; largest change of an output {:.2e} (relative {:.2e}){}{rotated}",
        found.path,
        if found.ok { "ok" } else { "FAILED" },
        count(found.free_groups, "neuron group"),
        found.pinned.len(),
        found.max_abs_error,
        found.max_rel_error,
        if found.perturbed {
            "\nproved on perturbed weights: the outputs do not depend on the network's own"
        } else {
            ""
        },
    )
}
