//! Samples that are drawn: noise of the shape of networks' inputs.

use otfuse_graph::{Dim, Facts, Graph, ValueId};
use otfuse_runtime::dataset::{Noise, NoiseLaw, Numbers};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::inputs::{Filling, normal};
use crate::{Error, InputShapes, Model, Result, Samples};

/// Numbers that are drawn at most.
const MOST_NUMBERS: usize = 1 << 30;

/// Draws noise for all inputs of networks that take the same; integers are drawn evenly from the rows of the tables that they
/// index. Each sample has its own place in the stream of the seed, so that more samples begin with the same ones; `split` tells
/// draws apart.
///
/// # Errors
/// Lengths that are open, networks whose inputs differ.
pub(crate) fn drawn(
    (name, noise, count): (&str, Noise, usize),
    models: &[&Model],
    shapes: &InputShapes,
    (seed, split): (u64, u64),
) -> Result<Samples> {
    Ok(Samples::of_noise(name, columns((name, noise, count), models, shapes, (seed, split))?)?)
}

/// Noise on the way between `stops` draws, `steps` from each to the next: on great circles if it is normal, whose draws have
/// nearly one length, else on lines. Integers stay those of the first draw.
///
/// # Errors
/// As [`drawn`].
pub(crate) fn walked(
    (name, noise): (&str, Noise),
    (stops, steps): (usize, usize),
    models: &[&Model],
    shapes: &InputShapes,
    seed: u64,
) -> Result<Samples> {
    let columns = columns((name, noise, stops), models, shapes, (seed, 3))?;
    let way = |(input, shape, numbers): (String, Vec<usize>, Numbers)| {
        let size = shape.iter().product::<usize>();
        let places = (0..stops.saturating_sub(1) * steps + 1).map(|at| {
            let from = (at / steps.max(1)).min(stops.saturating_sub(2));
            (from, (at - from * steps) as f64 / steps.max(1) as f64)
        });
        let numbers = match numbers {
            Numbers::Integers(values) => Numbers::Integers(places.flat_map(|_| values[..size].to_vec()).collect()),
            Numbers::Floats(values) => Numbers::Floats(
                places
                    .flat_map(|(from, share)| {
                        between(&values[from * size..][..size], &values[(from + 1) * size..][..size], share, noise.law)
                    })
                    .collect(),
            ),
        };
        (input, shape, numbers)
    };
    Ok(Samples::of_noise(name, columns.into_iter().map(way).collect())?)
}

/// A point on the way from one draw to another.
fn between(a: &[f32], b: &[f32], share: f64, law: NoiseLaw) -> Vec<f32> {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = product(a, b) / (product(a, a) * product(b, b)).sqrt();
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let (of_a, of_b) = match law {
        NoiseLaw::Normal if angle.sin() > 1e-6 => {
            (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin())
        }
        _ => (1.0 - share, share),
    };
    a.iter().zip(b).map(|(a, b)| (of_a * f64::from(*a) + of_b * f64::from(*b)) as f32).collect()
}

/// The numbers for each input.
fn columns(
    (name, noise, count): (&str, Noise, usize),
    models: &[&Model],
    shapes: &InputShapes,
    (seed, split): (u64, u64),
) -> Result<Vec<(String, Vec<usize>, Numbers)>> {
    let (model, rest) = models.split_first().ok_or_else(|| Error::input("there is no network to draw noise for"))?;
    let inputs = inputs_of(model, shapes)?;
    for other in rest {
        let found = inputs_of(other, shapes)?;
        let differing = inputs.iter().zip(&found).find(|(own, its)| own.1 != its.1);
        if let Some(((name, own), (_, its))) = differing {
            let message = format!("the input '{name}' of {} takes {own:?} a sample, here it is {its:?}", model.shown());
            let error = Error { tensor: Some(name.clone()), ..Error::input(message) };
            return Err(error.of(other.path()).hint("generators are fused that are made of the same noise"));
        }
        if inputs.len() != found.len() {
            let message = format!("it has {} inputs, {} has {}", found.len(), model.shown(), inputs.len());
            return Err(Error::input(message).of(other.path()).hint("generators are fused that take the same inputs"));
        }
    }
    let numbers: usize = inputs.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    if numbers.saturating_mul(count) > MOST_NUMBERS {
        return Err(Error::input(format!("{name}: {count} samples of {numbers} numbers are more than {MOST_NUMBERS}"))
            .hint("draw fewer samples: noise:normal,1000"));
    }
    let (graph, facts) = (model.graph()?, model.facts()?);
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x6e6f_6973_6500_0000);
    let mut columns: Vec<Numbers> = Vec::new();
    for (at, &input) in graph.inputs().iter().enumerate() {
        let size = inputs[at].1.iter().product::<usize>();
        let is_whole = facts.data_type(input).is_some_and(|found| !found.is_float());
        let mut column = if is_whole { Numbers::Integers(Vec::new()) } else { Numbers::Floats(Vec::new()) };
        for sample in 0..count {
            random.set_stream((sample as u64) << 24 | (split << 16) | at as u64);
            random.set_word_pos(0);
            draw(&mut column, noise.law, (graph, &facts, input), size, &mut random);
        }
        columns.push(column);
    }
    let is_single = inputs.len() == 1;
    let named = inputs.into_iter().zip(columns);
    let named = named.map(|((name, shape), numbers)| (if is_single { String::new() } else { name }, shape, numbers));
    Ok(named.collect())
}

/// Appends one sample for an input.
fn draw(
    column: &mut Numbers,
    law: NoiseLaw,
    (graph, facts, input): (&Graph, &Facts, ValueId),
    size: usize,
    random: &mut ChaCha8Rng,
) {
    match column {
        Numbers::Floats(values) => values.extend((0..size).map(|_| match law {
            NoiseLaw::Normal => normal(random),
            NoiseLaw::Uniform => 2.0 * (((random.next_u64() >> 40) as f64 + 0.5) / (1_u64 << 24) as f64) as f32 - 1.0,
        })),
        Numbers::Integers(values) => {
            let tensor = Filling::FIRST.tensor(graph, facts, input, &[size], 1, random);
            match tensor.to_i64() {
                Some(found) => values.extend(found),
                // Truth values.
                None => values.extend(std::iter::repeat_n(1, size)),
            }
        }
    }
}

/// The inputs of a network, and the shape of one sample of each.
fn inputs_of(model: &Model, shapes: &InputShapes) -> Result<Vec<(String, Vec<usize>)>> {
    let (graph, facts) = (model.graph()?, model.facts()?);
    shapes.check(graph, &facts).map_err(|error| error.of(model.path()))?;
    let of = |&input: &ValueId| {
        let name = graph.value(input).name.clone();
        let given = shapes.get(&name).map(|given| given.iter().skip(1).copied().collect());
        let declared = || facts.shape(input)?.iter().skip(1).map(Dim::as_known).collect::<Option<Vec<_>>>();
        let found: Option<Vec<usize>> = given.or_else(declared);
        let shape = found.filter(|shape| !shape.contains(&0)).ok_or_else(|| {
            let message = format!("the lengths of the input '{name}' are open, so that no noise can be drawn for it");
            let hint = format!("`shape` gives them, samples first: {name}=1x100");
            Error { tensor: Some(name.clone()), ..Error::input(message).of(model.path()).hint(hint) }
        })?;
        Ok((name, shape))
    };
    graph.inputs().iter().map(of).collect()
}
