//! Text of drawings as outlines.
//!
//! Charts have short labels in Latin, Greek and Cyrillic: one glyph for each character, one after the other. What lays out any
//! script would be a third of the crates of a build.

use std::fmt::Write as _;

use roxmltree::{Document, Node};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// The size of letters where a drawing says none.
const DEFAULT_SIZE: f32 = 12.0;

/// Attributes that say where letters stand and how they look; an outline has none of them.
const LAID_OUT: [&str; 11] = [
    "x",
    "y",
    "dx",
    "dy",
    "d",
    "text-anchor",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "dominant-baseline",
];

/// The drawing, each `<text>` of it replaced by the outlines of its letters. Letters of one element are one run: positions
/// of a `<tspan>` are not read.
pub fn outlined(svg: &str, face: &Face<'_>) -> Result<String, String> {
    let document = Document::parse(svg).map_err(|error| error.to_string())?;
    let mut drawn = String::with_capacity(2 * svg.len());
    let mut copied = 0;
    for text in document.descendants().filter(|node| node.has_tag_name((SVG, "text"))) {
        let range = text.range();
        // One within another has been drawn with it.
        if range.start < copied {
            continue;
        }
        drawn.push_str(&svg[copied..range.start]);
        drawn.push_str("<path");
        for attribute in text.attributes().filter(|attribute| !LAID_OUT.contains(&attribute.name())) {
            drawn.push(' ');
            drawn.push_str(&svg[attribute.range()]);
        }
        // Writing to a string cannot fail.
        let _ = write!(drawn, " d=\"{}\"/>", outline(text, face));
        copied = range.end;
    }
    drawn.push_str(&svg[copied..]);
    Ok(drawn)
}

const SVG: &str = "http://www.w3.org/2000/svg";

/// The letters of an element as the data of a path.
fn outline(text: Node<'_, '_>, face: &Face<'_>) -> String {
    let size = inherited(text, "font-size").and_then(|size| length(size, DEFAULT_SIZE)).unwrap_or(DEFAULT_SIZE);
    let scale = size / f32::from(face.units_per_em());
    let glyphs: Vec<GlyphId> = content(text).chars().filter_map(|letter| face.glyph_index(letter)).collect();
    let advances: Vec<f32> = (0..glyphs.len()).map(|at| advance(face, &glyphs[at..]) * scale).collect();
    let width: f32 = advances.iter().sum();
    let at = |name: &str| text.attribute(name).and_then(|value| length(value, size)).unwrap_or(0.0);
    let shift = match inherited(text, "text-anchor") {
        Some("middle") => width / 2.0,
        Some("end") => width,
        _ => 0.0,
    };
    let mut pen = Pen { x: at("x") + at("dx") - shift, y: at("y") + at("dy"), scale, path: String::new() };
    for (glyph, advance) in glyphs.into_iter().zip(advances) {
        face.outline_glyph(glyph, &mut pen);
        pen.x += advance;
    }
    pen.path
}

/// How far the second of two letters stands from the first, in units of the font.
fn advance(face: &Face<'_>, glyphs: &[GlyphId]) -> f32 {
    let kerning = |next: GlyphId| {
        let tables = face.tables().kern.into_iter().flat_map(|table| table.subtables);
        tables.filter(|table| table.horizontal).find_map(|table| table.glyphs_kerning(glyphs[0], next))
    };
    let between = glyphs.get(1).and_then(|&next| kerning(next)).unwrap_or(0);
    f32::from(face.glyph_hor_advance(glyphs[0]).unwrap_or(0)) + f32::from(between)
}

/// The text of an element on one line, without what is shown on hover.
fn content(text: Node<'_, '_>) -> String {
    let hidden =
        |node: &Node<'_, '_>| node.ancestors().any(|above| matches!(above.tag_name().name(), "title" | "desc"));
    let parts = text.descendants().filter(|node| node.is_text() && !hidden(node)).filter_map(|node| node.text());
    parts.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An attribute of an element or of what it stands in.
fn inherited<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.ancestors().find_map(|node| node.attribute(name))
}

/// A length in units of the drawing, where letters have this size.
fn length(value: &str, size: f32) -> Option<f32> {
    let value = value.trim();
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
    let number: f32 = digits.parse().ok().filter(|number: &f32| number.is_finite())?;
    match &value[digits.len()..] {
        "" | "px" => Some(number),
        "em" => Some(number * size),
        "ex" => Some(number * size / 2.0),
        _ => None,
    }
}

/// Writes the outlines of glyphs, which count upwards in units of the font, at a place of the drawing.
struct Pen {
    x: f32,
    y: f32,
    scale: f32,
    path: String,
}

impl Pen {
    fn step(&mut self, command: char, points: &[(f32, f32)]) {
        self.path.push(command);
        for (x, y) in points {
            let _ = write!(self.path, "{:.3} {:.3} ", self.x + x * self.scale, self.y - y * self.scale);
        }
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.step('M', &[(x, y)]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.step('L', &[(x, y)]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.step('Q', &[(x1, y1), (x, y)]);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.step('C', &[(x1, y1), (x2, y2), (x, y)]);
    }

    fn close(&mut self) {
        self.path.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> String {
        let face = Face::parse(epaint_default_fonts::UBUNTU_LIGHT, 0).expect("a font");
        outlined(&format!("<svg xmlns=\"{SVG}\">a{text}b</svg>"), &face).expect("a drawing")
    }

    fn first_point(text: &str) -> (f32, f32) {
        let drawn = drawn(text);
        let start = drawn.find('M').expect("an outline") + 1;
        let mut numbers = drawn[start..].split(' ').map(|number| number.parse().expect("a number"));
        (numbers.next().expect("x"), numbers.next().expect("y"))
    }

    #[test]
    fn text_becomes_one_outline_that_keeps_its_looks() {
        let drawn =
            drawn("<text x=\"3\" fill=\"#123456\" transform=\"rotate(270, 3, 4)\">l<title>hidden</title></text>");
        assert!(drawn.contains(">a<path fill=\"#123456\" transform=\"rotate(270, 3, 4)\" d=\"M"), "{drawn}");
        assert!(drawn.ends_with("Z\"/>b</svg>") && drawn.matches('M').count() == 1, "{drawn}");
        assert_eq!(drawn.matches('<').count(), 3, "{drawn}");
    }

    #[test]
    fn letters_stand_where_their_anchor_says() {
        let at = |attributes: &str| first_point(&format!("<text font-size=\"20\" {attributes}>lll</text>"));
        let (x, y) = at("");
        let width = x - at("text-anchor=\"end\"").0;
        assert!(width > 10.0 && (x - at("text-anchor=\"middle\"").0 - width / 2.0).abs() < 2e-3);
        assert_eq!(at("x=\"7\" y=\"5\" dy=\"0.5em\""), (x + 7.0, y + 15.0));
        assert_eq!(at("dy=\"-0.5ex\"").1, y - 5.0);
    }

    #[test]
    fn characters_without_glyphs_are_left_out() {
        assert_eq!(drawn("<text>名l前</text>"), drawn("<text>l</text>"));
    }
}
