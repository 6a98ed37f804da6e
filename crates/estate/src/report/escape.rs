//! Text made safe for the place it goes to. Everything that a report takes from an audited file passes through here.
//!
//! **Invariant:** no input, however hostile, leaves the text node, table cell or attribute that it was put in.

/// For HTML text and quoted attributes.
pub fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    html_into(&mut escaped, text);
    escaped
}

/// As [`html`], into an existing text.
pub fn html_into(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            control if control.is_control() || is_direction_mark(control) => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

/// An HTML link; an address that is not `https` or `http` is shown as text.
pub fn link(url: &str, label: &str) -> String {
    if url.starts_with("https://") || url.starts_with("http://") {
        format!("<a href=\"{}\" rel=\"noreferrer\">{}</a>", html(url), html(label))
    } else {
        html(label)
    }
}

/// For Markdown text and table cells: markup, pipes and HTML lose their meaning.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' | '\r' | '\t' => escaped.push(' '),
            control if control.is_control() || is_direction_mark(control) => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// For Markdown code spans: backticks and line ends go, pipes are escaped for tables.
pub fn markdown_code(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|character| {
            if character.is_control() || is_direction_mark(character) {
                ' '
            } else if character == '`' {
                '\''
            } else {
                character
            }
        })
        .collect();
    format!("`{}`", plain.replace('|', "\\|"))
}

/// For one CSV field (RFC 4180): quoted where needed, and never read as a formula by a spreadsheet.
pub fn csv(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let prefix = if formula { "'" } else { "" };
    if formula || text.contains(['"', ',', ';', '\n', '\r', '\t']) {
        format!("\"{prefix}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// For a terminal: control characters, which could move the cursor or set a title, become visible.
pub fn terminal(text: &str) -> String {
    text.chars().map(|character| if character.is_control() || is_direction_mark(character) { '\u{fffd}' } else { character }).collect()
}

/// For the path of a URI (RFC 3986): every byte that is not unreserved or a slash is percent-encoded.
pub fn uri_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Marks that change the direction of text, with which a file name can pretend to be another.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        assert_eq!(html("<script>\"'&\u{1b}"), "&lt;script&gt;&quot;&#39;&amp;\u{fffd}");
        assert_eq!(link("javascript:alert(1)", "x<"), "x&lt;");
        assert_eq!(markdown("a|b*c\n<d>"), "a\\|b\\*c &lt;d&gt;");
        assert_eq!(markdown_code("a`b|c"), "`a'b\\|c`");
        assert_eq!(csv("=1+1"), "\"'=1+1\"");
        assert_eq!(csv("a\"b,c"), "\"a\"\"b,c\"");
        assert_eq!(csv("plain"), "plain");
        assert_eq!(uri_path("a b/ü#?.tf"), "a%20b/%C3%BC%23%3F.tf");
        assert_eq!(terminal("\u{1b}]0;x\u{7}"), "\u{fffd}]0;x\u{fffd}");
    }
}
