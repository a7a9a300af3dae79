//! Activations from a runner of one's own. The crate `otfuse::fusion` runs no networks: it asks for the values that it needs,
//! so that any engine can compute them. Here that is a few lines of arithmetic for perceptrons; in earnest it would be an
//! ONNX runtime, or a service that holds data which must not leave it.
//!
//! ```sh
//! cargo run --release --example own_activations
//! ```
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use otfuse::fusion::{
    ActivationPoint, ActivationStatistic, Activations, Answer, FeatureSource, Loaded, Merging, Networks, Repair,
    RunError, Runner, Settings, fuse, repair,
};
use otfuse::graph::{Graph, Operator, Tensor, Unary, ValueId};
use otfuse::runtime::mlp;

const POINT: ActivationPoint = ActivationPoint::PostActivation;
const STATISTIC: ActivationStatistic = ActivationStatistic::Raw;

/// The engine, and the samples that it runs networks on: one batch here.
struct Engine {
    samples: Tensor,
}

/// A network in the engine. What is asked for goes by the ids of its graph.
struct Perceptron<'a> {
    graph: Graph,
    samples: &'a Tensor,
    /// Weights that were replaced: a repair corrects one layer after the other and asks what the next one then sees.
    replaced: HashMap<ValueId, Tensor>,
}

impl Runner for Engine {
    fn samples(&self) -> usize {
        self.samples.shape()[0]
    }

    /// Only asked for where the last layer is fitted to classes.
    fn classes(&self) -> usize {
        4
    }

    fn load(&self, graph: &Graph) -> Result<Box<dyn Loaded + '_>, RunError> {
        Ok(Box::new(Perceptron { graph: graph.clone(), samples: &self.samples, replaced: HashMap::new() }))
    }
}

impl Loaded for Perceptron<'_> {
    fn inputs(&self) -> Result<Vec<BTreeMap<ValueId, Tensor>>, RunError> {
        Ok(vec![BTreeMap::from([(self.graph.inputs()[0], self.samples.clone())])])
    }

    /// Graphs list their nodes in an order in which they can be run.
    fn run_from(&self, known: &[(ValueId, Tensor)], wanted: &[ValueId]) -> Result<BTreeMap<ValueId, Tensor>, RunError> {
        let mut values: HashMap<ValueId, Tensor> = known.iter().cloned().collect();
        for (_, node) in self.graph.nodes() {
            let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { continue };
            // What stands before the known values is not there, and need not be.
            let Some(x) = values.get(&input).filter(|_| !values.contains_key(&output)) else { continue };
            let y = match &node.operator {
                Operator::Gemm(_) => self.linear(x, node.input(1), node.input(2))?,
                Operator::Unary(Unary::Relu) => {
                    let positive = x.to_f32().ok_or("expected floats")?.into_iter().map(|value| value.max(0.0));
                    Tensor::from_f32(x.shape(), positive.collect())
                }
                other => return Err(format!("{} is not computed here", other.name()).into()),
            };
            values.insert(output, y);
        }
        let found = wanted.iter().map(|id| Some((*id, values.get(id)?.clone())));
        found.collect::<Option<_>>().ok_or_else(|| "a value that does not follow from those given".into())
    }

    fn replace(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RunError> {
        self.replaced.insert(id, tensor.clone());
        Ok(())
    }
}

impl Perceptron<'_> {
    fn weight(&self, id: Option<ValueId>) -> Result<Vec<f32>, RunError> {
        let tensor = id.and_then(|id| self.replaced.get(&id).or(self.graph.initializer(id)));
        Ok(tensor.and_then(Tensor::to_f32).ok_or("expected a weight of floats")?)
    }

    /// `x W' + b`, a row of `W` for each neuron.
    fn linear(&self, x: &Tensor, weight: Option<ValueId>, bias: Option<ValueId>) -> Result<Tensor, RunError> {
        let (weight, bias) = (self.weight(weight)?, self.weight(bias)?);
        let (inputs, values) = (x.shape()[1], x.to_f32().ok_or("expected floats")?);
        let neuron = |x: &[f32], at: usize| {
            let row = &weight[at * inputs..(at + 1) * inputs];
            x.iter().zip(row).map(|(x, weight)| x * weight).sum::<f32>() + bias[at]
        };
        let rows = values.chunks(inputs).flat_map(|x| (0..bias.len()).map(move |at| (x, at)));
        Ok(Tensor::from_f32(&[x.shape()[0], bias.len()], rows.map(|(x, at)| neuron(x, at)).collect()))
    }
}

/// The activations of a model: which values they are, `Networks::observed` says.
fn recorded(networks: &Networks, model: usize, engine: &Engine) -> Result<Activations, RunError> {
    let loaded = engine.load(networks.graph(model))?;
    let wanted = networks.observed(model, POINT);
    let mut batches = Vec::new();
    for inputs in loaded.inputs()? {
        let known: Vec<(ValueId, Tensor)> = inputs.into_iter().collect();
        batches.push(loaded.run_from(&known, &wanted)?.into_iter().collect());
    }
    Ok(Activations::new(networks, model, POINT, STATISTIC, &batches)?)
}

fn main() -> Result<(), RunError> {
    let (a, b) = (mlp(&[8, 32, 16, 4], 1)?, mlp(&[8, 32, 16, 4], 2)?);
    let values = (0..200 * 8).map(|at| (1.7 * at as f32).sin()).collect();
    let engine = Engine { samples: Tensor::from_f32(&[200, 8], values) };

    let networks = Networks::new(&[&a, &b], 1)?;
    // All models see the same samples: neurons are matched by what they do on them.
    let activations = [recorded(&networks, 0, &engine)?, recorded(&networks, 1, &engine)?];
    let features = FeatureSource::Activations { point: POINT, statistic: STATISTIC };
    let settings = Settings { features, ..Settings::default() };
    let go_on = ControlFlow::Continue(());
    let fusion = fuse(&networks, &settings, &Merging::mean(), Some(&activations), &|_| go_on)?;
    for group in &fusion.alignments[0].groups {
        println!("{}: cost {:.4}, {:.0} % matched", group.name, group.cost, 100.0 * group.matched_fraction);
    }
    // The same engine serves the repair: every layer is fitted to what the parents compute.
    let least_squares = Repair::LeastSquares { ridge: 0.03, importance: 4.0, answer: Answer::Ensemble, rounds: 0 };
    let repaired = repair(&networks, &fusion, least_squares, Some(&engine), &mut |_, _| go_on)?;
    println!("{} parameters, repaired", repaired.parameter_count());
    Ok(())
}
