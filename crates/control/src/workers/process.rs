//! Worker processes: started with an order, heard through their reports, ended with their standard input.
//!
//! A spare process may wait, already started, for its order, so that a cold model pays for its load and not for the
//! start of a program.
//!
//! **Invariant:** a worker never outlives the service: the service holds the only write end of its standard input,
//! which closes when the service ends, however it ends.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use freehold_inference::engine::PROCESS_ENVIRONMENT;
use freehold_inference::order::{Order, Report};
use futures::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::codec::{FramedRead, LinesCodec};

/// Longest line of a report.
const REPORT_BYTES_MAX: usize = 1 << 20;

/// Starts worker processes.
#[derive(Debug)]
pub struct Launcher {
    program: PathBuf,
    arguments: Vec<String>,
    keep_spare: AtomicBool,
    spare: Mutex<Option<WorkerProcess>>,
}

/// A worker process that is running.
#[derive(Debug)]
pub struct WorkerProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    reports: FramedRead<ChildStdout, LinesCodec>,
}

impl Launcher {
    /// `program` with `arguments` must be a program that takes an [`Order`] on standard input.
    pub fn new(program: PathBuf, arguments: Vec<String>, keep_spare: bool) -> Self {
        Self { program, arguments, keep_spare: AtomicBool::new(keep_spare), spare: Mutex::new(None) }
    }

    /// Starts a process and gives it its order.
    ///
    /// # Errors
    /// The program cannot be started.
    pub async fn start(&self, order: &Order) -> std::io::Result<WorkerProcess> {
        let spare = self.take_spare().and_then(|mut spare| spare.is_alive().then_some(spare));
        let mut process = match spare {
            Some(spare) => spare,
            None => self.spawn()?,
        };
        process.give(order).await?;
        Ok(process)
    }

    /// Starts the spare process, if one is wanted and none waits.
    pub fn prepare_spare(&self) {
        let mut spare = self.spare.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !self.keep_spare.load(Relaxed) || spare.as_mut().is_some_and(WorkerProcess::is_alive) {
            return;
        }
        match self.spawn() {
            Ok(process) => *spare = Some(process),
            Err(error) => tracing::warn!(%error, "no spare worker could be started"),
        }
    }

    /// Ends the spare process and starts no other.
    pub fn drop_spare(&self) {
        self.keep_spare.store(false, Relaxed);
        drop(self.take_spare());
    }

    fn take_spare(&self) -> Option<WorkerProcess> {
        self.spare.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    fn spawn(&self) -> std::io::Result<WorkerProcess> {
        let environment = PROCESS_ENVIRONMENT.iter().filter(|(name, _)| std::env::var_os(name).is_none());
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(environment.copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("the worker has no standard output"))?;
        if let Some(pid) = child.id() {
            prefer_for_the_oom_killer(pid);
        }
        Ok(WorkerProcess { child, stdin, reports: FramedRead::new(stdout, LinesCodec::new_with_max_length(REPORT_BYTES_MAX)) })
    }
}

/// When memory runs out, a worker should be lost rather than the service.
fn prefer_for_the_oom_killer(pid: u32) {
    if let Err(error) = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500") {
        tracing::debug!(%error, "the worker's oom_score_adj stays as it is");
    }
}

impl WorkerProcess {
    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The next report; `None` once the process has closed its output.
    pub async fn next_report(&mut self) -> Option<Report> {
        while let Some(line) = self.reports.next().await {
            match line.map(|line| serde_json::from_str(&line)) {
                Ok(Ok(report)) => return Some(report),
                Ok(Err(error)) => tracing::warn!(%error, "a worker wrote a line that is no report"),
                Err(error) => {
                    tracing::warn!(%error, "a worker's output cannot be read");
                    return None;
                }
            }
        }
        None
    }

    /// Resolves when the process has ended, with words on how.
    pub async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Asks the process to end, and ends it after `grace`.
    pub async fn stop(mut self, grace: Duration) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok())
            && let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM)
        {
            tracing::debug!(%error, "the worker had ended already");
        }
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            tracing::warn!("a worker did not end in time and is killed");
            if let Err(error) = self.child.kill().await {
                tracing::warn!(%error, "the worker could not be killed");
            }
        }
    }

    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    async fn give(&mut self, order: &Order) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let stdin = self.stdin.as_mut().ok_or_else(|| std::io::Error::other("the worker has no standard input"))?;
        stdin.write_all(&line).await?;
        stdin.flush().await
    }
}
