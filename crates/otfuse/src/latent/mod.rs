//! Generators made of noise: the noise of each is turned until all make nearly the same of it, exactly, before they are fused.

mod probes;

use std::path::Path;

use otfuse_fusion::{FirstOrder, InputAlignment, LatentAxis, LatentError, NoiseSymmetry, match_noise};
use otfuse_graph::{Graph, ValueId};
use otfuse_runtime::dataset::NoiseLaw;
use serde::Serialize;

use self::probes::{Probed, Probes};
use crate::fusing::plan::Plan;
use crate::{Context, Error, Model, Result};

/// How far what a network makes of turned noise may be from what it made of the noise before, relative to the largest number.
const TOLERANCE: f64 = 1e-4;

/// A latent input of a model, matched with the anchor's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MatchedInput {
    /// The model.
    pub model: usize,
    /// As it was given.
    pub path: String,
    /// The input.
    pub input: String,
    /// Its axis.
    pub axis: usize,
    /// How many numbers there are along it.
    pub size: usize,
    /// What the noise was mapped by: `orthogonal`, `signed permutation`, `permutation`, or `identity` where no map brings the
    /// models nearer.
    pub map: &'static str,
    /// The correlation of what the model and the anchor make of the same noise, as they were given.
    pub correlation_before: f64,
    /// The same after the map.
    pub correlation: f64,
    /// How far the mapped network is from the given one on mapped noise, relative to the largest number.
    pub error: f64,
}

/// Models whose noise corresponds.
#[derive(Clone)]
pub(crate) struct Latents {
    /// The models as they were given.
    pub originals: Vec<Model>,
    /// For each model its maps.
    pub maps: Vec<Vec<InputAlignment>>,
    pub report: Vec<MatchedInput>,
}

impl MatchedInput {
    /// In a line.
    pub fn headline(&self) -> String {
        let Self { model, input, size, map, correlation_before, correlation, .. } = self;
        let how = if *map == "identity" { "as it is".to_owned() } else { format!("by a {map} map") };
        let how = how.replace("a orthogonal", "an orthogonal");
        format!(
            "{input}: {size} numbers of model {model} go with the anchor's {how}; what both make of the same noise correlates by \
             {correlation:.2} ({correlation_before:.2} as given)"
        )
    }
}

/// The places of inputs by their names, in the anchor.
///
/// # Errors
/// Names that are no inputs, twice or integers.
pub(crate) fn places(names: &str, anchor: &Model) -> Result<Vec<usize>> {
    let (graph, facts) = (anchor.graph()?, anchor.facts()?);
    let known: Vec<&str> = graph.inputs().iter().map(|&id| graph.value(id).name.as_str()).collect();
    let mut places = Vec::new();
    for name in names.split(',').map(str::trim) {
        let wrong = |problem: &str| {
            let message = format!("`free_inputs` {name}: {problem}");
            Err(Error::input(message).of(anchor.path()).hint(format!("its inputs are {}", known.join(", "))))
        };
        let Some(at) = known.iter().position(|known| *known == name) else { return wrong("there is no such input") };
        if facts.data_type(graph.inputs()[at]).is_some_and(|found| !found.is_float()) {
            return wrong("it takes integers, whose values mean something");
        }
        if places.contains(&at) {
            return wrong("it is named twice");
        }
        places.push(at);
    }
    Ok(places)
}

/// The longest free axis of each of these inputs of a network.
fn axes(model: &Model, places: &[usize]) -> Result<Vec<LatentAxis>> {
    let graph = model.graph()?;
    let of = |&at: &usize| -> Result<LatentAxis> {
        let &input = graph.inputs().get(at).ok_or_else(|| {
            Error::input(format!("it has {} inputs, the anchor more", graph.inputs().len())).of(model.path())
        })?;
        LatentAxis::of(graph, input).map_err(|error| refused(error, model.path()))
    };
    places.iter().map(of).collect()
}

fn refused(error: LatentError, path: &Path) -> Error {
    let hint = "leave the input out of `free_inputs`: only noise whose order means nothing may be turned";
    match error {
        error @ LatentError::Held(_) => Error::input(error).of(path).hint(hint),
        error => Error::input(error).of(path),
    }
}

/// Checks what can be checked without running anything.
pub(crate) fn check(models: &[Model], anchor: usize, names: Option<&str>) -> Result<()> {
    let Some(names) = names else { return Ok(()) };
    let places = places(names, &models[anchor])?;
    let wanted = axes(&models[anchor], &places)?;
    for model in models {
        let found = axes(model, &places)?;
        for (own, its) in wanted.iter().zip(&found) {
            alike((&models[anchor], own), (model, its))?;
        }
    }
    Ok(())
}

/// Refuses latent inputs of other lengths.
fn alike((anchor, own): (&Model, &LatentAxis), (model, its): (&Model, &LatentAxis)) -> Result<()> {
    if (own.size, own.axis) == (its.size, its.axis) {
        return Ok(());
    }
    let name = model.graph()?.value(its.input).name.clone();
    let message = format!(
        "its latent input '{name}' has {} numbers along axis {}, that of {} has {} along axis {}",
        its.size,
        its.axis,
        anchor.shown(),
        own.size,
        own.axis
    );
    let error = Error { tensor: Some(name), ..Error::input(message) };
    Err(error.of(model.path()).hint("generators are fused that are made of noise of one length"))
}

impl Latents {
    /// Turns the noise of all models but the anchor, where `free_inputs` names any; the models then make of the anchor's noise what
    /// they made of their own. Each network is run on some thousand draws.
    ///
    /// # Errors
    /// Names that are no inputs, inputs whose order counts, noise of unequal lengths, networks that cannot be run, a map that
    /// changes what a network makes of its noise.
    pub fn matched(
        models: &mut [Model],
        plan: &Plan,
        (names, law): (Option<&str>, Option<NoiseLaw>),
        context: &Context,
    ) -> Result<Option<Self>> {
        let Some(names) = names else { return Ok(None) };
        check(models, plan.anchor, Some(names))?;
        models.iter().try_for_each(|model| model.finite().map(|_| ()))?;
        let places = places(names, &models[plan.anchor])?;
        let of_noise = match law {
            Some(NoiseLaw::Normal) => NoiseSymmetry::Orthogonal,
            Some(NoiseLaw::Uniform) => NoiseSymmetry::SignedPermutations,
            None => NoiseSymmetry::Permutations,
        };
        let refs: Vec<&Model> = models.iter().collect();
        let probes = Probes::draw(&refs, &plan.shapes, law.unwrap_or(NoiseLaw::Normal), plan.seed)?;
        let stage = context.stage("turning noise", probes.len() * models.len());
        let axes_of_anchor = axes(&models[plan.anchor], &places)?;
        let (mut done, total) = (0, probes.len() * models.len());
        let mut observe = |count| {
            done += count;
            stage.at(done, total);
            context.flow()
        };
        let of_anchor = probes.responses(&models[plan.anchor], &axes_of_anchor, context, &mut observe)?;
        let mut found = Self { originals: models.to_vec(), maps: vec![Vec::new(); models.len()], report: Vec::new() };
        for at in (0..models.len()).filter(|&at| at != plan.anchor) {
            let model = models[at].clone();
            let axes = axes(&model, &places)?;
            let own = probes.responses(&model, &axes, context, &mut observe)?;
            let turned = turned((&model, &axes), (&own, &of_anchor), of_noise)?;
            if let Some(graph) = found.add((at, &model), &axes, turned, &probes, &of_anchor, context)? {
                models[at] = model.in_form_of(&model, graph)?;
            }
        }
        Ok(Some(found))
    }

    /// Measures what the maps of a model do, proves that they do nothing else, and keeps them if they bring it nearer to the
    /// anchor: then gives the mapped network.
    fn add(
        &mut self,
        (at, model): (usize, &Model),
        axes: &[LatentAxis],
        (maps, names): (Vec<Vec<f64>>, Vec<&'static str>),
        probes: &Probes,
        of_anchor: &Probed,
        context: &Context,
    ) -> Result<Option<Graph>> {
        let given = model.graph()?;
        let graph = mapped(given, axes, &maps).map_err(|error| refused(error, model.path()))?;
        let before = probes.made(given, &[], context).map_err(|error| error.of(model.path()))?;
        let after = probes.made(&graph, &[], context).map_err(|error| error.of(model.path()))?;
        let turning: Vec<(ValueId, usize, &[f64])> =
            axes.iter().zip(&maps).map(|(axis, map)| (axis.input, axis.axis, map.as_slice())).collect();
        let expected = probes.made(given, &turning, context).map_err(|error| error.of(model.path()))?;
        let error = probes::difference(&expected, &after);
        if error > TOLERANCE || error.is_nan() {
            return Err(Error::run(format!(
                "turning the noise changes what the network makes of it by {error:.2e} (relative; at most {TOLERANCE:.0e} expected)"
            ))
            .of(model.path())
            .hint("without `free_inputs` the noise stays as it is; please report it with the network's operators"));
        }
        let [correlation_before, turned] = [&before, &after].map(|made| of_anchor.correlation(made));
        let is_nearer = turned > correlation_before;
        for ((axis, map), name) in axes.iter().zip(maps).zip(names) {
            let input = given.value(axis.input).name.clone();
            self.report.push(MatchedInput {
                model: at,
                path: model.shown(),
                input: input.clone(),
                axis: axis.axis,
                size: axis.size,
                map: if is_nearer { name } else { "identity" },
                correlation_before,
                correlation: if is_nearer { turned } else { correlation_before },
                error: if is_nearer { error } else { 0.0 },
            });
            if is_nearer {
                self.maps[at].push(InputAlignment { name: input, axis: axis.axis, map });
            }
        }
        Ok(is_nearer.then_some(graph))
    }
}

/// The maps that bring a model's noise to the anchor's, and what they are called.
fn turned(
    (model, axes): (&Model, &[LatentAxis]),
    (own, of_anchor): (&Probed, &Probed),
    of_noise: NoiseSymmetry,
) -> Result<(Vec<Vec<f64>>, Vec<&'static str>)> {
    let responses = own.responses.iter().zip(&of_anchor.responses);
    let found = axes.iter().zip(responses).map(|(axis, (own, of_anchor)): (_, (&FirstOrder, &FirstOrder))| {
        let symmetry = axis.symmetry(of_noise);
        let map = match_noise(own, of_anchor, symmetry).map_err(|error| refused(error, model.path()))?;
        let name = match symmetry {
            NoiseSymmetry::Orthogonal => "orthogonal",
            NoiseSymmetry::SignedPermutations => "signed permutation",
            NoiseSymmetry::Permutations => "permutation",
        };
        Ok((map, name))
    });
    Ok(found.collect::<Result<Vec<_>>>()?.into_iter().unzip())
}

fn mapped(graph: &Graph, axes: &[LatentAxis], maps: &[Vec<f64>]) -> std::result::Result<Graph, LatentError> {
    let mut graph = graph.clone();
    for (axis, map) in axes.iter().zip(maps) {
        graph = axis.mapped(&graph, map)?;
    }
    Ok(graph)
}

/// A network whose noise was turned as an earlier alignment says.
///
/// # Errors
/// Maps that are not of this network.
pub(crate) fn applied(graph: &Graph, maps: &[InputAlignment]) -> std::result::Result<Graph, String> {
    let mut result = graph.clone();
    for InputAlignment { name, axis, map } in maps {
        let input = graph.inputs().iter().copied().find(|&id| graph.value(id).name == *name);
        let input = input.ok_or_else(|| format!("it turns the input '{name}', which the network does not have"))?;
        let found = LatentAxis::of(&result, input).map_err(|error| error.to_string())?;
        if found.axis != *axis || found.size.checked_mul(found.size) != Some(map.len()) {
            return Err(format!(
                "the map of the input '{name}' is not one of {} numbers along axis {axis}",
                found.size
            ));
        }
        if !is_orthogonal(map, found.size) {
            return Err(format!("the map of the input '{name}' is no orthogonal matrix"));
        }
        result = found.mapped(&result, map).map_err(|error| error.to_string())?;
    }
    Ok(result)
}

fn is_orthogonal(map: &[f64], size: usize) -> bool {
    let rows: Vec<&[f64]> = map.chunks_exact(size.max(1)).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let is_one = |(at, row): (usize, &&[f64])| {
        rows.iter().enumerate().all(|(other, its)| {
            let expected = if at == other { 1.0 } else { 0.0 };
            (product(row, its) - expected).abs() < 1e-6
        })
    };
    rows.iter().enumerate().all(is_one)
}
