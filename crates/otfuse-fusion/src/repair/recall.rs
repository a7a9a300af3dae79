//! Fitting a network to what it knew of earlier samples and to what another one says of new ones.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use otfuse_graph::{Graph, Tensor, ValueId};

use super::choice::RepairError;
use super::following::Following;
use super::layer::{Layer, written};
use super::normal_equations::{Fit, Means, NormalEquations};
use super::runner::Runner;
use super::stream::{Stream, floats};
use super::unit::LinearUnit;
use crate::error::FusionError;

/// Layers whose neurons have more inputs are not fitted: their moments would be larger than most networks.
const MOST_INPUTS: usize = 2400;
/// How strongly the fit of classes is held at 0, relative to the mean square of the features.
const CLASS_RIDGE: f64 = 1e-3;

/// What flowed into the neurons of a layer (of one group of a convolution), as sums over samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenInputs {
    /// Of `x x'`, row-major, `inputs x inputs`.
    pub gram: Vec<f64>,
    /// Of `x`.
    pub sums: Vec<f64>,
}

/// What flowed into the last layer of a classifier, by classes, as sums over samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassMoments {
    /// Of `x` for each class, row-major `inputs x classes`.
    pub features: Vec<f64>,
    /// Samples of each class.
    pub counts: Vec<f64>,
    /// The weights of the last layer, row-major `inputs x classes`, without what tells tasks apart.
    pub weights: Vec<f64>,
    /// Its biases.
    pub biases: Vec<f64>,
}

/// What is known of the samples that a network was made on, which are gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// How many there were.
    pub samples: f64,
    /// The inputs of layers by the names of their weights, an entry for each group.
    pub layers: BTreeMap<String, Vec<SeenInputs>>,
    /// The classes that each task had.
    pub tasks: Vec<Vec<usize>>,
    /// What is known by classes; nothing where one of the tasks had no labels.
    pub classes: Option<ClassMoments>,
}

/// A classifier's answers to the new samples.
pub struct Answering<'a> {
    /// The value that holds the scores, `samples x classes`.
    pub scores: ValueId,
    /// The classes of the new task.
    pub seen: &'a [usize],
    /// The class of each sample, in the order of the runner's batches; nothing where they are not known.
    pub labels: Option<&'a [u32]>,
    /// How much, in units of scores, the fitted class counts between tasks.
    pub between: f64,
}

/// Two networks of one form, and what is known of the samples of the first.
pub struct Recall<'a> {
    /// The network that is known; nothing at the first task.
    pub old: Option<&'a Graph>,
    /// The network that learned the new task, its neurons in the order of the old one's; its values have the same ids.
    pub new: &'a Graph,
    /// The weights that layers are not fitted from, of the same ids.
    pub base: &'a Graph,
    /// What is known of earlier samples.
    pub known: &'a Known,
    /// The share of the earlier and of the new samples in the fit, adding up to 1; nothing to fit no layer, and to keep nothing for
    /// later fits.
    pub shares: Option<[f64; 2]>,
    /// How strongly weights are held at the weighted mean, relative to the variance of the inputs.
    pub ridge: f64,
    /// How many new samples there are in all, those that are run standing for them.
    pub samples: f64,
    /// What is asked of a classifier.
    pub answering: Option<Answering<'a>>,
}

/// A network that knows more.
pub struct Recalled {
    /// The network.
    pub graph: Graph,
    /// What is known of all samples so far.
    pub known: Known,
    /// Layers that were fitted.
    pub fitted: usize,
}

/// Makes one network of two that know different samples. Layer by layer, from the inputs on, the weights minimise
///
/// ```text
/// a mean_old |W x - W_old x|^2  +  b mean_new |W x - y_new|^2  +  ridge |W - W_mean|^2
/// ```
///
/// where the mean over the old samples follows from the second moments `x x'` that are known of them, `x` are the inputs that
/// the result itself computes and `y_new` is what the new network's layer says (X. Jin et al., "Dataless knowledge fusion by
/// merging weights of language models", ICLR 2023, equation 2, there without the inputs' change and for unequal samples). Of
/// a classifier's last layer the rows of classes that only one side has seen are that side's alone. Where tasks have
/// different classes, no loss ever compared the rows of one task with those of another: the rows are centred within classes of
/// the same tasks, and the class as least squares fits it to the features of all tasks is added, `between` times.
///
/// `r d (d + m) + d^3 / 3` operations for a layer of `d` inputs and `m` outputs on `r` rows. The result does not depend on the
/// number of threads.
///
/// # Errors
/// A network that cannot be run on the samples; a singular system; an observer that stopped the work.
pub fn recall(
    request: &Recall<'_>,
    runner: &dyn Runner,
    observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Recalled, RepairError> {
    if request.shares.is_none() {
        let mut known = Known { samples: request.known.samples + request.samples, ..Known::default() };
        known.tasks.clone_from(&request.known.tasks);
        known.tasks.extend(request.answering.iter().map(|it| it.seen.to_vec()));
        return Ok(Recalled { graph: request.base.clone(), known, fitted: 0 });
    }
    let failed = |model: usize| move |source| RepairError::Runtime { model, source };
    let mut work = Work {
        request,
        result: Following::of(request.base, runner, 2)?,
        new: Stream::new(request.new, runner).map_err(failed(1))?,
        known: Known { samples: request.known.samples + request.samples, ..request.known.clone() },
        fitted: 0,
    };
    work.known.layers.clear();
    let units = LinearUnit::of(request.base);
    for (index, unit) in units.iter().enumerate() {
        work.layer(unit)?;
        if observe(index + 1, units.len()).is_break() {
            return Err(FusionError::Cancelled.into());
        }
    }
    if let Some(answering) = &request.answering {
        work.known.tasks.push(answering.seen.to_vec());
    }
    Ok(Recalled { graph: work.result.into_graph(request.base)?, known: work.known, fitted: work.fitted })
}

/// A layer's weights with the normalisation behind it folded in: row-major `inputs x outputs`, and what is added.
struct Folded {
    weights: Vec<f64>,
    shifts: Vec<f64>,
}

struct Work<'a> {
    request: &'a Recall<'a>,
    result: Following<'a>,
    new: Stream<'a>,
    known: Known,
    fitted: usize,
}

impl Work<'_> {
    fn layer(&mut self, unit: &LinearUnit) -> Result<(), RepairError> {
        let graph = self.request.base;
        let name = graph.value(unit.weight).name.clone();
        let shape = graph.initializer(unit.weight).map_or_else(Vec::new, |tensor| tensor.shape().to_vec());
        let operator = &graph.node(unit.node).operator;
        let layer = Layer::new(operator, &shape, unit.output_axis, self.result.batches());
        if layer.depth > MOST_INPUTS {
            return Ok(());
        }
        let answering = self.request.answering.as_ref().filter(|it| it.scores == unit.output);
        let is_plain = unit.normalization.is_none() && layer.outputs > 1 && layer.groups() == 1;
        let answering = answering.filter(|_| is_plain);
        let failed = |model: usize| move |source| RepairError::Runtime { model, source };
        self.result.advance(&[unit.input])?;
        let (mut equations, mut of_classes) = (layer.equations(), layer.equations());
        let mut first = 0;
        for batch in 0..self.result.batches() {
            let input = self.result.said(batch, unit.input)?;
            let values = self.new.peek(batch, &[unit.output]).map_err(failed(1))?;
            let target = floats(values, unit.output).map_err(failed(1))?;
            layer.add(&input, &target, &mut equations);
            if let Some(labels) = answering.and_then(|it| it.labels) {
                let count = target.shape().first().copied().unwrap_or(0);
                let rows = one_hot(&labels[first.min(labels.len())..(first + count).min(labels.len())], layer.outputs);
                layer.add(&input, &Tensor::from_f32(target.shape(), rows), &mut of_classes);
                first += count;
            }
        }
        self.new.advance(&[unit.output]).map_err(failed(1))?;
        let means: Vec<Means> = equations.iter().map(NormalEquations::means).collect();
        let seen = self.request.known.layers.get(&name).filter(|seen| fits(seen, &means));
        if let (Some(old), Some(shares)) = (self.request.old, self.request.shares) {
            let both = [folded(old, unit, layer.outputs), folded(self.request.new, unit, layer.outputs)];
            let empty = Vec::new();
            let fits = self.fits(both, &means, (seen.unwrap_or(&empty), shares), answering, unit)?;
            if seen.is_some() || answering.is_some() {
                self.write(unit, &fits, &shape)?;
                self.fitted += 1;
            }
        }
        let total = self.total(seen, &means);
        if let Some(answering) = answering {
            let classes = of_classes.swap_remove(0).means();
            self.answer(unit, answering, &total[0], &classes, layer.outputs)?;
        }
        self.known.layers.insert(name, total);
        Ok(())
    }

    /// What flowed into a layer so far, the new samples included.
    fn total(&self, seen: Option<&Vec<SeenInputs>>, means: &[Means]) -> Vec<SeenInputs> {
        let count = self.request.samples;
        let of_group = |(group, means): (usize, &Means)| {
            let mut total = SeenInputs { gram: scaled(&means.gram, count), sums: scaled(&means.inputs, count) };
            if let Some(seen) = seen.and_then(|seen| seen.get(group)) {
                add(&mut total.gram, &seen.gram, 1.0);
                add(&mut total.sums, &seen.sums, 1.0);
            }
            total
        };
        means.iter().enumerate().map(of_group).collect()
    }

    /// The fits of all groups to both sides; rows of classes that one side alone has seen are fitted to it alone.
    fn fits(
        &self,
        [mut old, mut new]: [Folded; 2],
        means: &[Means],
        (seen, shares): (&[SeenInputs], [f64; 2]),
        answering: Option<&Answering<'_>>,
        unit: &LinearUnit,
    ) -> Result<Vec<Fit>, RepairError> {
        let outputs = old.shifts.len();
        let m = outputs / means.len().max(1);
        let mut means: Vec<Means> = means
            .iter()
            .map(|it| Means {
                gram: it.gram.clone(),
                inputs: it.inputs.clone(),
                cross: it.cross.clone(),
                outputs: it.outputs.clone(),
            })
            .collect();
        if let (Some(_), Some(classes)) = (answering, &self.request.known.classes) {
            // What tells tasks apart was added to the old network's rows, from which the new one's began.
            let added: Vec<f64> = minus(&old.weights, &classes.weights);
            let shift: Vec<f64> = minus(&old.shifts, &classes.biases);
            let means = &mut means[0];
            let d = means.inputs.len();
            for i in 0..d {
                for j in 0..m {
                    let mut sum = means.inputs[i] * shift[j];
                    (0..d).for_each(|k| sum += means.gram[i * d + k] * added[k * m + j]);
                    means.cross[i * m + j] -= sum;
                }
            }
            for j in 0..m {
                means.outputs[j] -= shift[j] + (0..d).map(|k| means.inputs[k] * added[k * m + j]).sum::<f64>();
            }
            add(&mut new.weights, &added, -1.0);
            add(&mut new.shifts, &shift, -1.0);
            (old.weights, old.shifts) = (classes.weights.clone(), classes.biases.clone());
        }
        let sides: Vec<[bool; 2]> = match answering {
            Some(it) => {
                let before = |class: usize| self.request.known.tasks.iter().any(|task| task.contains(&class));
                (0..outputs).map(|class| [before(class), it.seen.contains(&class)]).collect()
            }
            None => vec![[true, true]; outputs],
        };
        let has_shift = unit.bias.is_some() || unit.normalization.is_some();
        let singular = || RepairError::Singular { layer: self.request.base.value(unit.weight).name.clone() };
        let mut fits = Vec::new();
        for (group, means) in means.iter().enumerate() {
            let columns = group * m..(group + 1) * m;
            let part = |side: &Folded| Folded {
                weights: side.weights.chunks_exact(outputs).flat_map(|row| &row[columns.clone()]).copied().collect(),
                shifts: side.shifts[columns.clone()].to_vec(),
            };
            let (old, new) = (part(&old), part(&new));
            let solve = |[a, b]: [f64; 2]| self.solve([&old, &new], seen.get(group), means, [a, b], has_shift);
            let both = if seen.is_empty() { None } else { solve(shares) };
            let alone = solve([0.0, 1.0]).ok_or_else(singular)?;
            let mut fit = both.unwrap_or_else(|| alone.clone());
            for (at, side) in sides[columns.clone()].iter().enumerate() {
                let from = match side {
                    [true, true] => continue,
                    [false, true] => (&alone.weights, &alone.intercept),
                    _ => (&old.weights, &old.shifts),
                };
                (0..means.inputs.len()).for_each(|i| fit.weights[i * m + at] = from.0[i * m + at]);
                fit.intercept[at] = from.1[at];
            }
            fits.push(fit);
        }
        Ok(fits)
    }

    /// The fit to both sides by their shares.
    fn solve(
        &self,
        [old, new]: [&Folded; 2],
        seen: Option<&SeenInputs>,
        means: &Means,
        [a, b]: [f64; 2],
        has_shift: bool,
    ) -> Option<Fit> {
        let (d, m) = (means.inputs.len(), means.outputs.len());
        let mixed = |of_old: Vec<f64>, of_new: &[f64]| -> Vec<f64> {
            of_old.iter().zip(of_new).map(|(old, new)| a * old + b * new).collect()
        };
        let count = self.request.known.samples;
        let start = mixed(old.weights.clone(), &new.weights);
        let Some(seen) = seen.filter(|_| a > 0.0) else {
            let equations = NormalEquations::of_means(
                means.gram.clone(),
                means.inputs.clone(),
                means.cross.clone(),
                means.outputs.clone(),
            );
            return equations.solve(&start, self.request.ridge, has_shift);
        };
        let (gram, inputs) = (scaled(&seen.gram, 1.0 / count), scaled(&seen.sums, 1.0 / count));
        let mut cross = vec![0.0; d * m];
        for (i, row) in cross.chunks_exact_mut(m).enumerate() {
            for k in 0..d {
                let factor = gram[i * d + k];
                row.iter_mut().zip(&old.weights[k * m..(k + 1) * m]).for_each(|(to, weight)| *to += factor * weight);
            }
            row.iter_mut().zip(&old.shifts).for_each(|(to, shift)| *to += inputs[i] * shift);
        }
        let outputs = (0..m).map(|j| old.shifts[j] + (0..d).map(|k| inputs[k] * old.weights[k * m + j]).sum::<f64>());
        let outputs = mixed(outputs.collect(), &means.outputs);
        let equations = NormalEquations::of_means(
            mixed(gram, &means.gram),
            mixed(inputs, &means.inputs),
            mixed(cross, &means.cross),
            outputs,
        );
        equations.solve(&start, self.request.ridge, has_shift)
    }

    fn write(&mut self, unit: &LinearUnit, fits: &[Fit], shape: &[usize]) -> Result<(), RepairError> {
        let own = self.request.base.initializer(unit.weight).and_then(Tensor::to_f32).unwrap_or_default();
        written(unit, fits, shape, &own).into_iter().try_for_each(|(id, values)| self.result.set(id, values))
    }

    /// Adds to a classifier's last layer what tells tasks apart.
    fn answer(
        &mut self,
        unit: &LinearUnit,
        answering: &Answering<'_>,
        total: &SeenInputs,
        of_classes: &Means,
        outputs: usize,
    ) -> Result<(), RepairError> {
        let (d, before) = (total.sums.len(), self.request.known.classes.as_ref());
        let is_first = self.request.known.tasks.is_empty();
        self.known.classes = None;
        if answering.labels.is_none() || (before.is_none() && !is_first) || unit.bias.is_none() {
            return Ok(());
        }
        let count = self.request.samples;
        let mut moments = ClassMoments {
            features: scaled(&of_classes.cross, count),
            counts: scaled(&of_classes.outputs, count),
            ..ClassMoments::default()
        };
        if let Some(before) = before {
            add(&mut moments.features, &before.features, 1.0);
            add(&mut moments.counts, &before.counts, 1.0);
        }
        let mut own = folded_of(&|id| self.result.tensor(id), unit, outputs);
        let tasks = || self.request.known.tasks.iter().map(Vec::as_slice).chain([answering.seen]);
        let mut groups: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        for class in 0..outputs {
            let of_class: Vec<usize> =
                tasks().enumerate().filter(|(_, task)| task.contains(&class)).map(|it| it.0).collect();
            if !of_class.is_empty() {
                groups.entry(of_class).or_default().push(class);
            }
        }
        let is_divided = groups.len() > 1;
        for classes in groups.values().filter(|_| is_divided) {
            for row in own.weights.chunks_exact_mut(outputs).chain([&mut own.shifts[..]]) {
                let mean = classes.iter().map(|&class| row[class]).sum::<f64>() / classes.len() as f64;
                classes.iter().for_each(|&class| row[class] -= mean);
            }
        }
        (moments.weights, moments.biases) = (own.weights.clone(), own.shifts.clone());
        if is_divided {
            let samples = self.request.known.samples + count;
            let mean = |values: &[f64]| scaled(values, 1.0 / samples);
            let equations = NormalEquations::of_means(
                mean(&total.gram),
                mean(&total.sums),
                mean(&moments.features),
                mean(&moments.counts),
            );
            let fit = equations.solve(&vec![0.0; d * outputs], CLASS_RIDGE, true);
            let fit =
                fit.ok_or_else(|| RepairError::Singular { layer: self.request.base.value(unit.weight).name.clone() })?;
            add(&mut own.weights, &fit.weights, answering.between);
            add(&mut own.shifts, &fit.intercept, answering.between);
            for class in (0..outputs).filter(|&class| !tasks().any(|task| task.contains(&class))) {
                // What nobody has seen is no answer yet.
                own.shifts[class] -= answering.between;
            }
        }
        self.known.classes = Some(moments);
        let fit = Fit { weights: own.weights, intercept: own.shifts, means: Vec::new(), variances: Vec::new() };
        match self.request.base.initializer(unit.weight).filter(|_| is_divided) {
            Some(weight) => self.write(unit, &[fit], weight.shape()),
            None => Ok(()),
        }
    }
}

/// Whether what is known of a layer is of this layer.
fn fits(seen: &[SeenInputs], means: &[Means]) -> bool {
    seen.len() == means.len() && seen.iter().zip(means).all(|(seen, means)| seen.sums.len() == means.inputs.len())
}

fn one_hot(labels: &[u32], classes: usize) -> Vec<f32> {
    let mut rows = vec![0.0; labels.len() * classes];
    for (row, &label) in rows.chunks_exact_mut(classes).zip(labels) {
        if let Some(entry) = row.get_mut(label as usize) {
            *entry = 1.0;
        }
    }
    rows
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

fn add(to: &mut [f64], values: &[f64], factor: f64) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += factor * value);
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn folded(graph: &Graph, unit: &LinearUnit, outputs: usize) -> Folded {
    folded_of(&|id| graph.initializer(id), unit, outputs)
}

fn folded_of<'t>(tensor: &dyn Fn(ValueId) -> Option<&'t Tensor>, unit: &LinearUnit, outputs: usize) -> Folded {
    let values = |id: ValueId| tensor(id).and_then(Tensor::to_f32).unwrap_or_default();
    let of = |id: ValueId| -> Vec<f64> { values(id).into_iter().map(f64::from).collect() };
    let shape = tensor(unit.weight).map(Tensor::shape).unwrap_or_default();
    let mut shifts = unit.bias.map_or_else(|| vec![0.0; outputs], of);
    if let Some(normalization) = unit.normalization {
        let [shift, mean] = [normalization.shift, normalization.mean].map(of);
        let factors = normalization.factors(&values);
        for (at, value) in shifts.iter_mut().enumerate() {
            *value = (*value - mean[at]) * factors[at] + shift[at];
        }
    }
    Folded { weights: unit.folded(shape, &values), shifts }
}
