// Snippets that call this service: curl, Python, Rust and JavaScript.

const base = () => location.origin;

const quoteShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A body as Python writes it. */
function python(value, indent = 4) {
  const pad = " ".repeat(indent);
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[\n${value.map((item) => `${pad}    ${python(item, indent + 4)},\n`).join("")}${pad}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${python(item, indent + 4)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** What a chat request looks like in each language. The key is read from FREEHOLD_KEY. */
export function chatSnippets(body) {
  const plain = { ...body };
  delete plain.stream_options;
  const streaming = Boolean(plain.stream);
  return [
    ["curl", curl(plain)],
    ["Python", inPython(plain, streaming)],
    ["Rust", inRust(plain, streaming)],
    ["JavaScript", inJavaScript(plain, streaming)],
  ];
}

function curl(body) {
  return `curl ${body.stream ? "-N " : ""}${base()}/v1/chat/completions \\
  -H "Authorization: Bearer $FREEHOLD_KEY" \\
  -H "Content-Type: application/json" \\
  -d ${quoteShell(JSON.stringify(body, null, 2))}`;
}

function inPython(body, streaming) {
  const lines = Object.entries(body).map(([key, value]) => `    ${key}=${python(value)},\n`).join("");
  const read = streaming
    ? `for chunk in answer:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)`
    : `print(answer.choices[0].message.content)`;
  return `# pip install openai
import os
from openai import OpenAI

client = OpenAI(base_url="${base()}/v1", api_key=os.environ["FREEHOLD_KEY"])
answer = client.chat.completions.create(
${lines})
${read}`;
}

function inRust(body, streaming) {
  const json = JSON.stringify(body, null, 4).replaceAll("\n", "\n        ");
  const call = `reqwest::blocking::Client::new()
        .post("${base()}/v1/chat/completions")
        .bearer_auth(std::env::var("FREEHOLD_KEY")?)
        .json(&body)
        .send()?
        .error_for_status()?`;
  const head = `// cargo add serde_json reqwest --features reqwest/blocking,reqwest/json\n`;
  if (!streaming) {
    return `${head}fn main() -> Result<(), Box<dyn std::error::Error>> {
    let body = serde_json::json!(${json.replace(/\n {8}/g, "\n    ")});
    let answer: serde_json::Value = ${call}
        .json()?;
    println!("{}", answer["choices"][0]["message"]["content"].as_str().unwrap_or_default());
    Ok(())
}`;
  }
  return `${head}use std::io::{BufRead, BufReader};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let body = serde_json::json!(${json.replace(/\n {8}/g, "\n    ")});
    let answer = ${call};
    for line in BufReader::new(answer).lines() {
        let line = line?;
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else { continue };
        let chunk: serde_json::Value = serde_json::from_str(data)?;
        print!("{}", chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
    }
    println!();
    Ok(())
}`;
}

function inJavaScript(body, streaming) {
  const json = JSON.stringify(body, null, 2);
  const read = streaming
    ? `for await (const chunk of answer) {\n  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");\n}`
    : `console.log(answer.choices[0].message.content);`;
  return `// npm install openai
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${base()}/v1", apiKey: process.env.FREEHOLD_KEY });
const answer = await client.chat.completions.create(${json});
${read}`;
}

/** The first call that someone makes. */
export function firstCall(model) {
  return chatSnippets({ model: model ?? "MODEL", messages: [{ role: "user", content: "Say hello in one sentence." }], max_tokens: 64 });
}

/** How a shell learns the key. */
export function exportKey(secret) {
  return `export FREEHOLD_KEY=${secret ?? "fh-..."}`;
}
