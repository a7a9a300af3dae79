//! The plane through three networks.

use otfuse_fusion::{Alignment, Merging, Networks, Settings, align_all};
use otfuse_graph::Graph;
use serde::Serialize;

use super::walk::Walker;
use crate::measure::Meter;
use crate::{Error, Result, Samples};

/// How far the plane reaches beyond the three networks, as a share of their extent.
const MARGIN: f64 = 0.25;

/// Losses and accuracies on a plane in the space of weights. Distances in it are distances there.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Plane {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    /// Row by row, each for one of `y`.
    pub loss: Vec<f64>,
    /// The same; empty where targets are numbers.
    pub accuracy: Vec<f64>,
    pub corners: [Corner; 3],
}

/// One of the three networks.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Corner {
    /// The model, counted from 0.
    pub model: usize,
    pub aligned: bool,
    pub x: f64,
    pub y: f64,
}

/// Measures `side` x `side` points.
pub(super) fn measure(walker: &Walker<'_>, side: usize, samples: &Samples) -> Result<Plane> {
    let (networks, context) = (&walker.group.networks, walker.context);
    let failure = |error| walker.group.error(&error);
    let aligned = |model: usize| {
        let mut weights = vec![0.0; networks.len()];
        weights[model] = 1.0;
        walker.aligned.average(&Merging::mean(), &weights).map_err(failure)
    };
    let (corners, graphs): ([(usize, bool); 3], Vec<Graph>) = match networks.len() {
        2 => {
            if !networks.equal_sizes() {
                return Err(Error::input(
                    "`plane`: the networks' shapes differ, so that there is no plane through both",
                )
                .hint("three networks are all aligned to the anchor, whatever their widths"));
            }
            let moved = 1 - networks.anchor();
            let graphs = vec![networks.graph(moved).clone(), aligned(moved)?, aligned(networks.anchor())?];
            ([(moved, false), (moved, true), (networks.anchor(), true)], graphs)
        }
        _ => ([(0, true), (1, true), (2, true)], (0..3).map(aligned).collect::<Result<_>>()?),
    };
    let triple: Vec<&Graph> = graphs.iter().collect();
    let places = places(&triple)?;
    let triple = Networks::new(&triple, 2).map_err(failure)?;
    let plain = Settings { alignment: Alignment::None, ..Settings::default() };
    let between = align_all(&triple, &plain, None, &|_| context.flow()).map_err(failure)?;
    let axis = |of: fn(&(f64, f64)) -> f64| {
        let low = places.iter().map(of).fold(f64::INFINITY, f64::min);
        let high = places.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = (low - MARGIN * (high - low), high + MARGIN * (high - low));
        (0..side).map(|at| low + (high - low) * at as f64 / (side - 1) as f64).collect::<Vec<f64>>()
    };
    let (x, y) = (axis(|place| place.0), axis(|place| place.1));
    let meter = Meter::new(context, side * side * samples.len());
    let (mut loss, mut accuracy) = (Vec::new(), Vec::new());
    for &y in &y {
        for &x in &x {
            let network = between.average(&Merging::mean(), &shares(&places, (x, y))).map_err(failure)?;
            let found = meter.measure(&network, samples)?;
            loss.push(found.loss);
            if !found.is_of_numbers() {
                accuracy.push(found.accuracy);
            }
        }
    }
    let corner = |at: usize| Corner { model: corners[at].0, aligned: corners[at].1, x: places[at].0, y: places[at].1 };
    Ok(Plane { x, y, loss, accuracy, corners: [corner(0), corner(1), corner(2)] })
}

/// Where three networks lie in their plane: the first at the origin, the second to the right of it.
fn places(graphs: &[&Graph]) -> Result<[(f64, f64); 3]> {
    let (mut of_u, mut of_v, mut product) = (0.0, 0.0, 0.0);
    for (id, first) in graphs[0].initializers().filter(|(id, _)| graphs[0].is_weight(*id)) {
        let name = &graphs[0].value(id).name;
        let values = |graph: &Graph| graph.initializer(graph.find_value(name)?)?.to_f32();
        let (Some(origin), Some(second), Some(third)) = (first.to_f32(), values(graphs[1]), values(graphs[2])) else {
            continue;
        };
        for ((origin, second), third) in origin.iter().zip(&second).zip(&third) {
            let (u, v) = (f64::from(second - origin), f64::from(third - origin));
            of_u += u * u;
            of_v += v * v;
            product += u * v;
        }
    }
    let x = if of_u > 0.0 { product / of_u.sqrt() } else { 0.0 };
    let height = (of_v - x * x).max(0.0).sqrt();
    if !(of_u > 0.0 && height > 1e-6 * of_v.sqrt()) {
        return Err(Error::input("`plane`: the three networks lie on a line")
            .hint("two of them are equal, or alignment moves nothing"));
    }
    Ok([(0.0, 0.0), (of_u.sqrt(), 0.0), (x, height)])
}

/// The shares of three networks at a point of their plane.
fn shares(places: &[(f64, f64); 3], (x, y): (f64, f64)) -> [f64; 3] {
    let third = y / places[2].1;
    let second = (x - third * places[2].0) / places[1].0;
    [1.0 - second - third, second, third]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_have_all_of_their_own_share() {
        let places = [(0.0, 0.0), (4.0, 0.0), (1.0, 3.0)];
        for (at, &place) in places.iter().enumerate() {
            let mut expected = [0.0; 3];
            expected[at] = 1.0;
            assert_eq!(shares(&places, place), expected);
        }
    }
}
