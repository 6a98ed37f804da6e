//! Turns `catalogue/*.toml` into static tables, so that a start does not parse the catalogue.
//!
//! Shares the reader with the crate; a mistake in the data fails the build with its file and line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/catalogue/error.rs"]
mod error;
#[path = "src/catalogue/flatten.rs"]
mod flatten;
#[path = "src/catalogue/format.rs"]
#[expect(dead_code, reason = "the user's files are read by the crate, not by the build")]
mod format;
#[path = "src/catalogue/key.rs"]
mod key;
#[path = "src/catalogue/words.rs"]
#[expect(dead_code, reason = "the words are printed by the crate, not by the build")]
mod words;

use flatten::{Flat, Full};

fn main() {
    let data = Path::new("catalogue");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/catalogue");
    println!("cargo::rerun-if-changed=catalogue");
    match tables(data) {
        Ok(code) => {
            let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
            fs::write(PathBuf::from(out).join("catalogue.rs"), code).expect("OUT_DIR is writable");
        }
        Err(message) => {
            println!("cargo::error={message}");
        }
    }
}

fn tables(data: &Path) -> Result<String, String> {
    let entries = fs::read_dir(data).map_err(|error| format!("{}: {error}", data.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut flat = Flat::default();
    for path in &paths {
        let place = |error| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        for entry in &format::read(&text, "service", &["service"]).map_err(place)?.rules {
            flat.add(entry, None, true).map_err(place)?;
        }
    }
    Ok(code(&flat))
}

fn code(flat: &Flat) -> String {
    let mut out = String::new();
    let writes = "writing to a String cannot fail";
    writeln!(out, "pub static TABLE: Table = Table {{").expect(writes);
    for (name, map) in [("exact", &flat.exact), ("prefixes", &flat.prefixes)] {
        writeln!(out, "    {name}: Cow::Borrowed(&[").expect(writes);
        for (pattern, at) in map {
            writeln!(out, "        (Cow::Borrowed({pattern:?}), {at}),").expect(writes);
        }
        writeln!(out, "    ]),").expect(writes);
    }
    writeln!(out, "    judgements: Cow::Borrowed(&[").expect(writes);
    for full in &flat.judgements {
        out.push_str(&judgement(full));
    }
    writeln!(out, "    ]),\n}};").expect(writes);
    out
}

fn judgement(full: &Full) -> String {
    let list = |texts: &[String]| {
        let texts: Vec<String> = texts.iter().map(|text| format!("Cow::Borrowed({text:?})")).collect();
        format!("Cow::Borrowed(&[{}])", texts.join(", "))
    };
    let whens: Vec<String> = full
        .whens
        .iter()
        .map(|when| {
            let (attributes, values) = (list(&when.attributes), list(&when.values));
            let (test, then) = (when.test, when.then);
            format!("When {{ attributes: {attributes}, test: Test::{test:?}, values: {values}, then: {then} }}")
        })
        .collect();
    let facets = full.facets;
    format!(
        "Judgement {{ id: Cow::Borrowed({:?}), service: Cow::Borrowed({:?}), class: Class::{:?}, \
         facets: Facets {{ interoperability: Interoperability::{:?}, data_portability: DataPortability::{:?}, \
         application_portability: ApplicationPortability::{:?} }}, replacement: Cow::Borrowed({:?}), \
         exit_path: Cow::Borrowed({:?}), effort_days: Effort {{ low: {:?}, high: {:?} }}, why: Cow::Borrowed({:?}), \
         evidence_url: Cow::Borrowed({:?}), evidence_date: Cow::Borrowed({:?}), confidence: {}, \
         whens: Cow::Borrowed(&[{}]) }},\n",
        full.id,
        full.service,
        full.class,
        facets.interoperability,
        facets.data_portability,
        facets.application_portability,
        full.replacement,
        full.exit_path,
        full.effort_days.low,
        full.effort_days.high,
        full.why,
        full.evidence_url,
        full.evidence_date,
        full.confidence,
        whens.join(", ")
    )
}
