//! Parents, ensemble, plain average and fused network side by side.

use otfuse_fusion::{Alignment, Merging, Networks, Settings, fuse};
use otfuse_graph::Graph;
use otfuse_runtime::Probabilities;
use serde::Serialize;

use crate::error::fusion_error;
use crate::files::count;
use crate::fitting::suspect;
use crate::measure::{Distance, Measure, probabilities};
use crate::{Context, Error, ErrorKind, Model, Result, Samples};

/// How well all networks do on the same labelled samples.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The data set.
    pub data: String,
    /// The part of it: `test`, or `train` where it has no test samples.
    pub split: &'static str,
    /// The number of samples.
    pub samples: usize,
    /// The models.
    pub parents: Vec<Parent>,
    /// The mean of the parents' probabilities.
    pub ensemble: Measure,
    /// Weights averaged index by index; none if the shapes differ.
    pub vanilla: Option<Measure>,
    /// How far the fused network is from the ensemble.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused_from_ensemble: Option<Distance>,
    /// The fused network.
    pub fused: Measure,
    /// The accuracy of the fused network less that of the best parent; where targets are numbers, the share of the variance
    /// that it explains less that of the best parent.
    pub gain: f64,
}

/// A parent and how well it does.
#[derive(Clone, Debug, Serialize)]
pub struct Parent {
    /// As it was given.
    pub path: String,
    /// How well it does.
    #[serde(flatten)]
    pub measure: Measure,
    /// How far the fused network is from it: a result can lean to one parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused: Option<Distance>,
}

/// The samples that networks are compared on, and which part of the data set they are.
pub(crate) struct Checked {
    pub samples: Samples,
    pub split: &'static str,
}

impl Comparison {
    /// Measures all networks. `None` where the samples' labels are no classes of the networks, which is said.
    pub(crate) fn measure(
        networks: &Networks,
        fused: &Graph,
        models: &[Model],
        on: &Checked,
        context: &Context,
    ) -> Result<Option<Self>> {
        match Self::on(networks, fused, models, on, context) {
            Ok(comparison) => Ok(Some(comparison)),
            Err(error) if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Budget) => Err(error),
            Err(error) => {
                context.warn(&format!("the networks are not compared: {error}"));
                Ok(None)
            }
        }
    }

    fn on(networks: &Networks, fused: &Graph, models: &[Model], on: &Checked, context: &Context) -> Result<Self> {
        let samples = &on.samples;
        let of = |graph: &Graph| -> Result<(Measure, Probabilities)> {
            let found = probabilities(graph, samples, context)?;
            Ok((found.evaluate(samples)?.into(), found))
        };
        let (mut parents, mut members) = (Vec::new(), Vec::new());
        // A narrow copy of the anchor may stand behind the models.
        for (at, model) in models.iter().enumerate() {
            let (measure, found) = of(networks.graph(at))?;
            suspect(networks.graph(at), &model.shown(), measure.accuracy, samples, false, context);
            parents.push(Parent { path: model.shown(), measure, fused: None });
            members.push(found);
        }
        let ensemble = Probabilities::mean(&members).ok_or_else(|| Error::input("their outputs differ"))?;
        let mean = ensemble;
        let ensemble = mean.evaluate(samples)?.into();
        let vanilla = if networks.equal_sizes() {
            let settings = Settings { alignment: Alignment::None, ..Settings::default() };
            let plain = fuse(networks, &settings, &Merging::mean(), None, &|_| context.flow());
            let plain = plain.map_err(|error| fusion_error(&error, &[], networks.anchor()))?;
            Some(of(&plain.graph)?.0)
        } else {
            None
        };
        let (fused, said) = of(fused)?;
        let from = |other: &Probabilities| other.divergence(&said).map(Distance::from);
        parents.iter_mut().zip(&members).for_each(|(parent, member)| parent.fused = from(member));
        let fused_from_ensemble = from(&mean);
        let best = parents.iter().map(|parent| parent.measure.score());
        let floor = if fused.is_of_numbers() { f64::NEG_INFINITY } else { 0.0 };
        let gain = fused.score() - best.fold(floor, f64::max);
        let (data, samples) = (samples.name().to_owned(), samples.len());
        Ok(Self { data, split: on.split, samples, parents, ensemble, vanilla, fused_from_ensemble, fused, gain })
    }

    /// Says that fusing lost to the best parent.
    pub(crate) fn warn(&self, context: &Context) {
        if self.gain < 0.0 && self.fused.is_of_numbers() {
            let best = self.parents.iter().map(|parent| parent.measure.loss).fold(f64::INFINITY, f64::min);
            context.warn(&format!(
                "the fused network's mean squared error is {:.5}, that of the best parent {best:.5} ({} of {}, {} split); \
                 `otfuse finetune` goes on from it",
                self.fused.loss,
                count(self.samples, "sample"),
                self.data,
                self.split,
            ));
        } else if self.gain < 0.0 {
            context.warn(&format!(
                "the fused network is {:.2} points below the best parent ({} of {}, {} split); \
                 `otfuse finetune` and `otfuse distill` go on from it",
                -100.0 * self.gain,
                count(self.samples, "sample"),
                self.data,
                self.split,
            ));
        }
    }

    /// How far the fused network is from each of [`rows`](Self::rows), where that is known.
    pub fn distances(&self) -> Vec<Option<Distance>> {
        let others = [Some(self.fused_from_ensemble), self.vanilla.map(|_| None), Some(None)];
        self.parents.iter().map(|parent| parent.fused).chain(others.into_iter().flatten()).collect()
    }

    /// All networks by name, the fused one last, with where each stands in the JSON of the comparison.
    pub fn rows(&self) -> Vec<(String, Measure, String)> {
        let parents = self.parents.iter().enumerate();
        let parents = parents.map(|(at, parent)| (parent.path.clone(), parent.measure, format!("/parents/{at}")));
        let others = [
            ("ensemble", Some(self.ensemble), "/ensemble"),
            ("plain average", self.vanilla, "/vanilla"),
            ("fused", Some(self.fused), "/fused"),
        ];
        let others = others.into_iter().filter_map(|(name, found, at)| Some((name.to_owned(), found?, at.to_owned())));
        parents.chain(others).collect()
    }
}
