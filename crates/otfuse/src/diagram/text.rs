//! A diagram as indented lines.

use super::{Diagram, Unit, UnitKind};

/// The most units that a line names as read.
const MOST_READ: usize = 8;

/// The most groups inside a unit that a line names.
const MOST_GROUPS: usize = 24;

impl Diagram {
    /// One line a unit, those of a block indented beneath it: what it does, the group on its result and those inside it,
    /// and what its weights are called.
    pub fn text(&self) -> String {
        let mut rows: Vec<[String; 3]> = Vec::new();
        let mut next = 0;
        for (index, _) in self.drawn() {
            let block = self.blocks.get(next).filter(|block| block.start == index);
            if let Some(block) = block {
                rows.push([format!("{} \u{d7}", block.count), String::new(), String::new()]);
                next += 1;
            }
            let indent = if self.block_of(index).is_some() { "    " } else { "" };
            let unit = &self.units[index];
            rows.push([format!("{indent}{}", self.line(index)), groups(unit), unit.weights.clone()]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        let pad = |text: &str, width: usize| format!("{text}{}", " ".repeat(width - text.chars().count()));
        let lines = rows.iter().map(|[label, groups, weights]| {
            let line = format!("{}  {}  {weights}", pad(label, first), pad(groups, second));
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The label, with what is read where that is not just the unit before.
    fn line(&self, index: usize) -> String {
        let unit = &self.units[index];
        let is_port = matches!(unit.kind, UnitKind::Input | UnitKind::Output);
        let others: Vec<usize> = unit.inputs.iter().copied().filter(|&input| input + 1 != index).collect();
        if is_port || others.is_empty() || unit.inputs.iter().all(|&it| self.units[it].kind == UnitKind::Input) {
            return unit.label.clone();
        }
        let of = others.iter().take(MOST_READ).map(|&input| {
            let other = &self.units[input];
            let name = if other.kind == UnitKind::Join { "the sum or product above" } else { other.label.as_str() };
            if other.label.starts_with('+') { "the sum above" } else { name }
        });
        let mut of = of.collect::<Vec<_>>().join("; ");
        if others.len() > MOST_READ {
            of += &format!("; {} more", others.len() - MOST_READ);
        }
        match unit.kind {
            UnitKind::Join => format!("{}  (and {of})", unit.label),
            _ => format!("{}  (of {of})", unit.label),
        }
    }
}

/// `group 0, inside 1 (4), 2 (16 in each of group 1)`.
fn groups(unit: &Unit) -> String {
    let inside = unit.inside.iter().map(|(id, size, within)| match within {
        Some(outer) => format!("{} ({size} in each of group {})", id.index(), outer.index()),
        None => format!("{} ({size})", id.index()),
    });
    let inside = first(inside, unit.inside.len());
    let numbers = first(unit.carries.iter().map(|id| id.index().to_string()), unit.carries.len());
    let carried = match numbers.len() {
        0 => None,
        1 => Some(format!("group {}", numbers[0])),
        _ => Some(format!("groups {}", numbers.join(" + "))),
    };
    match (carried, inside.is_empty()) {
        (None, true) => String::new(),
        (Some(carried), true) => carried,
        (None, false) => format!("inside {}", inside.join(", ")),
        (Some(carried), false) => format!("{carried}, inside {}", inside.join(", ")),
    }
}

/// The first of so many texts, and how many more there are.
fn first(texts: impl Iterator<Item = String>, count: usize) -> Vec<String> {
    let more = count.saturating_sub(MOST_GROUPS);
    texts.take(MOST_GROUPS).chain((more > 0).then(|| format!("{more} more"))).collect()
}
