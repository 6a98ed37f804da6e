//! The reader of rule files: the catalogue's own and the user's `freehold-audit.toml`.
//!
//! Turns TOML into entries that keep their line, and refuses what it does not know. Resolves nothing: what a missing
//! field means is decided in `flatten`. Also compiled into the build script.
//!
//! **Invariant:** every key of the text is either read or refused with its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::CatalogueError;
use super::words::{ApplicationPortability, Class, DataPortability, Effort, Interoperability, Test, Word};

/// The most bytes a file of rules may have.
pub const FILE_BYTES_MAX: usize = 1 << 20;

type Result<T> = std::result::Result<T, CatalogueError>;

/// What a rule says; what it leaves out comes from the rule it refines, or from its class.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub name: Option<String>,
    pub class: Option<Class>,
    pub interoperability: Option<Interoperability>,
    pub data_portability: Option<DataPortability>,
    pub application_portability: Option<ApplicationPortability>,
    pub replacement: Option<String>,
    pub exit_path: Option<String>,
    pub effort_days: Option<Effort>,
    pub why: Option<String>,
    pub evidence: Option<String>,
    pub checked: Option<String>,
    pub confidence: Option<u8>,
}

/// A `[[service]]`, one of its parts, or a user's `[[rule]]`.
#[derive(Clone, Debug)]
pub struct Entry {
    pub line: usize,
    pub id: Option<String>,
    pub fields: Fields,
    pub types: Vec<String>,
    pub prefixes: Vec<String>,
    pub whens: Vec<WhenEntry>,
    pub parts: Vec<Entry>,
}

/// A `[[service.when]]`.
#[derive(Clone, Debug)]
pub struct WhenEntry {
    pub line: usize,
    pub id: Option<String>,
    pub attributes: Vec<String>,
    pub test: Test,
    pub values: Vec<String>,
    pub fields: Fields,
}

/// An `[[accept]]`.
#[derive(Clone, Debug)]
pub struct AcceptEntry {
    pub line: usize,
    pub kind: Option<String>,
    pub address: Option<String>,
    pub file: Option<String>,
    pub rule: Option<String>,
    pub reason: Option<String>,
    pub expires: Option<String>,
}

/// A whole file.
#[derive(Clone, Debug, Default)]
pub struct RuleFile {
    pub rules: Vec<Entry>,
    pub accepts: Vec<AcceptEntry>,
}

const FIELD_KEYS: [&str; 12] = [
    "name",
    "class",
    "interoperability",
    "data_portability",
    "application_portability",
    "replacement",
    "exit_path",
    "effort_days",
    "why",
    "evidence",
    "checked",
    "confidence",
];
const ENTRY_KEYS: [&str; 5] = ["id", "types", "prefixes", "when", "part"];
const WHEN_KEYS: [&str; 5] = ["id", "attributes", "is", "starts_with", "contains"];
const ACCEPT_KEYS: [&str; 6] = ["type", "address", "file", "rule", "reason", "expires"];

/// Reads a file whose tables are `keys`, of which `rule_key` holds the rules: `service` in the catalogue's own files,
/// `rule` and `accept` in the user's.
pub fn read(text: &str, rule_key: &'static str, keys: &[&'static str]) -> Result<RuleFile> {
    if text.len() > FILE_BYTES_MAX {
        let what = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
        return Err(CatalogueError { line: 1, what });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = DeTable::parse(text).map_err(|error| CatalogueError {
        line: error.span().map_or(1, |span| line_at(text, span.start)),
        what: format!("this is not TOML: {}", error.message().trim()),
    })?;
    let section = Section { text, table: root.get_ref(), line: 1, name: "the file" };
    section.refuse_others(&[keys])?;
    let rules = section.tables(rule_key)?.iter().map(|table| entry(table, rule_key, true)).collect::<Result<_>>()?;
    let accepts = section.tables("accept")?.iter().map(accept).collect::<Result<_>>()?;
    Ok(RuleFile { rules, accepts })
}

fn entry(section: &Section<'_>, name: &'static str, with_parts: bool) -> Result<Entry> {
    section.refuse_others(&[&ENTRY_KEYS, &FIELD_KEYS])?;
    let parts = section.tables("part")?;
    if !with_parts && !parts.is_empty() {
        return Err(section.error("a part has no parts of its own; write another [[service.part]]".to_owned()));
    }
    let entry = Entry {
        line: section.line,
        id: section.text("id")?,
        fields: fields(section)?,
        types: section.texts("types")?,
        prefixes: section.texts("prefixes")?,
        whens: section.tables("when")?.iter().map(when).collect::<Result<_>>()?,
        parts: parts.iter().map(|part| entry(part, "part", false)).collect::<Result<_>>()?,
    };
    if entry.types.is_empty() && entry.prefixes.is_empty() && entry.parts.is_empty() {
        return Err(section.error(format!("this [[{name}]] matches nothing; give it `types` or `prefixes`")));
    }
    Ok(entry)
}

fn when(section: &Section<'_>) -> Result<WhenEntry> {
    section.refuse_others(&[&WHEN_KEYS, &FIELD_KEYS])?;
    let mut tests = Vec::new();
    for (key, test) in Test::WORDS {
        let values = section.texts(key)?;
        if !values.is_empty() {
            tests.push((*test, values));
        }
    }
    let one = "a [[when]] has exactly one of `is`, `starts_with` and `contains`, with at least one value";
    let (Some((test, values)), true) = (tests.pop(), tests.is_empty()) else {
        return Err(section.error(one.to_owned()));
    };
    if values.iter().any(String::is_empty) {
        return Err(section.error("an empty value fits everything; remove it".to_owned()));
    }
    let attributes = section.texts("attributes")?;
    if attributes.is_empty() {
        return Err(section.error("a [[when]] needs `attributes`, the names of the attribute it looks at".to_owned()));
    }
    let values = values.iter().map(|value| value.to_ascii_lowercase()).collect();
    Ok(WhenEntry { line: section.line, id: section.text("id")?, attributes, test, values, fields: fields(section)? })
}

fn accept(section: &Section<'_>) -> Result<AcceptEntry> {
    section.refuse_others(&[&ACCEPT_KEYS])?;
    Ok(AcceptEntry {
        line: section.line,
        kind: section.text("type")?,
        address: section.text("address")?,
        file: section.text("file")?,
        rule: section.text("rule")?,
        reason: section.text("reason")?,
        expires: section.text("expires")?,
    })
}

fn fields(section: &Section<'_>) -> Result<Fields> {
    Ok(Fields {
        name: section.text("name")?,
        class: section.class()?,
        interoperability: section.word("interoperability")?,
        data_portability: section.word("data_portability")?,
        application_portability: section.word("application_portability")?,
        replacement: section.text("replacement")?,
        exit_path: section.text("exit_path")?,
        effort_days: section.effort()?,
        why: section.text("why")?,
        evidence: section.evidence()?,
        checked: section.text("checked")?,
        confidence: section.confidence()?,
    })
}

/// The 1-based line of a byte offset.
fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// A table of the file with what is needed to speak about it.
struct Section<'a> {
    text: &'a str,
    table: &'a DeTable<'a>,
    line: usize,
    name: &'static str,
}

impl<'a> Section<'a> {
    fn error(&self, what: String) -> CatalogueError {
        CatalogueError { line: self.line, what }
    }

    fn error_at(&self, value: &Spanned<DeValue<'_>>, what: String) -> CatalogueError {
        CatalogueError { line: line_at(self.text, value.span().start), what }
    }

    fn refuse_others(&self, known: &[&[&'static str]]) -> Result<()> {
        let known = || known.iter().flat_map(|keys| keys.iter().copied());
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if known().any(|known| known == name) {
                continue;
            }
            let nearest = nearest_word(name, known());
            let hint = match nearest {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("{} has {}", self.name, known().collect::<Vec<_>>().join(", ")),
            };
            let line = line_at(self.text, key.span().start);
            return Err(CatalogueError { line, what: format!("unknown key `{name}`; {hint}") });
        }
        Ok(())
    }

    fn tables(&self, key: &'static str) -> Result<Vec<Section<'a>>> {
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let array =
            value.get_ref().as_array().ok_or_else(|| self.error_at(value, format!("`{key}` is a list of tables; write [[{key}]]")))?;
        let section = |item: &'a Spanned<DeValue<'a>>| {
            let table =
                item.get_ref().as_table().ok_or_else(|| self.error_at(item, format!("`{key}` is a list of tables; write [[{key}]]")))?;
            Ok(Section { text: self.text, table, line: line_at(self.text, item.span().start), name: key })
        };
        array.iter().map(section).collect()
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        let Some(value) = self.table.get(key) else {
            return Ok(None);
        };
        let text = match value.get_ref() {
            DeValue::String(text) => text.trim().to_owned(),
            DeValue::Datetime(date) => date.to_string(),
            other => {
                return Err(self.error_at(value, format!("`{key}` is text in quotes, not {}", other.type_str())));
            }
        };
        if text.is_empty() {
            return Err(self.error_at(value, format!("`{key}` is empty; say something or remove it")));
        }
        Ok(Some(text))
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        let Some(value) = self.table.get(key) else {
            return Ok(Vec::new());
        };
        let array = match value.get_ref() {
            DeValue::String(text) => return Ok(vec![text.to_string()]),
            DeValue::Array(array) => array,
            other => {
                return Err(self.error_at(value, format!("`{key}` is a list of texts, not {}", other.type_str())));
            }
        };
        let text = |item: &Spanned<DeValue<'_>>| {
            let text = item.get_ref().as_str().map(|text| text.trim().to_owned());
            text.filter(|text| !text.is_empty())
                .ok_or_else(|| self.error_at(item, format!("`{key}` is a list of texts in quotes, none empty")))
        };
        array.iter().map(text).collect()
    }

    fn class(&self) -> Result<Option<Class>> {
        let Some(text) = self.text("class")? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(class) => Ok(Some(class)),
            Err(what) => Err(self.error_at(&self.table["class"], what)),
        }
    }

    fn word<W: Word>(&self, key: &'static str) -> Result<Option<W>> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        if let Some((_, word)) = W::WORDS.iter().find(|(name, _)| *name == text) {
            return Ok(Some(*word));
        }
        let names = || W::WORDS.iter().map(|(name, _)| *name);
        let hint = match nearest_word(&text, names()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("use one of {}", names().collect::<Vec<_>>().join(", ")),
        };
        Err(self.error_at(&self.table[key], format!("`{text}` is not a value of `{key}`; {hint}")))
    }

    fn number(&self, value: &Spanned<DeValue<'_>>) -> Option<f32> {
        let text = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return None,
        };
        text.replace('_', "").parse().ok().filter(|number: &f32| number.is_finite() && *number >= 0.0)
    }

    fn effort(&self) -> Result<Option<Effort>> {
        let Some(value) = self.table.get("effort_days") else {
            return Ok(None);
        };
        let numbers = value
            .get_ref()
            .as_array()
            .map(|array| array.iter().map(|item| self.number(item)).collect::<Option<Vec<f32>>>().unwrap_or_default());
        match numbers.as_deref() {
            Some(&[low, high]) if low <= high && high <= 1000.0 => Ok(Some(Effort { low, high })),
            _ => Err(self.error_at(value, "`effort_days` is [low, high] in days, low first, at most 1000".to_owned())),
        }
    }

    fn confidence(&self) -> Result<Option<u8>> {
        let Some(value) = self.table.get("confidence") else {
            return Ok(None);
        };
        let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse::<u8>().ok());
        match number {
            Some(number) if number <= 100 => Ok(Some(number)),
            _ => Err(self.error_at(value, "`confidence` is a whole number from 0 to 100".to_owned())),
        }
    }

    fn evidence(&self) -> Result<Option<String>> {
        match self.text("evidence")? {
            Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
                Err(self.error_at(&self.table["evidence"], "`evidence` is a URL".to_owned()))
            }
            url => Ok(url),
        }
    }
}

/// The word that was probably meant, if one is near.
fn nearest_word<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    words
        .map(|word| (strsim::jaro_winkler(text, word), word))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}
