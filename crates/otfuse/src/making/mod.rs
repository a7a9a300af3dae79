//! Samples that networks make themselves, where there are none: least squares and activations need inputs and no labels.

mod choice;
mod form;
mod images;
mod noise;

use std::time::Instant;

use otfuse_graph::Graph;
use otfuse_runtime::dataset::{Targets, Vocabulary};
use otfuse_runtime::inverse::{Chains, DescentSettings, write};

pub(crate) use self::choice::Contest;
pub use self::choice::{Candidate, MadeReport};
use self::form::Form;
use crate::{Context, EffortName, Error, ErrorKind, InputShapes, Model, Result, Samples};

/// Multiplications that making may take by default, and with the effort thorough.
const WORK: (f64, f64) = (2.4e12, 2e13);
/// The most samples by default, and with the effort thorough.
const MOST: (usize, usize) = (1000, 1000);
/// The most windows of text by default: each has many tokens.
const WINDOWS: usize = 500;
/// The most images of planes by default: what is fitted on them takes longer than making them where networks are thin.
const IMAGES: usize = 250;
/// The fewest samples that are worth the while.
const LEAST: usize = 50;
/// A step of descent, in passes through the network.
const PASSES: f64 = 2.5;
/// The share of the samples that nothing is fitted on, and how many at most.
const HELD_OUT: (usize, usize) = (5, 200);
/// Chains of text that are written side by side.
const CHAINS: usize = 250;

/// What samples are made of, and how many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MakeOptions {
    /// How many, without copies; as many as there is time for, and 1,000 at most (of images of planes 250, with effort thorough 1,000).
    pub count: Option<usize>,
    /// How much work goes into them; default.
    pub effort: Option<EffortName>,
    /// Leave the noise that images begin with as it is.
    pub noise: bool,
    /// Of all that is drawn; 0.
    pub seed: u64,
    /// Lengths of inputs, where a network leaves them open.
    pub shapes: InputShapes,
}

#[derive(Clone, Copy)]
struct Effort {
    is_thorough: bool,
}

/// Samples, and those of them that nothing is to be fitted on.
pub(crate) struct Made {
    pub(crate) fitted: Samples,
    held: Samples,
    /// The noise that the held ones were before they descended.
    noise: Option<Samples>,
    kind: &'static str,
    /// How many were made; copies of them are fitted on too.
    count: usize,
    steps: usize,
    seconds: f64,
}

/// Samples for networks of which nothing but their weights is known, without labels unless they are text, whose labels are
/// the next tokens:
///
/// - images (an input of 1 or 3 channels, or a row that is as long as a square, and a score for each class): noise with the
///   spectrum of natural images that descends on the sum over the networks of cross-entropy to classes in turn, of the
///   distance to the running statistics of batch normalisations, and on total variation (H. Yin et al., "Dreaming to distill",
///   CVPR 2020);
///   copies of the images follow, mirrored (where there are colours) and moved;
/// - text (tokens, and scores for the next one): chains of tokens drawn from the mean of the networks' distributions, behind
///   a window that is thrown away;
/// - other rows of numbers: normal noise, with the running statistics of a normalisation right behind the input.
///
/// The same seed gives the same samples, whatever the number of threads. Making takes `steps` forward and backward passes over
/// all images through all networks (3 for perceptrons, 30 without and 60 with batch normalisations), or for text a pass for
/// each token of a window.
///
/// ```no_run
/// # fn main() -> Result<(), otfuse::Error> {
/// use otfuse::{Context, MakeOptions, Model, make_samples};
///
/// let models = [Model::open("a.onnx")?, Model::open("b.onnx")?];
/// let samples = make_samples(&models, &MakeOptions::default(), &Context::new())?;
/// println!("{} samples of shape {:?}", samples.len(), samples.sample_shape());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Networks whose samples cannot be made: several inputs, encoders, inputs of a form that nothing is known of, or so large
/// that it would take too long; networks that cannot be run.
pub fn make_samples(models: &[Model], options: &MakeOptions, context: &Context) -> Result<Samples> {
    context.install(|| match made(models, options, false, context)? {
        Ok(made) => Ok(made.fitted),
        Err(reason) => Err(refused(&reason)),
    })
}

pub(crate) fn refused(reason: &str) -> Error {
    Error::input(format!("no samples can be made: {reason}"))
        .hint("`data` names a data set, of which no labels are needed; `samples_from` none does without")
}

/// Says that a fusion does without the samples that nobody asked for, where it is a limit that they are beyond.
pub(crate) fn told_without(error: &Error, context: &Context) {
    if error.kind == ErrorKind::Budget {
        context.warn(&format!("fused by weights alone, without samples that the networks make: {error}"));
    }
}

/// Samples, some of which are held out where that `is_judged`; or why there are none.
pub(crate) fn made(
    models: &[Model],
    options: &MakeOptions,
    is_judged: bool,
    context: &Context,
) -> Result<std::result::Result<Made, String>> {
    let start = Instant::now();
    let form = match Form::of(models, &options.shapes, context)? {
        Ok(form) => form,
        Err(reason) => return Ok(Err(reason)),
    };
    if is_judged && matches!(form, Form::Numbers { classes: None, .. }) {
        return Ok(Err("without classes nobody knows which of the results is nearer to the models".to_owned()));
    }
    let effort = Effort { is_thorough: options.effort == Some(EffortName::Thorough) };
    let settings = images::settings(&form, effort, options.seed).filter(|_| !options.noise);
    let steps = settings.as_ref().map_or(0, |settings| settings.steps);
    let count = match (options.count, counted(&form, models, steps, effort)?) {
        (Some(count), _) if !is_judged => count.max(1),
        (_, None) => return Ok(Err("the networks are so large that it would take too long".to_owned())),
        (count, Some(allowed)) => count.unwrap_or(allowed).clamp(1, allowed),
    };
    let held = if is_judged { (count / HELD_OUT.0).clamp(1, HELD_OUT.1) } else { 0 };
    let made = match &form {
        Form::Text { length, vocabulary } => {
            text(models, (count, held), (*length, *vocabulary), options.seed, context)?
        }
        _ => arrays(models, &form, (count, held), settings.as_ref(), options.seed, context)?,
    };
    let kind = match &form {
        Form::Images { .. } => "images",
        Form::Text { .. } => "windows of text",
        Form::Numbers { .. } => "rows of noise",
    };
    let (fitted, held, noise) = made;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Ok(Made { fitted, held, noise, kind, count, steps, seconds }))
}

/// What made samples are called.
const NAME: &str = "made by the networks";

/// As many samples as there is time for; `None` where these are too few.
fn counted(form: &Form, models: &[Model], steps: usize, effort: Effort) -> Result<Option<usize>> {
    let (work, most) = match (effort.is_thorough, form) {
        (true, _) => (WORK.1, MOST.1),
        (false, Form::Text { .. }) => (WORK.0, WINDOWS),
        (false, Form::Images { declared, .. }) if declared.len() > 1 => (WORK.0, IMAGES),
        (false, _) => (WORK.0, MOST.0),
    };
    let length = if let Form::Text { length, .. } = form { *length } else { 1 };
    let mut of_pass = 0.0;
    for model in models {
        of_pass += crate::work::multiplications(model.graph()?, &model.facts()?, length);
    }
    let of_sample = match form {
        // Half a window on average, and at least as much again for the window that is thrown away.
        Form::Text { length, .. } => of_pass * *length as f64,
        _ => of_pass * (1.0 + PASSES * steps as f64),
    };
    let count = (work / of_sample.max(1.0)) as usize;
    Ok((count >= LEAST).then(|| count.min(most)))
}

/// Images or rows to fit on and to judge by, and the noise that the latter were.
fn arrays(
    models: &[Model],
    form: &Form,
    (count, held): (usize, usize),
    settings: Option<&DescentSettings>,
    seed: u64,
    context: &Context,
) -> Result<(Samples, Samples, Option<Samples>)> {
    let stage = context.stage("making samples", images::steps(count + held, settings));
    let noise = images::noise_of(form, count + held, seed);
    let shape = match form {
        Form::Images { declared, .. } if declared.len() == 1 => declared.clone(),
        Form::Images { shape, .. } => shape.to_vec(),
        Form::Numbers { count, .. } => vec![*count],
        Form::Text { .. } => Vec::new(),
    };
    let samples = |values: Vec<f32>| Samples::with_targets(NAME, shape.clone(), values, Targets::None);
    let fitted = count * shape.iter().product::<usize>();
    let of_held = noise[fitted..].to_vec();
    let mut values = match settings {
        Some(settings) => images::descended(form, models, noise, settings, &stage, context)?,
        None => noise,
    };
    let judged = values.split_off(fitted);
    if let Some(settings) = settings {
        values = images::copied(form, values, settings);
    }
    Ok((samples(values)?, samples(judged)?, Some(samples(of_held)?)))
}

/// Windows of text to fit on and to judge by.
fn text(
    models: &[Model],
    (count, held): (usize, usize),
    (length, vocabulary): (usize, usize),
    seed: u64,
    context: &Context,
) -> Result<(Samples, Samples, Option<Samples>)> {
    let graphs: Vec<&Graph> = models.iter().map(Model::graph).collect::<Result<_>>()?;
    let chains = CHAINS.min(count + held);
    let windows = (count + held).div_ceil(chains);
    let stage = context.stage("making samples", (windows + 1) * length);
    let mut observe = |done| {
        stage.at(done, (windows + 1) * length);
        context.flow()
    };
    let chains = Chains { length, vocabulary, chains, windows, seed };
    let rows = write(&graphs, &chains, context.host(), &mut observe)?.ok_or_else(Error::cancelled)?;
    let samples = |rows: &[u32]| {
        let rows = || rows.chunks_exact(length + 1);
        let tokens = rows().flat_map(|row| &row[..length]).copied().collect();
        let labels = rows().flat_map(|row| &row[1..]).copied().collect();
        Samples::from_tokens(NAME, length, tokens, labels, vocabulary, Vocabulary::of_ids(vocabulary))
    };
    let (fitted, rest) = rows.split_at(count * (length + 1));
    Ok((samples(fitted)?, samples(&rest[..held * (length + 1)])?, None))
}
