//! Charts as inline SVG, drawn from numbers. Every bar has its value as text, so that nothing depends on colour.

use std::fmt::Write as _;

use super::escape::html;

/// One part of a stacked bar.
#[derive(Clone, Debug)]
pub struct Slice<'a> {
    /// CSS class of the fill: the letter of the class.
    pub letter: &'a str,
    /// The share, in any unit.
    pub value: f64,
    /// What it says when pointed at.
    pub title: String,
}

/// A horizontal bar of slices across the whole width.
pub fn stacked(slices: &[Slice<'_>], label: &str) -> String {
    let total: f64 = slices.iter().map(|slice| slice.value).sum();
    let mut svg = format!("<svg viewBox=\"0 0 1000 46\" role=\"img\" aria-label=\"{}\">", html(label));
    if total > 0.0 {
        let mut x = 0.0;
        for slice in slices.iter().filter(|slice| slice.value > 0.0) {
            let width = slice.value / total * 1000.0;
            let _ = write!(
                svg,
                "<g><title>{}</title><rect class=\"f-{}\" x=\"{x:.1}\" y=\"0\" width=\"{:.1}\" height=\"30\" rx=\"2\"/>",
                html(&slice.title),
                slice.letter,
                (width - 2.0).max(1.0)
            );
            if width > 26.0 {
                let _ = write!(svg, "<text class=\"d\" x=\"{:.1}\" y=\"44\">{}</text>", x + 2.0, slice.letter);
            }
            svg.push_str("</g>");
            x += width;
        }
    } else {
        svg.push_str("<rect class=\"f-N\" x=\"0\" y=\"0\" width=\"1000\" height=\"30\" rx=\"2\" opacity=\"0.3\"/>");
    }
    svg.push_str("</svg>");
    svg
}

/// One row of a chart of ranges.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    /// CSS class of the fill.
    pub letter: &'a str,
    /// What the row is.
    pub name: &'a str,
    /// From.
    pub low: f64,
    /// To.
    pub high: f64,
    /// The value as text.
    pub text: String,
}

/// Rows of ranges on one scale: solid up to the low end, pale up to the high end.
pub fn ranges(rows: &[Range<'_>], label: &str) -> String {
    let most = rows.iter().map(|row| row.high).fold(0.0, f64::max).max(0.001);
    let height = rows.len() * 26 + 4;
    let mut svg = format!("<svg viewBox=\"0 0 1000 {height}\" role=\"img\" aria-label=\"{}\">", html(label));
    for (index, row) in rows.iter().enumerate() {
        let y = index * 26;
        let (low, high) = (row.low / most * 520.0, (row.high / most * 520.0).max(2.0));
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{}\">{}</text><rect class=\"f-{letter}\" x=\"330\" y=\"{bar}\" width=\"{high:.1}\" height=\"14\" rx=\"2\" opacity=\"0.4\"/><rect class=\"f-{letter}\" x=\"330\" y=\"{bar}\" width=\"{low:.1}\" height=\"14\" rx=\"2\"/><text class=\"d\" x=\"{:.1}\" y=\"{}\">{}</text>",
            y + 16,
            html(&super::layout::cut(row.name, 46)),
            338.0 + high,
            y + 16,
            html(&row.text),
            letter = row.letter,
            bar = y + 5,
        );
    }
    svg.push_str("</svg>");
    svg
}
