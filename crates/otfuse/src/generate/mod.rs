//! What generators make of the same noise: measured, and as pictures.

mod features;
#[cfg(feature = "images")]
mod pictures;
mod range;

use std::path::{Path, PathBuf};

use otfuse_fusion::{ModelAlignment, frechet_distance};
use otfuse_graph::{Dim, Facts, Graph};
use otfuse_runtime::dataset::{Noise, Targets};
use serde::Serialize;

use self::features::Features;
use crate::noise::{drawn, walked};
use crate::run::recorded;
use crate::{Context, Dataset, Error, InputShapes, Model, Result, Samples, SplitName};

pub use self::range::Range;

/// Samples that are drawn if nothing else is said.
const COUNT: usize = 5000;
/// Draws that a walk goes to, and steps from each to the next.
const WALK: (usize, usize) = (4, 5);
/// The most samples of the reference that features are taken of.
const REFERENCE: usize = 10_000;
/// Numbers that outputs may have altogether.
const MOST_NUMBERS: usize = 1 << 29;

/// How generators are measured.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// The noise, as `noise:normal,5000`; that if it is not given.
    pub noise: Option<String>,
    /// The numbers of outputs that are black and white; by the function that outputs end in, if not given.
    pub range: Option<Range>,
    /// An alignment that a fusion of the first models saved: each then makes of the anchor's noise what the fusion took it for.
    pub alignment: Option<PathBuf>,
    /// A classifier whose last features are compared; one that is trained on the reference, if not given.
    pub features: Option<Model>,
    /// Whether a walk from draw to draw is made, too.
    pub walk: bool,
    /// Lengths of inputs that are open.
    pub shapes: InputShapes,
    /// Seed of the noise, and of a classifier that is trained.
    pub seed: u64,
}

/// What generators made.
pub struct Generated {
    /// What was measured.
    pub report: GenerateReport,
    /// For each model its samples, one after the other, from 0 to 1.
    made: Vec<Vec<f32>>,
    /// The same of a walk; nothing where there is none.
    walked: Vec<Vec<f32>>,
}

impl Generated {
    /// For each model its samples, one after the other, from 0 to 1.
    pub fn samples(&self) -> &[Vec<f32>] {
        &self.made
    }

    /// The same on the way from draw to draw; none if no walk was asked for.
    pub fn walked(&self) -> &[Vec<f32>] {
        &self.walked
    }
}

/// What was measured of generators.
#[derive(Clone, Debug, Serialize)]
pub struct GenerateReport {
    /// The noise.
    pub noise: String,
    /// How many samples each made.
    pub count: usize,
    /// The shape of a sample.
    pub shape: Vec<usize>,
    /// The generators, in their order.
    pub models: Vec<GeneratedModel>,
    /// What they are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<GenerateReference>,
}

/// A generator.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratedModel {
    /// As it was given.
    pub path: String,
    /// The numbers of its outputs that are black and white.
    pub range: Range,
    /// The mean of its samples, from 0 to 1.
    pub mean: f64,
    /// Their deviation.
    pub deviation: f64,
    /// The Fréchet distance of its samples' features from those of the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frechet: Option<f64>,
    /// The share of samples that the classifier puts into each class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<f64>,
}

/// What generators are compared with.
#[derive(Clone, Debug, Serialize)]
pub struct GenerateReference {
    /// The data set.
    pub data: String,
    /// How many of its samples.
    pub count: usize,
    /// The network whose features are compared.
    pub features: String,
    /// How many numbers they are.
    pub width: usize,
    /// Its accuracy on the reference, where that has labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// Runs generators on the same noise and, where there is a data set to compare with, measures how far what they make is from it.
///
/// # Errors
/// Generators of unequal noise or outputs, networks that cannot be run, outputs that are not finite, an alignment of other models.
pub fn generate(
    models: &[Model],
    options: &GenerateOptions,
    reference: Option<&Dataset>,
    context: &Context,
) -> Result<Generated> {
    context.install(|| generated(models, options, reference, context))
}

fn generated(
    models: &[Model],
    options: &GenerateOptions,
    reference: Option<&Dataset>,
    context: &Context,
) -> Result<Generated> {
    let (name, noise) = law(options.noise.as_deref())?;
    let count = noise.count.unwrap_or(COUNT);
    let turned = turned(models, options.alignment.as_deref())?;
    let refs: Vec<&Model> = models.iter().collect();
    let samples = drawn((&name, noise, count), &refs, &options.shapes, (options.seed, 3))?;
    let (mut made, mut shape, mut measured) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (model, graph)) in models.iter().zip(&turned).enumerate() {
        model.told(context)?;
        let (values, own) = outputs(graph, &samples, context).map_err(|error| error.of(model.path()))?;
        if at == 0 {
            shape = own;
        } else if shape != own {
            let message = format!("it makes samples of shape {own:?}, {} of {shape:?}", models[0].shown());
            return Err(Error::input(message).of(model.path()).hint("compare generators of one kind of sample"));
        }
        let (range, is_usual) = options.range.map_or_else(|| Range::of(graph, &values), |range| (range, true));
        if !is_usual {
            context.warn(&format!(
                "{}: its outputs go from {} to {}, which are taken for black and white; `range` says which numbers are",
                model.shown(),
                range.low,
                range.high
            ));
        }
        let values: Vec<f32> = values.into_iter().map(|value| range.to_unit(value)).collect();
        measured.push(GeneratedModel::of(model, range, &values));
        made.push(values);
    }
    let mut on_the_way = Vec::new();
    if options.walk {
        let samples = walked((&name, noise), WALK, &refs, &options.shapes, options.seed)?;
        for (graph, of) in turned.iter().zip(&measured) {
            let (values, _) = outputs(graph, &samples, context)?;
            on_the_way.push(values.into_iter().map(|value| of.range.to_unit(value)).collect());
        }
    }
    let reference = match reference {
        Some(data) => Some(compared((data, &made, &shape), options, &mut measured, context)?),
        None => None,
    };
    let report = GenerateReport { noise: name, count, shape, models: measured, reference };
    Ok(Generated { report, made, walked: on_the_way })
}

/// The noise that is meant.
fn law(text: Option<&str>) -> Result<(String, Noise)> {
    let text = text.unwrap_or("noise:normal");
    match Dataset::open(text)?.noise() {
        Some(noise) => Ok((text.to_owned(), noise)),
        None => Err(Error::input(format!("{text}: generators take noise: noise:normal or noise:uniform"))
            .hint("what they are compared with is `against`")),
    }
}

/// The models' graphs, their noise turned as an alignment says.
fn turned(models: &[Model], alignment: Option<&Path>) -> Result<Vec<Graph>> {
    let mut graphs: Vec<Graph> = models.iter().map(|model| model.graph().cloned()).collect::<Result<_>>()?;
    let Some(path) = alignment else { return Ok(graphs) };
    let found: Vec<ModelAlignment> = crate::apply::read_all(path)?;
    for alignment in &found {
        let Some(graph) = graphs.get_mut(alignment.model) else {
            let message = format!("it aligns model {}, of {} that are given", alignment.model, models.len());
            return Err(Error::input(message).of(path).hint("name the models of the fusion first, in their order"));
        };
        *graph = crate::latent::applied(graph, &alignment.inputs).map_err(|problem| {
            Error::input(format!("{}: {problem}", models[alignment.model].shown()))
                .of(path)
                .hint("name the models of the fusion first, in their order")
        })?;
    }
    Ok(graphs)
}

/// The first output on all samples, and the shape of one.
fn outputs(graph: &Graph, samples: &Samples, context: &Context) -> Result<(Vec<f32>, Vec<usize>)> {
    let name = graph.outputs().first().map(|&output| graph.value(output).name.as_str()).unwrap_or_default();
    let lengths = Facts::of(graph).ok().and_then(|facts| {
        let shape = facts.shape(*graph.outputs().first()?)?;
        shape.iter().skip(1).map(Dim::as_known).collect::<Option<Vec<_>>>()
    });
    let size = lengths.map_or(1, |lengths| lengths.iter().fold(1_usize, |size, &length| size.saturating_mul(length)));
    if size.saturating_mul(samples.len()) > MOST_NUMBERS {
        let message = format!("the output '{name}' would have more than {MOST_NUMBERS} numbers");
        return Err(Error::input(message).hint("draw fewer samples: `noise` noise:normal,500"));
    }
    let found = recorded(graph, samples, context)?.into_iter().next().map(|(_, tensor)| tensor);
    let made = found.and_then(|tensor| Some((tensor.to_f32()?, tensor.shape()[1..].to_vec())));
    let (values, shape) =
        made.ok_or_else(|| Error::input(format!("the output '{name}' holds no floating-point numbers")))?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::input(format!("the output '{name}' has the number {value}"))),
        None => Ok((values, shape)),
    }
}

impl GeneratedModel {
    fn of(model: &Model, range: Range, values: &[f32]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
        let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
        let path = model.shown();
        Self { path, range, mean, deviation: variance.sqrt(), frechet: None, classes: Vec::new() }
    }
}

/// Measures the models against a data set.
fn compared(
    (data, made, shape): (&Dataset, &[Vec<f32>], &[usize]),
    options: &GenerateOptions,
    measured: &mut [GeneratedModel],
    context: &Context,
) -> Result<GenerateReference> {
    let real = match data.test_if_any()? {
        Some(test) => test,
        None => data.samples(SplitName::Train, None)?,
    };
    let real = real.spread(REFERENCE);
    let size: usize = shape.iter().product();
    if size != real.sample_shape().iter().product::<usize>() {
        let message = format!(
            "{}: its samples have the shape {:?}, those of the generators {shape:?}",
            data.name(),
            real.sample_shape()
        );
        return Err(Error::input(message).hint("generators are compared with samples of the kind that they make"));
    }
    let features = match &options.features {
        Some(model) => Features::of(model.told(context)?, &model.shown())?,
        None => Features::trained(data, &real, options.seed, context)?,
    };
    let accuracy = features.accuracy(&real, context)?;
    let (of_real, width, _) = features.take(&real, context)?;
    for (model, values) in measured.iter_mut().zip(made) {
        let plain = Samples::with_targets("made", real.sample_shape().to_vec(), values.clone(), Targets::None)?;
        let plain = plain.normalized(real.normalization().clone()).unwrap_or(plain);
        let (found, _, classes) = features.take(&plain, context)?;
        model.frechet = frechet_distance(&found, &of_real, width);
        model.classes = classes;
    }
    Ok(GenerateReference {
        data: data.name().to_owned(),
        count: real.len(),
        features: features.name().to_owned(),
        width,
        accuracy,
    })
}
