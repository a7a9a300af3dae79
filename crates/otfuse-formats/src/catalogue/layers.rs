//! The tensors of a state dict, grouped into layers.

use std::collections::HashSet;

use indexmap::IndexMap;
use otfuse_graph::Tensor;

use super::error::Misfit;
use crate::StateDict;

/// What wrappers put before the names of the network that they wrap.
const WRAPPERS: [&str; 7] = ["module.", "model.", "_orig_mod.", "backbone.", "net.", "network.", "encoder."];

/// The tensors of a layer that have a part in inference.
const PARTS: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// One tensor and its name in the state dict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(super) tensor: &'a Tensor,
}

impl Named<'_> {
    pub(super) fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    pub(super) fn misfit(&self, expected: impl Into<String>) -> Misfit {
        Misfit::tensor(self.name, expected, self.found())
    }

    fn found(&self) -> String {
        format!("{} of shape {:?}", self.tensor.data_type(), self.shape())
    }
}

/// The tensors of one module: a convolution, a linear layer or a batch normalisation.
#[derive(Clone, Debug)]
pub(super) struct Layer<'a> {
    /// The module's path without wrappers; empty for tensors at the root.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) weight: Named<'a>,
    pub(super) bias: Option<Named<'a>>,
    /// Running mean and variance of a normalisation.
    pub(super) statistics: Option<[Named<'a>; 2]>,
}

/// What a layer's tensors say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A weight of shape outputs, inputs.
    Linear,
    /// A weight of shape outputs, inputs of a group, height, width.
    Conv,
    /// Weight, bias, running mean and variance.
    Norm,
}

impl Layer<'_> {
    /// Channels or features that come out.
    pub(super) fn outputs(&self) -> usize {
        self.weight.shape()[0]
    }

    /// Channels or features that go in; of a convolution, those of one group.
    pub(super) fn inputs(&self) -> usize {
        self.weight.shape().get(1).copied().unwrap_or(self.outputs())
    }

    /// The number behind the path's last dot, where the module is part of a list, with the list's path.
    pub(super) fn place(&self) -> Option<(&str, usize)> {
        let (list, number) = self.path.rsplit_once('.').unwrap_or(("", &self.path));
        Some((list, number.parse().ok()?))
    }

    /// The number that the path ends with: 2 of `fc2`, `bn_2` and `layers.2`.
    pub(super) fn number(&self) -> Option<usize> {
        let digits = self.path.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        self.path[digits..].parse().ok()
    }
}

/// All layers, in the order in which the network was most likely written down.
#[derive(Clone, Debug)]
pub(super) struct Layers<'a> {
    layers: IndexMap<String, Layer<'a>>,
    /// Every name of the state dict: what is made up must be called otherwise.
    names: Vec<&'a str>,
}

impl<'a> Layers<'a> {
    /// Groups the tensors by the module that they belong to.
    pub(super) fn of(dict: &'a StateDict) -> Result<Self, Misfit> {
        let mut modules: IndexMap<String, Vec<(String, Named<'a>)>> = IndexMap::new();
        for (path, named) in without_wrappers(dict) {
            let (module, leaf) = path.rsplit_once('.').unwrap_or(("", &path));
            // Integers of other names count something (num_batches_tracked) and have no part in inference.
            if !named.tensor.data_type().is_float() && !PARTS.contains(&leaf) {
                continue;
            }
            modules.entry(module.into()).or_default().push((leaf.into(), named));
        }
        // Files that sort their tensors (safetensors) put 10 before 2, and the bias before the weight.
        let names: Vec<&str> = dict.names().collect();
        if modules.keys().is_sorted() || names.is_sorted() {
            modules.sort_by(|a, _, b, _| natural(a).cmp(&natural(b)));
        }
        let layers = modules.into_iter().map(|(path, tensors)| Ok((path.clone(), layer(path, &tensors)?)));
        let layers: IndexMap<_, _> = layers.collect::<Result<_, Misfit>>()?;
        if layers.is_empty() {
            return Err(Misfit::missing("weight", "of any layer"));
        }
        Ok(Self { layers, names })
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Layer<'a>> {
        self.layers.values()
    }

    pub(super) fn get(&self, path: &str) -> Option<&Layer<'a>> {
        self.layers.get(path)
    }

    pub(super) fn names(&self) -> &[&'a str] {
        &self.names
    }
}

/// The order of people: `fc2` before `fc10`.
pub(super) fn natural(path: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(text);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        parts.push((head.to_owned(), number.parse().unwrap_or(0)));
        rest = tail;
    }
    parts
}

/// A name without wrappers' prefixes.
pub(crate) fn without_wrapper(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = rest;
    }
    name
}

/// Names without wrappers' prefixes, unless two names would become one.
pub(crate) fn without_wrappers(dict: &StateDict) -> Vec<(String, Named<'_>)> {
    let mut seen = HashSet::new();
    let unique = dict.names().all(|name| seen.insert(without_wrapper(name)));
    let bare = |name| if unique { without_wrapper(name) } else { name };
    dict.iter().map(|(name, tensor)| (bare(name).to_owned(), Named { name, tensor })).collect()
}

/// One module's tensors, which must be those of a layer that the catalogue has.
fn layer<'a>(path: String, tensors: &[(String, Named<'a>)]) -> Result<Layer<'a>, Misfit> {
    let find = |leaf: &str| tensors.iter().find(|(found, _)| found == leaf).map(|(_, named)| *named);
    if let Some((_, stranger)) = tensors.iter().find(|(leaf, _)| !PARTS.contains(&leaf.as_str())) {
        return Err(stranger.misfit("a weight, bias, running_mean or running_var"));
    }
    if let Some((_, odd)) = tensors.iter().find(|(_, named)| !named.tensor.data_type().is_float()) {
        return Err(Misfit::Integers { tensor: odd.name.to_owned(), found: odd.found() });
    }
    let full = |leaf: &str| if path.is_empty() { leaf.to_owned() } else { format!("{path}.{leaf}") };
    let weight =
        find("weight").ok_or_else(|| Misfit::missing(full("weight"), "of a layer whose other tensors are there"))?;
    if weight.shape().contains(&0) {
        return Err(weight.misfit("at least one element along each axis"));
    }
    let kind = match weight.shape().len() {
        1 => Kind::Norm,
        2 => Kind::Linear,
        4 => Kind::Conv,
        _ => return Err(weight.misfit("a weight of 1, 2 or 4 axes (normalisation, linear layer, 2-D convolution)")),
    };
    let bias = find("bias");
    let statistics = match (find("running_mean"), find("running_var")) {
        (Some(mean), Some(variance)) => Some([mean, variance]),
        (None, None) => None,
        (Some(_), None) => return Err(Misfit::missing(full("running_var"), "beside the running mean")),
        (None, Some(_)) => return Err(Misfit::missing(full("running_mean"), "beside the running variance")),
    };
    match (kind, &statistics) {
        (Kind::Norm, None) => return Err(weight.misfit("running mean and variance beside it (batch normalisation)")),
        (Kind::Norm, Some(_)) if bias.is_none() => {
            return Err(Misfit::missing(full("bias"), "of a batch normalisation"));
        }
        (Kind::Conv | Kind::Linear, Some([mean, _])) => return Err(mean.misfit("no statistics beside this weight")),
        _ => {}
    }
    let length = weight.shape()[0];
    for vector in bias.iter().chain(statistics.iter().flatten()) {
        if vector.shape() != [length] {
            return Err(vector.misfit(format!("shape [{length}], as the weight '{}' has it", weight.name)));
        }
    }
    Ok(Layer { path, kind, weight, bias, statistics })
}
