//! The frame of every HTML report: one file, no request to anywhere, light and dark, good on paper.
//!
//! Knows nothing of what it frames. Its content security policy forbids every load, so that even a mistake in
//! escaping could not fetch or send anything.

use super::escape::html;

/// A page under construction.
#[derive(Clone, Debug)]
pub struct Page {
    text: String,
}

const STYLE: &str = include_str!("page.css");

impl Page {
    /// A page with a title, which is also its first heading.
    pub fn new(title: &str) -> Page {
        let title = html(title);
        let text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
        );
        Page { text }
    }

    /// Adds the paragraph under the title; the caller has escaped it.
    pub fn lead(&mut self, safe: &str) {
        self.push(&format!("<p class=\"lead\">{safe}</p>"));
    }

    /// Adds markup; the caller has escaped what is foreign in it.
    pub fn push(&mut self, safe: &str) {
        self.text.push_str(safe);
        self.text.push('\n');
    }

    /// Adds a script of our own.
    pub fn script(&mut self, script: &'static str) {
        self.push(&format!("<script>\n{script}</script>"));
    }

    /// The whole file.
    pub fn finish(mut self) -> String {
        self.text.push_str("</main>\n</body>\n</html>\n");
        self.text
    }
}

/// The badge of a class.
pub fn badge(letter: &str) -> String {
    format!("<span class=\"badge {letter}\">{letter}</span>")
}
