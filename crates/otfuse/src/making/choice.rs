//! Whether samples that the networks made help.

use otfuse_graph::Graph;
use otfuse_runtime::Probabilities;
use serde::Serialize;

use super::{Made, told_without};
use crate::context::Remarks;
use crate::fusing::{FusePlan, Fused};
use crate::measure::Meter;
use crate::{Context, Error, ErrorKind, Result, Samples};
use std::sync::Arc;

/// How much of the classes the networks have to see in mere noise, if they are to be fitted on what noise became: the
/// information that a sample holds of its class, relative to that of classes told apart for sure.
const INFORMATION: f64 = 0.36;
/// The probability of its class that the ensemble gives to samples that it is sure of, on average.
const CERTAINTY: f64 = 0.9;
/// How far the network without samples is from an ensemble that is sure, at least, if it does not know what the parents do: in
/// nats, and relative to the network that was fitted.
const LOST: (f64, f64) = (0.1, 10.0);

/// How a network that was fused in one way compares with the parents, on made samples that nothing was fitted on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Where its samples came from: `none` or `parents`.
    pub samples_from: &'static str,
    /// The Kullback-Leibler divergence of what it says from what the ensemble says, in nats.
    pub divergence: f64,
    /// The share of samples (of tokens) of which it says the same class as the ensemble.
    pub ensemble: f64,
    /// The same for each parent.
    pub parents: Vec<f64>,
}

/// Samples that the parents made, and whether they were used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MadeReport {
    /// What they are: images, windows of text, rows of noise.
    pub kind: &'static str,
    /// How many were made to be fitted on; of images, copies that are mirrored and moved come on top.
    pub count: usize,
    /// How many the candidates were compared on; 0 where nothing had to be decided.
    pub held_out: usize,
    /// Steps of descent.
    pub steps: usize,
    /// How much of the classes the parents see in the noise that images begin with, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub information: Option<f64>,
    /// Whether the result is the one that was fitted on them.
    pub used: bool,
    /// The networks that it was chosen from; none where nothing had to be decided.
    pub candidates: Vec<Candidate>,
    /// Seconds that making took, and fusing the other candidate and comparing.
    pub seconds: f64,
}

/// Made samples, and the fusion without them, if it is not settled which of the two is kept.
pub(crate) struct Contest {
    pub(crate) made: Made,
    pub(crate) without: Option<(Box<FusePlan>, Arc<Remarks>)>,
    /// What the fusion with them had to say before it was run.
    pub(crate) remarks: Arc<Remarks>,
}

impl Contest {
    /// Fuses with the samples and without, and keeps what is nearer to the ensemble on samples that were held out, if what
    /// the parents say of them can be trusted.
    pub(crate) fn decided(self, with: FusePlan, context: &Context) -> Result<Fused> {
        let Self { made, without, remarks } = self;
        let Some((without, of_without)) = without else {
            remarks.tell(context);
            let mut fused = with.execute(context)?;
            fused.report.made = Some(made.report(true, None, Vec::new()));
            fused.made = Some(made.fitted);
            return Ok(fused);
        };
        let weights = with.mixture()?;
        let mut without = without;
        let no_verify = with.options.no_verify;
        let with = match with.execute(&context.reserved(&remarks)) {
            Ok(with) => with,
            Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
            // What is no matter of the samples is met, and told, without them.
            Err(error) => {
                told_without(&error, context);
                without.options.no_verify = no_verify;
                of_without.tell(context);
                return without.execute(context);
            }
        };
        let start = std::time::Instant::now();
        let mut without = without.execute(&context.reserved(&of_without))?;
        let (a, b) = (without.graph()?, with.graph()?);
        let parents: Vec<&Graph> = with.models.iter().map(crate::Model::graph).collect::<Result<_>>()?;
        let meter = Meter::new(context, made.held.len() * (parents.len() + 2));
        let judge = Judge { parents: &parents, weights: &weights, meter: &meter };
        let judged =
            judge.candidates(&[("none", &a), ("parents", &b)], &made.held).and_then(|(candidates, certainty)| {
                let information = made.noise.as_ref().map(|noise| judge.information(noise)).transpose()?;
                Ok((candidates, Trust { information, certainty }))
            });
        drop(meter);
        let (candidates, trust) = match judged {
            Ok(judged) => judged,
            Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
            // Networks whose answers nobody understands are not compared.
            Err(error) => {
                told_without(&error, context);
                without.report.settings.verified = with.report.settings.verified;
                of_without.tell(context);
                return Ok(without);
            }
        };
        let (information, used) = (trust.information, is_better(&candidates[1], &candidates[0], trust));
        let mut report = made.report(used, information, candidates);
        report.seconds += start.elapsed().as_secs_f64();
        without.report.settings.verified = with.report.settings.verified;
        let (mut fused, said) = if used { (with, remarks) } else { (without, of_without) };
        said.tell(context);
        fused.report.made = Some(report);
        fused.made = Some(made.fitted);
        Ok(fused)
    }
}

/// What speaks for the samples themselves.
#[derive(Clone, Copy)]
struct Trust {
    /// See [`MadeReport::information`]; text that the parents write is their own in any case.
    information: Option<f64>,
    /// The probability of its class that the ensemble gives to a made sample, on average.
    certainty: f64,
}

/// Whether a network that was fitted on made samples is to be kept. Being nearer to the ensemble on such samples is not
/// enough: parents that were trained on different classes agree on nothing in noise, and who follows them there leaves
/// what they know. Where they see many classes in mere noise, it is like what they were trained on; and where they are sure of
/// what became of it, but the network without samples is not, that one has lost what they know.
fn is_better(with: &Candidate, without: &Candidate, trust: Trust) -> bool {
    let is_lost =
        trust.certainty >= CERTAINTY && without.divergence >= LOST.0 && without.divergence >= LOST.1 * with.divergence;
    with.divergence < without.divergence && (trust.information.is_none_or(|found| found >= INFORMATION) || is_lost)
}

impl Made {
    fn report(&self, used: bool, information: Option<f64>, candidates: Vec<Candidate>) -> MadeReport {
        let Self { held, kind, count, steps, seconds, .. } = self;
        let (count, held_out) = (*count, held.len());
        MadeReport { kind, count, held_out, steps: *steps, information, used, candidates, seconds: *seconds }
    }
}

struct Judge<'a> {
    parents: &'a [&'a Graph],
    weights: &'a [f64],
    meter: &'a Meter<'a>,
}

impl Judge<'_> {
    fn members(&self, samples: &Samples) -> Result<(Vec<Probabilities>, Probabilities)> {
        let members: Vec<Probabilities> = self
            .parents
            .iter()
            .map(|graph| self.meter.probabilities(graph, samples))
            .collect::<std::result::Result<_, _>>()?;
        let ensemble = Probabilities::mixture(&members, self.weights)
            .ok_or_else(|| Error::input("the models tell different numbers of classes apart"))?;
        Ok((members, ensemble))
    }

    /// How the networks compare with the parents, and how sure the ensemble is.
    fn candidates(&self, networks: &[(&'static str, &Graph)], samples: &Samples) -> Result<(Vec<Candidate>, f64)> {
        let (members, ensemble) = self.members(samples)?;
        let mut candidates = Vec::with_capacity(networks.len());
        for (samples_from, graph) in networks {
            let found = self.meter.probabilities(graph, samples)?;
            let from = |other: &Probabilities| {
                let found = other.divergence(&found).and_then(|found| Some((found.mean, found.agreement?)));
                found.ok_or_else(|| Error::input("the result does not tell the models' classes apart"))
            };
            let parents = members.iter().map(|member| Ok(from(member)?.1)).collect::<Result<_>>()?;
            let (divergence, ensemble) = from(&ensemble)?;
            candidates.push(Candidate { samples_from, divergence, ensemble, parents });
        }
        Ok((candidates, certainty(&ensemble)))
    }

    /// The mutual information of a sample and the class that the ensemble says, over the logarithm of the number of classes
    /// (the logarithm of what T. Salimans et al., "Improved techniques for training GANs", NeurIPS 2016, call inception score).
    fn information(&self, samples: &Samples) -> Result<f64> {
        let (_, ensemble) = self.members(samples)?;
        let classes = ensemble.classes().max(2);
        let rows = ensemble.logarithms().chunks_exact(classes);
        let count = rows.len().max(1) as f64;
        let (mut means, mut inner) = (vec![0.0; classes], 0.0);
        for row in rows {
            for (mean, &logarithm) in means.iter_mut().zip(row) {
                let probability = logarithm.exp();
                *mean += probability / count;
                inner -= if probability > 0.0 { probability * logarithm / count } else { 0.0 };
            }
        }
        let outer: f64 = means.iter().filter(|mean| **mean > 0.0).map(|mean| -mean * mean.ln()).sum();
        Ok(((outer - inner) / (classes as f64).ln()).clamp(0.0, 1.0))
    }
}

fn certainty(of: &Probabilities) -> f64 {
    let rows = of.logarithms().chunks_exact(of.classes().max(1));
    let count = rows.len().max(1) as f64;
    rows.map(|row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max).exp()).sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_counts_where_noise_is_like_what_the_parents_know() {
        let candidate = |divergence| Candidate { samples_from: "none", divergence, ensemble: 1.0, parents: vec![] };
        let trust = |information, certainty| Trust { information, certainty };
        let (near, far, lost) = (candidate(0.05), candidate(0.2), candidate(2.0));
        assert!(is_better(&near, &far, trust(None, 0.2)) && is_better(&near, &far, trust(Some(0.5), 0.2)));
        assert!(!is_better(&near, &far, trust(Some(0.2), 1.0)) && is_better(&near, &lost, trust(Some(0.2), 1.0)));
        assert!(!is_better(&near, &lost, trust(Some(0.2), 0.5)) && !is_better(&far, &near, trust(Some(0.9), 1.0)));
        assert!(!is_better(&candidate(f64::NAN), &far, trust(None, 1.0)));
    }
}
