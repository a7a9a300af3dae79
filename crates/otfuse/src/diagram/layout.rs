//! Where the boxes of a drawing stand: rows from top to bottom, branches side by side, shortcuts around them.

use std::collections::BTreeMap;

use super::{Diagram, UnitKind};

/// Pixels of a character, of a line of text, between boxes and rows, around blocks, between lines.
const CHARACTER: f64 = 7.2;
const LINE: f64 = 16.0;
const GAP: f64 = 28.0;
const ROW_GAP: f64 = 30.0;
const PADDING: f64 = 12.0;
const LANE: f64 = 16.0;
const APART: f64 = 5.0;
const MARGIN: f64 = 24.0;
/// Room for a block's caption.
const CAPTION: f64 = 24.0;

/// A box.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub unit: usize,
    /// The lines of its text.
    pub lines: Vec<String>,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// A frame around the units of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub block: usize,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// A line from one box to another, as its corners.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub points: Vec<[f64; 2]>,
}

/// Boxes, frames and lines, and the size of the sheet.
#[derive(Clone, Debug, Default)]
pub(super) struct Sheet {
    pub boxes: Vec<Placed>,
    pub frames: Vec<Frame>,
    pub lines: Vec<Line>,
    pub width: f64,
    pub height: f64,
}

impl Sheet {
    pub fn of(diagram: &Diagram) -> Self {
        let drawn = diagram.drawn();
        let rows = rows(diagram, &drawn);
        let mut sheet = Self::default();
        let mut place: BTreeMap<usize, usize> = BTreeMap::new();
        let mut y = MARGIN;
        let count = rows.values().max().map_or(0, |row| row + 1);
        for row in 0..count {
            let mut units: Vec<usize> = drawn.iter().map(|(unit, _)| *unit).filter(|it| rows[it] == row).collect();
            // Below what they read, in its order.
            let above = |unit: usize| {
                let inputs = drawn.iter().find(|(it, _)| *it == unit).map_or(&[][..], |(_, inputs)| inputs);
                let centres: Vec<f64> =
                    inputs.iter().filter_map(|it| place.get(it)).map(|&at| centre(&sheet.boxes[at])).collect();
                if centres.is_empty() { 0.0 } else { centres.iter().sum::<f64>() / centres.len() as f64 }
            };
            let keys: BTreeMap<usize, f64> = units.iter().map(|&unit| (unit, above(unit))).collect();
            units.sort_by(|a, b| keys[a].total_cmp(&keys[b]).then(a.cmp(b)));
            let begins = diagram.blocks.iter().any(|block| units.contains(&block.start));
            y += if begins { CAPTION } else { 0.0 };
            let boxes: Vec<Placed> = units.iter().map(|&unit| placed(diagram, unit)).collect();
            let total: f64 = boxes.iter().map(|it| it.width).sum::<f64>() + GAP * (boxes.len().max(1) - 1) as f64;
            let height = boxes.iter().map(|it| it.height).fold(0.0, f64::max);
            let mut x = -total / 2.0;
            for mut it in boxes {
                (it.x, it.y) = (x, y + (height - it.height) / 2.0);
                x += it.width + GAP;
                place.insert(it.unit, sheet.boxes.len());
                sheet.boxes.push(it);
            }
            let ends = diagram.blocks.iter().any(|block| units.contains(&(block.start + block.length - 1)));
            y += height + ROW_GAP + if ends { PADDING } else { 0.0 };
        }
        sheet.height = y - ROW_GAP + MARGIN;
        sheet.connect(&drawn, &rows, &place);
        sheet.frame(diagram);
        sheet.shift();
        sheet
    }

    /// Lines between boxes: straight to the next row, around everything to later ones.
    fn connect(
        &mut self,
        drawn: &[(usize, Vec<usize>)],
        rows: &BTreeMap<usize, usize>,
        place: &BTreeMap<usize, usize>,
    ) {
        // Short shortcuts lie inside long ones.
        let mut edges: Vec<(usize, usize)> = Vec::new();
        for (unit, inputs) in drawn {
            edges.extend(inputs.iter().map(|&input| (input, *unit)));
        }
        edges.sort_by_key(|&(from, to)| (rows[&to] - rows[&from], from, to));
        // The rows that each lane beside the boxes is taken in.
        let mut taken: Vec<(usize, usize, f64)> = Vec::new();
        for (from, to) in edges {
            let (a, b) = (&self.boxes[place[&from]], &self.boxes[place[&to]]);
            let (top, bottom) = (rows[&from], rows[&to]);
            let start = [centre(a), a.y + a.height];
            let end = [centre(b), b.y];
            let is_free = bottom == top + 1
                || !self.boxes.iter().any(|it| {
                    let row = rows[&it.unit];
                    let reach = (start[0].min(end[0]) - 4.0, start[0].max(end[0]) + 4.0);
                    row > top && row < bottom && it.x < reach.1 && it.x + it.width > reach.0
                });
            if is_free {
                let points = if (start[0] - end[0]).abs() < 0.5 {
                    vec![start, end]
                } else {
                    // Sideways just above the lower box, where no other box stands.
                    let bend = end[1] - ROW_GAP / 2.0;
                    vec![start, [start[0], bend], [end[0], bend], end]
                };
                self.lines.push(Line { points });
                continue;
            }
            let between = self.boxes.iter().filter(|it| (top..=bottom).contains(&rows[&it.unit]));
            let mut lane = between.map(|it| it.x + it.width).fold(f64::NEG_INFINITY, f64::max) + LANE;
            while taken.iter().any(|&(first, last, x)| first < bottom && top < last && (x - lane).abs() < LANE - 1.0) {
                lane += LANE;
            }
            taken.push((top, bottom, lane));
            // What leaves a box is a little below what arrives.
            let (right, side) =
                ([a.x + a.width - 1.5, a.y + a.height / 2.0 + APART], [b.x + b.width, b.y + b.height / 2.0 - APART]);
            self.lines.push(Line { points: vec![right, [lane, right[1]], [lane, side[1]], side] });
        }
    }

    fn frame(&mut self, diagram: &Diagram) {
        for (index, block) in diagram.blocks.iter().enumerate() {
            let units = block.start..block.start + block.length;
            let inside: Vec<&Placed> = self.boxes.iter().filter(|it| units.contains(&it.unit)).collect();
            let least = |of: &dyn Fn(&Placed) -> f64| inside.iter().map(|it| of(it)).fold(f64::INFINITY, f64::min);
            let most = |of: &dyn Fn(&Placed) -> f64| inside.iter().map(|it| of(it)).fold(f64::NEG_INFINITY, f64::max);
            let (left, top) = (least(&|it| it.x) - PADDING, least(&|it| it.y) - CAPTION);
            let (mut right, bottom) = (most(&|it| it.x + it.width) + PADDING, most(&|it| it.y + it.height) + PADDING);
            // Shortcuts that end inside belong to the block.
            let turns = self
                .lines
                .iter()
                .filter(|line| line.points.len() == 4 && line.points[3][1] < bottom && line.points[3][1] > top);
            for line in turns {
                right = right.max(line.points[1][0] + PADDING);
            }
            // The caption has to fit.
            right = right.max(left + 130.0);
            self.frames.push(Frame { block: index, x: left, y: top, width: right - left, height: bottom - top });
        }
    }

    /// Moves everything to the right and down of the margin.
    fn shift(&mut self) {
        let lefts = self.boxes.iter().map(|it| it.x).chain(self.frames.iter().map(|it| it.x));
        let points = || self.lines.iter().flat_map(|line| line.points.iter().map(|point| point[0]));
        let left = MARGIN - lefts.chain(points()).fold(f64::INFINITY, f64::min);
        let left = if left.is_finite() { left } else { 0.0 };
        let rights = self.boxes.iter().map(|it| it.x + it.width).chain(self.frames.iter().map(|it| it.x + it.width));
        let right = rights.chain(points()).fold(0.0, f64::max);
        self.boxes.iter_mut().for_each(|it| it.x += left);
        self.frames.iter_mut().for_each(|it| it.x += left);
        self.lines.iter_mut().flat_map(|line| &mut line.points).for_each(|point| point[0] += left);
        self.width = right + left + MARGIN;
    }
}

fn centre(placed: &Placed) -> f64 {
    placed.x + placed.width / 2.0
}

/// The row of each drawn unit: one below the lowest that it reads. What reads nothing stands right above its readers,
/// and outputs below everything that they could cross.
fn rows(diagram: &Diagram, drawn: &[(usize, Vec<usize>)]) -> BTreeMap<usize, usize> {
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    for (unit, inputs) in drawn {
        let above = inputs.iter().map(|input| rows[input] + 1).max().unwrap_or(0);
        // A block is a column of its own: nothing of it stands beside what comes before it.
        let block = diagram.block_of(*unit).map(|block| diagram.blocks[block]);
        let floor = block.and_then(|block| rows.range(block.start..).map(|(_, row)| *row).min()).unwrap_or(0);
        rows.insert(*unit, above.max(floor));
    }
    for (unit, inputs) in drawn.iter().rev() {
        let readers = drawn.iter().filter(|(_, inputs)| inputs.contains(unit)).map(|(reader, _)| rows[reader]);
        if inputs.is_empty()
            && let Some(first) = readers.min()
            && diagram.block_of(*unit).is_none()
        {
            rows.insert(*unit, first - 1);
        }
    }
    rows
}

/// A box with its text, not yet placed.
fn placed(diagram: &Diagram, unit: usize) -> Placed {
    let of = &diagram.units[unit];
    let mut lines = wrapped(&of.label);
    for (id, size, within) in &of.inside {
        lines.push(match within {
            Some(outer) => format!("group {}: {size} in each of group {}", id.index(), outer.index()),
            None => format!("group {}: {size}", id.index()),
        });
    }
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let is_join = of.kind == UnitKind::Join && of.label.chars().count() == 1;
    let height = if is_join { 24.0 } else { LINE * lines.len() as f64 + 14.0 };
    let width = if is_join { 24.0 } else { (CHARACTER * longest as f64 + 22.0).max(60.0) };
    Placed { unit, lines, x: 0.0, y: 0.0, width, height }
}

/// A label on lines of moderate length, broken behind commas.
fn wrapped(label: &str) -> Vec<String> {
    const MOST: usize = 34;
    let mut lines: Vec<String> = Vec::new();
    for part in label.split(", ") {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() + 2 <= MOST => {
                line.push_str(", ");
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}
