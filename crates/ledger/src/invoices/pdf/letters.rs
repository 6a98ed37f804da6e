//! Which letters the standard fonts have, and how wide text is.
//!
//! Widths are Helvetica's, from Adobe's metrics of the 14 standard fonts; letters beyond ASCII count as 0.6 of the
//! size, which only matters for where lines break.
//!
//! **Invariant:** [`runs`] gives back every letter of the text, as itself or as its code point.

/// The first code of the second encoding.
pub(super) const EXTRA_FIRST: u8 = 0x80;

/// Letters of Latin Extended that the standard fonts have by name, in a second encoding.
pub(super) const EXTRA: &[(char, &str)] = &[
    ('Ā', "Amacron"),
    ('ā', "amacron"),
    ('Ă', "Abreve"),
    ('ă', "abreve"),
    ('Ą', "Aogonek"),
    ('ą', "aogonek"),
    ('Ć', "Cacute"),
    ('ć', "cacute"),
    ('Č', "Ccaron"),
    ('č', "ccaron"),
    ('Ď', "Dcaron"),
    ('ď', "dcaron"),
    ('Đ', "Dcroat"),
    ('đ', "dcroat"),
    ('Ē', "Emacron"),
    ('ē', "emacron"),
    ('Ė', "Edotaccent"),
    ('ė', "edotaccent"),
    ('Ę', "Eogonek"),
    ('ę', "eogonek"),
    ('Ě', "Ecaron"),
    ('ě', "ecaron"),
    ('Ğ', "Gbreve"),
    ('ğ', "gbreve"),
    ('Ģ', "Gcommaaccent"),
    ('ģ', "gcommaaccent"),
    ('Ī', "Imacron"),
    ('ī', "imacron"),
    ('Į', "Iogonek"),
    ('į', "iogonek"),
    ('İ', "Idotaccent"),
    ('ı', "dotlessi"),
    ('Ķ', "Kcommaaccent"),
    ('ķ', "kcommaaccent"),
    ('Ĺ', "Lacute"),
    ('ĺ', "lacute"),
    ('Ľ', "Lcaron"),
    ('ľ', "lcaron"),
    ('Ł', "Lslash"),
    ('ł', "lslash"),
    ('Ń', "Nacute"),
    ('ń', "nacute"),
    ('Ņ', "Ncommaaccent"),
    ('ņ', "ncommaaccent"),
    ('Ň', "Ncaron"),
    ('ň', "ncaron"),
    ('Ō', "Omacron"),
    ('ō', "omacron"),
    ('Ő', "Ohungarumlaut"),
    ('ő', "ohungarumlaut"),
    ('Ŕ', "Racute"),
    ('ŕ', "racute"),
    ('Ŗ', "Rcommaaccent"),
    ('ŗ', "rcommaaccent"),
    ('Ř', "Rcaron"),
    ('ř', "rcaron"),
    ('Ś', "Sacute"),
    ('ś', "sacute"),
    ('Ş', "Scedilla"),
    ('ş', "scedilla"),
    ('Ș', "Scommaaccent"),
    ('ș', "scommaaccent"),
    ('Ţ', "Tcommaaccent"),
    ('ţ', "tcommaaccent"),
    ('Ť', "Tcaron"),
    ('ť', "tcaron"),
    ('Ū', "Umacron"),
    ('ū', "umacron"),
    ('Ů', "Uring"),
    ('ů', "uring"),
    ('Ű', "Uhungarumlaut"),
    ('ű', "uhungarumlaut"),
    ('Ų', "Uogonek"),
    ('ų', "uogonek"),
    ('Ź', "Zacute"),
    ('ź', "zacute"),
    ('Ż', "Zdotaccent"),
    ('ż', "zdotaccent"),
];

/// Widths of ASCII from the space on, in thousandths of the size.
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278,
    278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722,
    667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556,
    556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

/// The letters of WinAnsi from 0x80 to 0x9f; the rest of it is Latin-1.
const WIN_ANSI: [(char, u8); 27] = [
    ('€', 0x80),
    ('‚', 0x82),
    ('ƒ', 0x83),
    ('„', 0x84),
    ('…', 0x85),
    ('†', 0x86),
    ('‡', 0x87),
    ('ˆ', 0x88),
    ('‰', 0x89),
    ('Š', 0x8a),
    ('‹', 0x8b),
    ('Œ', 0x8c),
    ('Ž', 0x8e),
    ('‘', 0x91),
    ('’', 0x92),
    ('“', 0x93),
    ('”', 0x94),
    ('•', 0x95),
    ('–', 0x96),
    ('—', 0x97),
    ('˜', 0x98),
    ('™', 0x99),
    ('š', 0x9a),
    ('›', 0x9b),
    ('œ', 0x9c),
    ('ž', 0x9e),
    ('Ÿ', 0x9f),
];

/// A piece of text in one font.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// In WinAnsi.
    Plain(Vec<u8>),
    /// In the second encoding.
    Extra(Vec<u8>),
    /// Not in the fonts.
    Foreign {
        /// The code point, in ASCII.
        shown: String,
        /// The letter.
        letter: char,
    },
}

enum Code {
    Plain(u8),
    Extra(u8),
    Foreign,
}

fn code(letter: char) -> Code {
    match letter {
        ' '..='~' => Code::Plain(letter as u8),
        '\u{a0}'..='\u{ff}' => Code::Plain(letter as u8),
        // Typographic minus and narrow spaces, which mean what ASCII and Latin-1 have.
        '\u{2212}' => Code::Plain(b'-'),
        '\u{2007}' | '\u{2009}' | '\u{202f}' => Code::Plain(0xa0),
        '\t' => Code::Plain(b' '),
        _ => {
            if let Some((_, byte)) = WIN_ANSI.iter().find(|(known, _)| *known == letter) {
                return Code::Plain(*byte);
            }
            let place = EXTRA.iter().position(|(known, _)| *known == letter).and_then(|place| u8::try_from(place).ok());
            place.map_or(Code::Foreign, |place| Code::Extra(EXTRA_FIRST + place))
        }
    }
}

fn shown(letter: char) -> String {
    format!("[U+{:04X}]", u32::from(letter))
}

/// The text, font by font.
pub(super) fn runs(text: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    for letter in text.chars() {
        match (code(letter), runs.last_mut()) {
            (Code::Plain(byte), Some(Run::Plain(bytes))) | (Code::Extra(byte), Some(Run::Extra(bytes))) => bytes.push(byte),
            (Code::Plain(byte), _) => runs.push(Run::Plain(vec![byte])),
            (Code::Extra(byte), _) => runs.push(Run::Extra(vec![byte])),
            (Code::Foreign, _) => runs.push(Run::Foreign { shown: shown(letter), letter }),
        }
    }
    runs
}

/// Whether some letter is not in the fonts.
pub(super) fn has_foreign(text: &str) -> bool {
    text.chars().any(|letter| matches!(code(letter), Code::Foreign))
}

fn letter_width(letter: char) -> f32 {
    let thousandths = match letter {
        ' '..='~' => WIDTHS[letter as usize - 32],
        '\u{a0}' => WIDTHS[0],
        _ if matches!(code(letter), Code::Foreign) => return shown(letter).chars().map(letter_width).sum(),
        _ => 600,
    };
    f32::from(thousandths) / 1000.0
}

/// How wide text is, in points. Bold is a little wider where it is not digits.
pub(super) fn width(text: &str, size: f32, bold: bool) -> f32 {
    let wider = |letter: char| if bold && letter.is_ascii_lowercase() { 1.08 } else { 1.0 };
    text.chars().map(|letter| letter_width(letter) * wider(letter)).sum::<f32>() * size
}

/// The text in lines that are no wider than so many points; at least one line. Words are broken only where one is
/// too wide by itself.
pub(super) fn wrap(text: &str, points: f32, size: f32, bold: bool) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0.0;
    let space = width(" ", size, bold);
    for word in text.split([' ', '\n', '\t']).filter(|word| !word.is_empty()) {
        let long = width(word, size, bold);
        let last = lines.len() - 1;
        if !lines[last].is_empty() && used + space + long <= points {
            lines[last].push(' ');
            lines[last].push_str(word);
            used += space + long;
            continue;
        }
        if !lines[last].is_empty() {
            lines.push(String::new());
        }
        used = 0.0;
        for letter in word.chars() {
            let wide = width(letter.encode_utf8(&mut [0; 4]), size, bold);
            if used > 0.0 && used + wide > points {
                lines.push(String::new());
                used = 0.0;
            }
            used += wide;
            let last = lines.len() - 1;
            lines[last].push(letter);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_is_in_a_run() {
        assert_eq!(runs("a€"), [Run::Plain(vec![b'a', 0x80])]);
        assert_eq!(runs("Łó"), [Run::Extra(vec![EXTRA_FIRST + place('Ł')]), Run::Plain(vec![0xf3])]);
        assert_eq!(runs("中"), [Run::Foreign { shown: "[U+4E2D]".to_owned(), letter: '中' }]);
        assert!(usize::from(EXTRA_FIRST) + EXTRA.len() <= 256);
    }

    fn place(letter: char) -> u8 {
        u8::try_from(EXTRA.iter().position(|(known, _)| *known == letter).expect("a letter")).expect("small")
    }

    #[test]
    fn lines_are_no_wider_than_asked() {
        for text in
            ["", "a", "one two three four five six", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b", "中中中中中 中"]
        {
            let lines = wrap(text, 60.0, 9.0, false);
            assert!(lines.iter().all(|line| width(line, 9.0, false) <= 60.0 + 0.01), "{lines:?}");
            let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text));
        }
    }
}
