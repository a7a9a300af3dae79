//! Tables and numbers as people read them.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

/// A table with a header; columns whose names are in `right` are aligned to the right.
pub fn table(header: &[&str], right: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| otfuse::visible(cell, false)));
    }
    for (index, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if right.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// A number of things with their noun.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// The size of a group, and of its counterpart where it is another.
pub fn sizes(size: usize, anchor_size: usize) -> String {
    if size == anchor_size { size.to_string() } else { format!("{size} -> {anchor_size}") }
}
