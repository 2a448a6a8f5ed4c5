//! Tables without lines, as wide as the terminal, made to be cut with `awk` too.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// A table with a head.
#[must_use]
pub(crate) fn with_head(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head.iter().map(|title| Cell::new(title.to_uppercase())));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Puts columns of numbers to the right, by their place from 0.
pub(crate) fn align_right(table: &mut Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The text of a table, without the blanks at the end of its lines.
#[must_use]
pub(crate) fn text(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}
