//! Columns of text for a terminal.
//!
//! Widths are counted in characters. Cells are made safe for a terminal on their way in.

use super::escape::terminal;

/// Rows under an optional header, aligned in columns.
#[derive(Clone, Debug)]
pub struct Columns {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
    indent: usize,
}

impl Columns {
    /// Columns with a header.
    pub fn new(header: &[&str]) -> Columns {
        Columns { header: header.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new(), right: Vec::new(), indent: 0 }
    }

    /// Columns without a header.
    pub fn plain(count: usize) -> Columns {
        Columns { header: vec![String::new(); count], rows: Vec::new(), right: Vec::new(), indent: 0 }
    }

    /// Aligns a column to the right.
    pub fn right(mut self, column: usize) -> Columns {
        self.right.push(column);
        self
    }

    /// Indents every line.
    pub fn indent(mut self, spaces: usize) -> Columns {
        self.indent = spaces;
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| terminal(&cell)).collect());
    }

    /// The lines, without trailing spaces.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let header = self.header.iter().any(|name| !name.is_empty());
        let all = header.then_some(&self.header).into_iter().chain(&self.rows);
        let mut widths = vec![0; self.header.len()];
        for row in all.clone() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in all {
            let mut line = " ".repeat(self.indent);
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = " ".repeat(width - cell.chars().count());
                let parts = if self.right.contains(&index) { [gap.as_str(), cell] } else { [cell.as_str(), &gap] };
                line.push_str(&parts.concat());
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A text cut to a number of characters, with an ellipsis where something is missing.
pub fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Words wrapped at a width, each line indented.
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && indent + used + 1 + length > width {
            lines.push('\n');
            used = 0;
        }
        if used == 0 {
            lines.push_str(&" ".repeat(indent));
        } else {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(&terminal(word));
        used += length;
    }
    if used > 0 {
        lines.push('\n');
    }
    lines
}
