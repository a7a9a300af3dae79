//! Pages: one file that shows numbers to read, look at and take away, without a network.
//!
//! A page holds its style sheet, its script, its drawings and all its numbers, these also as JSON in the element
//! `#data`. It is readable without its script; with it, curves can be switched off, values are shown on hover, touch and
//! arrow keys, and everything can be saved as SVG, PNG, CSV and JSON. Nothing in it names the time or the machine.

mod block;
mod html;

pub use block::{Block, Cell, Figure, Grid, Section};

use html::Html;
use sha2::{Digest, Sha256};

/// What a page shows.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The heading, and the name in the browser.
    pub title: String,
    /// What came out, in one sentence; first below the heading.
    pub verdict: String,
    /// A line or two below it.
    pub summary: String,
    /// In reading order.
    pub sections: Vec<Section>,
    /// Terms of the page and what they mean, at its end.
    pub terms: Vec<(String, String)>,
    /// What the page shows as JSON; that of the command's `--json`.
    pub data: serde_json::Value,
    /// Who wrote it: name and version.
    pub generator: String,
}

impl Page {
    /// The page as HTML; the same page gives the same bytes.
    pub fn to_html(&self) -> String {
        let mut html = Html::default();
        html.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
        // Nothing is fetched, whatever the names in the page say.
        html.raw(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; ",
        );
        // The one script is known by its hash; no other is run, whatever a name holds.
        html.raw(&format!(
            "base-uri 'none'; form-action 'none'; script-src 'sha256-{}'; img-src data: blob:\">\n",
            hash()
        ));
        html.raw("<link rel=\"icon\" href=\"data:,\">\n<title>");
        html.text(&self.title)
            .raw("</title>\n<style>\n")
            .raw(include_str!("page.css"))
            .raw("</style>\n</head>\n<body>\n");
        html.raw("<a class=\"skip\" href=\"#content\">To the content</a>\n<header>\n<h1>")
            .text(&self.title)
            .raw("</h1>\n");
        if !self.verdict.is_empty() {
            html.raw("<p class=\"verdict\">").text(&self.verdict).raw("</p>\n");
        }
        html.paragraph(&self.summary);
        if self.sections.len() > 1 {
            html.raw("<nav aria-label=\"Sections\"><ul>\n");
            for (index, section) in self.sections.iter().enumerate() {
                html.raw(&format!("<li><a href=\"#section-{index}\">")).text(&section.heading).raw("</a></li>\n");
            }
            if !self.terms.is_empty() {
                html.raw("<li><a href=\"#terms\">Terms</a></li>\n");
            }
            html.raw("</ul></nav>\n");
        }
        html.raw("</header>\n<main id=\"content\">\n");
        for (index, section) in self.sections.iter().enumerate() {
            html.raw(&format!("<section aria-labelledby=\"section-{index}\">\n<h2 id=\"section-{index}\">"));
            html.text(&section.heading).raw("</h2>\n");
            for block in &section.blocks {
                html.block(block);
            }
            html.raw("</section>\n");
        }
        if !self.terms.is_empty() {
            html.raw("<section aria-labelledby=\"terms\">\n<h2 id=\"terms\">Terms</h2>\n<dl class=\"terms\">\n");
            for (term, meaning) in &self.terms {
                html.raw("<div><dt>").text(term).raw("</dt><dd>").text(meaning).raw("</dd></div>\n");
            }
            html.raw("</dl>\n</section>\n");
        }
        html.raw("</main>\n<footer><p>").text(&self.generator);
        html.raw(
            " <button type=\"button\" class=\"save\" data-save=\"json\" hidden>Save all numbers as JSON</button></p>",
        );
        html.raw("</footer>\n<div id=\"tip\" role=\"status\" aria-live=\"polite\" hidden></div>\n");
        html.raw("<script type=\"application/json\" id=\"data\">")
            .raw(&embedded(&self.data))
            .raw("</script>\n<script>");
        html.raw(SCRIPT).raw("</script>\n</body>\n</html>\n");
        html.finish()
    }
    /// All charts, in reading order.
    pub fn figures(&self) -> Vec<&Figure> {
        fn collect<'a>(blocks: &'a [Block], found: &mut Vec<&'a Figure>) {
            for block in blocks {
                match block {
                    Block::Figure(figure) => found.push(figure),
                    Block::Choice { options, .. } => options.iter().for_each(|(_, blocks)| collect(blocks, found)),
                    _ => {}
                }
            }
        }
        let mut found = Vec::new();
        self.sections.iter().for_each(|section| collect(&section.blocks, &mut found));
        found
    }
}

/// What the page does by itself, as it stands in its element.
const SCRIPT: &str = concat!("\n", include_str!("page.js"));

/// The SHA-256 of the script, in base 64, as a content security policy names it.
fn hash() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in Sha256::digest(SCRIPT.as_bytes()).chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]);
            text.push(if at <= three.len() { letter } else { '=' });
        }
    }
    text
}

/// JSON that may stand inside a `<script>` element, whatever its strings hold.
fn embedded(data: &serde_json::Value) -> String {
    data.to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
