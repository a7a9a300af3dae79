//! Coefficients of a merge, searched for on samples.

mod coefficients;
mod judge;

use std::cell::RefCell;
use std::fmt::Write as _;

use cmaes::{CMAESOptions, DVector};
use serde::Serialize;

use self::coefficients::{Coefficient, coefficients, started, told};
use self::judge::Judge;
use crate::choices::choices;
use crate::fusing::FuseReport;
use crate::fusing::plan::{Plan, Purpose};
use crate::{Context, Dataset, Error, FuseOptions, MergeParameters, Model, Result, ties};

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

impl Objective {
    /// What its scores are, of which less is better.
    pub(crate) fn measure(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Accuracy => "accuracy with a minus sign",
            Self::Ensemble => "divergence from the ensemble",
        }
    }
}

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

/// A search, and the fusion with what it found.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Searched<'a> {
    /// The search.
    pub search: &'a Search,
    /// The fusion, whose entries stand beside.
    #[serde(flatten)]
    pub fusion: &'a FuseReport,
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
    let models = &*ties::alike(models, context)?;
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
