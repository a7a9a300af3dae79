//! Writing HTML.

use super::block::{Block, Cell, Figure, Grid};
use crate::chart::escape;

/// A document in the making.
#[derive(Default)]
pub struct Html {
    text: String,
    /// Choices so far, for the ids of their elements.
    choices: usize,
}

impl Html {
    /// Appends markup.
    pub fn raw(&mut self, markup: &str) -> &mut Self {
        self.text.push_str(markup);
        self
    }

    /// Appends text, escaped.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.text.push_str(&escape(text));
        self
    }

    /// Appends a paragraph, unless it is empty.
    pub fn paragraph(&mut self, text: &str) {
        if !text.is_empty() {
            self.raw("<p>").text(text).raw("</p>\n");
        }
    }

    /// Appends a block.
    pub fn block(&mut self, block: &Block) {
        match block {
            Block::Text(text) => self.paragraph(text),
            Block::Facts(facts) => {
                self.raw("<dl>\n");
                for (name, cell) in facts {
                    self.raw("<div><dt>").text(name).raw("</dt>");
                    self.cell("dd", cell, "");
                    self.raw("</div>\n");
                }
                self.raw("</dl>\n");
            }
            Block::Grid(grid) => self.grid(grid),
            Block::Figure(figure) => self.figure(figure),
            Block::Choice { label, options } => self.choice(label, options),
        }
    }

    fn cell(&mut self, element: &str, cell: &Cell, attributes: &str) {
        self.raw("<").raw(element).raw(attributes);
        if let Some(whole) = &cell.whole {
            self.raw(" title=\"").text(whole).raw("\"");
        }
        if cell.is_number {
            self.raw(" class=\"number\"");
        }
        if let Some(pointer) = &cell.pointer {
            self.raw(" data-json=\"").text(pointer).raw("\"");
        }
        self.raw(">").text(&cell.text).raw("</").raw(element).raw(">");
    }

    fn grid(&mut self, grid: &Grid) {
        self.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"").text(&grid.caption);
        self.raw("\"><table class=\"grid\">\n<caption>").text(&grid.caption).raw("</caption>\n<thead><tr>");
        for (column, name) in grid.header.iter().enumerate() {
            let is_number = grid.rows.first().and_then(|row| row.get(column)).is_some_and(|cell| cell.is_number);
            self.raw(if is_number { "<th scope=\"col\" class=\"number\">" } else { "<th scope=\"col\">" });
            self.text(name).raw("</th>");
        }
        self.raw("</tr></thead>\n<tbody>\n");
        for row in &grid.rows {
            self.raw("<tr>");
            for (column, cell) in row.iter().enumerate() {
                match column {
                    0 => {
                        let label = escape(grid.header.first().map_or("", String::as_str));
                        self.cell("th", cell, &format!(" scope=\"row\" data-label=\"{label}\""));
                    }
                    _ => {
                        let name = grid.header.get(column).map_or("", String::as_str);
                        let label = format!(" data-label=\"{}\"", escape(name));
                        self.cell("td", cell, &label);
                    }
                }
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody></table></div>\n");
    }

    fn figure(&mut self, figure: &Figure) {
        let kind = match (figure.bars.is_empty(), figure.legend.is_empty()) {
            (false, _) => " class=\"has-bars\"",
            (true, false) => " class=\"has-lines\"",
            (true, true) => "",
        };
        self.raw("<figure data-name=\"").text(&figure.name).raw(&format!("\"{kind}>\n<div class=\"scroll drawing\">"));
        self.raw(&figure.svg).raw("</div>\n");
        self.bars(figure);
        self.legend(figure);
        self.raw("<figcaption>").text(&figure.title);
        self.raw("<span class=\"saving\" hidden> Save as ");
        for kind in ["svg", "png", "csv"] {
            self.raw(&format!(
                "<button type=\"button\" class=\"save\" data-save=\"{kind}\">{}</button> ",
                kind.to_uppercase()
            ));
        }
        self.raw("</span></figcaption>\n<details><summary>Values</summary>\n<div class=\"scroll\" tabindex=\"0\" ");
        self.raw("role=\"region\" aria-label=\"Values of ")
            .text(&figure.title)
            .raw("\"><table class=\"values\">\n<thead><tr>");
        for name in &figure.table.header {
            self.raw("<th scope=\"col\">").text(name).raw("</th>");
        }
        self.raw("</tr></thead>\n<tbody>\n");
        for row in &figure.table.rows {
            self.raw("<tr>");
            for cell in row {
                self.raw("<td>").text(cell).raw("</td>");
            }
            self.raw("</tr>\n");
        }
        self.raw("</tbody></table></div></details>\n</figure>\n");
    }

    /// The names of lines, which a narrow screen shows below the drawing in place of those in it.
    fn legend(&mut self, figure: &Figure) {
        if figure.legend.is_empty() {
            return;
        }
        self.raw("<p class=\"narrow\" aria-hidden=\"true\">");
        for (index, name) in figure.legend.iter().enumerate() {
            self.raw(&format!("<span class=\"key series-{}\"></span><span class=\"name\">", index % 7));
            self.text(name).raw("</span> ");
        }
        self.raw("</p>\n");
    }

    /// Bars one below the other, which a narrow screen shows in place of the drawing. Screen readers have the table.
    fn bars(&mut self, figure: &Figure) {
        if figure.bars.is_empty() {
            return;
        }
        self.raw("<div class=\"narrow\" aria-hidden=\"true\">\n<p>").text(&figure.title);
        let unit = figure.table.header.get(2).filter(|unit| !unit.eq_ignore_ascii_case(&figure.title));
        if let Some(unit) = unit {
            self.raw(": ").text(unit);
        }
        self.raw("</p>\n");
        for bar in &figure.bars {
            if let Some(group) = &bar.group {
                self.raw("<p class=\"group\">").text(group).raw("</p>\n");
            }
            self.raw("<p class=\"bar\">");
            if let Some(series) = &bar.series {
                self.raw("<span>").text(series).raw(": </span>");
            }
            self.raw("<b>").text(&bar.value).raw("</b></p>\n");
            self.raw(&format!(
                "<div class=\"track\"><div class=\"series-{}\" style=\"margin-left:{:.2}%;width:{:.2}%\"></div></div>\n",
                bar.color % 7,
                bar.left,
                bar.length
            ));
        }
        self.raw("</div>\n");
    }

    fn choice(&mut self, label: &str, options: &[(String, Vec<Block>)]) {
        let id = self.choices;
        self.choices += 1;
        self.raw(&format!("<div class=\"choice\"><p class=\"chooser\" hidden><label for=\"choice-{id}\">")).text(label);
        self.raw(&format!("</label> <select id=\"choice-{id}\">"));
        for (name, _) in options {
            self.raw("<option>").text(name).raw("</option>");
        }
        self.raw("</select></p>\n");
        for (name, blocks) in options {
            self.raw("<div class=\"option\"><h3>").text(name).raw("</h3>\n");
            for block in blocks {
                self.block(block);
            }
            self.raw("</div>\n");
        }
        self.raw("</div>\n");
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }
}
