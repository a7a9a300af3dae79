//! `otfuse align` and `otfuse apply`: one model's neurons in the order of another's, for other tools to merge.

use std::path::PathBuf;

use clap::Args;
use otfuse_fusion::{Aligned, FusionError, ModelAlignment, Networks};
use otfuse_graph::Graph;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::aligning::Aligning;
use crate::cli::arguments::Reading;
use crate::cli::failure::fusion_failure;
use crate::cli::models::{check_output, count, file_failure, open_finite, save, shown};
use crate::cli::output::Output;

/// The largest file of alignments that is read, in bytes.
const MOST_BYTES: usize = 1 << 30;

/// `align`.
#[derive(Args, Debug)]
pub struct Align {
    /// The network whose neurons are moved
    pub model: PathBuf,
    /// The network whose order they take
    pub to: PathBuf,
    /// Where to write the first network, aligned; the extension chooses the format
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub aligning: Aligning,
    /// Write what was matched with what, as JSON, for `apply`
    #[arg(long, value_name = "FILE")]
    pub save_alignment: Option<PathBuf>,
}

/// Runs `align`.
pub fn run(arguments: &Align, output: &Output) -> Result<(), Failure> {
    if arguments.aligning.anchor.is_some_and(|anchor| anchor != 1) {
        return Err(Failure::input("--anchor: the second network is the one that the first is aligned to")
            .hint("name the networks in the other order"));
    }
    let mut fuse = arguments.aligning.fuse(&[arguments.model.clone(), arguments.to.clone()])?;
    fuse.aligned_only = true;
    // The result is one of its parents in another order: there is nothing to measure.
    fuse.check = 0;
    fuse.output = Some(arguments.output.clone());
    fuse.save_alignment.clone_from(&arguments.save_alignment);
    super::fuse::run(&fuse, output)
}

/// `apply`.
#[derive(Args, Debug)]
pub struct Apply {
    /// What `align`, or `fuse`, wrote with --save-alignment
    pub alignment: PathBuf,
    /// A network of the same architecture as the one that was aligned: a later checkpoint, say
    pub model: PathBuf,
    /// Where to write it, aligned; the extension chooses the format
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub reading: Reading,
    /// The network that it is aligned to; needed where widths differ
    #[arg(long, value_name = "MODEL")]
    pub to: Option<PathBuf>,
    /// Which alignment of the file, by the number of the model in `fuse`; needed if there are several
    #[arg(long, value_name = "I")]
    pub index: Option<usize>,
    /// The alignment was made with --preset paper
    #[arg(long)]
    pub published_scaling: bool,
}

#[derive(Serialize)]
struct Report {
    model: String,
    output: String,
    groups: usize,
    moved: usize,
}

/// Runs `apply`.
pub fn apply(arguments: &Apply, output: &Output) -> Result<(), Failure> {
    let inputs: Vec<PathBuf> =
        [&arguments.alignment, &arguments.model].into_iter().chain(&arguments.to).cloned().collect();
    let shape = arguments.to.as_ref().unwrap_or(&arguments.model);
    check_output(&arguments.output, &inputs, Some(shape))?;
    let mut alignment = read(arguments)?;
    let model = open_finite(&arguments.model, &arguments.reading)?;
    let anchor = match &arguments.to {
        Some(path) => Some(open_finite(path, &arguments.reading)?),
        None => None,
    };
    let anchor = anchor.as_ref().unwrap_or(&model);
    let graphs: [&Graph; 2] = [&model.graph, &anchor.graph];
    let paths = [arguments.model.clone(), shape.clone()];
    let failure = |error: FusionError| match error {
        error @ FusionError::Alignment { .. } => {
            let hint = match arguments.to {
                None => "it was made for another network; where widths differ, name the one aligned to with --to",
                Some(_) => "it was made for other networks",
            };
            Failure::input(error).hint(hint).of(&arguments.alignment)
        }
        error => fusion_failure(&error, &paths, 1),
    };
    (alignment.model, alignment.anchor) = (0, 1);
    let groups = alignment.groups.len();
    let moved = alignment.groups.iter().filter(|group| !group.plan.is_identity()).count();
    let mut networks = Networks::new(&graphs, 1).map_err(failure)?;
    if networks.groups().len() != groups {
        // The last layer is aligned too, as with --preset paper.
        let free = Networks::with_free_outputs(&graphs, 1).map_err(failure)?;
        if free.groups().len() == groups {
            networks = free;
        }
    }
    networks.check_finite().map_err(failure)?;
    let aligned = Aligned::from_alignments(&networks, &[alignment], arguments.published_scaling).map_err(failure)?;
    let graph = aligned.average(&[1.0, 0.0]).map_err(failure)?;
    save(anchor, &graph, &arguments.output)?;
    let report = Report { model: shown(&arguments.model), output: shown(&arguments.output), groups, moved };
    output.result(&report, |report| {
        let groups = count(report.groups, "group");
        format!("{}: {} in its new order, {} of {groups} moved", report.output, report.model, report.moved)
    })
}

/// The alignment that is meant.
fn read(arguments: &Apply) -> Result<ModelAlignment, Failure> {
    let path = &arguments.alignment;
    let bytes = otfuse_formats::file::open_mapped(path).map_err(|error| file_failure(&error))?;
    let wrong = |problem: String| {
        Failure::input(format!("{}: {problem}", path.display()))
            .hint("expected the JSON that `otfuse align --save-alignment` writes")
    };
    if bytes.len() > MOST_BYTES {
        return Err(wrong(format!("{} bytes are too many for an alignment", bytes.len())));
    }
    let mut found: Vec<ModelAlignment> =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("not an alignment: {error}")))?;
    let models: Vec<String> = found.iter().map(|alignment| alignment.model.to_string()).collect();
    let at = match arguments.index {
        Some(index) => found.iter().position(|alignment| alignment.model == index),
        None if found.len() == 1 => Some(0),
        None => None,
    };
    let at = at.ok_or_else(|| {
        let message = format!("it holds alignments of the models {}", models.join(", "));
        wrong(message).hint("--index I says which one is meant")
    })?;
    Ok(found.swap_remove(at))
}
