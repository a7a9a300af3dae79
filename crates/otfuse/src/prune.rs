//! Networks made narrower by taking out their least important neurons.

use std::path::Path;

use otfuse_fusion::{Importance, PruneSettings, Pruning};
use otfuse_graph::{Graph, GroupId, NeuronGroups, Role};
use serde::Serialize;

use crate::choices::Choice;
use crate::files::shown;
use crate::inspect::{Pinned, pinned};
use crate::options::options;
use crate::{Context, Error, Model, NormName, Registry, Result};

options!(
    /// What is taken out of a network.
    PruneOptions {
        /// Share of the neurons that go; every group keeps at least two; 0.5.
        amount ("amount"): f64,
        /// Norm of its incoming weights that makes a neuron important; l1.
        norm ("norm"): NormName,
        /// Take the share of all groups together, the least weights first, instead of each.
        global ("global"): bool,
        /// Only these groups: numbers as [`inspect`](crate::inspect()) counts them, or weights (a name, or how names begin).
        groups ("groups"): Names,
        /// All groups but these.
        exclude ("exclude"): Names,
    }
);

/// Names; in files also one, or several separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names(pub Vec<String>);

impl<'de> serde::Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
            List(Vec<Written>),
        }
        fn add(written: Written, names: &mut Vec<String>) {
            match written {
                Written::Number(number) => names.push(number.to_string()),
                Written::Text(text) => names.extend(text.split(',').map(str::to_owned)),
                Written::List(list) => list.into_iter().for_each(|each| add(each, names)),
            }
        }
        let mut names = Vec::new();
        add(Written::deserialize(deserializer)?, &mut names);
        Ok(Self(names))
    }
}

/// A pruned network, and what was taken out.
pub struct Pruned {
    model: Model,
    /// The network.
    pub graph: Graph,
    /// What was taken out, and what is left.
    pub report: PruneReport,
}

/// What was taken out, and what is left.
#[derive(Clone, Debug, Serialize)]
pub struct PruneReport {
    /// The network, as it was given.
    pub path: String,
    /// Where the result was written.
    pub output: String,
    /// Share of the neurons that were to go.
    pub amount: f64,
    /// What made a neuron important.
    pub norm: NormName,
    /// Whether all groups were taken together.
    pub global: bool,
    /// Learned numbers before.
    pub parameters: usize,
    /// Learned numbers after.
    pub kept_parameters: usize,
    /// The groups.
    pub groups: Vec<PrunedNeurons>,
    /// What was left as it is.
    pub pinned: Vec<Pinned>,
}

/// What was left of a group.
#[derive(Clone, Debug, Serialize)]
pub struct PrunedNeurons {
    /// Its number.
    pub index: usize,
    /// Its first weight.
    pub name: String,
    /// Neurons before.
    pub size: usize,
    /// Neurons after.
    pub kept: usize,
    /// The neurons that stay.
    pub neurons: Vec<usize>,
    /// Why nothing was taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// Takes the least important neurons out of a network.
///
/// # Errors
/// A network without neuron groups, options that are out of range, groups that there are not.
pub fn prune(model: &Model, options: &PruneOptions, context: &Context) -> Result<Pruned> {
    let graph = model.told(context)?;
    let groups = model.groups()?;
    let norm = options.norm.unwrap_or(NormName::ALL[0].0);
    let settings = PruneSettings {
        importance: match norm {
            NormName::L1 => Importance::L1,
            NormName::L2 => Importance::L2,
        },
        amount: options.amount.unwrap_or(0.5),
        global: options.global.unwrap_or(false),
        groups: chosen(graph, groups, options)?,
    };
    let pruning = otfuse_fusion::prune(graph, &settings).map_err(|error| Error::from(error).of(model.path()))?;
    warn_of_skipped(&pruning, context);
    let of_group = pruning.groups.into_iter().enumerate().map(|(index, group)| PrunedNeurons {
        index,
        name: group.name,
        size: group.size,
        kept: group.kept.len(),
        neurons: group.kept,
        skipped: group.skipped,
    });
    let report = PruneReport {
        path: model.shown(),
        output: String::new(),
        amount: settings.amount,
        norm,
        global: settings.global,
        parameters: graph.parameter_count(),
        kept_parameters: pruning.graph.parameter_count(),
        groups: of_group.collect(),
        pinned: pinned(graph, groups),
    };
    Ok(Pruned { model: model.clone(), graph: pruning.graph, report })
}

impl Pruned {
    /// Stages the network to be written; the extension chooses the format.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&mut self, registry: &Registry, path: &Path) -> Result<()> {
        self.report.output = shown(path);
        self.model.write(&self.graph, registry.outputs(), path)
    }

    /// Writes the network, whole or not at all.
    ///
    /// # Errors
    /// A path that cannot be written, or is the network itself.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (model, path) = (self.model.clone(), path.as_ref());
        Registry::alone(&[&model], &model, path, |registry| self.write(registry, path))
    }
}

/// Says which groups are left as they are.
pub(crate) fn warn_of_skipped(pruning: &Pruning, context: &Context) {
    for group in &pruning.groups {
        if let Some(reason) = &group.skipped {
            context.warn(&format!("the group of '{}' is left as it is: {reason}", group.name));
        }
    }
}

/// The groups that the options leave.
fn chosen(graph: &Graph, groups: &NeuronGroups, options: &PruneOptions) -> Result<Option<Vec<GroupId>>> {
    let (wanted, excluded) = (options.groups.clone().unwrap_or_default(), options.exclude.clone().unwrap_or_default());
    if wanted.0.is_empty() && excluded.0.is_empty() {
        return Ok(None);
    }
    let named = |option: &str, names: &[String]| -> Result<Vec<GroupId>> {
        let mut found = Vec::new();
        for name in names {
            let of_name = of_name(graph, groups, name);
            if of_name.is_empty() {
                let message = format!("`{option}` {name}: the network has no such neuron group");
                return Err(Error::input(message).hint("`otfuse inspect` lists the groups with their weights"));
            }
            found.extend(of_name);
        }
        Ok(found)
    };
    let (wanted, excluded) = (named("groups", &wanted.0)?, named("exclude", &excluded.0)?);
    let all = groups.iter().map(|(id, _)| id);
    Ok(Some(all.filter(|id| (wanted.is_empty() || wanted.contains(id)) && !excluded.contains(id)).collect()))
}

/// The groups of a number, or whose first producer's name is or begins with this one.
fn of_name(graph: &Graph, groups: &NeuronGroups, name: &str) -> Vec<GroupId> {
    if let Ok(index) = name.parse::<usize>() {
        return groups.iter().map(|(id, _)| id).filter(|id| id.index() == index).collect();
    }
    let produces = |id: &GroupId| {
        let mut producers = groups.group(*id).members_as(Role::Producer);
        producers.any(|member| graph.value(member.initializer).name.starts_with(name))
    };
    groups.iter().map(|(id, _)| id).filter(produces).collect()
}
