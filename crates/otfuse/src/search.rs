//! Coefficients of a merge, searched for on samples.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use cmaes::{CMAESOptions, DVector};
use otfuse_fusion::merge::Scope;
use otfuse_fusion::{Aligned, FusionError};
use otfuse_runtime::{Answers, Executable, Probabilities, predict_as};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Serialize;

use crate::choices::choices;
use crate::fitting::fitted;
use crate::fusing::plan::{Plan, Purpose};
use crate::fusing::{Coverage, Group, Prepared, Turned};
use crate::measure::{Meter, ensemble};
use crate::{
    Choice, Context, Dataset, Error, FuseOptions, MergeName, MergeParameters, Model, Parameters, Result, Samples,
    Setting, SplitName,
};

choices!(
    /// What the coefficients of a merge are to make best.
    Objective {
        /// The loss on labelled samples
        Loss = "loss",
        /// The accuracy on labelled samples; the loss decides between equal ones
        Accuracy = "accuracy",
        /// The divergence from the parents' ensemble, which takes no labels
        Ensemble = "ensemble",
    }
);

/// How coefficients are searched for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchOptions {
    /// What is searched for, separated by commas: NAME of a parameter, NAME:N for N numbers from the first layer to the last one,
    /// and =LOW..HIGH for other bounds than those of the parameter: `weight`, `t:4=0..1`.
    pub parameters: String,
    /// The most merges that are measured; 60.
    pub trials: Option<usize>,
    /// What is made best; the loss with labels, else the ensemble.
    pub objective: Option<Objective>,
    /// Samples that merges are measured on, as many more are held out; 500.
    pub samples: Option<usize>,
}

/// A search, and what it found.
#[derive(Clone, Debug, Serialize)]
pub struct Search {
    /// The data set.
    pub data: String,
    /// What was made best.
    pub objective: Objective,
    /// Samples that merges were measured on.
    pub samples: usize,
    /// Samples that were held out.
    pub held_out: usize,
    /// The coefficients' names.
    pub names: Vec<String>,
    /// All merges, in the order in which they were measured; the first is where the search began.
    pub trials: Vec<SearchTrial>,
    /// How many of them an earlier search had measured.
    pub reused: usize,
    /// The place of the best one among them, on the samples held out.
    pub best: usize,
    /// The score of the first one on the samples held out.
    pub held_out_start: f64,
    /// The score of the best one on the samples held out.
    pub held_out_best: f64,
    /// What the merge is told with the best coefficients.
    pub parameters: MergeParameters,
}

/// A merge that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchTrial {
    /// Its coefficients.
    pub values: Vec<f64>,
    /// Its score; less is better.
    pub score: f64,
    /// Its score on the samples held out, where it was among the best.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
}

/// Merges that are measured on the samples held out.
const FINALISTS: usize = 8;

/// One coefficient: a parameter, of a model or of all, at a place between the first layer and the last one.
#[derive(Clone, Debug)]
struct Coefficient {
    parameter: String,
    model: Option<usize>,
    knot: usize,
    knots: usize,
    bounds: (f64, f64),
    start: f64,
}

impl Coefficient {
    fn name(&self) -> String {
        let of_model = self.model.map_or_else(String::new, |model| format!("[{model}]"));
        let knot = if self.knots > 1 { format!("@{}", self.knot) } else { String::new() };
        format!("{}{of_model}{knot}", self.parameter)
    }
}

/// Searches for coefficients of a merge by CMA-ES (N. Hansen, "The CMA evolution strategy: a tutorial", 2016): networks are aligned once, as the
/// options say, then merged with other coefficients and measured on samples of the training split. The best ones are measured again on
/// samples that were held out, and these decide. `earlier` is [`csv`](Search::csv) of an earlier search: what it measured is not
/// measured again.
///
/// # Errors
/// Parameters that the merge does not take, samples or networks that do not fit, an earlier search of other coefficients.
pub fn search(
    models: &[Model],
    options: &FuseOptions,
    wanted: &SearchOptions,
    data: &Dataset,
    earlier: Option<&str>,
    context: &Context,
) -> Result<Search> {
    context.install(|| searched(models, options, wanted, data, earlier, context))
}

fn searched(
    models: &[Model],
    options: &FuseOptions,
    wanted: &SearchOptions,
    data: &Dataset,
    earlier: Option<&str>,
    context: &Context,
) -> Result<Search> {
    let plan = Plan::resolve(&started(options, wanted)?, models, Purpose::Measure { has_data: true })?;
    let coefficients = coefficients(wanted, options, models.len(), plan.base())?;
    let names: Vec<String> = coefficients.iter().map(Coefficient::name).collect();
    let known = earlier.map(|text| read_csv(text, &names)).transpose()?.unwrap_or_default();
    let judge = Judge::new(models, options, &plan, (wanted, data), context)?;
    let trials: RefCell<Vec<SearchTrial>> = RefCell::new(Vec::new());
    let reused = RefCell::new(0);
    let failed: RefCell<Option<Error>> = RefCell::new(None);
    let most = wanted.trials.unwrap_or(60).max(1);
    let stage = context.stage("merges measured", most);
    let measured = |values: Vec<f64>| -> f64 {
        if failed.borrow().is_some() || trials.borrow().len() >= most {
            return f64::INFINITY;
        }
        let same = trials.borrow().iter().find(|trial| trial.values == values).map(|trial| trial.score);
        let found = match same.or_else(|| known.iter().find(|trial| trial.values == values).map(|trial| trial.score)) {
            Some(score) => {
                *reused.borrow_mut() += usize::from(same.is_none());
                Ok(score)
            }
            None => context.check().and_then(|()| judge.score(&told(options, &coefficients, &values), false)),
        };
        match found {
            Ok(score) => {
                stage.step();
                trials.borrow_mut().push(SearchTrial { values, score, held_out: None });
                score
            }
            Err(error) => {
                failed.borrow_mut().get_or_insert(error);
                f64::INFINITY
            }
        }
    };
    let start: Vec<f64> = coefficients.iter().map(|coefficient| coefficient.start).collect();
    measured(start);
    evolve(&coefficients, (plan.seed, most), &measured, &|| {
        failed.borrow().is_some() || trials.borrow().len() >= most
    })?;
    if let Some(error) = failed.into_inner() {
        return Err(error);
    }
    let mut trials = trials.into_inner();
    let best = judge.decide(&mut trials, &|values| told(options, &coefficients, values), context)?;
    let held = |trial: &SearchTrial| trial.held_out.unwrap_or(f64::INFINITY);
    Ok(Search {
        data: data.name().to_owned(),
        objective: judge.objective,
        samples: judge.samples.len(),
        held_out: judge.held.len(),
        names,
        held_out_start: held(&trials[0]),
        held_out_best: held(&trials[best]),
        parameters: told(options, &coefficients, &trials[best].values),
        reused: reused.into_inner(),
        trials,
        best,
    })
}

/// Steps of the evolution strategy, in coordinates in which all bounds are 0 and 1.
fn evolve(
    coefficients: &[Coefficient],
    (seed, most): (u64, usize),
    measured: &dyn Fn(Vec<f64>) -> f64,
    is_done: &dyn Fn() -> bool,
) -> Result<()> {
    let place = |coefficient: &Coefficient| {
        let (low, high) = coefficient.bounds;
        (coefficient.start - low) / (high - low)
    };
    let objective = |point: &DVector<f64>| {
        let mut outside = 0.0;
        let values = coefficients.iter().zip(point.iter()).map(|(coefficient, &place)| {
            let inside = place.clamp(0.0, 1.0);
            outside += (place - inside).powi(2);
            let (low, high) = coefficient.bounds;
            // Few digits, so that a file of them is what was measured.
            ((low + inside * (high - low)) * 1e6).round() / 1e6
        });
        let values = values.collect();
        measured(values) * (1.0 + outside)
    };
    let start: Vec<f64> = coefficients.iter().map(place).collect();
    let options = CMAESOptions::new(start, 0.25).seed(seed).max_function_evals(4 * most);
    let mut strategy =
        options.build(objective).map_err(|error| Error::input(format!("the search cannot begin: {error:?}")))?;
    while !is_done() && strategy.next().is_none() {}
    Ok(())
}

/// The options that merges begin with: a parameter that has to be said is, where it is searched for.
fn started(options: &FuseOptions, wanted: &SearchOptions) -> Result<FuseOptions> {
    let mut options = options.clone();
    let method = options.merge.unwrap_or(MergeName::Mean).method();
    let mut parameters = options.parameters.clone().unwrap_or_default();
    for part in wanted.parameters.split(',') {
        let name = part.split([':', '=']).next().unwrap_or_default().trim();
        if method.parameters().iter().any(|parameter| parameter.name == name) {
            parameters.all.0.entry(name.to_owned()).or_insert(Setting::Number(0.5));
        }
    }
    options.parameters = Some(parameters);
    Ok(options)
}

/// What is searched for, as it was written.
fn coefficients(
    wanted: &SearchOptions,
    options: &FuseOptions,
    models: usize,
    base: Option<usize>,
) -> Result<Vec<Coefficient>> {
    let name = options.merge.unwrap_or(MergeName::Mean);
    let method = name.method();
    let mut found = Vec::new();
    for part in wanted.parameters.split(',').map(str::trim) {
        let wrong = |what: &str| {
            Error::input(format!("`search` {part}: {what}"))
                .hint("NAME, NAME:N or NAME:N=LOW..HIGH, for example weight, t:4=0..1")
        };
        let (left, bounds) = part.split_once('=').map_or((part, None), |(left, bounds)| (left, Some(bounds)));
        let (parameter, knots) = left.split_once(':').map_or((left, None), |(left, knots)| (left, Some(knots)));
        let Some(known) = method.parameters().iter().find(|known| known.name == parameter) else {
            let names: Vec<&str> = method.parameters().iter().map(|known| known.name).collect();
            return Err(Error::input(format!(
                "`search` {part}: `merge` {} takes no parameter '{parameter}'",
                name.name()
            ))
            .hint(format!("it takes {}", names.join(", "))));
        };
        let knots = match knots.map(str::parse::<usize>) {
            None => 1,
            Some(Ok(knots)) if (1..=64).contains(&knots) => knots,
            Some(_) => return Err(wrong("expected 1 to 64 numbers")),
        };
        let usual = match (parameter, known.scope) {
            ("weight", _) if base.is_some() => (0.0, 1.5),
            ("lambda", _) => (0.0, 2.0),
            _ => (known.range.0.max(0.0), known.range.1.min(1.0)),
        };
        let bounds = match bounds {
            None => usual,
            Some(text) => {
                let pair = text.split_once("..").and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
                let is_fine = |(low, high): &(f64, f64)| low < high && *low >= known.range.0 && *high <= known.range.1;
                pair.filter(is_fine)
                    .ok_or_else(|| wrong(&format!("expected bounds within {} and {}", known.range.0, known.range.1)))?
            }
        };
        let of_models: Vec<Option<usize>> = match known.scope {
            Scope::Tensor => vec![None],
            Scope::Model => (0..models).filter(|&model| Some(model) != base).map(Some).collect(),
        };
        for model in of_models {
            let said = said(options, parameter, model).or(known.default);
            let middle = if parameter == "weight" && base.is_none() { 1.0 / models as f64 } else { 0.5 };
            let start = said.unwrap_or(middle).clamp(bounds.0, bounds.1);
            let of_knot = |knot| Coefficient { parameter: parameter.to_owned(), model, knot, knots, bounds, start };
            found.extend((0..knots).map(of_knot));
        }
    }
    Ok(found)
}

/// What the options say of a parameter, where it is one number.
fn said(options: &FuseOptions, parameter: &str, model: Option<usize>) -> Option<f64> {
    let parameters = options.parameters.as_ref();
    let of = |parameters: &Parameters| match parameters.0.get(parameter) {
        Some(Setting::Number(number)) => Some(*number),
        _ => None,
    };
    let of_model = model.and_then(|model| parameters.and_then(|parameters| of(parameters.models.get(model)?)));
    let weight = || match (parameter, model) {
        ("weight", Some(model)) => options.weights.as_ref().and_then(|weights| weights.0.get(model).copied()),
        ("t", None) => options.t,
        _ => None,
    };
    of_model.or_else(|| parameters.and_then(|parameters| of(&parameters.all))).or_else(weight)
}

/// What a merge is told with these coefficients.
fn told(options: &FuseOptions, coefficients: &[Coefficient], values: &[f64]) -> MergeParameters {
    let mut parameters = options.parameters.clone().unwrap_or_default();
    let mut lists: BTreeMap<(Option<usize>, &str), Vec<f64>> = BTreeMap::new();
    for (coefficient, value) in coefficients.iter().zip(values) {
        lists.entry((coefficient.model, &coefficient.parameter)).or_default().push(*value);
    }
    for ((model, parameter), list) in lists {
        let setting = match list[..] {
            [value] => Setting::Number(value),
            _ => Setting::Gradient(list),
        };
        let of = match model {
            None => &mut parameters.all,
            Some(model) => {
                if parameters.models.len() <= model {
                    parameters.models.resize_with(model + 1, Parameters::default);
                }
                &mut parameters.models[model]
            }
        };
        of.0.insert(parameter.to_owned(), setting);
    }
    parameters
}

/// As many places for the search as for what is held out, drawn without order: samples at even steps need not be like the others.
fn drawn(samples: usize, count: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut places: Vec<usize> = (0..samples).collect();
    let count = count.min(samples / 2);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for place in 0..2 * count {
        let rest = (samples - place) as u64;
        places.swap(place, place + (random.next_u64() % rest) as usize);
    }
    let (mut search, mut held) = (places[..count].to_vec(), places[count..2 * count].to_vec());
    search.sort_unstable();
    held.sort_unstable();
    (search, held)
}

/// Measures merges.
struct Judge<'a> {
    models: &'a [Model],
    options: &'a FuseOptions,
    aligned: Aligned,
    group: Group,
    objective: Objective,
    samples: Samples,
    held: Samples,
    /// What the parents say in the mean, of the samples and of those held out.
    ensembles: Option<(Answers, Probabilities, Probabilities)>,
    context: &'a Context,
}

impl<'a> Judge<'a> {
    fn new(
        models: &'a [Model],
        options: &'a FuseOptions,
        plan: &Plan,
        (wanted, data): (&SearchOptions, &Dataset),
        context: &'a Context,
    ) -> Result<Self> {
        let refs: Vec<&Model> = models.iter().collect();
        let train = fitted(Cow::Owned(data.samples(SplitName::Train, None)?), &refs, context)?;
        let (of_search, of_held) = drawn(train.len(), wanted.samples.unwrap_or(500).max(1), plan.seed);
        let (samples, held) = (train.chosen(&of_search), train.chosen(&of_held));
        if held.is_empty() {
            return Err(Error::input("`search` needs at least two samples").hint("name a larger data set"));
        }
        let objective = match wanted.objective {
            Some(objective) if objective != Objective::Ensemble && !samples.is_labelled() => {
                return Err(Error::input(format!("`search_by` {}: the samples have no labels", objective.name()))
                    .hint("`search_by` ensemble takes none"));
            }
            Some(objective) => objective,
            None if samples.is_labelled() => Objective::Loss,
            None => Objective::Ensemble,
        };
        let prepared = Prepared::of(plan, || fitted(Cow::Owned(data.train()?), &refs, context), false)?;
        let group = Group::open(models, None, plan)?;
        Coverage::of(&group, plan).check(options)?;
        if !options.no_verify.unwrap_or(false) {
            group.prove(plan, context)?;
        }
        let aligned = match Turned::of(models, &group, plan, context)? {
            Some(turned) => turned.aligned(plan, context)?,
            None => group.aligned(plan, group.activations(plan, &prepared, context)?.as_deref(), context)?,
        };
        let ensembles = match objective {
            Objective::Ensemble => {
                let parents = models
                    .iter()
                    .map(|model| Ok(Executable::new(model.graph()?, context.host())?))
                    .collect::<Result<Vec<Executable>>>()?;
                let answers = Answers::recognised(&parents[0], &samples)
                    .map_err(|error| Error::input(error).hint("`search_by` loss compares with labels"))?;
                let shares = vec![1.0 / parents.len() as f64; parents.len()];
                let none = || {
                    Error::input("`search_by` ensemble: the networks' outputs differ")
                        .hint("`search_by` loss compares with labels")
                };
                let of = |samples: &Samples| ensemble(&parents, &shares, samples, &answers)?.ok_or_else(none);
                let (of_samples, of_held) = (of(&samples)?, of(&held)?);
                Some((answers, of_samples, of_held))
            }
            _ => None,
        };
        Ok(Self { models, options, aligned, group, objective, samples, held, ensembles, context })
    }

    /// The score of a merge; less is better.
    fn score(&self, parameters: &MergeParameters, is_held: bool) -> Result<f64> {
        let options = FuseOptions { parameters: Some(parameters.clone()), ..self.options.clone() };
        let plan = Plan::resolve(&options, self.models, Purpose::Measure { has_data: true })?;
        let failure = |error| self.group.error(&error);
        let weights = plan.settings.normalised_weights(self.models.len()).map_err(failure)?;
        let graph = match self.aligned.average(&plan.merging(), &weights) {
            // Numbers that make no network together, weights that are all 0 for one.
            Err(FusionError::Merge { .. } | FusionError::ResultNotFinite { .. }) => return Ok(f64::INFINITY),
            found => found.map_err(failure)?,
        };
        let samples = if is_held { &self.held } else { &self.samples };
        if let Some((answers, of_samples, of_held)) = &self.ensembles {
            let executable = Executable::new(&graph, self.context.host())?;
            let said = predict_as(&executable, samples, &answers.on(&graph)?, &mut |_, _| {})?;
            let expected = if is_held { of_held } else { of_samples };
            return Ok(expected
                .divergence(&said)
                .map_or(f64::INFINITY, |found| crate::Distance::from(found).divergence));
        }
        let quiet = self.context.clone().observer(|_: &crate::Event<'_>| {});
        let measure = Meter::new(&quiet, samples.len()).measure(&graph, samples)?;
        Ok(match self.objective {
            Objective::Accuracy if !measure.is_of_numbers() => -measure.accuracy + 1e-6 * measure.loss.min(1e3),
            _ => measure.loss,
        })
    }

    /// The place of the best merge on the samples held out, of the first one and those that were best before.
    fn decide(
        &self,
        trials: &mut [SearchTrial],
        told: &dyn Fn(&[f64]) -> MergeParameters,
        context: &Context,
    ) -> Result<usize> {
        let mut order: Vec<usize> = (0..trials.len()).collect();
        order.sort_by(|&a, &b| trials[a].score.total_cmp(&trials[b].score).then(a.cmp(&b)));
        order.truncate(FINALISTS);
        if !order.contains(&0) {
            order.push(0);
        }
        let stage = context.stage("the best measured on samples held out", order.len());
        for &place in &order {
            context.check()?;
            trials[place].held_out = Some(self.score(&told(&trials[place].values), true)?);
            stage.step();
        }
        let score = |place: &usize| trials[*place].held_out.unwrap_or(f64::INFINITY);
        order.sort_unstable();
        Ok(order.iter().copied().min_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(0))
    }
}

impl Search {
    /// All merges as comma-separated values, all digits, in the order in which they were measured.
    pub fn csv(&self) -> String {
        let mut text = self.names.join(",") + ",score,held_out\n";
        for trial in &self.trials {
            let values: Vec<String> = trial.values.iter().map(f64::to_string).collect();
            let held = trial.held_out.map_or_else(String::new, |held| held.to_string());
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{},{},{held}", values.join(","), trial.score);
        }
        text
    }
}

/// The merges of an earlier search.
fn read_csv(text: &str, names: &[String]) -> Result<Vec<SearchTrial>> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let expected = names.join(",") + ",score,held_out";
    if header != expected {
        return Err(Error::input(format!(
            "`csv`: an earlier search of other coefficients: expected {expected}, found {header}"
        ))
        .hint("choose another file, or remove it"));
    }
    let trial = |(number, line): (usize, &str)| {
        let numbers: Option<Vec<f64>> = line.split(',').take(names.len() + 1).map(|cell| cell.parse().ok()).collect();
        let numbers = numbers.filter(|numbers| numbers.len() == names.len() + 1).ok_or_else(|| {
            Error::input(format!("`csv`: line {}: expected numbers, found {line}", number + 2)).hint("remove the file")
        })?;
        let (values, score) = (numbers[..names.len()].to_vec(), numbers[names.len()]);
        Ok(SearchTrial { values, score, held_out: None })
    };
    lines.enumerate().map(trial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_read() {
        let of = |parameters: &str, merge, base| {
            let wanted = SearchOptions { parameters: parameters.into(), ..SearchOptions::default() };
            let options = FuseOptions { merge: Some(merge), ..FuseOptions::default() };
            coefficients(&wanted, &options, 3, base)
        };
        let names = |found: Vec<Coefficient>| found.iter().map(Coefficient::name).collect::<Vec<_>>();
        assert_eq!(names(of("weight", MergeName::Mean, None).unwrap()), ["weight[0]", "weight[1]", "weight[2]"]);
        let ties = of("density=0.1..1,weight:2", MergeName::Ties, Some(2)).unwrap();
        assert_eq!(ties[0].bounds, (0.1, 1.0));
        assert_eq!(
            names(ties),
            ["density[0]", "density[1]", "weight[0]@0", "weight[0]@1", "weight[1]@0", "weight[1]@1"]
        );
        for (text, expected) in [("wieght", "takes no parameter"), ("density=2..3", "bounds"), ("density:0", "1 to 64")]
        {
            let error = of(text, MergeName::Ties, Some(2)).unwrap_err();
            assert!(error.message.contains(expected), "{error}");
        }
    }

    #[test]
    fn merges_go_to_a_file_and_back() {
        let trial = |score: f64| SearchTrial { values: vec![0.25, score], score, held_out: None };
        let search = Search {
            data: "digits".into(),
            objective: Objective::Loss,
            samples: 1,
            held_out: 1,
            names: vec!["weight[0]".into(), "t".into()],
            trials: vec![trial(1.0), trial(1.0 / 3.0)],
            reused: 0,
            best: 1,
            held_out_start: 0.0,
            held_out_best: 0.0,
            parameters: MergeParameters::default(),
        };
        assert_eq!(read_csv(&search.csv(), &search.names).unwrap(), search.trials);
        assert!(read_csv(&search.csv(), &search.names[..1]).is_err());
    }
}
