//! A diagram as SVG.

use std::fmt::Write;

use otfuse_graph::GroupId;

use super::layout::{Frame, Line, Placed, Sheet};
use super::{Diagram, UnitKind};
use crate::visible;

const FONT: &str = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";
/// The radius of corners.
const CORNER: f64 = 6.0;

impl Diagram {
    /// The drawing as a document of its own. Boxes of one colour carry the same neuron group; grey ones carry none that is
    /// free. A frame holds what repeats.
    pub fn svg(&self, title: &str) -> String {
        let sheet = Sheet::of(self);
        let (width, height) = (sheet.width, sheet.height);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"{FONT}\" font-size=\"12\">\n<title>{}</title>\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#555\"/></marker></defs>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
            escaped(title)
        );
        for frame in &sheet.frames {
            self.frame(&mut svg, frame);
        }
        for line in &sheet.lines {
            path(&mut svg, line);
        }
        for placed in &sheet.boxes {
            self.placed(&mut svg, placed);
        }
        svg += "</svg>\n";
        svg
    }

    fn frame(&self, svg: &mut String, frame: &Frame) {
        let Frame { block, x, y, width, height } = *frame;
        let count = self.blocks[block].count;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"10\" fill=\"#f6f6f4\" \
             stroke=\"#999\" stroke-dasharray=\"5 4\"/>\n<text x=\"{:.1}\" y=\"{:.1}\" font-weight=\"bold\" \
             fill=\"#444\">{count} \u{d7}</text>",
            x + 10.0,
            y + 16.0
        );
    }

    fn placed(&self, svg: &mut String, placed: &Placed) {
        let Placed { unit, x, y, width, height, .. } = *placed;
        let of = &self.units[unit];
        let [fill, stroke] = match (of.kind, of.carries.first()) {
            (UnitKind::Input | UnitKind::Output, _) => ["#ffffff".to_owned(), "#333333".to_owned()],
            (_, Some(&group)) => colours(group),
            (_, None) => ["#ececec".to_owned(), "#8a8a8a".to_owned()],
        };
        let radius = match of.kind {
            UnitKind::Join if placed.width == placed.height => width / 2.0,
            UnitKind::Input | UnitKind::Output => height / 2.0,
            _ => CORNER,
        };
        let groups: Vec<String> = of.carries.iter().map(|group| format!("group {}", group.index())).collect();
        let tip = [of.weights.clone()].into_iter().chain(groups).filter(|part| !part.is_empty());
        let tip = tip.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            svg,
            "<g><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             rx=\"{radius:.1}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"1.3\"/>",
            escaped(&tip)
        );
        let first = y + height / 2.0 - 8.0 * (placed.lines.len() as f64 - 1.0) + 4.2;
        let labels = placed.lines.len() - of.inside.len().min(placed.lines.len());
        for (index, line) in placed.lines.iter().enumerate() {
            let colour = if index < labels { "#111" } else { "#666" };
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{colour}\">{}</text>",
                x + width / 2.0,
                first + 16.0 * index as f64,
                escaped(line)
            );
        }
        svg.push_str("</g>\n");
    }
}

/// A line with rounded corners and a tip.
fn path(svg: &mut String, line: &Line) {
    let points = &line.points;
    let mut d = format!("M{:.1} {:.1}", points[0][0], points[0][1]);
    for window in points.windows(3) {
        let (corner, radius) =
            (window[1], CORNER.min(distance(window[0], window[1]) / 2.0).min(distance(window[1], window[2]) / 2.0));
        let (before, behind) = (towards(corner, window[0], radius), towards(corner, window[2], radius));
        let _ = write!(
            d,
            "L{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}",
            before[0], before[1], corner[0], corner[1], behind[0], behind[1]
        );
    }
    let last = points[points.len() - 1];
    let _ = write!(d, "L{:.1} {:.1}", last[0], last[1]);
    let _ =
        writeln!(svg, "<path d=\"{d}\" fill=\"none\" stroke=\"#555\" stroke-width=\"1.2\" marker-end=\"url(#tip)\"/>");
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn towards(from: [f64; 2], to: [f64; 2], length: f64) -> [f64; 2] {
    let whole = distance(from, to).max(1e-9);
    [from[0] + (to[0] - from[0]) * length / whole, from[1] + (to[1] - from[1]) * length / whole]
}

/// The colours of a group: neighbouring numbers are far apart on the wheel.
pub(super) fn colours(group: GroupId) -> [String; 2] {
    let hue = (210.0 + 137.508 * group.index() as f64) % 360.0;
    [hex(hue, 0.60, 0.86), hex(hue, 0.45, 0.45)]
}

/// Hue in degrees, saturation and lightness as `#rrggbb`.
fn hex(hue: f64, saturation: f64, lightness: f64) -> String {
    let spread = saturation * lightness.min(1.0 - lightness);
    let channel = |offset: f64| {
        let k = (offset + hue / 30.0) % 12.0;
        let value = lightness - spread * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", channel(0.0), channel(8.0), channel(4.0))
}

/// Text that cannot be taken for markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in visible(text, false).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}
