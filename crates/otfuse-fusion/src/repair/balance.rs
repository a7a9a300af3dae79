//! Neurons rescaled without changing what a network computes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use otfuse_graph::{Binary, Graph, GraphEditor, GroupId, NodeId, Operator, Role, Tensor, Unary, ValueId, Variadic};

use super::LinearUnit;
use crate::error::FusionError;
use crate::networks::Networks;

/// Sweeps over all groups at most; a factor below [`STILL`] ends them.
const SWEEPS: usize = 64;
/// The logarithm of a factor that no longer counts.
const STILL: f64 = 1e-3;
/// Factors this close to 1 leave a neuron as it is, bit by bit.
const UNCHANGED: f64 = 1e-6;

/// `fused`, a network with the names and shapes of the anchor, with each neuron's incoming and outgoing weights in the
/// proportion that the anchor's neuron has. What the network computes stays as it is, up to rounding.
///
/// A rectified neuron whose incoming weights are multiplied with `s > 0` and whose outgoing ones are divided by it is the
/// same neuron, but not to gradient descent: a step moves small weights by much and large ones by little (B. Neyshabur, R.
/// Salakhutdinov, N. Srebro, "Path-SGD: Path-Normalized Optimization in Deep Neural Networks", NIPS 2015). Training keeps
/// the difference of the squared norms of incoming and outgoing weights (S. Du, W. Hu, J. Lee, "Algorithmic Regularization
/// in Learning Deep Homogeneous Models", NeurIPS 2018), so that trained parents are balanced; averaged and repaired layers
/// are not, and a rate of training that suits the parents breaks them.
///
/// Groups count whose neurons pass nothing but positively homogeneous operators (ReLU and its kind, pooling, shapes, sums
/// of neurons of the same group) between matrix products and convolutions; others, such as those with normalisation, stay
/// as they are, and so does a network of other shapes than the anchor. Linear in the number of weights, and for up to 64
/// sweeps in the number of pairs of neurons.
///
/// # Errors
/// A result that is no valid graph.
pub fn balance(networks: &Networks, fused: Graph) -> Result<Graph, FusionError> {
    let anchor = networks.reference();
    let scalable = Scalable::of(networks);
    if scalable.is_empty() {
        return Ok(fused);
    }
    let tensor = |id: ValueId| {
        let found = fused.initializer(fused.find_value(&anchor.value(id).name)?);
        found.filter(|found| anchor.initializer(id).is_some_and(|own| own.shape() == found.shape()))
    };
    let mut members = scalable.iter().flat_map(|&group| &networks.groups().group(group).members);
    if members.any(|member| tensor(member.initializer).is_none()) {
        return Ok(fused);
    }
    let own = Norms::of(networks, &scalable, &|id| anchor.initializer(id));
    let found = Norms::of(networks, &scalable, &tensor);
    let factors = found.balanced(&own);
    let mut scaled: BTreeMap<ValueId, Vec<f32>> = BTreeMap::new();
    for (group, factors) in scalable.iter().zip(&factors) {
        if factors.iter().all(|&factor| factor == 1.0) {
            continue;
        }
        for member in &networks.groups().group(*group).members {
            let Some(tensor) = tensor(member.initializer) else { continue };
            let axis = Axis::new(networks, *group, member.initializer, member.axis);
            let values = scaled.entry(member.initializer).or_insert_with(|| tensor.to_f32().unwrap_or_default());
            for (index, value) in values.iter_mut().enumerate() {
                let factor = factors[axis.neuron(index)];
                let of_member = if member.role == Role::Producer { factor } else { 1.0 / factor };
                *value = (f64::from(*value) * of_member) as f32;
            }
        }
    }
    let mut replaced = Vec::new();
    for (id, values) in scaled {
        if let (Some(place), Some(tensor)) = (fused.find_value(&anchor.value(id).name), tensor(id)) {
            replaced.push((place, Tensor::from_f32_as(tensor.data_type(), tensor.shape(), values)));
        }
    }
    let mut editor = GraphEditor::edit(fused);
    replaced.into_iter().for_each(|(id, tensor)| editor.set_tensor(id, tensor));
    Ok(editor.finish()?)
}

/// Finds the groups whose neurons can be scaled.
struct Scalable<'a> {
    networks: &'a Networks,
    graph: &'a Graph,
    readers: HashMap<ValueId, Vec<(NodeId, usize)>>,
    units: HashMap<ValueId, LinearUnit>,
}

impl<'a> Scalable<'a> {
    fn of(networks: &'a Networks) -> Vec<GroupId> {
        let graph = networks.reference();
        let units = LinearUnit::of(graph).into_iter().map(|unit| (unit.weight, unit)).collect();
        let all = Self { networks, graph, readers: graph.consumers(), units };
        networks.groups().iter().map(|(id, _)| id).filter(|&id| all.contains(id)).collect()
    }

    fn contains(&self, id: GroupId) -> bool {
        let group = self.networks.groups().group(id);
        if group.within.is_some() || self.networks.groups().inside(id).next().is_some() {
            return false;
        }
        let size = |group: GroupId| self.networks.size(self.networks.anchor(), group);
        let mut seen = BTreeSet::new();
        let (mut reached, mut consumers) = (Vec::new(), BTreeSet::new());
        for member in &group.members {
            let Some(layouts) = self.networks.groups().layouts(member.initializer) else { return false };
            let is_whole = layouts[member.axis].neurons(id, &size).iter().all(Option::is_some);
            if !is_whole || !seen.insert(member.initializer) {
                return false;
            }
            match (member.role, self.units.get(&member.initializer)) {
                (Role::Producer, Some(unit)) if unit.normalization.is_none() => reached.push(unit.output),
                (Role::Producer, None) if self.is_bias(member.initializer) => {}
                (Role::Consumer, Some(unit)) => _ = consumers.insert(unit.node),
                _ => return false,
            }
        }
        let (mut values, mut sums) = (BTreeSet::new(), Vec::new());
        while let Some(value) = reached.pop() {
            if !values.insert(value) {
                continue;
            }
            if self.graph.outputs().contains(&value) {
                return false;
            }
            for &(reader, position) in self.readers.get(&value).map_or(&[][..], Vec::as_slice) {
                let node = self.graph.node(reader);
                if position == 0 && consumers.contains(&reader) {
                    continue;
                }
                let adds = matches!(node.operator, Operator::Binary(Binary::Add) | Operator::Variadic(Variadic::Sum));
                if !adds && (position != 0 || !is_homogeneous(&node.operator)) {
                    return false;
                }
                sums.extend(adds.then_some(reader));
                reached.extend(node.output(0));
            }
        }
        // What is added to neurons of the group needs to scale with them.
        sums.into_iter().all(|sum| self.graph.node(sum).inputs.iter().flatten().all(|input| values.contains(input)))
    }

    fn is_bias(&self, id: ValueId) -> bool {
        self.units.values().any(|unit| unit.bias == Some(id) && unit.normalization.is_none())
    }
}

/// Whether `f(s x) = s f(x)` for all `s > 0`, neuron by neuron. Casts may round.
fn is_homogeneous(operator: &Operator) -> bool {
    operator.keeps_elements() && !matches!(operator, Operator::Cast { .. })
        || matches!(
            operator,
            Operator::Unary(Unary::Relu | Unary::LeakyRelu { .. } | Unary::Abs | Unary::Neg)
                | Operator::PRelu
                | Operator::Pool(_)
                | Operator::GlobalPool(_)
        )
}

/// The neuron of each element of a weight.
struct Axis {
    neurons: Vec<usize>,
    inner: usize,
}

impl Axis {
    fn new(networks: &Networks, group: GroupId, id: ValueId, axis: usize) -> Self {
        let size = |group: GroupId| networks.size(networks.anchor(), group);
        let neurons = networks.groups().layouts(id).map(|layouts| layouts[axis].neurons(group, &size));
        let shape = networks.tensor(networks.anchor(), id).shape();
        Self {
            neurons: neurons.unwrap_or_default().into_iter().flatten().collect(),
            inner: shape[axis + 1..].iter().product::<usize>().max(1),
        }
    }

    fn neuron(&self, index: usize) -> usize {
        self.neurons[index / self.inner % self.neurons.len()]
    }
}

/// Sums of squares of the weights between neurons that can be scaled.
struct Norms {
    sizes: Vec<usize>,
    weights: Vec<Squares>,
}

/// Of one weight.
struct Squares {
    /// The places of its groups among those that can be scaled.
    producer: Option<usize>,
    consumer: Option<usize>,
    /// Row-major: neurons put out x neurons taken in; one row or column where these cannot be scaled.
    values: Vec<f64>,
    columns: usize,
}

impl Norms {
    fn of<'t>(networks: &Networks, groups: &[GroupId], tensor: &dyn Fn(ValueId) -> Option<&'t Tensor>) -> Self {
        let sizes: Vec<usize> = groups.iter().map(|&group| networks.size(networks.anchor(), group)).collect();
        let mut places: BTreeMap<ValueId, [Option<(usize, Axis)>; 2]> = BTreeMap::new();
        for (place, &group) in groups.iter().enumerate() {
            for member in &networks.groups().group(group).members {
                let axis = Axis::new(networks, group, member.initializer, member.axis);
                let of_weight = places.entry(member.initializer).or_default();
                of_weight[usize::from(member.role == Role::Consumer)] = Some((place, axis));
            }
        }
        let mut weights = Vec::new();
        for (id, [producer, consumer]) in places {
            let Some(tensor) = tensor(id).filter(|tensor| tensor.shape().len() > 1) else { continue };
            let count = |side: &Option<(usize, Axis)>| side.as_ref().map_or(1, |(place, _)| sizes[*place]);
            let neuron = |side: &Option<(usize, Axis)>, index| side.as_ref().map_or(0, |(_, axis)| axis.neuron(index));
            let columns = count(&consumer);
            let mut values = vec![0.0; count(&producer) * columns];
            for (index, value) in tensor.to_f32().unwrap_or_default().into_iter().enumerate() {
                values[neuron(&producer, index) * columns + neuron(&consumer, index)] += f64::from(value).powi(2);
            }
            let [producer, consumer] = [producer, consumer].map(|side| side.map(|(place, _)| place));
            weights.push(Squares { producer, consumer, values, columns });
        }
        Self { sizes, weights }
    }

    /// The squared norms of the incoming and of the outgoing weights of a group's neurons, all neurons being scaled.
    fn sides(&self, group: usize, factors: &[Vec<f64>]) -> [Vec<f64>; 2] {
        let mut sides = [vec![0.0; self.sizes[group]], vec![0.0; self.sizes[group]]];
        // One number stands for all rows or columns that cannot be scaled.
        let of_side = |side: Option<usize>| side.map_or_else(|| vec![1.0], |group| squares(&factors[group]));
        for weight in &self.weights {
            let (into, out) = (weight.producer == Some(group), weight.consumer == Some(group));
            if !into && !out {
                continue;
            }
            let up = of_side(weight.producer);
            let down: Vec<f64> = of_side(weight.consumer).into_iter().map(f64::recip).collect();
            for (row, values) in weight.values.chunks_exact(weight.columns).enumerate() {
                if into {
                    sides[0][row] += up[row] * values.iter().zip(&down).map(|(value, down)| value * down).sum::<f64>();
                }
                if out {
                    let places = sides[1].iter_mut().zip(values).zip(&down);
                    places.for_each(|((side, value), down)| *side += up[row] * value * down);
                }
            }
        }
        sides
    }

    /// The factors of all neurons that give them the proportions of the reference's.
    fn balanced(&self, reference: &Self) -> Vec<Vec<f64>> {
        let ones: Vec<Vec<f64>> = self.sizes.iter().map(|&size| vec![1.0; size]).collect();
        let groups = 0..self.sizes.len();
        let wanted: Vec<[Vec<f64>; 2]> = groups.clone().map(|group| reference.sides(group, &ones)).collect();
        let mut factors = ones;
        for sweep in 0..SWEEPS {
            let mut most = 0.0_f64;
            let visited: Vec<usize> =
                if sweep % 2 == 0 { groups.clone().collect() } else { groups.clone().rev().collect() };
            for group in visited {
                let [into, out] = self.sides(group, &factors);
                for neuron in 0..self.sizes[group] {
                    let [of_into, of_out] = [0, 1].map(|side| wanted[group][side][neuron]);
                    let step = (out[neuron] / into[neuron] * (of_into / of_out)).sqrt().sqrt();
                    if step.is_normal() {
                        factors[group][neuron] *= step;
                        most = most.max(step.ln().abs());
                    }
                }
            }
            if most < STILL {
                break;
            }
        }
        for factor in factors.iter_mut().flatten() {
            if !factor.is_normal() || factor.ln().abs() < UNCHANGED {
                *factor = 1.0;
            }
        }
        factors
    }
}

fn squares(factors: &[f64]) -> Vec<f64> {
    factors.iter().map(|factor| factor * factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_that_scale_with_their_input() {
        let all = Operator::one_of_each();
        let names: BTreeSet<&str> = all.iter().filter(|it| is_homogeneous(it)).map(Operator::name).collect();
        for name in ["Relu", "LeakyRelu", "MaxPool", "GlobalAveragePool", "Flatten", "Transpose"] {
            assert!(names.contains(name), "{name}");
        }
        for name in ["Cast", "Gelu", "Sigmoid", "Clip", "Softmax", "BatchNormalization", "LayerNormalization"] {
            assert!(!names.contains(name), "{name}");
        }
    }
}
