//! Networks brought next to each other by all symmetries of their graphs, where these are more than permutations.

use std::collections::HashSet;

use otfuse_fusion::{Aligned, Fusion, NotRotated, Rotated, Rotations, rotated};
use otfuse_graph::{Graph, NeuronGroups, Operator, ValueId};

use super::plan::Plan;
use super::{Group, Prepared};
use crate::verify::{computes_the_same, wrongly_rotated};
use crate::{Context, Error, MergeName, Model, RepairName, Result, SymmetryName};

/// Bytes that the search holds for each weight, and for each weight of each model.
const BYTES_A_WEIGHT: [u64; 2] = [24, 12];

/// Networks in one set of coordinates.
pub(crate) struct Turned {
    /// The models that are fused: those given, tied weights apart where that was needed.
    pub models: Vec<Model>,
    pub group: Group,
    rotated: Rotated,
}

impl Turned {
    /// The models' networks in the anchor's coordinates; `None` where permutations are all that there is, or all that was
    /// asked for. What stands in the way is said where a network has residual streams at all.
    pub(crate) fn of(models: &[Model], group: &Group, plan: &Plan, context: &Context) -> Result<Option<Self>> {
        if plan.symmetry != SymmetryName::Auto || models.len() != group.networks.len() || plan.align_outputs {
            return Ok(None);
        }
        // A network with itself stays as it is, in its own coordinates.
        if group.networks.is_one() {
            return Ok(None);
        }
        let apart = apart(models, group)?;
        let opened = apart.as_deref().map(|models| Group::open(models, None, plan)).transpose()?;
        let (models, group) = (apart.as_deref().unwrap_or(models), opened.as_ref().unwrap_or(group));
        let networks = &group.networks;
        let weights = networks.graph(networks.anchor()).parameter_count() as u64;
        let bytes = BYTES_A_WEIGHT[0] + BYTES_A_WEIGHT[1] * models.len() as u64;
        let is_large = weights.saturating_mul(bytes) > context.memory_limit();
        let structure = Rotations::of(networks.graph(networks.anchor()), networks.groups());
        if is_large && matches!(structure, Ok(_) | Err(NotRotated::Tied(_))) {
            context.note(&format!(
                "matched by permutations alone: rotating {weights} weights takes more memory than there is"
            ));
            return Ok(None);
        }
        let found = match structure {
            Err(NotRotated::Tied(name)) => match untied(models, group, &name)? {
                Some(models) => {
                    let note = format!(
                        "'{name}' embeds and scores: its scale in the last normalisation makes them two weights in the \
                         result, which says so (tie_word_embeddings: false)"
                    );
                    context.note(&note);
                    let group = Group::open(&models, None, plan)?;
                    Self::found(models, group, plan, context)?
                }
                None => Err(NotRotated::Tied(name)),
            },
            Err(reason) => Err(reason),
            Ok(_) => Self::found(models.to_vec(), group.again(), plan, context)?,
        };
        match found {
            Ok(turned) => Ok(Some(turned)),
            Err(reason) => {
                if has_streams(networks.graph(networks.anchor()), networks.groups()) {
                    context.note(&format!("matched by permutations alone: {reason}"));
                }
                Ok(None)
            }
        }
    }

    fn found(
        models: Vec<Model>,
        group: Group,
        plan: &Plan,
        context: &Context,
    ) -> Result<std::result::Result<Self, NotRotated>> {
        let stage = context.stage("rotating streams and heads", 1);
        let found = rotated(&group.networks, &|| context.flow()).map_err(|error| group.error(&error))?;
        stage.step();
        drop(stage);
        let rotated = match found {
            Ok(rotated) => rotated,
            Err(reason) => return Ok(Err(reason)),
        };
        for model in 0..group.networks.len() {
            let (own, turned) = (group.networks.graph(model), rotated.networks.graph(model));
            let error = computes_the_same(own, turned, &plan.shapes, plan.seed, context.host());
            // A network that cannot be run was said to be so before.
            if let Ok(Some(error)) = error {
                return Err(wrongly_rotated(error).of(&group.paths[model]));
            }
        }
        let group = Group { networks: rotated.networks.clone(), ..group };
        Ok(Ok(Self { models, group, rotated }))
    }

    /// The same once more.
    pub(super) fn again(&self) -> Self {
        Self { models: self.models.clone(), group: self.group.again(), rotated: self.rotated.clone() }
    }

    /// The same, with neurons matched by what they compute where the plan has samples for that.
    pub(crate) fn matched_by(self, plan: &Plan, samples: &Prepared, context: &Context) -> Result<Self> {
        let Some(activations) = self.group.activations(plan, samples, context)? else { return Ok(self) };
        let Self { models, group, rotated } = self;
        let rotated = rotated.matched_by(&activations).map_err(|error| group.error(&error))?;
        let group = Group { networks: rotated.networks.clone(), ..group };
        Ok(Self { models, group, rotated })
    }

    /// The networks, to be merged index by index.
    pub(crate) fn aligned(&self, plan: &Plan, context: &Context) -> Result<Aligned> {
        let aligned = self.group.unaligned(plan, context)?;
        let mut aligned = aligned.ok_or_else(|| Error::run("networks of unequal sizes were rotated"))?;
        aligned.alignments.clone_from(&self.rotated.alignments);
        Ok(aligned.of_sequences(self.rotated.rotated_groups()))
    }

    /// The average with heads averaged as products, or the layers fitted where the plan says so; in the anchor's types.
    pub(crate) fn repaired(
        &self,
        fusion: &Fusion,
        plan: &Plan,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Graph> {
        let failure = |error| self.group.error(&error);
        let graph = if plan.repair == RepairName::None && plan.merge == MergeName::Mean {
            self.rotated.with_averaged_heads(&fusion.graph, &fusion.weights).map_err(failure)?
        } else {
            self.group.repaired(fusion, plan, samples, context)?
        };
        self.rotated.finished(graph).map_err(failure)
    }
}

/// The models with the weight that two places of the anchor share as one for each; `None` where one of them cannot be
/// written so.
fn untied(models: &[Model], group: &Group, name: &str) -> Result<Option<Vec<Model>>> {
    let networks = &group.networks;
    let Some(shared) = networks.graph(networks.anchor()).find_value(name) else { return Ok(None) };
    let of = |(at, model): (usize, &Model)| {
        let own = networks.value(at, shared);
        model.untied(&networks.graph(at).value(own).name)
    };
    models.iter().enumerate().map(of).collect()
}

/// The models, with two weights each where a model has one for what the anchor has two for: what is rotated is not the same for
/// both. Nothing where there is none such.
fn apart(models: &[Model], group: &Group) -> Result<Option<Vec<Model>>> {
    let networks = &group.networks;
    let anchor = networks.graph(networks.anchor());
    let weights: Vec<ValueId> = anchor.initializers().map(|(id, _)| id).filter(|id| anchor.is_weight(*id)).collect();
    let mut found = models.to_vec();
    let mut is_changed = false;
    for (at, model) in found.iter_mut().enumerate() {
        let mut seen = HashSet::new();
        let twice = weights.iter().map(|id| networks.value(at, *id)).find(|own| !seen.insert(*own));
        let Some(own) = twice else { continue };
        if let Some(untied) = model.untied(&networks.graph(at).value(own).name)? {
            (*model, is_changed) = (untied, true);
        }
    }
    Ok(is_changed.then_some(found))
}

/// Whether a network has attention or normalisations over all neurons.
fn has_streams(graph: &Graph, groups: &NeuronGroups) -> bool {
    let has = |is: fn(&Operator) -> bool| graph.nodes().any(|(_, node)| is(&node.operator));
    let is_attention = |operator: &Operator| matches!(operator, Operator::Softmax { .. } | Operator::Attention(_));
    has(|operator| matches!(operator, Operator::LayerNormalization { .. }))
        || (has(is_attention) && groups.iter().any(|(_, group)| group.within.is_some()))
}
