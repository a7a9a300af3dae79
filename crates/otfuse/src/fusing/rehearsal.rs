//! What a fusion would do, as far as it is known without doing it.

use std::collections::BTreeSet;

use otfuse_runtime::SampleLayout;
use serde::Serialize;

use super::plan::{Plan, spare_memory};
use super::prepared::{Prepared, Source};
use super::{Fuse, FuseSettings, Group};
use crate::depth::Depths;
use crate::{Context, Error, Result, SplitName, ties};

/// What a fusion would do.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsal {
    /// The networks, as they were given.
    pub models: Vec<String>,
    /// The model whose shapes and format the result would have, counted from 0.
    pub anchor: usize,
    /// Learned numbers of the anchor.
    pub parameters: usize,
    /// Those in tensors that neuron groups run through.
    pub aligned_parameters: usize,
    /// Neuron groups.
    pub groups: usize,
    /// Settings as they would be used, by name.
    pub settings: Vec<(&'static str, String)>,
}

impl Fuse {
    /// Checks all that can be checked without computing anything: options, whether the networks fit together, whether the
    /// samples fit their inputs. Of the data one sample is read.
    ///
    /// # Errors
    /// As those of [`run`](Fuse::run) that do not take the weights.
    pub fn rehearse(&self, context: &Context) -> Result<Rehearsal> {
        let placed = self.placed()?.with_noise(context)?;
        let mut models = ties::alike(&self.models, context)?.into_owned();
        let (mut options, source) = (placed.options, placed.source);
        let first = Plan::resolve(&options, &models, self.purpose())?;
        self.words(&mut models, first.anchor, context)?;
        spare_memory(&mut options, &models, source.is_some(), context)?;
        let plan = Plan::resolve(&options, &models, self.purpose())?;
        crate::latent::check(&models, plan.anchor, options.free_inputs.as_deref())?;
        let depths = Depths::matched(&mut models, &plan, &options, &Prepared::default(), context)?;
        if let Some(depths) = &depths {
            context.note(&depths.report.headline());
        }
        let group = Group::matched(&models, None, &plan)?
            .map_err(|(error, paths)| crate::error::fusion_error(&error, &paths, plan.anchor))?;
        if let Some(source) = &source {
            let sample = match source {
                Source::Data(data) => data.samples(SplitName::Train, Some(1))?,
                Source::Samples(samples) => samples.clone().truncated(1),
            };
            for model in &models {
                SampleLayout::of(model.graph()?, &sample).map_err(|error| Error::from(error).of(model.path()))?;
            }
        }
        let networks = &group.networks;
        let anchor = networks.graph(networks.anchor());
        let members = networks.groups().iter().flat_map(|(_, group)| &group.members);
        let tensors: BTreeSet<_> =
            members.map(|member| member.initializer).filter(|id| anchor.is_weight(*id)).collect();
        let sizes = tensors.iter().filter_map(|id| anchor.initializer(*id));
        let weights = plan.settings.normalised_weights(self.models.len()).map_err(|error| group.error(&error))?;
        let data = source.as_ref().map(Source::name);
        Ok(Rehearsal {
            models: self.models.iter().map(crate::Model::shown).collect(),
            anchor: plan.anchor,
            parameters: match &depths {
                Some(depths) => depths.originals[plan.anchor].graph()?.parameter_count(),
                None => anchor.parameter_count(),
            },
            aligned_parameters: sizes.map(otfuse_graph::Tensor::len).sum(),
            groups: networks.groups().len(),
            settings: FuseSettings::of(&plan, &options, data, plan.anchor, &weights).entries(),
        })
    }
}
