//! Downloads from a hub: what to get, going on after an interruption, trying again.

use std::path::{Path, PathBuf};

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

use super::choose::{all_parts, candidates, choose};
use super::hub::{Body, ByteChunk, Hub, Listed, RemoteFile, Trouble, number, passing};
use super::partial::{Origin, Partial};
use super::{FetchError, FetchOptions, Fetched, FetchedPart, Progress, ProgressFn, Step, work};
use crate::disk;
use crate::source::{HubFile, HubRepo, HubSource, HubWant};

/// Getting this much further makes the count of failures start again.
const HEADWAY_BYTES: u64 = 1 << 20;
/// Chunks between the network and the disk.
const CHUNKS_WAITING_MAX: usize = 64;

/// One file that is to be fetched.
struct Job {
    file: HubFile,
    remote: RemoteFile,
    target: PathBuf,
}

struct Download<'a> {
    hub: Hub,
    repo: &'a HubRepo,
    options: &'a FetchOptions,
    progress: ProgressFn<'a>,
    /// Length of all files together.
    bytes_total: u64,
}

pub(super) async fn fetch(source: &HubSource, options: &FetchOptions, progress: ProgressFn<'_>) -> Result<Fetched, FetchError> {
    let hub = Hub::new(options)?;
    let mut download = Download { hub, repo: &source.repo, options, progress, bytes_total: 0 };
    let listed = download.files(&source.want).await?;
    let mut jobs = Vec::with_capacity(listed.len());
    for Listed { file, sha256 } in listed {
        let mut remote = download.metadata(&file).await?;
        remote.sha256 = remote.sha256.or(sha256);
        let target = options.folder.join(file.name());
        download.bytes_total = download.bytes_total.saturating_add(remote.bytes);
        jobs.push(Job { file, remote, target });
    }
    download.check_room(&jobs)?;
    let first = jobs.first().map(|job| job.file.clone());
    let mut parts = Vec::with_capacity(jobs.len());
    let mut before = 0;
    for job in jobs {
        let part = download.file(job, before).await?;
        before += part.bytes;
        parts.push(part);
    }
    let exact = first.map(|file| HubSource { repo: source.repo.clone(), want: HubWant::File(file) });
    exact.and_then(|exact| Fetched::new(exact.to_string(), parts)).ok_or_else(|| FetchError::NoGguf { repo: source.repo.to_string() })
}

impl Download<'_> {
    async fn files(&self, want: &HubWant) -> Result<Vec<Listed>, FetchError> {
        let wanted = match want {
            HubWant::File(file) => {
                let parts = all_parts(self.repo, file)?;
                return Ok(parts.into_iter().map(|file| Listed { file, sha256: None }).collect());
            }
            HubWant::Any => None,
            HubWant::Quantization(label) => Some(label.as_str()),
        };
        let listed = self.list().await?;
        let files: Vec<HubFile> = listed.iter().map(|one| one.file.clone()).collect();
        let chosen = choose(self.repo, candidates(self.repo, &files)?, wanted)?;
        let sha256 = |file: &HubFile| listed.iter().find(|one| one.file == *file).and_then(|one| one.sha256.clone());
        Ok(chosen.files.into_iter().map(|file| Listed { sha256: sha256(&file), file }).collect())
    }

    async fn list(&self) -> Result<Vec<Listed>, FetchError> {
        let mut failures = 0;
        loop {
            match self.hub.list(self.repo).await {
                Ok(listed) => return Ok(listed),
                Err(trouble) => self.wait_after(trouble, &mut failures).await?,
            }
        }
    }

    async fn metadata(&self, file: &HubFile) -> Result<RemoteFile, FetchError> {
        let mut failures = 0;
        loop {
            match self.hub.metadata(self.repo, file).await {
                Ok(remote) => return Ok(remote),
                Err(trouble) => self.wait_after(trouble, &mut failures).await?,
            }
        }
    }

    /// Waits before the next try, or gives the error up if there is to be none.
    async fn wait_after(&self, trouble: Trouble, failures: &mut u32) -> Result<(), FetchError> {
        let (problem, asked) = match trouble {
            Trouble::Lasting(error) => return Err(error),
            Trouble::Passing { problem, .. } if *failures >= self.options.retries_max => return Err(problem),
            Trouble::Passing { problem, wait } => (problem, wait),
        };
        let usual = self.options.retry_wait * 2_u32.pow((*failures).min(6)).min(100);
        tracing::debug!(problem = %problem, failures, "a download is tried again");
        *failures += 1;
        tokio::time::sleep(asked.unwrap_or(usual)).await;
        Ok(())
    }

    fn check_room(&self, jobs: &[Job]) -> Result<(), FetchError> {
        let folder = &self.options.folder;
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |facts| facts.len());
        let missing = jobs.iter().fold(0_u64, |sum, job| {
            let is_there = length(&job.target) == job.remote.bytes;
            let arrived = length(&job.target.with_file_name(format!("{}.partial", job.file.name())));
            let rest = if is_there { 0 } else { job.remote.bytes.saturating_sub(arrived) };
            sum.saturating_add(rest)
        });
        require_room(folder, missing, self.options.disk_reserve_bytes)
    }

    async fn file(&self, job: Job, before: u64) -> Result<FetchedPart, FetchError> {
        if let Some(part) = self.already_there(&job, before).await? {
            return Ok(part);
        }
        let Job { file, mut remote, target } = job;
        let mut failures = 0;
        let mut partial = self.resume(&target, &remote, before).await?;
        let mut mark = partial.bytes();
        while partial.bytes() < remote.bytes {
            let outcome;
            (partial, outcome) = self.transfer(partial, &file, &remote, before).await?;
            if partial.bytes() >= mark.saturating_add(HEADWAY_BYTES) {
                failures = 0;
                mark = partial.bytes();
            }
            match outcome {
                Ok(()) => {}
                Err(Interruption::Trouble(trouble)) => self.wait_after(trouble, &mut failures).await?,
                Err(Interruption::Changed) => {
                    drop(partial);
                    self.wait_after(passing(file.name(), "the file changed while it was fetched", None), &mut failures).await?;
                    remote = self.metadata(&file).await?;
                    require_room(&self.options.folder, remote.bytes, self.options.disk_reserve_bytes)?;
                    partial = self.resume(&target, &remote, before).await?;
                    mark = partial.bytes();
                }
            }
        }
        let expected = remote.sha256;
        tokio::task::spawn_blocking(move || partial.finish(expected.as_deref()))
            .await
            .map_err(|error| FetchError::Internal { problem: error.to_string() })?
    }

    fn template(&self, step: Step, target: &Path, before: u64) -> Progress {
        Progress { step, file: work::name_of(target), bytes_done: before, bytes_total: Some(self.bytes_total) }
    }

    /// The file, if it is there already, whole and of this version.
    async fn already_there(&self, job: &Job, before: u64) -> Result<Option<FetchedPart>, FetchError> {
        let is_candidate = std::fs::metadata(&job.target).is_ok_and(|facts| facts.is_file() && facts.len() == job.remote.bytes);
        let Some(expected) = job.remote.sha256.as_ref().filter(|_| is_candidate) else { return Ok(None) };
        let path = job.target.clone();
        let template = self.template(Step::Verifying, &path, before);
        let (sha256, bytes) = work::run(template, self.progress, move |reporter| work::hash_file(&path, reporter)).await?;
        let is_same = sha256.eq_ignore_ascii_case(expected);
        Ok(is_same.then(|| FetchedPart { path: job.target.clone(), sha256, bytes, is_verified: true }))
    }

    async fn resume(&self, target: &Path, remote: &RemoteFile, before: u64) -> Result<Partial, FetchError> {
        let origin = Origin { etag: remote.etag.clone(), bytes_total: remote.bytes };
        let target = target.to_owned();
        let template = self.template(Step::Verifying, &target, before);
        work::run(template, self.progress, move |reporter| Partial::resume(&target, &origin, reporter)).await
    }

    /// Makes one request and writes what comes. Gives the partial file back in every case but a disk's refusal.
    async fn transfer(
        &self,
        mut partial: Partial,
        file: &HubFile,
        remote: &RemoteFile,
        before: u64,
    ) -> Result<(Partial, Result<(), Interruption>), FetchError> {
        let mut body = match self.hub.body(self.repo, file, partial.bytes()).await {
            Ok(body) => body,
            Err(trouble) => return Ok((partial, Err(trouble.into()))),
        };
        match check_start(&body, partial.bytes(), remote) {
            Ok(Start::Here) => {}
            Ok(Start::Beginning) => partial.restart()?,
            Err(interruption) => return Ok((partial, Err(interruption))),
        }
        let template = self.template(Step::Downloading, Path::new(file.name()), before);
        let mut arrived = partial.bytes();
        let (chunks, writer) = write_behind(partial);
        let outcome = loop {
            match self.hub.chunk(&mut body.response, &body.host).await {
                Err(trouble) => break Err(trouble.into()),
                Ok(None) if arrived < remote.bytes => {
                    break Err(passing(&body.host, "the file ended too early", None).into());
                }
                Ok(None) => break Ok(()),
                Ok(Some(chunk)) => {
                    arrived += chunk.len() as u64;
                    if arrived > remote.bytes {
                        let problem = "the file is longer than it said".to_owned();
                        break Err(Trouble::Lasting(FetchError::Protocol { host: body.host.clone(), problem }).into());
                    }
                    if chunks.send(chunk).await.is_err() {
                        break Ok(());
                    }
                    (self.progress)(Progress { bytes_done: before + arrived, ..template.clone() });
                }
            }
        };
        drop(chunks);
        let partial = writer.await.map_err(|error| FetchError::Internal { problem: error.to_string() })??;
        Ok((partial, outcome))
    }
}

enum Interruption {
    Trouble(Trouble),
    /// The hub has another version of the file now.
    Changed,
}

impl From<Trouble> for Interruption {
    fn from(trouble: Trouble) -> Self {
        Interruption::Trouble(trouble)
    }
}

enum Start {
    /// The bytes go on from where they were asked for.
    Here,
    /// The other side starts from the beginning.
    Beginning,
}

fn check_start(body: &Body, asked: u64, remote: &RemoteFile) -> Result<Start, Interruption> {
    if body.etag.as_ref().is_some_and(|etag| *etag != remote.etag) {
        return Err(Interruption::Changed);
    }
    let headers = body.response.headers();
    match body.response.status() {
        StatusCode::PARTIAL_CONTENT => match content_range(headers) {
            Some((start, total)) if start == asked && total == remote.bytes => Ok(Start::Here),
            Some((_, total)) if total != remote.bytes => Err(Interruption::Changed),
            _ => Err(wrong_range(body)),
        },
        _ if number(headers, CONTENT_LENGTH.as_str()).is_some_and(|length| length != remote.bytes) => Err(Interruption::Changed),
        _ => Ok(Start::Beginning),
    }
}

fn wrong_range(body: &Body) -> Interruption {
    let problem = "it sends another part of the file than was asked for".to_owned();
    Trouble::Lasting(FetchError::Protocol { host: body.host.clone(), problem }).into()
}

/// Start and total of `bytes START-END/TOTAL`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()?))
}

/// Writes chunks on a thread of its own. When the sender is dropped, what was sent is written and the partial
/// file given back.
fn write_behind(mut partial: Partial) -> (mpsc::Sender<ByteChunk>, tokio::task::JoinHandle<Result<Partial, FetchError>>) {
    let (sender, mut receiver) = mpsc::channel::<ByteChunk>(CHUNKS_WAITING_MAX);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = receiver.blocking_recv() {
            partial.append(&chunk)?;
        }
        Ok(partial)
    });
    (sender, writer)
}

/// Checks that `folder` has room for `needed` bytes and the reserve.
pub(super) fn require_room(folder: &Path, needed: u64, reserve: u64) -> Result<(), FetchError> {
    let free = disk::free_bytes(folder).map_err(|source| FetchError::disk("measure", folder, source))?;
    let needed = needed.saturating_add(if needed == 0 { 0 } else { reserve });
    if needed > free {
        return Err(FetchError::DiskFull { folder: folder.to_owned(), free, needed });
    }
    Ok(())
}
