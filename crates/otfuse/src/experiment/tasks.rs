//! Tasks that come one after the other, and networks that learn them in sequence.

use std::collections::BTreeMap;

use otfuse_runtime::Probabilities;
use otfuse_runtime::dataset::Partition;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::Data;
use super::result::Mean;
use super::variables::{Variables, substituted};
use crate::typed::{Named, typed};
use crate::{DataOptions, Error, Result, Samples};

/// The most tasks of a sequence.
const MOST: usize = 1000;

/// What the tasks are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tasks {
    /// Parts of the classes.
    Classes(Partition),
    /// All samples, their pixels in another order each time.
    Orders(usize),
}

impl Tasks {
    /// Those of a data set; none where it says nothing.
    pub(crate) fn of(data: &Data) -> Result<Option<Self>> {
        let Some(text) = &data.tasks else { return Ok(None) };
        let wrong = |found: &str| {
            let message = format!("data: tasks: expected labels:.. or pixel-orders:K, found {text}{found}");
            Error::input(message).hint("labels:5, labels:0,1/2,3 (no label twice), or pixel-orders:10")
        };
        if let Some(count) = text.strip_prefix("pixel-orders:") {
            let count = count.trim().parse().ok().filter(|count| (2..=MOST).contains(count));
            return Ok(Some(Self::Orders(count.ok_or_else(|| wrong(""))?)));
        }
        let partition: Partition = text.parse().map_err(|error| wrong(&format!(" ({error})")))?;
        let is_of_labels = matches!(partition, Partition::Labels { .. } | Partition::LabelRanges { .. });
        match is_of_labels && (2..=MOST).contains(&partition.parts()) {
            true => Ok(Some(Self::Classes(partition))),
            false => Err(wrong("")),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Classes(partition) => partition.parts(),
            Self::Orders(count) => *count,
        }
    }

    /// The seed of a task's order; the first one is that of the file.
    fn order(task: usize, seed: u64) -> u64 {
        if task == 0 { 0 } else { seed.wrapping_mul(1000).wrapping_add(task as u64) }
    }

    /// The options that choose the samples of a task, or of all tasks.
    pub(crate) fn options(&self, task: Option<usize>, seed: u64) -> Named {
        let mut options = Named::new();
        match (self, task) {
            (Self::Classes(partition), Some(task)) => {
                options.insert("partition".into(), partition.to_string().into());
                options.insert("part".into(), task.into());
            }
            (Self::Classes(_), None) => {}
            (Self::Orders(_), Some(task)) => {
                options.insert("pixel-order".into(), Self::order(task, seed).to_string().into());
            }
            (Self::Orders(count), None) => {
                let seeds: Vec<String> = (0..*count).map(|task| Self::order(task, seed).to_string()).collect();
                options.insert("pixel-order".into(), seeds.join(",").into());
            }
        }
        options
    }

    /// The test sets that networks are run on: one of all classes, or one for each order.
    pub(crate) fn tested(&self, seed: u64) -> Vec<DataOptions> {
        let of =
            |task| DataOptions { pixel_order: Some(Self::order(task, seed).to_string()), ..DataOptions::default() };
        match self {
            Self::Classes(_) => vec![DataOptions::default()],
            Self::Orders(count) => (0..*count).map(of).collect(),
        }
    }

    /// How right a network is on each task; `said` is what it says of each of the test sets.
    pub(crate) fn accuracies(&self, said: &[Probabilities], tests: &[Samples]) -> Result<Vec<TaskAccuracy>> {
        match self {
            Self::Orders(_) => said
                .iter()
                .zip(tests)
                .map(|(said, test)| {
                    let accuracy = said.evaluate(test)?.accuracy;
                    Ok(TaskAccuracy { free: accuracy, known: accuracy })
                })
                .collect(),
            Self::Classes(partition) => {
                let (said, test) = (&said[0], &tests[0]);
                let (free, labels) = (said.best(), test.labels());
                let parts = partition.indices(test, 0)?;
                let of = |indices: Vec<usize>| {
                    let mut classes: Vec<usize> = indices.iter().map(|&index| labels[index] as usize).collect();
                    classes.sort_unstable();
                    classes.dedup();
                    let known = said.best_among(&classes);
                    let share = |best: &[usize]| {
                        let right = indices.iter().filter(|&&index| best[index] == labels[index] as usize).count();
                        right as f64 / indices.len().max(1) as f64
                    };
                    TaskAccuracy { free: share(&free), known: share(&known) }
                };
                Ok(parts.into_iter().map(of).collect())
            }
        }
    }
}

/// How right a network is on the test samples of a task, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskAccuracy {
    /// Among all classes.
    pub free: f64,
    /// Among the classes of the task.
    pub known: f64,
}

/// A network of the file that learns all tasks, in steps.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sequence {
    name: String,
    sequence: Steps,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    /// What is done for the first task; as for the others if not given.
    first: Option<Vec<Value>>,
    /// What is done for each task.
    then: Vec<Value>,
}

/// A step of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// Of which sequence.
    pub(crate) sequence: String,
    /// The task, from 0.
    pub(crate) task: usize,
    /// Whether it ends the task.
    pub(crate) is_last: bool,
}

/// A network as it is described, and the step that it is.
pub(crate) type Described = (Value, Option<Step>);

/// The networks that an entry of the file stands for, variables replaced: one, or all steps of a sequence. Their names are
/// `NAME/TASK` (from 1), of the last task `NAME`; of steps before the last one of a task `NAME/TASK.STEP`.
pub(crate) fn expanded(entry: &Value, variables: &Variables, tasks: Option<&Tasks>) -> Result<Vec<Described>> {
    if entry.get("sequence").is_none() {
        return Ok(vec![(substituted(entry, variables)?, None)]);
    }
    let Some(tasks) = tasks else {
        return Err(Error::input("sequence: the data set has no tasks").hint("data: {source: .., tasks: labels:5}"));
    };
    let Sequence { name, sequence, note } = typed(entry.clone(), "")?;
    let mut networks = Vec::new();
    let mut previous: Option<String> = None;
    for task in 0..tasks.count() {
        let steps = sequence.first.as_ref().filter(|_| task == 0).unwrap_or(&sequence.then);
        let whole = if task + 1 == tasks.count() { name.clone() } else { format!("{name}/{}", task + 1) };
        let mut variables = variables.clone().with("task", task.into()).with("number", (task + 1).into());
        if let Some(previous) = &previous {
            variables = variables.with("previous", previous.clone().into());
        }
        for (at, step) in steps.iter().enumerate() {
            let is_last = at + 1 == steps.len();
            let of_step = if is_last { whole.clone() } else { format!("{name}/{}.{}", task + 1, at + 1) };
            let mut network = substituted(step, &variables)?;
            let Value::Object(fields) = &mut network else {
                return Err(Error::input(format!("sequence: expected a network, found {network}"))
                    .hint("each step is a network without a name, for example {finetune: \"${previous}\"}"));
            };
            fields.insert("name".into(), of_step.clone().into());
            fields.entry("parent").or_insert(false.into());
            if let (true, Some(note)) = (task + 1 == tasks.count() && is_last, &note) {
                fields.entry("note").or_insert(note.clone().into());
            }
            variables = variables.with("last", of_step.into());
            networks.push((network, Some(Step { sequence: name.clone(), task, is_last })));
        }
        previous = Some(whole);
    }
    Ok(networks)
}

/// How a network of the file does on the tasks.
#[derive(Clone, Debug, Serialize)]
pub struct Learnt {
    /// On each task at the end.
    pub tasks: Vec<Mean>,
    /// The same among the classes of the task alone.
    pub known_tasks: Vec<Mean>,
    /// The mean of the accuracies on all tasks at the end.
    pub average: Mean,
    /// The same among the classes of each task alone.
    pub known_average: Mean,
    /// Of a sequence: the mean over all tasks but the last of the best accuracy so far less that at the end.
    pub forgetting: Option<Mean>,
    /// The same among the classes of each task alone.
    pub known_forgetting: Option<Mean>,
    /// Of a sequence that begins with a network from scratch: the mean over all tasks but the first of the accuracy before the
    /// task was learned, less that of the untrained network, among the classes of each task (D. Lopez-Paz, M. Ranzato, "Gradient
    /// episodic memory for continual learning", NeurIPS 2017).
    pub forward: Option<Mean>,
    /// Of a sequence: after each task the mean of the accuracies on the tasks so far.
    pub course: Vec<Mean>,
    /// The same among the classes of each task alone.
    pub known_course: Vec<Mean>,
    /// Bytes that are kept from task to task: networks, and what lies beside them.
    pub memory: usize,
}

/// How a network does on the tasks with one seed: after each task (of a network that is no sequence, at the end alone) on all.
pub(crate) struct Course {
    pub(crate) after: Vec<Vec<TaskAccuracy>>,
    pub(crate) untrained: Option<Vec<TaskAccuracy>>,
    pub(crate) memory: usize,
}

impl Learnt {
    /// Means over seeds.
    pub(crate) fn of(courses: &[Course]) -> Option<Self> {
        let first = courses.first()?;
        let (steps, tasks) = (first.after.len(), first.after.last()?.len());
        let over = |of: &dyn Fn(&Course) -> f64| {
            let values: Vec<f64> = courses.iter().map(of).collect();
            Mean::of(&values, values.iter().any(|value| *value != values[0]))
        };
        type Kind = fn(&TaskAccuracy) -> f64;
        let (free, known): (Kind, Kind) = (|it| it.free, |it| it.known);
        let so_far = |kind: Kind, step: usize| {
            over(&|course| {
                let seen = if steps == 1 { tasks } else { step + 1 };
                course.after[step][..seen].iter().map(kind).sum::<f64>() / seen as f64
            })
        };
        let forgetting = |kind: Kind| {
            (steps > 1).then(|| {
                over(&|course| {
                    let lost = |task: usize| {
                        let best = (task..steps - 1).map(|step| kind(&course.after[step][task]));
                        best.fold(f64::NEG_INFINITY, f64::max) - kind(&course.after[steps - 1][task])
                    };
                    (0..tasks - 1).map(lost).sum::<f64>() / (tasks - 1) as f64
                })
            })
        };
        let is_from_scratch = steps > 1 && courses.iter().all(|course| course.untrained.is_some());
        let forward = is_from_scratch.then(|| {
            over(&|course| {
                let untrained = course.untrained.as_deref().unwrap_or_default();
                let gained = |task: usize| course.after[task - 1][task].known - untrained[task].known;
                (1..tasks).map(gained).sum::<f64>() / (tasks - 1) as f64
            })
        });
        let at_end = |kind: Kind| (0..tasks).map(|task| over(&|course| kind(&course.after[steps - 1][task]))).collect();
        let course =
            |kind: Kind| if steps > 1 { (0..steps).map(|step| so_far(kind, step)).collect() } else { Vec::new() };
        Some(Self {
            tasks: at_end(free),
            known_tasks: at_end(known),
            average: so_far(free, steps - 1),
            known_average: so_far(known, steps - 1),
            forgetting: forgetting(free),
            known_forgetting: forgetting(known),
            forward,
            course: course(free),
            known_course: course(known),
            memory: first.memory,
        })
    }
}

/// Groups the steps of sequences: for each name the places of what ends its tasks, in their order.
pub(crate) fn sequences<'s>(steps: impl Iterator<Item = (usize, &'s Step)>) -> BTreeMap<&'s str, Vec<usize>> {
    let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, step) in steps.filter(|(_, step)| step.is_last) {
        found.entry(&step.sequence).or_default().push(place);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(after: &[&[f64]]) -> Course {
        let of = |value: &f64| TaskAccuracy { free: *value, known: *value };
        let after = after.iter().map(|row| row.iter().map(of).collect()).collect();
        Course { after, untrained: Some(vec![TaskAccuracy { free: 0.1, known: 0.1 }; 3]), memory: 0 }
    }

    #[test]
    fn measures_are_those_of_their_definitions() {
        let found = Learnt::of(&[course(&[&[0.9, 0.2, 0.1], &[0.8, 0.9, 0.3], &[0.5, 0.7, 0.9]])]).unwrap();
        assert!((found.average.mean - 0.7).abs() < 1e-12);
        // (0.9 - 0.5 + 0.9 - 0.7) / 2, and (0.2 - 0.1 + 0.3 - 0.1) / 2.
        assert!((found.forgetting.unwrap().mean - 0.3).abs() < 1e-12);
        assert!((found.forward.unwrap().mean - 0.15).abs() < 1e-12);
        assert!((found.course[1].mean - 0.85).abs() < 1e-12);
        let joint = Learnt::of(&[course(&[&[0.9, 0.9, 0.6]])]).unwrap();
        assert!(joint.forgetting.is_none() && joint.course.is_empty());
        assert!((joint.average.mean - 0.8).abs() < 1e-12);
    }

    #[test]
    fn a_sequence_stands_for_its_steps() {
        let entry: Value = serde_json::from_str(
            r#"{"name": "a", "sequence": {"first": [{"train": "mlp:4"}],
                "then": [{"finetune": "${previous}"}, {"fuse": ["${last}"], "into": "${previous}"}]}}"#,
        )
        .unwrap();
        let tasks = Tasks::Orders(3);
        let networks = expanded(&entry, &Variables::new(&Named::new()), Some(&tasks)).unwrap();
        let names: Vec<&str> = networks.iter().map(|(value, _)| value["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a/1", "a/2.1", "a/2", "a/3.1", "a"]);
        assert_eq!(networks[4].0["into"], "a/2");
        assert_eq!(networks[3].1.as_ref().map(|step| (step.task, step.is_last)), Some((2, false)));
        assert!(expanded(&entry, &Variables::new(&Named::new()), None).is_err());
    }
}
