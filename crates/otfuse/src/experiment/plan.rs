//! What is to be done: a task for each network, point and seed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::file::{Data, Experiment, File, Network};
use super::recipe::{Recipe, Work};
use super::tasks::{Step, Tasks, expanded};
use crate::files::{count, hash, hash_of};
use crate::suggestion::suggestion;
use crate::typed::{Named, typed};
use crate::{DataOptions, Dataset, SplitName};
use crate::{Error, Result};

/// Changes where units of work made by older versions are not to be used any more.
const VERSION: u32 = 1;

/// A network at one point and with one seed.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Its place in the file's list.
    pub network: usize,
    /// Which point.
    pub point: usize,
    /// The seed.
    pub seed: u64,
    /// The network as the file describes it, variables replaced.
    pub described: Network,
    /// How it is made.
    pub recipe: Recipe,
    /// The step of a sequence that it is.
    pub step: Option<Step>,
    /// Tells its unit of work from all others: a hash of what it depends on.
    pub key: String,
    /// The tasks whose networks it is made of, by their places in the plan.
    pub inputs: Vec<usize>,
    /// The parents that it comes from, by their places in the plan.
    pub parents: Vec<usize>,
}

/// A point of a curve: the values of its variables.
pub type Point = Named;

/// The whole experiment as tasks, in an order in which they can be done.
pub struct Plan {
    /// All tasks.
    pub(crate) tasks: Vec<Task>,
    /// All points; one without variables where there is no curve.
    pub points: Vec<Point>,
    /// The variable that tells the points apart.
    pub axis: Option<String>,
    /// The names of the networks, in the order of the file.
    pub names: Vec<String>,
    /// A hash of the data set's files.
    pub data: String,
    /// The tasks of the data set.
    pub(crate) learnt: Option<Tasks>,
}

/// Makes the plan; fails on everything that can be told before work begins.
pub fn plan(experiment: &Experiment) -> Result<Plan> {
    let file = &experiment.file;
    let points = points(&file.points)?;
    let axis = axis(file, &points)?;
    let data = fingerprint(&experiment.data)?;
    let tasks = Tasks::of(&experiment.data)?;
    let mut hashes = BTreeMap::new();
    let mut plan = Plan { tasks: Vec::new(), points, axis, names: Vec::new(), data, learnt: tasks.clone() };
    if file.networks.is_empty() {
        return Err(Error::input("networks: expected at least one").hint("see docs/experiments.md"));
    }
    for point in 0..plan.points.len() {
        for &seed in &file.seeds {
            let mut variables = experiment.variables.clone().with("seed", seed.into());
            for (name, value) in &plan.points[point] {
                variables = variables.with(name, value.clone());
            }
            let mut earlier: BTreeMap<String, usize> = BTreeMap::new();
            let mut networks = Vec::new();
            for (index, entry) in file.networks.iter().enumerate() {
                let expanded = expanded(entry, &variables, tasks.as_ref());
                let expanded = expanded.map_err(|error| error.within(&format!("networks[{index}]")))?;
                networks.extend(expanded.into_iter().map(|network| (index, network)));
            }
            for (index, (at, (network, step))) in networks.into_iter().enumerate() {
                let place = format!("networks[{at}]");
                let described: Network = typed(network, "").map_err(|error| error.within(&place))?;
                let place = format!("{place} ({})", described.name);
                let context =
                    Context { plan: &plan, experiment, earlier: &earlier, point, seed, tasks: tasks.as_ref() };
                let task = context.task(index, (described, step), &mut hashes).map_err(|error| error.within(&place))?;
                let name = task.described.name.clone();
                if earlier.insert(name.clone(), plan.tasks.len()).is_some() {
                    let error = Error::input("a network of this name stands above").hint("rename one");
                    return Err(error.within(&place));
                }
                if point == 0 && seed == file.seeds[0] {
                    plan.names.push(name);
                } else if plan.names[index] != name {
                    let failure = Error::input(format!("the name is '{}' elsewhere", plan.names[index]));
                    return Err(failure.hint("names cannot depend on points and seeds").within(&place));
                }
                plan.tasks.push(task);
            }
        }
    }
    Ok(plan)
}

/// The values of all variables at each point.
fn points(named: &Named) -> Result<Vec<Point>> {
    let mut points: Vec<Point> = Vec::new();
    for (name, values) in named {
        let Value::Array(values) = values else {
            return Err(Error::input(format!("for.{name}: expected a list of values, found {values}"))
                .hint("for example for: {amount: [0.1, 0.5]}"));
        };
        if points.is_empty() {
            points = vec![Point::new(); values.len()];
        }
        if values.len() != points.len() || values.is_empty() {
            let expected = count(points.len().max(1), "value");
            let message = format!("for.{name}: expected {expected}, found {}", values.len());
            return Err(Error::input(message).hint("all variables have one value for each point"));
        }
        for (point, value) in points.iter_mut().zip(values) {
            point.insert(name.clone(), value.clone());
        }
    }
    Ok(if points.is_empty() { vec![Point::new()] } else { points })
}

/// The variable that tells the points apart.
fn axis(file: &File, points: &[Point]) -> Result<Option<String>> {
    let names: Vec<&String> = file.points.keys().collect();
    let axis = match (&file.axis, names.as_slice()) {
        (None, []) => return Ok(None),
        (None, [name]) => (*name).clone(),
        (Some(name), _) if file.points.contains_key(name) => name.clone(),
        (found, _) => {
            let found = found.as_ref().map_or_else(|| "nothing".into(), |name| format!("'{name}'"));
            let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
            return Err(Error::input(format!("axis: expected a variable of 'for', found {found}"))
                .hint(format!("for has: {}", names.join(", "))));
        }
    };
    let twice = |(at, point): (usize, &Point)| points[..at].iter().any(|other| other[&axis] == point[&axis]);
    match points.iter().enumerate().position(twice) {
        Some(at) => Err(Error::input(format!("for.{axis}: the value {} stands twice", points[at][&axis]))
            .hint("the values of the axis tell the points apart")),
        None => Ok(Some(axis)),
    }
}

/// A hash of the data set's files and of how it is read.
fn fingerprint(data: &Data) -> Result<String> {
    let files = match data.source.split_once(':') {
        None => data.source.clone(),
        Some((kind, path)) => {
            let of_files = hash(Path::new(path)).map_err(|failure| failure.hint("check the spelling of the path"));
            format!("{kind}:{}", of_files?)
        }
    };
    // Also fails here, rather than after hours, where the data set cannot be read.
    dataset(data, &DataOptions::default())?.samples(SplitName::Test, data.test)?;
    Ok(digest(&json!([files, data.normalize])))
}

/// The data set of an experiment, or a part of it.
pub(crate) fn dataset(data: &Data, part: &DataOptions) -> Result<Dataset> {
    Dataset::with(&data.source, &DataOptions { normalize: data.normalize.clone(), ..part.clone() })
}

fn digest(value: &Value) -> String {
    hash_of(value.to_string().as_bytes())
}

struct Context<'a> {
    plan: &'a Plan,
    experiment: &'a Experiment,
    earlier: &'a BTreeMap<String, usize>,
    point: usize,
    seed: u64,
    tasks: Option<&'a Tasks>,
}

impl Context<'_> {
    fn task(
        &self,
        index: usize,
        (described, step): (Network, Option<Step>),
        hashes: &mut BTreeMap<String, String>,
    ) -> Result<Task> {
        if described.name.is_empty() {
            return Err(Error::input("name: expected a name").hint("every network has one"));
        }
        let task = step.as_ref().map(|step| step.task);
        let chosen = self.tasks.map(|tasks| tasks.options(task, self.seed)).unwrap_or_default();
        let (recipe, names) = Recipe::of(&described, index, self.seed, &self.experiment.data, &chosen)?;
        let inputs: Vec<usize> = names.iter().map(|name| self.find(name)).collect::<Result<_, _>>()?;
        if let Some(name) = &described.reaches {
            self.find(name)?;
        }
        let tasks = &self.plan.tasks;
        let is_parent = |task: &Task| {
            let origin = task.described.file.is_some() || task.described.train.is_some();
            task.described.parent.unwrap_or(origin)
        };
        let mut parents: BTreeSet<usize> = BTreeSet::new();
        for &input in &inputs {
            match is_parent(&tasks[input]) {
                true => parents.extend([input]),
                false => parents.extend(&tasks[input].parents),
            }
        }
        let mut files = Vec::new();
        for path in
            [&described.file, &described.arch.clone().filter(|name| name.ends_with(".onnx"))].into_iter().flatten()
        {
            if !hashes.contains_key(path) {
                let of_file = hash(Path::new(path));
                hashes.insert(path.clone(), of_file.map_err(|failure| failure.hint("check the spelling of the path"))?);
            }
            files.push(hashes[path].clone());
        }
        let keys: Vec<&str> = inputs.iter().map(|&input| tasks[input].key.as_str()).collect();
        let made = match &recipe {
            Recipe::Made { subject, starts, options, work } => {
                let subject = subject.as_ref().filter(|_| **work != Work::Read);
                match &described.into {
                    Some(into) => json!(["learn", into == "new", options, self.experiment.data.train]),
                    None => json!([work.name(), subject, starts, options, described.arch]),
                }
            }
            Recipe::Ensemble { weights } => json!(["ensemble", weights]),
        };
        let key = digest(&json!([VERSION, env!("CARGO_PKG_VERSION"), made, keys, files, self.plan.data]));
        let parents = parents.into_iter().collect();
        Ok(Task { network: index, point: self.point, seed: self.seed, described, recipe, step, key, inputs, parents })
    }

    fn find(&self, name: &str) -> Result<usize> {
        self.earlier.get(name).copied().ok_or_else(|| {
            Error::input(format!("there is no network '{name}' above")).hint(suggestion(
                name,
                self.earlier.keys().map(String::as_str),
                "above stand:",
            ))
        })
    }
}

impl Plan {
    /// What is to be done, a line for each unit of work.
    pub fn lines(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let new = self.tasks.iter().filter(|task| seen.insert(task.key.as_str()));
        let line = |task: &Task| {
            let names: Vec<String> =
                task.inputs.iter().map(|&input| self.tasks[input].described.name.clone()).collect();
            format!("{} (seed {}): {}", task.described.name, task.seed, task.recipe.shown(&names))
        };
        new.map(line).collect()
    }
}
