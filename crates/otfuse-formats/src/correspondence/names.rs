//! The names of one network's tensors in a checkpoint and in a graph.

use std::collections::HashMap;

/// What wrappers write into names, wherever they stand.
const WITHIN: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];

/// Names as the graph has them, for names of the checkpoint: wrappers taken away, and a prefix that all names of one side have.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Names of the graph to names of the checkpoint.
    known: HashMap<String, String>,
    /// The same, dots replaced by underscores; `None` where two names become one.
    mangled: HashMap<String, Option<String>>,
    /// What the graph's names have in front of the checkpoint's.
    of_graph: String,
    /// Other names of the graph's tensors.
    aliases: HashMap<String, String>,
}

impl Names {
    /// The same, with other names that some of the graph's tensors have.
    pub(super) fn with_aliases(self, aliases: HashMap<String, String>) -> Self {
        Self { aliases, ..self }
    }

    /// `graph` are the names of constants and the paths that parameters of modules would have, `keys` those of the checkpoint.
    pub(super) fn of<'a>(graph: &[&str], keys: impl Iterator<Item = &'a str>) -> Self {
        let bare: Vec<(&str, String)> = keys.map(|key| (key, without_wrappers(key))).collect();
        let (of_keys, of_graph) = prefixes(graph, &bare);
        let mut names = Self { of_graph, ..Self::default() };
        for (key, bare) in bare {
            let name = bare.strip_prefix(&of_keys).unwrap_or(&bare);
            // What does not have the prefix belongs to something else, and gives way.
            if name.len() < bare.len() || of_keys.is_empty() || !names.known.contains_key(name) {
                names.known.insert(name.into(), key.into());
            }
            let entry = names.mangled.entry(name.replace('.', "_"));
            entry.and_modify(|known| *known = None).or_insert(Some(key.into()));
        }
        names
    }

    /// The key of a name in the graph.
    pub(super) fn key(&self, name: &str) -> Option<&str> {
        let bare = without_wrappers(name);
        let found = self.known.get(&bare).or_else(|| self.known.get(bare.strip_prefix(&self.of_graph)?));
        let other = || self.aliases.get(name).filter(|other| *other != name && !self.aliases.contains_key(*other));
        found.map(String::as_str).or_else(|| self.key(other()?))
    }

    /// The key of a name whose dots have become underscores.
    pub(super) fn key_of_mangled(&self, name: &str) -> Option<&str> {
        let of_graph = self.of_graph.replace('.', "_");
        let found = self.mangled.get(name).or_else(|| self.mangled.get(name.strip_prefix(&of_graph)?));
        found.and_then(Option::as_deref)
    }

    /// The keys of the tensors that stand in a module, with their names in it.
    pub(super) fn in_module(&self, module: &str) -> Vec<(String, String)> {
        let bare = without_wrappers(module);
        let inside = |module: &str| {
            let inside = |(name, key): (&String, &String)| {
                let rest = if module.is_empty() { name } else { name.strip_prefix(module)?.strip_prefix('.')? };
                Some((rest.to_owned(), key.clone()))
            };
            let mut found: Vec<_> = self.known.iter().filter_map(inside).collect();
            found.sort();
            found
        };
        let found = inside(&bare);
        match format!("{bare}.").strip_prefix(&self.of_graph) {
            Some(rest) if found.is_empty() && !self.of_graph.is_empty() => inside(rest.trim_end_matches('.')),
            _ => found,
        }
    }
}

fn without_wrappers(name: &str) -> String {
    let mut name = name.to_owned();
    for wrapper in WITHIN {
        name = name.replace(wrapper, "");
    }
    while let Some(rest) = name.strip_prefix("module.") {
        name = rest.into();
    }
    name
}

/// The prefixes of the checkpoint's and of the graph's names with which the most names agree; one of them is empty.
fn prefixes(graph: &[&str], keys: &[(&str, String)]) -> (String, String) {
    let graph: Vec<String> = graph.iter().map(|name| without_wrappers(name)).collect();
    let mut votes: HashMap<(String, String), usize> = HashMap::new();
    for (_, key) in keys {
        for name in &graph {
            let longer = |long: &str, short: &str| {
                let prefix = long.strip_suffix(short)?;
                (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
            };
            if let Some(prefix) = longer(key, name) {
                *votes.entry((prefix, String::new())).or_default() += 1;
            } else if let Some(prefix) = longer(name, key) {
                *votes.entry((String::new(), prefix)).or_default() += 1;
            }
        }
    }
    // Of equally many, the shorter, then the first in the alphabet.
    let best = votes.into_iter().max_by(|(a, m), (b, n)| {
        let length = |(key, graph): &(String, String)| key.len() + graph.len();
        m.cmp(n).then(length(b).cmp(&length(a))).then_with(|| b.cmp(a))
    });
    best.map(|(prefixes, _)| prefixes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_either_side_is_found() {
        let keys = ["net.a.weight", "net.a.bias", "loss.weight"];
        let names = Names::of(&["a.weight", "a.bias"], keys.into_iter());
        assert_eq!(names.key("a.weight"), Some("net.a.weight"));
        assert_eq!(names.key("loss.weight"), Some("loss.weight"));
        assert_eq!(names.key_of_mangled("a_bias"), Some("net.a.bias"));
        let names = Names::of(&["model.a.weight"], ["a.weight"].into_iter());
        assert_eq!(names.key("model.a.weight"), Some("a.weight"));
        assert_eq!(names.in_module("model.a"), [("weight".to_owned(), "a.weight".to_owned())]);
    }

    #[test]
    fn wrappers_are_taken_away_wherever_they_stand() {
        let keys = ["module._orig_mod.body._orig_mod.0.weight"];
        assert_eq!(Names::of(&["body.0.weight"], keys.into_iter()).key("body.0.weight"), Some(keys[0]));
    }
}
