//! The walk over folders: parallel, bounded, safe against loops, and every file read where it is found.
//!
//! **Invariant:** a file is read at most once under one path, and no link leads the walk round in a circle.

use std::collections::HashSet;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use freehold_estate::read::{FILE_BYTES_MAX, FileFacts, candidate, read_file, recognise};
use freehold_estate::resource::PartlyRead;
use ignore::{DirEntry, WalkBuilder, WalkState};
use indicatif::{ProgressBar, ProgressStyle};

/// Folders deeper than this are not entered.
const DEPTH_MAX: usize = 128;

/// Most files that are read.
const FILES_MAX: u64 = 2_000_000;

/// Bytes by which a notation is recognised.
const HEAD_BYTES: usize = 64 << 10;

/// When a walk is long enough to show progress.
const PROGRESS_AFTER: Duration = Duration::from_millis(700);

/// Folders with other people's code, left out unless everything is wanted.
const FOREIGN: [&str; 6] = ["node_modules", "site-packages", "__pycache__", "venv", ".venv", ".git"];

/// What is walked.
#[derive(Clone, Copy, Debug)]
pub struct WalkOptions {
    /// Respect .gitignore, .ignore and the like.
    pub ignore: bool,
    /// Enter hidden folders.
    pub hidden: bool,
    /// Threads; one per processor if not given.
    pub threads: Option<usize>,
}

/// State that the threads share.
struct Shared {
    root: PathBuf,
    several: bool,
    facts: Mutex<Vec<FileFacts>>,
    links: Mutex<HashSet<PathBuf>>,
    files: AtomicU64,
    bytes: AtomicU64,
    too_many: AtomicBool,
    started: Instant,
    bar: OnceLock<ProgressBar>,
    terminal: bool,
}

/// Reads every file of a known notation under the paths.
///
/// # Errors
/// When a path does not exist or there are too many files.
pub fn walk(paths: &[PathBuf], options: WalkOptions) -> anyhow::Result<Vec<FileFacts>> {
    for path in paths {
        std::fs::metadata(path).with_context(|| path.display().to_string())?;
    }
    let mut all = Vec::new();
    for root in distinct(paths) {
        let shared = Arc::new(Shared {
            root: root.clone(),
            several: paths.len() > 1,
            facts: Mutex::new(Vec::new()),
            links: Mutex::new(HashSet::new()),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            too_many: AtomicBool::new(false),
            started: Instant::now(),
            bar: OnceLock::new(),
            terminal: std::io::stderr().is_terminal(),
        });
        run(&root, options, &shared);
        for modules in vendored(&shared) {
            run(&modules, WalkOptions { ignore: false, hidden: true, ..options }, &shared);
        }
        if let Some(bar) = shared.bar.get() {
            bar.finish_and_clear();
        }
        if shared.too_many.load(Ordering::Relaxed) {
            bail!("more than {FILES_MAX} files under {}; audit a part of it", root.display());
        }
        all.append(&mut shared.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }
    let mut names: HashSet<Arc<str>> = HashSet::with_capacity(all.len());
    all.retain(|facts| facts.file.is_empty() || names.insert(Arc::clone(&facts.file)));
    Ok(all)
}

/// The paths without those that lie under another one.
fn distinct(paths: &[PathBuf]) -> Vec<PathBuf> {
    let real = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let reals: Vec<PathBuf> = paths.iter().map(real).collect();
    let covered = |index: usize| {
        reals
            .iter()
            .enumerate()
            .any(|(other, real)| other != index && reals[index].starts_with(real) && (reals[index] != *real || other < index))
    };
    (0..paths.len()).filter(|index| !covered(*index)).map(|index| paths[index].clone()).collect()
}

fn run(root: &Path, options: WalkOptions, shared: &Arc<Shared>) {
    let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)).clamp(1, 64);
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(options.ignore)
        .hidden(!options.hidden)
        .require_git(false)
        .follow_links(true)
        .max_depth(Some(DEPTH_MAX))
        .threads(threads);
    let filter = Arc::clone(shared);
    let everything = !options.ignore;
    builder.filter_entry(move |entry| filter.enters(entry, everything));
    builder.build_parallel().run(|| {
        let mut reader = Reader { shared: Arc::clone(shared), found: Vec::new(), buffer: Vec::new() };
        Box::new(move |entry| reader.visit(entry))
    });
}

/// Folders of modules that `terraform init` has put on disk, usually ignored by git and always hidden.
fn vendored(shared: &Shared) -> Vec<PathBuf> {
    let facts = shared.facts.lock().unwrap_or_else(PoisonError::into_inner);
    let mut folders: HashSet<PathBuf> = HashSet::new();
    for fact in facts.iter().filter(|fact| fact.module.is_some() && !fact.file.contains(".terraform/")) {
        if let Some(folder) = shared.path_of(&fact.file).parent() {
            folders.insert(folder.join(".terraform").join("modules"));
        }
    }
    let mut found: Vec<PathBuf> = folders.into_iter().filter(|folder| folder.is_dir()).collect();
    found.sort();
    found
}

impl Shared {
    /// The name under which a file is reported.
    fn name_of(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let shown = if relative.as_os_str().is_empty() {
            PathBuf::from(path.file_name().unwrap_or(path.as_os_str()))
        } else if self.several {
            self.root.join(relative)
        } else {
            relative.to_owned()
        };
        let text = shown.to_string_lossy();
        let text = text.strip_prefix("./").unwrap_or(&text);
        if std::path::MAIN_SEPARATOR == '/' { text.to_owned() } else { text.replace(std::path::MAIN_SEPARATOR, "/") }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        if self.root.is_file() {
            self.root.clone()
        } else if self.several {
            PathBuf::from(name)
        } else {
            self.root.join(name)
        }
    }

    /// Whether the walk goes into an entry. A link to a folder is followed once, and only out of the root: what lies
    /// inside is found anyway.
    fn enters(&self, entry: &DirEntry, everything: bool) -> bool {
        if entry.depth() == 0 {
            return true;
        }
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        if is_folder && !everything && entry.file_name().to_str().is_some_and(|name| FOREIGN.contains(&name)) {
            return false;
        }
        if !entry.path_is_symlink() || !is_folder {
            return true;
        }
        let (Ok(target), Ok(root)) = (std::fs::canonicalize(entry.path()), std::fs::canonicalize(&self.root)) else { return false };
        !target.starts_with(&root) && !root.starts_with(&target) && self.links.lock().unwrap_or_else(PoisonError::into_inner).insert(target)
    }

    fn progress(&self) {
        if !self.terminal || self.started.elapsed() < PROGRESS_AFTER {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        let bytes = self.bytes.load(Ordering::Relaxed);
        bar.set_message(format!("{} files, {} MB read", self.files.load(Ordering::Relaxed), bytes / 1_000_000));
        bar.tick();
    }
}

/// One thread's hands: what it found is given to all when it ends.
struct Reader {
    shared: Arc<Shared>,
    found: Vec<FileFacts>,
    buffer: Vec<u8>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.found);
    }
}

impl Reader {
    fn visit(&mut self, entry: Result<DirEntry, ignore::Error>) -> WalkState {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                if !is_loop(&error) {
                    let (path, why) = place_of(&error);
                    let name = path.map(|path| self.shared.name_of(path)).unwrap_or_default();
                    self.note(&name, &format!("could not be read: {why}"));
                }
                return WalkState::Continue;
            }
        };
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            return WalkState::Continue;
        }
        if self.shared.files.fetch_add(1, Ordering::Relaxed) >= FILES_MAX {
            self.shared.too_many.store(true, Ordering::Relaxed);
            return WalkState::Quit;
        }
        let name = self.shared.name_of(entry.path());
        if !candidate(&name) {
            return WalkState::Continue;
        }
        match self.read(entry.path(), &name) {
            Ok(Some(facts)) => self.found.push(facts),
            Ok(None) => {}
            Err(error) => self.note(&name, &format!("could not be read: {error}")),
        }
        if self.found.len().is_multiple_of(64) {
            self.shared.progress();
        }
        WalkState::Continue
    }

    fn read(&mut self, path: &Path, name: &str) -> std::io::Result<Option<FileFacts>> {
        let mut file = File::open(path)?;
        self.buffer.clear();
        file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut self.buffer)?;
        if self.buffer.len() == HEAD_BYTES {
            if recognise(name, &self.buffer).is_none() {
                return Ok(None);
            }
            let rest = (FILE_BYTES_MAX - HEAD_BYTES) as u64 + 1;
            file.take(rest).read_to_end(&mut self.buffer)?;
        }
        self.shared.bytes.fetch_add(self.buffer.len() as u64, Ordering::Relaxed);
        let facts = read_file(name, &self.buffer);
        if self.buffer.capacity() > (8 << 20) {
            self.buffer = Vec::new();
        }
        Ok(facts.notation.is_some().then_some(facts))
    }

    /// Keeps what could not be read as a partly read file, so that it is in the report.
    fn note(&mut self, name: &str, why: &str) {
        let file: Arc<str> = Arc::from(name);
        let part = PartlyRead { file: Arc::clone(&file), line: None, why: why.to_owned() };
        self.found.push(FileFacts { file, read_partly: vec![part], ..FileFacts::default() });
    }
}

/// The path that an error is about, and the error without it.
fn place_of(error: &ignore::Error) -> (Option<&Path>, String) {
    match error {
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => place_of(err),
        ignore::Error::WithPath { path, err } => (Some(path), place_of(err).1),
        other => (None, other.to_string()),
    }
}

fn is_loop(error: &ignore::Error) -> bool {
    match error {
        ignore::Error::Loop { .. } => true,
        ignore::Error::WithPath { err, .. } | ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            is_loop(err)
        }
        ignore::Error::Partial(errors) => errors.iter().all(is_loop),
        _ => false,
    }
}
