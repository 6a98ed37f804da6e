//! The upstream of the gateway's benchmark: answers every chat completion with the same bytes, after a fixed time.
//!
//! It reads no more of a request than it must, so that it is not what is measured. Usage:
//! `gateway-upstream [--listen ADDRESS] [--latency-ms N] [--chunks N]`. `GET /v1/models` lists its one model.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of an answer's text.
const TEXT_BYTES: usize = 256;
const REQUEST_BYTES_MAX: usize = 1 << 20;

struct Answers {
    models: Vec<u8>,
    whole: Vec<u8>,
    /// The head, each chunk as a piece of its own, and the end.
    stream: Vec<Vec<u8>>,
    latency: Duration,
}

impl Answers {
    fn new(latency_ms: u64, chunks: usize) -> Self {
        let usage = r#"{"prompt_tokens":16,"completion_tokens":64,"total_tokens":80}"#;
        let text = "a".repeat(TEXT_BYTES);
        let whole = format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"mock","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{usage}}}"#
        );
        let models =
            r#"{"object":"list","data":[{"id":"mock","object":"model","created":1700000000,"owned_by":"bench","max_model_len":4096}]}"#;
        let chunk = |choices: &str, usage: &str| {
            let data = format!(
                "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"mock\",\"choices\":[{choices}]{usage}}}\n\n"
            );
            piece(&data)
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut stream = vec![head.as_bytes().to_vec()];
        let word = chunk(r#"{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}"#, "");
        stream.extend(std::iter::repeat_n(word, chunks));
        let mut end = chunk(r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}"#, "");
        end.extend(chunk("", &format!(r#","usage":{usage}"#)));
        end.extend(piece("data: [DONE]\n\n"));
        end.extend(b"0\r\n\r\n");
        stream.push(end);
        Self { models: json(models), whole: json(&whole), stream, latency: Duration::from_millis(latency_ms) }
    }
}

fn json(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// One chunk of a chunked body.
fn piece(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// Where the head of a request ends, and how long its body is.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..end]);
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Some((end, length.unwrap_or(0)))
}

async fn serve(mut stream: TcpStream, answers: Arc<Answers>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let request = loop {
            if let Some((start, length)) = head(&buffer)
                && buffer.len() >= start + length
            {
                break start + length;
            }
            if buffer.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let asked = &buffer[..request];
        let models = asked.starts_with(b"GET");
        let streamed =
            memchr::memmem::find(asked, b"\"stream\":true").or_else(|| memchr::memmem::find(asked, b"\"stream\": true")).is_some();
        buffer.drain(..request);
        if models {
            stream.write_all(&answers.models).await?;
            continue;
        }
        if !answers.latency.is_zero() {
            tokio::time::sleep(answers.latency).await;
        }
        if streamed {
            for piece in &answers.stream {
                stream.write_all(piece).await?;
                // Each chunk is one of its own, as a model makes them.
                tokio::task::yield_now().await;
            }
        } else {
            stream.write_all(&answers.whole).await?;
        }
    }
}

struct Options {
    listen: String,
    latency_ms: u64,
    chunks: usize,
}

fn options() -> Result<Options, String> {
    let mut options = Options { listen: "127.0.0.1:0".to_owned(), latency_ms: 0, chunks: 100 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} takes a number, not `{value}`"));
        match name.as_str() {
            "--listen" => options.listen = value,
            "--latency-ms" => options.latency_ms = number()?,
            "--chunks" => options.chunks = usize::try_from(number()?).unwrap_or(usize::MAX).min(100_000),
            other => return Err(format!("{other} is no option: there are --listen, --latency-ms and --chunks")),
        }
    }
    Ok(options)
}

async fn run(options: &Options) -> io::Result<()> {
    use std::io::Write;
    let answers = Arc::new(Answers::new(options.latency_ms, options.chunks));
    let listener = TcpListener::bind(&options.listen).await?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answers = Arc::clone(&answers);
        // A client that leaves is no business of ours.
        tokio::spawn(async move { serve(stream, answers).await.ok() });
    }
}

fn main() -> ExitCode {
    let failed = |text: String| {
        eprintln!("gateway-upstream: {text}");
        ExitCode::from(2)
    };
    let options = match options() {
        Ok(options) => options,
        Err(text) => return failed(text),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(error.to_string()),
    };
    runtime.block_on(run(&options)).map_or_else(|error| failed(error.to_string()), |()| ExitCode::SUCCESS)
}
