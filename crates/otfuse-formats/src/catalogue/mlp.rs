//! Multi-layer perceptrons.

use otfuse_graph::{Graph, ValueId};

use super::error::Misfit;
use super::layers::{Kind, Layer, Layers, natural};
use super::sketch::Sketch;

/// With fewer channels, means of one sign are no evidence.
const ENOUGH_CHANNELS: usize = 16;

/// Where a normalisation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Between the layer and its activation, as is the custom.
    BeforeActivation,
    BehindActivation,
    /// Behind the activation and the pool.
    BehindPool,
}

/// Linear layers in an order in which their sizes fit, ReLU between them, and batch normalisations.
pub(super) fn draw(layers: &Layers<'_>) -> Result<Graph, Misfit> {
    if let Some(conv) = layers.iter().find(|layer| layer.kind == Kind::Conv) {
        return Err(conv.weight.misfit("a weight of 2 axes"));
    }
    let linear = chain(layers.iter().filter(|layer| layer.kind == Kind::Linear).collect())?;
    let norms = norms_behind(layers, &linear)?;
    let Some(first) = linear.first() else { return Err(Misfit::missing("weight", "of a linear layer, with 2 axes")) };
    let (mut sketch, x) = Sketch::new("mlp", layers, &[first.inputs()]);
    let y = draw_behind(&mut sketch, x, &linear, &norms);
    sketch.finish(y)
}

/// Linear layers with ReLU between them, behind a value of two axes.
pub(super) fn draw_behind(
    sketch: &mut Sketch<'_>,
    x: ValueId,
    linear: &[&Layer<'_>],
    norms: &[Option<&Layer<'_>>],
) -> ValueId {
    let mut x = x;
    for (position, (layer, norm)) in linear.iter().zip(norms).enumerate() {
        x = sketch.linear(x, layer);
        let last = position + 1 == linear.len();
        let late = norm.filter(|norm| !last && place_of(layer, norm) != Place::BeforeActivation);
        if let Some(norm) = norm.filter(|_| late.is_none()) {
            x = sketch.norm(x, norm);
        }
        if !last {
            x = sketch.relu(x);
        }
        if let Some(norm) = late {
            x = sketch.norm(x, norm);
        }
    }
    x
}

/// Where a normalisation stands: the indices of an `nn.Sequential` tell, or else the running mean. What a ReLU gives is
/// never negative, so that a negative mean proves that the normalisation comes first; many means without a negative one
/// are all but a proof that it comes behind.
pub(super) fn place_of(layer: &Layer<'_>, norm: &Layer<'_>) -> Place {
    if let (Some((list, index)), Some((other, next))) = (layer.place(), norm.place())
        && list == other
        && next > index
    {
        return match next - index {
            1 => Place::BeforeActivation,
            2 => Place::BehindActivation,
            _ => Place::BehindPool,
        };
    }
    let means = norm.statistics.and_then(|[mean, _]| mean.tensor.to_f32()).unwrap_or_default();
    let rectified = means.iter().all(|&mean| mean >= 0.0) && means.iter().any(|&mean| mean > 0.0);
    if rectified && means.len() >= ENOUGH_CHANNELS { Place::BehindActivation } else { Place::BeforeActivation }
}

/// Layers in an order in which each takes what the one before gives: as written down, by number, or the only order
/// there is.
pub(super) fn chain<'l, 'a>(layers: Vec<&'l Layer<'a>>) -> Result<Vec<&'l Layer<'a>>, Misfit> {
    let fits = |before: &Layer<'_>, after: &Layer<'_>| {
        // A convolution may also be depthwise.
        before.outputs() == after.inputs() || (after.kind == Kind::Conv && after.inputs() == 1)
    };
    let broken = |order: &[&Layer<'_>]| order.windows(2).position(|pair| !fits(pair[0], pair[1]));
    let Some(gap) = broken(&layers) else { return Ok(layers) };
    let mut by_number = layers.clone();
    by_number.sort_by_key(|layer| natural(&layer.path));
    if broken(&by_number).is_none() {
        return Ok(by_number);
    }
    if let Some(order) = only_chain(&layers) {
        return Ok(order);
    }
    let (before, after) = (layers[gap], layers[gap + 1]);
    Err(after.weight.misfit(format!("{} inputs, as '{}' has outputs", before.outputs(), before.weight.name)))
}

/// The order that follows from the sizes alone, if there is only one.
fn only_chain<'l, 'a>(layers: &[&'l Layer<'a>]) -> Option<Vec<&'l Layer<'a>>> {
    let only = |mut found: Vec<&'l Layer<'a>>| if found.len() == 1 { found.pop() } else { None };
    let is_first = |layer: &&'l Layer<'a>| layers.iter().all(|other| other.outputs() != layer.inputs());
    let mut order = vec![only(layers.iter().copied().filter(is_first).collect())?];
    while order.len() < layers.len() {
        let outputs = order.last()?.outputs();
        order.push(only(layers.iter().copied().filter(|next| next.inputs() == outputs).collect())?);
    }
    Some(order)
}

/// The normalisation behind each layer: the one that follows it in the state dict, or else the one of as many channels
/// with the same number in its name, or the only one of as many channels.
pub(super) fn norms_behind<'l, 'a>(
    layers: &'l Layers<'a>,
    hosts: &[&'l Layer<'a>],
) -> Result<Vec<Option<&'l Layer<'a>>>, Misfit> {
    let all: Vec<&'l Layer<'a>> = layers.iter().collect();
    let position = |layer: &Layer<'_>| hosts.iter().position(|host| host.path == layer.path);
    let before = |index: usize, norm: &Layer<'_>| {
        let host = position(all[index.checked_sub(1)?])?;
        (hosts[host].outputs() == norm.outputs()).then_some(host)
    };
    let norms: Vec<(usize, &'l Layer<'a>)> =
        all.iter().copied().enumerate().filter(|(_, layer)| layer.kind == Kind::Norm).collect();
    let interleaved = norms.iter().all(|&(index, norm)| before(index, norm).is_some());
    let mut found: Vec<Option<&'l Layer<'a>>> = vec![None; hosts.len()];
    for (index, norm) in norms {
        let host = if interleaved {
            before(index, norm)
        } else {
            let free = |&at: &usize| hosts[at].outputs() == norm.outputs() && found[at].is_none();
            let wide: Vec<usize> = (0..hosts.len()).filter(free).collect();
            let numbered =
                wide.iter().copied().filter(|&at| norm.number().is_some() && hosts[at].number() == norm.number());
            match (numbered.collect::<Vec<_>>().as_slice(), wide.as_slice()) {
                ([only], _) | ([], [only]) => Some(*only),
                _ => None,
            }
        };
        let host = host.ok_or_else(|| norm.weight.misfit("one layer of as many outputs that it stands behind"))?;
        found[host] = Some(norm);
    }
    Ok(found)
}
