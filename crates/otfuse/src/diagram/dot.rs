//! A diagram in Graphviz's language.

use std::fmt::Write;

use super::svg::colours;
use super::{Diagram, UnitKind};

impl Diagram {
    /// The drawing for `dot`: units as boxes coloured by their neuron groups, blocks as clusters.
    pub fn dot(&self, title: &str) -> String {
        let drawn = self.drawn();
        let mut dot = format!(
            "digraph {} {{\n  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fontname=\"monospace\", \
             fontsize=11, fillcolor=\"#ececec\", color=\"#8a8a8a\"];\n  edge [color=\"#555555\", arrowsize=0.7];\n",
            quoted(title)
        );
        for (unit, _) in drawn.iter().filter(|(unit, _)| self.block_of(*unit).is_none()) {
            self.unit(&mut dot, *unit, "  ");
        }
        for (index, block) in self.blocks.iter().enumerate() {
            let caption = quoted(&format!("{} \u{d7}", block.count));
            let _ = writeln!(
                dot,
                "  subgraph cluster_{index} {{\n    label={caption};\n    labeljust=l;\n    style=dashed;"
            );
            for unit in block.start..block.start + block.length {
                self.unit(&mut dot, unit, "    ");
            }
            dot.push_str("  }\n");
        }
        for (unit, inputs) in &drawn {
            for input in inputs {
                let _ = writeln!(dot, "  u{input} -> u{unit};");
            }
        }
        dot + "}\n"
    }

    fn unit(&self, dot: &mut String, unit: usize, indent: &str) {
        let of = &self.units[unit];
        let mut label = of.label.clone();
        for (id, size, within) in &of.inside {
            let _ = match within {
                Some(outer) => write!(label, "\ngroup {}: {size} in each of group {}", id.index(), outer.index()),
                None => write!(label, "\ngroup {}: {size}", id.index()),
            };
        }
        let mut settings = format!("label={}", quoted(&label));
        if let Some(&group) = of.carries.first() {
            let [fill, line] = colours(group);
            let _ = write!(settings, ", fillcolor=\"{fill}\", color=\"{line}\"");
        }
        if !of.weights.is_empty() {
            let _ = write!(settings, ", tooltip={}", quoted(&of.weights));
        }
        match of.kind {
            UnitKind::Input | UnitKind::Output => {
                settings.push_str(", shape=oval, fillcolor=\"#ffffff\", color=\"#333333\"")
            }
            UnitKind::Join if of.label.chars().count() == 1 => settings.push_str(", shape=circle, margin=0"),
            _ => {}
        }
        let _ = writeln!(dot, "{indent}u{unit} [{settings}];");
    }
}

/// A string of the language, whatever the text.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            character if character.is_control() => quoted.push('\u{fffd}'),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
