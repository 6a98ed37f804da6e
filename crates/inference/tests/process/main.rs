//! The worker as a process of its own: this program, started again with the argument `worker`.
//!
//! Without the test harness, because a test binary's `main` must be able to become the worker.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, ExitStatus, Stdio};

use freehold_inference::order::{OptimizeOrder, Order, Quantization, QuantizeOrder, Report, ServeOrder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CASES: [(&str, fn()); 7] = [
    ("devices_are_listed", devices_are_listed),
    ("a_worker_serves_until_its_input_closes", a_worker_serves_until_its_input_closes),
    ("a_terminated_worker_finishes_its_answer", a_terminated_worker_finishes_its_answer),
    ("a_task_whose_service_goes_away_leaves_nothing", a_task_whose_service_goes_away_leaves_nothing),
    ("a_damaged_model_is_reported", a_damaged_model_is_reported),
    ("a_line_that_is_no_order_is_reported", a_line_that_is_no_order_is_reported),
    ("a_spare_worker_without_an_order_just_ends", a_spare_worker_without_an_order_just_ends),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "worker") {
        return freehold_inference::worker::run_worker();
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = CASES.iter().filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|(name, _)| tell(&format!("{name}: test")));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in chosen {
        let outcome = std::panic::catch_unwind(case);
        let count = if outcome.is_ok() { &mut passed } else { &mut failed };
        *count += 1;
        tell(&format!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" }));
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    tell(&format!(
        "\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out",
        CASES.len() - passed - failed
    ));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}

struct Worker {
    child: Child,
    reports: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let reports = BufReader::new(child.stdout.take().unwrap());
        Self { child, reports }
    }

    fn ordered(order: &Order) -> Self {
        let mut worker = Self::start();
        let line = serde_json::to_string(order).unwrap() + "\n";
        worker.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        worker
    }

    fn report(&mut self) -> Report {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

fn starter() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/starter/SmolLM2-135M-Instruct.Q4_1.gguf");
    let path = std::env::var_os("FREEHOLD_STARTER_GGUF").map_or_else(default, PathBuf::from);
    assert!(path.is_file(), "{} is missing: run make starter first", path.display());
    path
}

fn serve(model_path: PathBuf, socket: PathBuf) -> Order {
    Order::Serve(ServeOrder {
        model_name: "starter".to_owned(),
        model_path,
        socket,
        adapters: Vec::new(),
        context_tokens: Some(1024),
        sequences_max: 4,
        queue_max: 4,
        threads: Some(1),
        memory_max_bytes: None,
        gpu_layers: None,
        deadline_ms: 600_000,
        log_prompts: false,
    })
}

/// Sends a request that is answered as a stream, and waits for the first event.
fn ask(socket: &Path, max_tokens: u32) -> BufReader<UnixStream> {
    let body = format!(
        r#"{{"model": "starter", "prompt": "Once upon a time", "stream": true, "temperature": 0, "max_tokens": {max_tokens}, "logit_bias": {{"0": -100, "2": -100}}}}"#
    );
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "POST /v1/completions HTTP/1.1\r\nhost: worker\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .unwrap();
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert_ne!(answer.read_line(&mut line).unwrap(), 0, "the answer begins");
    }
    answer
}

fn rest(mut answer: BufReader<UnixStream>) -> String {
    let mut text = String::new();
    answer.read_to_string(&mut text).unwrap();
    text
}

fn devices_are_listed() {
    let mut worker = Worker::ordered(&Order::Devices);
    let Report::Devices(devices) = worker.report() else { panic!("devices are reported") };
    assert!(devices.iter().any(|device| device.kind == "cpu"), "{devices:?}");
    assert!(worker.ended().success());
}

fn a_worker_serves_until_its_input_closes() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("worker.sock");
    std::fs::write(&socket, "left by an earlier worker").unwrap();
    let mut worker = Worker::ordered(&serve(starter(), socket.clone()));
    let Report::Ready(ready) = worker.report() else { panic!("the worker is ready") };
    assert!(ready.context_tokens >= 1024 && ready.weights_bytes > 0, "{ready:?}");
    let answer = ask(&socket, 1000);
    worker.close_input();
    let text = rest(answer);
    assert!(text.contains("\"code\":\"unavailable\"") && !text.contains("[DONE]"), "{text}");
    assert!(worker.ended().success());
}

fn a_terminated_worker_finishes_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("worker.sock");
    let mut worker = Worker::ordered(&serve(starter(), socket.clone()));
    assert!(matches!(worker.report(), Report::Ready(_)));
    let answer = ask(&socket, 64);
    kill(Pid::from_raw(i32::try_from(worker.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let text = rest(answer);
    assert!(text.contains("data: [DONE]"), "{text}");
    assert!(worker.ended().success());
}

fn a_task_whose_service_goes_away_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let order = OptimizeOrder {
        source: starter(),
        folder: folder.path().to_owned(),
        perplexity_rise_max_permille: 5,
        memory_max_bytes: None,
        threads: Some(1),
    };
    let mut worker = Worker::ordered(&Order::Optimize(order));
    while !matches!(worker.report(), Report::Progress { step, .. } if step == "measuring bf16") {}
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    worker.close_input();
    assert!(!worker.ended().success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn a_damaged_model_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("damaged.gguf");
    std::fs::write(&source, b"GGUF but not really").unwrap();
    let quantize =
        QuantizeOrder { source: source.clone(), target: folder.path().join("t"), quantization: Quantization::Q8_0, threads: Some(1) };
    for order in [serve(source.clone(), folder.path().join("worker.sock")), Order::Quantize(quantize)] {
        let mut worker = Worker::ordered(&order);
        let message = loop {
            match worker.report() {
                Report::Failed { message } => break message,
                Report::Progress { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(message.contains("damaged.gguf"), "{message}");
        assert!(!worker.ended().success());
    }
}

fn a_line_that_is_no_order_is_reported() {
    let mut worker = Worker::start();
    worker.child.stdin.as_mut().unwrap().write_all(b"{\"dance\": {}}\n").unwrap();
    assert!(matches!(worker.report(), Report::Failed { .. }));
    assert!(!worker.ended().success());
}

fn a_spare_worker_without_an_order_just_ends() {
    let mut worker = Worker::start();
    worker.close_input();
    assert!(worker.ended().success());
}
