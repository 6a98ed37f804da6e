// Server-sent events out of a fetch, which unlike EventSource can send a body and headers.

import { ApiError, send } from "./api.js";

/** The `data` of each event, until [DONE] or the end. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += (value ?? "").replaceAll("\r\n", "\n");
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const data = rest.slice(0, end).split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
      rest = rest.slice(end + 2);
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
    if (done) return;
  }
}

/**
 * A chat that streams. `onText` gets each piece. Resolves with how it went: usage, why it ended, the time to the first
 * token and the tokens a second after it.
 */
export async function chat(body, { signal, onText }) {
  const started = performance.now();
  const response = await send("/v1/chat/completions", { method: "POST", body: { ...body, stream: true, stream_options: { include_usage: true } }, signal });
  const request = response.headers.get("x-request-id");
  let first = null;
  let last = started;
  let usage = null;
  let reason = null;
  for await (const event of events(response)) {
    if (event.error) throw new ApiError(502, event.error.message ?? "The answer broke off.", { code: event.error.code, request });
    const choice = event.choices?.[0];
    const piece = choice?.delta?.content;
    if (piece) {
      last = performance.now();
      first ??= last;
      onText(piece);
    }
    reason = choice?.finish_reason ?? reason;
    usage = event.usage ?? usage;
  }
  const generating = first === null ? 0 : (last - first) / 1000;
  const tokens = usage?.completion_tokens ?? 0;
  return {
    usage,
    reason,
    request,
    first_s: first === null ? null : (first - started) / 1000,
    total_s: (performance.now() - started) / 1000,
    speed: tokens > 1 && generating > 0 ? (tokens - 1) / generating : null,
  };
}
