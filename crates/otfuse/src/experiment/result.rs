//! What came out: every network at every point, over all seeds.

use serde::Serialize;

use super::file::Experiment;
use super::plan::{Plan, Point, Task};
use super::tasks::{Course, Learnt, Step, sequences};
use super::work::{Done, RunEpoch};

/// The results of an experiment. They follow from the file, the data and the seeds alone: times and machine are in
/// [`Record`](super::machine::Record).
#[derive(Serialize)]
pub struct Results {
    /// What is measured.
    pub title: String,
    /// What a reader should know.
    pub about: String,
    /// The variant's name, and how it differs from the full experiment.
    pub variant: Option<(String, String)>,
    /// The data set.
    pub data: String,
    /// Test samples.
    pub samples: usize,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The name of the horizontal axis, where there is a curve.
    pub axis: Option<String>,
    /// Where published figures are from.
    pub source: Option<String>,
    /// The accuracies of the published parents, in percent.
    pub published_parents: Vec<f64>,
    /// Networks at points.
    pub rows: Vec<Row>,
}

/// A network at a point.
#[derive(Serialize)]
pub struct Row {
    /// Its name.
    pub network: String,
    /// The values of the variables; none where the network is the same at all points.
    pub point: Option<Point>,
    /// How it is made: the command with its options (those with the first seed, where the seed is an option).
    pub settings: String,
    /// Whether others are compared with it.
    pub parent: bool,
    /// From 0 to 1.
    pub accuracy: Mean,
    /// In nats.
    pub loss: Mean,
    /// Accuracy less that of the better (or best) parent that it comes from.
    pub gap: Option<Mean>,
    /// Parameters.
    pub parameters: Mean,
    /// In percent.
    pub published: Option<f64>,
    /// `published` less the better published parent, in percent points.
    pub published_gap: Option<f64>,
    /// The network whose last accuracy it is to reach.
    pub reaches: Option<String>,
    /// A remark.
    pub note: Option<String>,
    /// On tasks that come one after the other, where the data set has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learnt: Option<Learnt>,
    /// Seed by seed.
    pub runs: Vec<Run>,
}

/// With one seed.
#[derive(Serialize)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// From 0 to 1.
    pub accuracy: f64,
    /// In nats.
    pub loss: f64,
    /// Less the better parent.
    pub gap: Option<f64>,
    /// The epoch that was kept, from 1: the best on samples held out, or the last one.
    pub best_epoch: Option<usize>,
    /// Epochs until the last accuracy of the network to be reached; none if it never was.
    pub reached: Option<usize>,
    /// The epochs that the other network took.
    pub reached_of: Option<usize>,
    /// All epochs of training.
    pub epochs: Vec<RunEpoch>,
    /// Tells the unit of work.
    pub unit: String,
}

/// Mean and standard deviation over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the sample (divided by n - 1); none for one seed, or where nothing depends on it.
    pub deviation: Option<f64>,
}

impl Mean {
    /// Of these values; `varies` tells whether they depend on the seed.
    pub(crate) fn of(values: &[f64], varies: bool) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (varies && values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        // Without this the mean of equal values can differ from them by rounding.
        Self { mean: if varies { mean } else { values.first().copied().unwrap_or(mean) }, deviation }
    }
}

/// Takes the results together.
pub(crate) fn results(experiment: &Experiment, plan: &Plan, done: &[Done]) -> Results {
    let file = &experiment.file;
    let published = file.published.as_ref();
    let parents = published.map(|published| published.parents.clone()).unwrap_or_default();
    let mut rows = Vec::new();
    // Of a sequence its end is shown.
    let is_shown = |network: &usize| {
        let mut tasks = plan.tasks.iter().filter(|task| task.network == *network);
        tasks.all(|task| task.step.as_ref().is_none_or(|step| step.sequence == task.described.name))
    };
    for network in (0..plan.names.len()).filter(is_shown) {
        let at = |point: usize| -> Vec<usize> {
            let of = |(_, task): &(usize, &Task)| task.network == network && task.point == point;
            plan.tasks.iter().enumerate().filter(of).map(|(index, _)| index).collect()
        };
        let keys = |point: usize| -> Vec<&str> { at(point).iter().map(|&it| plan.tasks[it].key.as_str()).collect() };
        let is_constant = (0..plan.points.len()).all(|point| keys(point) == keys(0));
        for point in 0..if is_constant { 1 } else { plan.points.len() } {
            let named = (!is_constant).then(|| plan.points[point].clone());
            rows.push(row(plan, done, &at(point), named, &parents));
        }
    }
    Results {
        title: file.title.clone(),
        about: file.about.clone(),
        variant: experiment.variant.clone(),
        data: experiment.data.source.clone(),
        samples: done.iter().map(|done| done.samples).find(|&samples| samples > 0).unwrap_or(0),
        seeds: file.seeds.clone(),
        axis: plan.axis.clone(),
        source: published.map(|published| published.source.clone()),
        published_parents: parents,
        rows,
    }
}

fn row(plan: &Plan, done: &[Done], tasks: &[usize], point: Option<Point>, published_parents: &[f64]) -> Row {
    let first = &plan.tasks[tasks[0]];
    let varies = tasks.iter().any(|&task| plan.tasks[task].key != first.key);
    let mean =
        |of: &dyn Fn(&Done) -> f64| Mean::of(&tasks.iter().map(|&task| of(&done[task])).collect::<Vec<_>>(), varies);
    let runs: Vec<Run> = tasks.iter().map(|&task| run(plan, done, task)).collect();
    let gaps: Option<Vec<f64>> = runs.iter().map(|run| run.gap).collect();
    // The parents may depend on the seed where the network does not, and the other way round.
    let gap = gaps.map(|gaps| Mean::of(&gaps, gaps.iter().any(|gap| *gap != gaps[0])));
    let names: Vec<String> = first.inputs.iter().map(|&input| plan.tasks[input].described.name.clone()).collect();
    let described = &first.described;
    let better = published_parents.iter().copied().reduce(f64::max);
    Row {
        network: described.name.clone(),
        point,
        settings: match &first.step {
            Some(step) => steps_shown(plan, first, step),
            None => first.recipe.shown(&names),
        },
        parent: described.parent.unwrap_or(described.file.is_some() || described.train.is_some()),
        accuracy: mean(&|done| done.accuracy),
        loss: mean(&|done| done.loss),
        gap,
        parameters: mean(&|done| done.parameters as f64),
        published: described.published,
        published_gap: described
            .published
            .zip(better)
            .map(|(value, better)| ((value - better) * 100.0).round() / 100.0),
        reaches: described.reaches.clone(),
        note: described.note.clone(),
        learnt: plan.learnt.as_ref().and_then(|_| Learnt::of(&courses(plan, done, tasks))),
        runs,
    }
}

/// What is done for the first task and for the second one.
fn steps_shown(plan: &Plan, last: &Task, step: &Step) -> String {
    let shown = |of: usize| {
        let is_of = |task: &&Task| {
            let is_step = |it: &Step| it.sequence == step.sequence && it.task == of;
            (task.seed, task.point) == (last.seed, last.point) && task.step.as_ref().is_some_and(is_step)
        };
        let lines = plan.tasks.iter().filter(is_of).map(|task| {
            let names: Vec<String> =
                task.inputs.iter().map(|&input| plan.tasks[input].described.name.clone()).collect();
            task.recipe.shown(&names)
        });
        lines.collect::<Vec<_>>().join("; ")
    };
    format!("{}; then for each task: {}", shown(0), shown(1))
}

/// How a network did on the tasks, seed by seed.
fn courses(plan: &Plan, done: &[Done], tasks: &[usize]) -> Vec<Course> {
    let of = |&index: &usize| {
        let last = &plan.tasks[index];
        let same = |task: &Task| (task.seed, task.point) == (last.seed, last.point);
        let steps = plan.tasks.iter().enumerate().filter(|(_, task)| same(task));
        let steps = steps.filter_map(|(place, task)| Some((place, task.step.as_ref()?)));
        let places = match &last.step {
            Some(step) => sequences(steps).remove(step.sequence.as_str()).unwrap_or_default(),
            None => vec![index],
        };
        // The untrained network is measured with the one that is trained first.
        let origin = places.first().map(|&place| match done[place].untrained.is_empty() {
            true => plan.tasks[place].inputs.first().copied().unwrap_or(place),
            false => place,
        });
        let untrained = origin.map(|place| done[place].untrained.clone()).filter(|found| !found.is_empty());
        Course {
            after: places.iter().map(|&place| done[place].tasks.clone()).collect(),
            untrained: untrained.filter(|_| last.step.is_some()),
            memory: done[index].memory,
        }
    };
    tasks.iter().map(of).collect()
}

fn run(plan: &Plan, done: &[Done], index: usize) -> Run {
    let (task, found) = (&plan.tasks[index], &done[index]);
    let better = task.parents.iter().map(|&parent| done[parent].accuracy).reduce(f64::max);
    let target = task.described.reaches.as_ref().and_then(|name| {
        let same = |(_, other): &(usize, &Task)| {
            other.described.name == *name && other.point == task.point && other.seed == task.seed
        };
        plan.tasks.iter().enumerate().find(same).map(|(index, _)| &done[index].epochs)
    });
    let (reached, reached_of) = match target {
        Some(epochs) if !epochs.is_empty() => (reached(&found.epochs, epochs), Some(epochs.len())),
        _ => (None, None),
    };
    Run {
        seed: task.seed,
        accuracy: found.accuracy,
        loss: found.loss,
        gap: better.map(|better| found.accuracy - better),
        best_epoch: found.best_epoch,
        reached,
        reached_of,
        epochs: found.epochs.clone(),
        unit: task.key.clone(),
    }
}

/// The first epoch whose accuracy is the other training's last one or more: on the test samples if both were watched
/// there, else on samples held out.
fn reached(epochs: &[RunEpoch], of: &[RunEpoch]) -> Option<usize> {
    let watched = |epochs: &[RunEpoch]| epochs.iter().all(|epoch| epoch.test.is_some());
    let tested = watched(epochs) && watched(of);
    let accuracy = |epoch: &RunEpoch| if tested { epoch.test } else { epoch.validation };
    let target = accuracy(of.last()?)?;
    epochs.iter().find(|epoch| accuracy(epoch).is_some_and(|found| found >= target)).map(|epoch| epoch.epoch)
}

/// Where a point is: the value on the axis.
pub(crate) fn point_text(axis: Option<&str>, point: &Point) -> String {
    let axis = axis.unwrap_or_default();
    point.get(axis).map_or_else(String::new, |value| format!("{axis} {}", super::variables::shown(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_those_of_a_sample() {
        assert_eq!(Mean::of(&[1.0, 3.0], true), Mean { mean: 2.0, deviation: Some(2.0_f64.sqrt()) });
        assert_eq!(Mean::of(&[0.1, 0.1, 0.1], false), Mean { mean: 0.1, deviation: None });
        assert_eq!(Mean::of(&[0.5], true).deviation, None);
    }

    #[test]
    fn a_training_reaches_another() {
        let epochs = |accuracies: &[f64]| -> Vec<RunEpoch> {
            let epoch = |(index, &accuracy): (usize, &f64)| RunEpoch {
                epoch: index + 1,
                loss: 0.0,
                validation: Some(1.0 - accuracy),
                test: Some(accuracy),
            };
            accuracies.iter().enumerate().map(epoch).collect()
        };
        assert_eq!(reached(&epochs(&[0.5, 0.8, 0.9]), &epochs(&[0.1, 0.9, 0.8])), Some(2));
        assert_eq!(reached(&epochs(&[0.5]), &epochs(&[0.6])), None);
    }
}
