//! Who reads which value of a file, and which nodes become superfluous when others go.

use std::collections::HashMap;

use super::names;
use super::proto::{GraphProto, ModelProto, NodeProto};

/// How many places read each value of the outermost graph.
#[derive(Debug)]
pub(super) struct Readers {
    counts: HashMap<String, usize>,
}

impl Readers {
    pub(super) fn of(model: &ModelProto, graph: &GraphProto) -> Self {
        let mut readers = Self { counts: HashMap::new() };
        for node in &graph.node {
            readers.change(node, |count| *count += 1);
        }
        let outputs = graph.output.iter().filter_map(|output| output.name.as_deref());
        // Training and quantisation refer to tensors by name as well.
        let training = model.training_info.iter();
        let training = training.flat_map(|info| info.initialization_binding.iter().chain(&info.update_binding));
        let quantised = graph.quantization_annotation.iter().flat_map(|entry| &entry.quant_parameter_tensor_names);
        let entries = training.chain(quantised).flat_map(|entry| [entry.key.as_deref(), entry.value.as_deref()]);
        for name in outputs.chain(entries.flatten()) {
            *readers.counts.entry(name.into()).or_default() += 1;
        }
        readers
    }

    fn change(&mut self, node: &NodeProto, change: impl Fn(&mut usize)) {
        for name in node.input.iter().map(String::as_str).chain(names::captured(node)) {
            change(self.counts.entry(name.into()).or_default());
        }
    }

    /// Whether something reads the value.
    pub(super) fn any(&self, name: &str) -> bool {
        self.counts.get(name).is_some_and(|&count| count > 0)
    }

    /// Removes the nodes marked in `dropped` and marks those that nothing reads any more because of it.
    /// `O(nodes + edges)`.
    pub(super) fn remove(&mut self, graph: &GraphProto, dropped: &mut [bool]) {
        let outputs = |(index, node): (usize, &'_ NodeProto)| -> Vec<(String, usize)> {
            node.output.iter().map(|name| (name.clone(), index)).collect()
        };
        let producers: HashMap<String, usize> = graph.node.iter().enumerate().flat_map(outputs).collect();
        let mut waiting: Vec<usize> = (0..dropped.len()).filter(|&node| dropped[node]).collect();
        while let Some(index) = waiting.pop() {
            let node = &graph.node[index];
            self.change(node, |count| *count = count.saturating_sub(1));
            for name in node.input.iter().map(String::as_str).chain(names::captured(node)) {
                let Some(&producer) = producers.get(name) else { continue };
                let unread = !graph.node[producer].output.iter().any(|output| self.any(output));
                if unread && !dropped[producer] {
                    dropped[producer] = true;
                    waiting.push(producer);
                }
            }
        }
    }
}
