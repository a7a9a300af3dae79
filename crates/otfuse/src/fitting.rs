//! Samples brought to networks, with what the user should know of them.

use std::borrow::Cow;
use std::path::Path;

use otfuse_graph::{Graph, ValueId};
use otfuse_runtime::dataset::{Normalization, Targets};
use otfuse_runtime::{Executable, evaluate};

use crate::files::count;
use crate::inputs::vocabulary;
use crate::{Context, Error, Model, Result, Samples};

/// Samples whose numbers are looked at.
const LOOKED_AT: usize = 256;
/// Samples that other normalisations are tried on.
const TRIED: usize = 200;
/// Samples of this size and above, or below its inverse, are not what most networks are trained on.
const LARGE: f64 = 30.0;
/// The most scores that are held of the samples that networks are compared on.
const MOST_SCORES: usize = 1 << 27;

/// Samples as the networks take them: long ones of tokens in windows. What was cut and numbers of an odd size are said.
pub(crate) fn fitted<'s>(samples: Cow<'s, Samples>, models: &[&Model], context: &Context) -> Result<Cow<'s, Samples>> {
    let mut shortest = None;
    for model in models {
        let limit = longest(model, samples.sample_shape(), samples.vocabulary().is_some())?;
        shortest = match (shortest, limit) {
            (Some(shortest), Some(limit)) => Some(usize::min(shortest, limit)),
            (shortest, limit) => shortest.or(limit),
        };
    }
    for model in models {
        known(&samples, model)?;
    }
    let samples = match shortest.and_then(|length| samples.windowed(length)) {
        Some(windows) => {
            let (long, length) = (samples.sample_shape()[0], windows.sample_shape()[0]);
            let left = match long % length {
                0 => String::new(),
                left => format!("; the last {left} of each are left out"),
            };
            context.note(&format!(
                "{}: {} of {long} tokens are cut into {} of {length}, the most that the networks take{left}",
                samples.name(),
                count(samples.len(), "sample"),
                count(windows.len(), "window"),
            ));
            Cow::Owned(windows)
        }
        None => samples,
    };
    samples.remarks().iter().for_each(|remark| context.note(remark));
    scaled(&samples, context);
    Ok(samples)
}

/// Refuses tokens that the network's table of them does not have.
fn known(samples: &Samples, model: &Model) -> Result<()> {
    let graph = model.graph()?;
    let takes_integers = |&&input: &&ValueId| {
        let declared = graph.value(input).declared.as_ref();
        declared.is_some_and(|declared| !declared.data_type.is_float())
    };
    let inputs: Vec<ValueId> = graph.inputs().iter().filter(takes_integers).copied().collect();
    let Some(facts) = (!inputs.is_empty()).then(|| model.facts().ok()).flatten() else { return Ok(()) };
    for input in inputs {
        let name = &graph.value(input).name;
        let (Some(rows), Some((sample, most))) = (vocabulary(graph, &facts, input), samples.largest(name)) else {
            continue;
        };
        if most >= 0 && most as u64 >= rows as u64 {
            let message = format!(
                "{}: sample {sample} has the number {most} for the input '{name}', of which {} has a table of {rows}, 0 to {}",
                samples.name(),
                model.shown(),
                rows - 1
            );
            let hint = "tokens are numbered by the network's own tokenizer; those of another one mean other words";
            return Err(Error::input(message).hint(hint));
        }
    }
    Ok(())
}

/// The most tokens that a network takes: the length that its input fixes, or the positions that its settings name.
fn longest(model: &Model, shape: &[usize], is_text: bool) -> Result<Option<usize>> {
    let &[length] = shape else { return Ok(None) };
    let graph = model.graph()?;
    let declared = |id: ValueId| graph.value(id).declared.as_ref();
    let takes_tokens = |id: &ValueId| is_text || declared(*id).is_some_and(|it| !it.data_type.is_float());
    let fixed = graph.inputs().iter().copied().filter(|id| takes_tokens(id)).find_map(|id| {
        let shape = declared(id)?.shape.as_ref()?;
        shape.get(1).filter(|_| shape.len() == 2)?.as_known()
    });
    let any = graph.inputs().iter().any(takes_tokens);
    let positions = || if any && model.is_folder() { positions(model.path()) } else { None };
    Ok(fixed.or_else(positions).filter(|&limit| limit > 0 && limit < length))
}

/// The positions that a folder's settings name.
fn positions(folder: &Path) -> Option<usize> {
    let text = otfuse_formats::read_regular_text(&folder.join("config.json")).ok()?;
    let settings: serde_json::Value = serde_json::from_str(&text).ok()?;
    let number = |key: &str| settings.get(key)?.as_u64();
    let positions = number("n_positions").or_else(|| number("max_position_embeddings"))?;
    let kind = settings.get("model_type").and_then(|kind| kind.as_str()).unwrap_or_default();
    // Their positions begin behind the number of the padding.
    let offset = match kind {
        "roberta" | "camembert" | "xlm-roberta" | "mpnet" => number("pad_token_id").unwrap_or(1) + 1,
        _ => 0,
    };
    usize::try_from(positions.saturating_sub(offset)).ok()
}

/// Says that numbers are of an odd size.
fn scaled(samples: &Samples, context: &Context) {
    let Some(found) = samples.statistics(LOOKED_AT) else { return };
    let size = found.size();
    if !(size > LARGE || (size > 0.0 && size < 1.0 / LARGE)) {
        return;
    }
    let way_out = match found.most {
        _ if *samples.normalization() != Normalization::none() => {
            context.warn(&format!(
                "{}: normalised, the samples have the mean {:.4} and the deviation {:.4}; most networks are trained on numbers of \
                 about 1: is `normalize` right?",
                samples.name(),
                found.mean,
                found.deviation
            ));
            return;
        }
        _ if found.least >= 0.0 && found.most > LARGE && found.most <= 255.0 => "`normalize` 0/255".to_owned(),
        _ if found.least >= 0.0 && found.most <= 1.0 / 255.0 + 1e-9 => "`normalize` 0/0.00392157".to_owned(),
        _ => format!("`normalize` {:.4}/{:.4}", found.mean, if found.deviation > 0.0 { found.deviation } else { size }),
    };
    context.warn(&format!(
        "{}: the samples have the mean {:.4}, the deviation {:.4} and go from {:.4} to {:.4}; most networks are trained on \
         numbers of about 1. They are taken as they are; if that is wrong, {way_out} scales them",
        samples.name(),
        found.mean,
        found.deviation,
        found.least,
        found.most
    ));
}

/// Fails where nothing is known of samples that `purpose` measures on or trains with.
pub(crate) fn labelled(samples: &Samples, purpose: &str) -> Result<()> {
    if samples.is_labelled() {
        return Ok(());
    }
    let shown = |(name, shape): (&str, &[usize])| match name {
        "" => format!("samples of shape {shape:?}"),
        name => format!("{name} of shape {shape:?}"),
    };
    let found: Vec<String> = samples.arrays().map(shown).collect();
    let (expected, hint) = if samples.name().starts_with("images") {
        ("a folder for each class", "put the images of each class into a folder of its own: DIR/CLASS/IMAGE")
    } else {
        (
            "an array y (or y_train and y_test, labels, targets)",
            "y holds a class for each sample or place (integers from 0 on), or the numbers to be met (floats); `otfuse fuse`, \
             `otfuse align`, `otfuse compare` and `otfuse run` need none",
        )
    };
    let message = format!(
        "{} has no labels, which {purpose} needs: expected {expected}, found {}",
        samples.name(),
        found.join(", ")
    );
    Err(Error::input(message).hint(hint))
}

/// Of samples with a class at each place no more than the scores of so many fit memory.
pub(crate) fn bounded(samples: Samples) -> Samples {
    let scores = samples.labels_per_sample().saturating_mul(samples.classes()).max(1);
    if samples.is_dense() && scores.saturating_mul(samples.len()) > MOST_SCORES {
        return samples.spread((MOST_SCORES / scores).max(1));
    }
    samples
}

/// Says that samples may be normalised otherwise than those that a network was trained on, where its accuracy is near
/// chance and does rise with a usual normalisation, or with the samples' own statistics; where it does not, only to who
/// `asks` how good the network is.
pub(crate) fn suspect(graph: &Graph, path: &str, accuracy: f64, samples: &Samples, asks: bool, context: &Context) {
    let classes = samples.classes();
    let chance = 1.0 / classes.max(1) as f64;
    let is_suspect = classes >= 2
        && samples.len() >= TRIED / 4
        && samples.vocabulary().is_none()
        && matches!(samples.targets(), Targets::Classes { .. })
        && accuracy <= chance + 0.1 * (1.0 - chance);
    let Some(statistics) = samples.statistics(LOOKED_AT).filter(|_| is_suspect) else { return };
    let near = format!(
        "{path}: the accuracy of {:.2} % is near chance ({classes} classes); the samples have the mean {:.3} and the \
         deviation {:.3}",
        100.0 * accuracy,
        statistics.mean,
        statistics.deviation
    );
    let few = samples.spread(TRIED);
    let Ok(executable) = Executable::new(graph, context.host()) else { return };
    let usual = ["none", "mnist", "cifar10", "imagenet", "0.5/0.5", "0/255", "0/0.00392157"];
    let usual = usual.into_iter().filter_map(|name| Some((name.to_owned(), Normalization::parse(name).ok()?)));
    let own = few.own_normalization(TRIED).map(|own| (own.to_string(), own));
    let mut best = (accuracy + 0.15 * (1.0 - chance), None);
    for (name, other) in usual.chain(own).filter(|(_, other)| other != samples.normalization()) {
        let found = few.normalized(other).map(|tried| evaluate(&executable, &tried, &mut |_, _| {}));
        match found {
            Some(Ok(found)) if found.accuracy > best.0 => best = (found.accuracy, Some(name)),
            _ => {}
        }
    }
    match best {
        (accuracy, Some(name)) => context.warn(&format!(
            "{near}. With `normalize` {name} it is {:.2} % on {}: the network was probably trained so",
            100.0 * accuracy,
            count(few.len(), "sample")
        )),
        (_, None) if asks => context.note(&format!(
            "{near}. The network may have been trained with another normalisation (`normalize`), with other classes, or not \
             at all"
        )),
        _ => {}
    }
}
