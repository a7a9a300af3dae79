//! Multi-layer perceptrons.

use otfuse_graph::Graph;

use super::error::Misfit;
use super::layers::{Kind, Layer, Layers, natural};
use super::sketch::Sketch;

/// Linear layers in an order in which their sizes fit, ReLU between them, and batch normalisations between the linear
/// layer and the ReLU unless the indices of an `nn.Sequential` say otherwise.
pub(super) fn draw(layers: &Layers<'_>) -> Result<Graph, Misfit> {
    if let Some(conv) = layers.iter().find(|layer| layer.kind == Kind::Conv) {
        return Err(conv.weight.misfit("a weight of 2 axes"));
    }
    let linear = chain(layers.iter().filter(|layer| layer.kind == Kind::Linear).collect())?;
    let norms = norms_behind(layers, &linear)?;
    let Some(first) = linear.first() else { return Err(Misfit::missing("weight", "of a linear layer")) };
    let (mut sketch, mut x) = Sketch::new("mlp", layers, &[first.inputs()]);
    for (position, (layer, norm)) in linear.iter().zip(&norms).enumerate() {
        x = sketch.linear(x, layer);
        let last = position + 1 == linear.len();
        let late = norm.is_some_and(|norm| !last && activation_between(layer, norm));
        if let (Some(norm), false) = (norm, late) {
            x = sketch.norm(x, norm);
        }
        if !last {
            x = sketch.relu(x);
        }
        if let (Some(norm), true) = (norm, late) {
            x = sketch.norm(x, norm);
        }
    }
    sketch.finish(x)
}

/// Whether the modules' indices leave room for a ReLU between them.
pub(super) fn activation_between(layer: &Layer<'_>, norm: &Layer<'_>) -> bool {
    match (layer.place(), norm.place()) {
        (Some((list, index)), Some((other, next))) => list == other && next == index + 2,
        _ => false,
    }
}

/// The linear layers in an order in which each takes what the one before gives: as written down, by number, or the
/// only order there is.
pub(super) fn chain<'l, 'a>(linear: Vec<&'l Layer<'a>>) -> Result<Vec<&'l Layer<'a>>, Misfit> {
    let broken = |order: &[&Layer<'_>]| order.windows(2).position(|pair| pair[0].outputs() != pair[1].inputs());
    let Some(gap) = broken(&linear) else { return Ok(linear) };
    let mut by_number = linear.clone();
    by_number.sort_by_key(|layer| natural(&layer.path));
    if broken(&by_number).is_none() {
        return Ok(by_number);
    }
    if let Some(order) = only_chain(&linear) {
        return Ok(order);
    }
    let (before, after) = (linear[gap], linear[gap + 1]);
    Err(after.weight.misfit(format!("{} inputs, as '{}' has outputs", before.outputs(), before.weight.name)))
}

/// The order that follows from the sizes alone, if they are all different.
fn only_chain<'l, 'a>(linear: &[&'l Layer<'a>]) -> Option<Vec<&'l Layer<'a>>> {
    let next = |layer: &Layer<'_>| -> Vec<&'l Layer<'a>> {
        linear.iter().copied().filter(|other| other.inputs() == layer.outputs()).collect()
    };
    let starts: Vec<_> =
        linear.iter().copied().filter(|layer| linear.iter().all(|other| other.outputs() != layer.inputs())).collect();
    let [start] = starts.as_slice() else { return None };
    let mut order = vec![*start];
    while order.len() < linear.len() {
        let following = next(order.last()?);
        let [only] = following.as_slice() else { return None };
        order.push(only);
    }
    Some(order)
}

/// The normalisation behind each linear layer: the one that follows it in the state dict, or else the one with the same
/// number in its name.
pub(super) fn norms_behind<'l, 'a>(
    layers: &'l Layers<'a>,
    linear: &[&'l Layer<'a>],
) -> Result<Vec<Option<&'l Layer<'a>>>, Misfit> {
    let all: Vec<&Layer<'a>> = layers.iter().collect();
    let mut found: Vec<Option<&Layer<'a>>> = vec![None; linear.len()];
    let position = |path: &str| linear.iter().position(|layer| layer.path == path);
    let norms: Vec<(usize, &Layer<'a>)> =
        all.iter().copied().enumerate().filter(|(_, layer)| layer.kind == Kind::Norm).collect();
    let before = |index: usize| index.checked_sub(1).and_then(|index| position(&all[index].path));
    let interleaved = norms.iter().all(|&(index, norm)| {
        before(index).is_some_and(|at| linear[at].outputs() == norm.outputs() && linear.len() > 1)
    });
    for (index, norm) in norms {
        let numbered = || linear.iter().position(|layer| norm.number().is_some() && layer.number() == norm.number());
        let at = if interleaved { before(index) } else { numbered() };
        let fits = at.filter(|&at| linear[at].outputs() == norm.outputs() && found[at].is_none());
        let at = fits.ok_or_else(|| norm.weight.misfit("a linear layer before it of as many outputs"))?;
        found[at] = Some(norm);
    }
    Ok(found)
}
