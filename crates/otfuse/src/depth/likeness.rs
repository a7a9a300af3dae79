//! How alike the blocks of networks are.

use otfuse_fusion::{Alike, Gram, likeness_of_weights};
use otfuse_graph::{Block, ValueId};

use crate::fusing::Prepared;
use crate::layers::{Layer, record_layers};
use crate::{Context, ErrorKind, Model, Result};

/// Samples on which blocks are compared.
const SAMPLES: usize = 200;

/// What the blocks of all models say of the same samples, where there are any.
pub(super) struct Recordings<'a> {
    models: &'a [Model],
    blocks: &'a [Vec<Block>],
    grams: Option<Vec<Vec<Option<Gram>>>>,
}

impl<'a> Recordings<'a> {
    /// # Errors
    /// Only where work was cancelled or takes too much; networks that cannot be run are compared by their weights.
    pub fn of(models: &'a [Model], blocks: &'a [Vec<Block>], samples: &Prepared, context: &Context) -> Result<Self> {
        let Some(samples) = &samples.all else { return Ok(Self { models, blocks, grams: None }) };
        let samples = samples.spread(SAMPLES);
        let mut grams = Vec::with_capacity(models.len());
        for (model, of_model) in models.iter().zip(blocks) {
            let layer = |block: &Block| Layer {
                name: block.name.clone(),
                weight: block.input.unwrap_or(ValueId::new(0)),
                value: block.output,
            };
            let layers: Vec<Layer> = of_model.iter().map(layer).collect();
            match record_layers(model.graph()?, &layers, &samples, context.host(), &mut |_, _| {}) {
                Ok(found) => grams.push(found.into_iter().map(|layer| layer.gram).collect()),
                Err(error) => {
                    let error = crate::Error::from(error);
                    if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Budget) {
                        return Err(error);
                    }
                    return Ok(Self { models, blocks, grams: None });
                }
            }
        }
        Ok(Self { models, blocks, grams: Some(grams) })
    }

    /// For each block of the deepest model how alike each block of another model is: by what they say of the samples, or else by
    /// their weights.
    ///
    /// # Errors
    /// Networks without a graph.
    pub fn likeness(&self, model: usize, deepest: usize) -> Result<Vec<Vec<Option<Alike>>>> {
        let deep = (self.models[deepest].graph()?, self.blocks[deepest].as_slice());
        let own = (self.models[model].graph()?, self.blocks[model].as_slice());
        let mut found = likeness_of_weights(deep, own);
        let Some(grams) = &self.grams else { return Ok(found) };
        for (row, a) in found.iter_mut().zip(&grams[deepest]) {
            for (alike, b) in row.iter_mut().zip(&grams[model]) {
                if let (Some(alike), Some(a), Some(b)) = (alike, a, b) {
                    alike.likeness = a.similarity(b).unwrap_or(0.0);
                }
            }
        }
        Ok(found)
    }
}
