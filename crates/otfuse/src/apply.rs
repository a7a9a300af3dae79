//! A network's neurons in the order that an earlier alignment found.

use std::path::{Path, PathBuf};

use otfuse_fusion::{Aligned, FusionError, Merging, ModelAlignment, Networks};
use otfuse_graph::Graph;
use serde::Serialize;

use crate::error::fusion_error;
use crate::files::shown;
use crate::{Error, Model, Registry, Result, ties};

/// The largest file of alignments that is read, in bytes.
const MOST_BYTES: usize = 1 << 30;

/// How an earlier alignment is applied.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// The network that the other is aligned to; needed where widths differ.
    pub to: Option<Model>,
    /// Which alignment of the file, by the number of the model in the fusion; needed if there are several.
    pub index: Option<usize>,
    /// The alignment was made with the preset of the paper.
    pub published_scaling: bool,
}

/// A network in its new order.
pub struct Applied {
    model: Model,
    like: Model,
    /// The network.
    pub graph: Graph,
    /// What was done.
    pub report: ApplyReport,
}

/// What was moved.
#[derive(Clone, Debug, Serialize)]
pub struct ApplyReport {
    /// The network, as it was given.
    pub model: String,
    /// Where the result was written.
    pub output: String,
    /// Neuron groups.
    pub groups: usize,
    /// Groups that were not in their place.
    pub moved: usize,
}

/// Brings a network's neurons into the order that an earlier alignment, saved by a fusion or an alignment, found for another
/// network of the same architecture (an earlier checkpoint, say).
///
/// # Errors
/// A file that is no alignment, or one of other networks.
pub fn apply(alignment: &Path, model: &Model, options: &ApplyOptions) -> Result<Applied> {
    let mut found = read(alignment, options.index)?;
    let given = [model.clone(), options.to.as_ref().unwrap_or(model).clone()];
    let (given, _) = ties::matched(&given)?;
    let (model, like) = (&given[0], &given[1]);
    let turned = crate::latent::applied(model.finite()?, &found.inputs).map_err(|problem| {
        Error::input(problem).of(alignment).hint("it was made for another network: align this one anew")
    })?;
    let graphs: [&Graph; 2] = [&turned, like.finite()?];
    let paths = [model.path().to_owned(), like.path().to_owned()];
    let failure = |error: FusionError| match error {
        error @ FusionError::Alignment { .. } => {
            let hint = match options.to {
                None => "it was made for another network; where widths differ, name the one aligned to with `to`",
                Some(_) => "it was made for other networks",
            };
            Error::input(error).hint(hint).of(alignment)
        }
        error => fusion_error(&error, &paths, 1),
    };
    (found.model, found.anchor) = (0, 1);
    let groups = found.groups.len();
    let moved = found.groups.iter().filter(|group| !group.plan.is_identity()).count();
    let mut networks = Networks::new(&graphs, 1).map_err(failure)?;
    if networks.groups().len() != groups {
        // The last layer is aligned too, as with the preset of the paper.
        let free = Networks::with_free_outputs(&graphs, 1).map_err(failure)?;
        if free.groups().len() == groups {
            networks = free;
        }
    }
    networks.check_finite().map_err(failure)?;
    let aligned = Aligned::from_alignments(&networks, &[found], options.published_scaling).map_err(failure)?;
    let graph = aligned.average(&Merging::mean(), &[1.0, 0.0]).map_err(failure)?;
    let report = ApplyReport { model: model.shown(), output: String::new(), groups, moved };
    Ok(Applied { model: model.clone(), like: like.clone(), graph, report })
}

impl Applied {
    /// Stages the network to be written; the extension chooses the format.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&mut self, registry: &Registry, path: &Path) -> Result<()> {
        self.report.output = shown(path);
        self.like.write(&self.graph, registry.outputs(), path)
    }

    /// Writes the network, whole or not at all.
    ///
    /// # Errors
    /// A path that cannot be written, or is one of the networks.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (model, like, path) = (self.model.clone(), self.like.clone(), path.as_ref());
        Registry::alone(&[&model, &like], &like, path, |registry| self.write(registry, path))
    }
}

/// The alignment that is meant.
fn read(path: &Path, index: Option<usize>) -> Result<ModelAlignment> {
    let mut found = read_all(path)?;
    let models: Vec<String> = found.iter().map(|alignment| alignment.model.to_string()).collect();
    let at = match index {
        Some(index) => found.iter().position(|alignment| alignment.model == index),
        None if found.len() == 1 => Some(0),
        None => None,
    };
    let at = at.ok_or_else(|| {
        let message = format!("it holds alignments of the models {}", models.join(", "));
        wrong(path, &message).hint("`index` says which one is meant")
    })?;
    Ok(found.swap_remove(at))
}

/// All alignments of a file.
pub(crate) fn read_all(path: &Path) -> Result<Vec<ModelAlignment>> {
    let bytes = otfuse_formats::file::open_mapped(path)?;
    if bytes.len() > MOST_BYTES {
        return Err(wrong(path, &format!("{} bytes are too many for an alignment", bytes.len())));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(path, &format!("not an alignment: {error}")))
}

fn wrong(path: &Path, problem: &str) -> Error {
    let file = Some(PathBuf::from(path));
    let error = Error::input(format!("{}: {problem}", path.display()));
    Error { file, ..error.hint("expected the JSON that `otfuse align --save-alignment` writes") }
}
