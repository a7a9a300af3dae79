//! Parents, ensemble, plain average and fused network side by side.

use std::path::Path;

use otfuse_fusion::{Method, Networks, Settings, fuse};
use otfuse_graph::Graph;
use otfuse_runtime::Probabilities;
use otfuse_runtime::dataset::Dataset;
use serde::Serialize;

use super::Failure;
use super::arguments::{Fuse, SplitName};
use super::command::eval::probabilities;
use super::models::{count, dataset, shown};
use super::output::{table, warn};
use super::walk::Measure;

/// How well all networks do on the same labelled samples.
#[derive(Serialize)]
pub(crate) struct Comparison {
    data: String,
    split: &'static str,
    samples: usize,
    parents: Vec<Row>,
    ensemble: Measure,
    /// Weights averaged index by index; none if the shapes differ.
    vanilla: Option<Measure>,
    fused: Measure,
    /// The accuracy of the fused network less that of the best parent.
    gain: f64,
}

#[derive(Serialize)]
struct Row {
    path: String,
    #[serde(flatten)]
    measure: Measure,
}

impl Comparison {
    /// Measures all networks on `--check` samples, spread evenly over the test split (the training split where there is no
    /// other). `None` without a data set, with `--check 0`, and where the samples' labels are no classes of the networks,
    /// which is said on stderr.
    pub(crate) fn measure(networks: &Networks<'_>, fused: &Graph, arguments: &Fuse) -> Result<Option<Self>, Failure> {
        if arguments.data.data.is_none() || arguments.check == 0 {
            return Ok(None);
        }
        let (split, samples) = match dataset(&arguments.data, SplitName::Test, None) {
            Ok(samples) => ("test", samples),
            Err(_) => ("train", dataset(&arguments.data, SplitName::Train, None)?),
        };
        match Self::on(networks, fused, arguments, &samples.spread(arguments.check), split) {
            Ok(comparison) => Ok(Some(comparison)),
            Err(problem) => {
                warn(&format!("the networks are not compared: {problem}"));
                Ok(None)
            }
        }
    }

    fn on(
        networks: &Networks<'_>,
        fused: &Graph,
        arguments: &Fuse,
        samples: &Dataset,
        split: &'static str,
    ) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let of = |graph: &Graph| -> Result<(Measure, Probabilities), String> {
            let found = probabilities(graph, samples).map_err(|error| text(&error))?;
            Ok((found.evaluate(samples).map_err(|error| text(&error))?.into(), found))
        };
        let (mut parents, mut members) = (Vec::new(), Vec::new());
        // A narrow copy of the anchor may stand behind the models.
        for (model, path) in arguments.models.iter().enumerate() {
            let (measure, found) = of(networks.graph(model))?;
            parents.push(Row { path: shown(path), measure });
            members.push(found);
        }
        let ensemble = Probabilities::mean(&members).ok_or("their outputs differ")?;
        let ensemble = ensemble.evaluate(samples).map_err(|error| text(&error))?.into();
        let vanilla = if networks.equal_sizes() {
            let settings = Settings { method: Method::Average, ..Settings::default() };
            let plain = fuse(networks, &settings, None, &|_| {}).map_err(|error| text(&error))?;
            Some(of(&plain.graph)?.0)
        } else {
            None
        };
        let fused = of(fused)?.0;
        let best = parents.iter().map(|parent| parent.measure.accuracy).fold(0.0, f64::max);
        Ok(Self {
            data: samples.name().to_owned(),
            split,
            samples: samples.len(),
            parents,
            ensemble,
            vanilla,
            fused,
            gain: fused.accuracy - best,
        })
    }

    /// Says on stderr that fusing lost to the best parent.
    pub(crate) fn warn(&self) {
        if self.gain < 0.0 {
            warn(&format!(
                "the fused network is {:.2} points below the best parent ({} of {}, {} split); \
                 `otfuse finetune` and `otfuse distill` go on from it",
                -100.0 * self.gain,
                count(self.samples, "sample"),
                self.data,
                self.split,
            ));
        }
    }

    /// A table, the fused network last.
    pub(crate) fn text(&self, output: &str) -> String {
        let row = |name: &str, measure: &Measure| {
            vec![name.to_owned(), format!("{:.2} %", 100.0 * measure.accuracy), format!("{:.4}", measure.loss)]
        };
        let mut rows: Vec<Vec<String>> = self.parents.iter().map(|parent| row(&parent.path, &parent.measure)).collect();
        rows.push(row("ensemble", &self.ensemble));
        rows.extend(self.vanilla.as_ref().map(|vanilla| row("plain average", vanilla)));
        rows.push(row(&shown(Path::new(output)), &self.fused));
        let table = table(&["network", "accuracy", "loss"], &["accuracy", "loss"], rows);
        format!("{table}\n{} of {}, {} split", count(self.samples, "sample"), self.data, self.split)
    }
}
