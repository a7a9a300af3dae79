//! Which layers of networks of unequal depth went together.

use otfuse_fusion::Alike;
use otfuse_graph::Block;
use serde::Serialize;

use crate::files::count;
use crate::{Model, Result};

/// Which layers of networks of unequal depth went together.
#[derive(Clone, Debug, Serialize)]
pub struct DepthReport {
    /// The deepest model, in whose form the networks were fused.
    pub deepest: usize,
    /// Its blocks.
    pub blocks: Vec<String>,
    /// The number of blocks of the result.
    pub result_blocks: usize,
    /// The models that were deepened.
    pub models: Vec<PairedModel>,
    /// Where blocks were taken out of the result: whether the others were fitted to what it computed with them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_fitted: Option<bool>,
}

/// A model that was brought into the form of a deeper one.
#[derive(Clone, Debug, Serialize)]
pub struct PairedModel {
    /// The model.
    pub model: usize,
    /// As it was given.
    pub path: String,
    /// Its blocks.
    pub blocks: Vec<String>,
    /// A block of the deepest model and the block of this one that stands for it.
    pub pairs: Vec<(usize, usize)>,
    /// How alike the two of each pair are: linear CKA of what they say of the samples, or else of their weights.
    pub likeness: Vec<f64>,
    /// The deepest model's blocks that were put in so that they change nothing.
    pub inserted: Vec<usize>,
    /// How far the outputs of the deepened network are from its own, relative to the largest; none where it cannot be run.
    pub error: Option<f64>,
}

impl DepthReport {
    pub(super) fn of(models: &[Model], blocks: &[Vec<Block>], deepest: usize, anchor: usize) -> Result<Self> {
        models[deepest].graph()?;
        let names = blocks[deepest].iter().map(|block| block.name.clone()).collect();
        let result_blocks = blocks[anchor].len();
        Ok(Self { deepest, blocks: names, result_blocks, models: Vec::new(), is_fitted: None })
    }

    pub(crate) fn headline(&self) -> String {
        let of = |model: &PairedModel| {
            let inserted = model.inserted.iter().map(|&at| self.blocks[at].as_str()).collect::<Vec<_>>();
            let shown = match inserted.as_slice() {
                [first, .., last] if inserted.len() > 4 => format!("{first} .. {last}"),
                all => all.join(", "),
            };
            format!("{}: {} put in that change nothing ({shown})", model.path, count(inserted.len(), "block"))
        };
        self.models.iter().map(of).collect::<Vec<_>>().join("; ")
    }

    /// A row for each block of the deepest model: its number and name, then for each deepened model its partner's, and how alike
    /// they are.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |(at, name): (usize, &String)| {
            let mut row = vec![at.to_string(), name.clone()];
            for model in &self.models {
                let cells = |pair: usize| {
                    let own = model.pairs[pair].1;
                    [format!("{own} {}", model.blocks[own]), format!("{:.2}", model.likeness[pair])]
                };
                row.extend(model.pair_of(at).map_or_else(|| ["-".to_owned(), String::new()], cells));
            }
            row
        };
        self.blocks.iter().enumerate().map(row).collect()
    }

    /// The columns of [`rows`](Self::rows).
    pub fn columns(&self) -> Vec<String> {
        let mut columns = vec!["block".to_owned(), format!("model {}", self.deepest)];
        for model in &self.models {
            columns.extend([format!("model {}", model.model), format!("likeness {}", model.model)]);
        }
        columns
    }
}

impl PairedModel {
    /// Which of the pairs a block of the deepest model is in.
    pub(crate) fn pair_of(&self, block: usize) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.0 == block)
    }

    pub(super) fn of(
        given: &Model,
        model: usize,
        blocks: &[Block],
        pairs: &[(usize, usize)],
        likeness: &[Vec<Option<Alike>>],
        error: Option<f64>,
    ) -> Self {
        let alike = |&(a, b): &(usize, usize)| {
            let found = likeness.get(a).and_then(|row| row.get(b).copied().flatten());
            found.map_or(0.0, |alike| (alike.likeness * 1e4).round() / 1e4)
        };
        Self {
            model,
            path: given.shown(),
            blocks: blocks.iter().map(|block| block.name.clone()).collect(),
            pairs: pairs.to_vec(),
            likeness: pairs.iter().map(alike).collect(),
            inserted: (0..likeness.len()).filter(|at| pairs.iter().all(|pair| pair.0 != *at)).collect(),
            error,
        }
    }
}

/// The blocks of two models side by side.
pub(super) fn side_by_side(models: &[Model], (deepest, model): (usize, usize), blocks: &[Vec<Block>]) -> String {
    let names = [models[deepest].shown(), models[model].shown()];
    let line = |of: usize, at: usize| {
        let graph = models[of].graph().ok();
        blocks[of]
            .get(at)
            .zip(graph)
            .map_or_else(String::new, |(block, graph)| format!("{at} {}: {}", block.name, block.operators(graph)))
    };
    let length = blocks[deepest].len().max(blocks[model].len());
    let rows: Vec<[String; 2]> = (0..length).map(|at| [line(deepest, at), line(model, at)]).collect();
    let width = rows.iter().map(|row| row[0].chars().count()).chain([names[0].chars().count()]).max().unwrap_or(0);
    let all = std::iter::once(&names).chain(&rows);
    all.map(|row| format!("  {:<width$}  {}", row[0], row[1]).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
