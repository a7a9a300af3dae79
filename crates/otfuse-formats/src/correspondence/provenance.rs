//! What PyTorch's exporters say of where a node comes from.
//!
//! The exporter that goes through `torch.export` writes it into the metadata of each node: the modules around it, and the call
//! with the names of its arguments. The older one names nodes after their modules (`/layer1/layer1.0/conv1/Conv`).

use std::collections::HashMap;

use super::names::Names;
use crate::onnx::proto::NodeProto;

/// So many readings of a node's name are looked at.
const MOST_PATHS: usize = 16;

/// Where a node comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Origin {
    /// The path of the module (`layer1.0.conv1`); empty if it is not known, or the network itself.
    pub(super) module: String,
    /// Other paths that the node's name may stand for.
    other_modules: Vec<String>,
    /// The parameters and buffers that the call was given, in order, each with its dots replaced by underscores.
    pub(super) arguments: Vec<String>,
    /// The number that a batch normalisation adds to variances, if the node stands for one.
    pub(super) normalisation: Option<f32>,
    /// Whether the exporter computed the normalisation into the node's weights.
    pub(super) folded: bool,
    /// Nodes of one origin are parts of one call.
    pub(super) call: String,
}

/// The origins of nodes by their names.
pub(super) fn origins<'a>(nodes: impl Iterator<Item = &'a NodeProto>) -> HashMap<String, Origin> {
    let named = nodes.filter_map(|node| Some((node.name.clone()?, origin(node))));
    named.collect()
}

/// What the results of `Identity` nodes are, by name: another name of a tensor.
pub(super) fn aliases<'a>(nodes: impl Iterator<Item = &'a NodeProto>) -> HashMap<String, String> {
    let identities = nodes.filter(|node| node.op_type.as_deref() == Some("Identity"));
    identities.filter_map(|node| Some((node.output.first()?.clone(), node.input.first()?.clone()))).collect()
}

fn origin(node: &NodeProto) -> Origin {
    let property = |key: &str| {
        let found = node.metadata_props.iter().find(|property| property.key.as_deref() == Some(key));
        found.and_then(|property| property.value.as_deref())
    };
    let name = node.name.as_deref().unwrap_or_default();
    let Some(call) = property("pkg.torch.onnx.fx_node") else {
        let mut modules = modules_of_name(name).into_iter();
        let module = modules.next().unwrap_or_default();
        let other_modules = modules.collect();
        let call = name.rsplit_once('/').map_or(name, |(call, _)| call).to_owned();
        return Origin { module, other_modules, call, ..Origin::default() };
    };
    let scopes = property("pkg.torch.onnx.name_scopes").unwrap_or_default();
    let scopes: Vec<&str> = scopes.split('\'').skip(1).step_by(2).collect();
    let module = scopes.len().checked_sub(2).map_or("", |last| scopes[last]).to_owned();
    let arguments = words(call).filter_map(|word| {
        let word = word.strip_prefix('%')?;
        ["p_", "b_", "c_"].into_iter().find_map(|kind| word.strip_prefix(kind)).map(str::to_owned)
    });
    let is_normalisation = call.contains("batch_norm");
    let numbers = words(call).filter_map(|word| word.parse::<f32>().ok());
    let rule = property("pkg.onnxscript.rewriter.rule_name").unwrap_or_default();
    Origin {
        module,
        other_modules: Vec::new(),
        arguments: arguments.collect(),
        normalisation: numbers.filter(|_| is_normalisation).last(),
        folded: rule.contains("FuseBatchNorm"),
        call: call.to_owned(),
    }
}

/// The names and numbers of a call.
fn words(call: &str) -> impl Iterator<Item = &str> {
    call.split([' ', ',', '(', ')', '[', ']', '=']).filter(|word| !word.is_empty())
}

/// The paths that `/layer1/layer1.0/conv1/Conv` may stand for, the likeliest first: a module in a container repeats the
/// container's name (`layer1.0.conv1`), but a module may also have the name of the one around it.
fn modules_of_name(name: &str) -> Vec<String> {
    let Some((modules, _)) = name.strip_prefix('/').and_then(|name| name.rsplit_once('/')) else {
        return Vec::new();
    };
    let mut paths: Vec<Vec<&str>> = vec![Vec::new()];
    for part in modules.split('/') {
        let repeats = |path: &&Vec<&str>| {
            path.last().is_some_and(|last| part.strip_prefix(last).is_some_and(|rest| rest.starts_with('.')))
        };
        let shorter = paths.iter().filter(repeats).map(|path| path[..path.len() - 1].to_vec());
        let mut both: Vec<Vec<&str>> = shorter.chain(paths.iter().cloned()).collect();
        both.truncate(MOST_PATHS);
        both.iter_mut().for_each(|path| path.push(part));
        paths = both;
    }
    paths.into_iter().map(|path| path.join(".")).collect()
}

/// Takes, of the paths that a module may have, the first in which the checkpoint has tensors.
pub(super) fn settle(origins: &mut HashMap<String, Origin>, names: &Names) {
    for origin in origins.values_mut() {
        let others = std::mem::take(&mut origin.other_modules);
        if !names.in_module(&origin.module).is_empty() {
            continue;
        }
        let modules = std::iter::once(&origin.module).chain(&others);
        let first_uses: Vec<String> = modules.map(|module| first_use(module)).collect();
        let found = others.into_iter().chain(first_uses).find(|module| !names.in_module(module).is_empty());
        origin.module = found.unwrap_or_else(|| std::mem::take(&mut origin.module));
    }
}

/// The path of a module by the name of a later use: `block_1.linear` is the second use of `block.linear`.
fn first_use(module: &str) -> String {
    let numbered = |part: &str| {
        let (first, number) = part.rsplit_once('_')?;
        (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| first.to_owned())
    };
    let parts: Vec<String> = module.split('.').map(|part| numbered(part).unwrap_or_else(|| part.into())).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::StringStringEntryProto;

    #[test]
    fn modules_in_containers_are_named_once() {
        assert_eq!(modules_of_name("/layer1/layer1.0/conv1/Conv"), ["layer1.0.conv1", "layer1.layer1.0.conv1"]);
        assert_eq!(modules_of_name("/encoder/layers.3/MatMul_1"), ["encoder.layers.3"]);
        assert!(modules_of_name("Conv_3").is_empty());
    }

    #[test]
    fn a_later_use_is_of_the_same_module() {
        assert_eq!(first_use("block_1.linear"), "block.linear");
        assert_eq!(first_use("layer_norm.x"), "layer_norm.x");
    }

    #[test]
    fn a_call_names_its_parameters_and_its_epsilon() {
        let entry =
            |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
        let call = "%bn : [num_users=1] = call_function[target=torch.ops.aten.batch_norm.default](args = (%conv2d, \
                    %p_body_1_weight, %p_body_1_bias, %b_body_1_running_mean, %b_body_1_running_var, False, 0.1, 0.001, \
                    True), kwargs = {})";
        let node = NodeProto {
            metadata_props: vec![
                entry("pkg.torch.onnx.fx_node", call),
                entry("pkg.torch.onnx.name_scopes", "['', 'body', 'body.1', 'bn']"),
                entry("pkg.onnxscript.rewriter.rule_name", "FuseBatchNormIntoConv"),
            ],
            ..NodeProto::default()
        };
        let origin = origin(&node);
        assert_eq!(origin.module, "body.1");
        assert_eq!(origin.arguments.len(), 4);
        assert_eq!(origin.arguments[3], "body_1_running_var");
        assert_eq!((origin.normalisation, origin.folded), (Some(0.001), true));
    }
}
