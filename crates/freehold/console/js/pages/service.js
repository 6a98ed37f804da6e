// The service for its operator: load, memory, workers, errors; read again every few seconds.

import { get, send } from "../api.js";
import { fill, h } from "../dom.js";
import { bytes, count, fixed, span } from "../format.js";
import { card, empty, figures, head, linkButton, meter, notice, problem, table, tag } from "../parts.js";
import { quantile, samples, sum, values } from "../metrics.js";
import { lines } from "../plot.js";

const EVERY_MS = 3000;
/** How many readings the plots show: five minutes. */
const READINGS_MAX = 100;

const STATES = { ready: "good", starting: "warn", draining: "warn", stopping: "", failed: "bad" };

/** Readings outlive the page, so that coming back shows the last minutes at once. */
const readings = [];

async function read(signal) {
  const [status, text] = await Promise.all([get("/status", { signal }), send("/metrics", { signal }).then((response) => response.text())]);
  const list = samples(text);
  const now = {
    at: Date.now(),
    requests: sum(list, "freehold_http_requests_total"),
    output: sum(list, "vllm:generation_tokens_total") || sum(list, "freehold_tokens_total", { gen_ai_token_type: "output" }),
    prompt: sum(list, "vllm:prompt_tokens_total") || sum(list, "freehold_tokens_total", { gen_ai_token_type: "input" }),
    running: sum(list, "freehold_answers_running"),
    waiting: sum(list, "vllm:num_requests_waiting"),
  };
  const last = readings.at(-1);
  if (!last || now.at - last.at > 500) readings.push(now);
  if (readings.length > READINGS_MAX) readings.shift();
  return { status, list, now };
}

/** What a counter grew by a second, between each two readings; a restart counts as nothing. */
function rates(name) {
  return readings.slice(1).map((reading, index) => {
    const before = readings[index];
    return Math.max(0, (reading[name] - before[name]) / ((reading.at - before.at) / 1000));
  });
}

const clock = (at) => new Date(at).toTimeString().slice(0, 8);

function load() {
  const later = readings.slice(1);
  if (later.length < 2) return h("p", { class: "muted" }, "The plot begins with the next readings.");
  const labels = later.map((reading) => clock(reading.at));
  const plot = (title, series, exact) => h("div", { class: "grow" }, h("h3", null, title), lines({ title, labels, ticks: labels.map((label) => label.slice(0, 5)), series, format: (value) => (value < 10 ? String(Number(value.toFixed(2))) : count(value)), exact }));
  return h(
    "div",
    { class: "cards" },
    plot("Tokens a second", [{ name: "Output", values: rates("output") }, { name: "Prompt", values: rates("prompt") }], (value) => `${fixed(value, 1)} tokens/s`),
    plot("Requests under way", [{ name: "Running", values: later.map((reading) => reading.running) }, { name: "Waiting", values: later.map((reading) => reading.waiting) }], count),
  );
}

function placement(worker) {
  return worker.placement?.map((place) => `${place.layers} layers on ${place.device}`).join(", ") || "–";
}

function worker(one, list) {
  const model = { model_name: one.model };
  const cache = sum(list, "vllm:kv_cache_usage_perc", model);
  const first = quantile(list, "gen_ai_server_time_to_first_token_seconds", { gen_ai_request_model: one.model }, 0.5);
  const each = quantile(list, "gen_ai_server_time_per_output_token_seconds", { gen_ai_request_model: one.model }, 0.5);
  const items = [
    ["Requests", `${count(one.requests)} running, ${count(sum(list, "vllm:num_requests_waiting", model))} waiting`],
    ["Memory", bytes(one.memory_bytes)],
    ["Context", one.context_tokens ? `${count(one.context_tokens)} tokens` : "–"],
    ["KV cache in use", [`${fixed(cache * 100, 0)} %`, meter(cache, "KV cache in use")]],
    ["First token (median)", first === null ? "–" : `${fixed(first, 2)} s`],
    ["Tokens/s of an answer (median)", each ? fixed(1 / each, 1) : "–"],
    ["Layers", placement(one)],
    ["Load took", one.load_ms ? `${fixed(one.load_ms / 1000, 1)} s` : "–"],
    ["Process", one.pid ?? "–"],
    ["Crashes", count(one.crashes)],
  ];
  return h(
    "div",
    { class: "card worker" },
    h("div", { class: "row apart" }, h("h3", { class: "breaks" }, one.model), tag(one.state, STATES[one.state])),
    one.failure && notice("bad", "It failed", one.failure),
    h("dl", null, items.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))),
  );
}

const REASONS = {
  400: "the request was wrong",
  401: "no key, or not a good one",
  402: "no credit",
  403: "not allowed",
  404: "nothing there",
  429: "over a limit",
  500: "a fault of the service: its log says more",
  502: "a worker was lost",
  503: "not available",
  504: "took too long",
};

function errors(list) {
  const refused = list
    .filter((sample) => sample.name === "freehold_http_requests_total" && !/^[123]/.test(sample.labels.status))
    .sort((a, b) => b.labels.status.localeCompare(a.labels.status) || b.value - a.value);
  const failed = values(list, "freehold_answers_total", "gen_ai_request_model")
    .map((model) => ({ model, of: (outcome) => sum(list, "freehold_answers_total", { gen_ai_request_model: model, outcome }) }))
    .map(({ model, of }) => ({ model, complete: of("complete"), gone: of("client_gone"), failed: of("failed") }));
  const http =
    refused.length === 0
      ? empty("No errors since the start", "Every request was answered well.")
      : table(
          [
            { title: "Status", head: true, cell: (sample) => tag(sample.labels.status, sample.labels.status >= "500" ? "bad" : "warn") },
            { title: "Means", cell: (sample) => REASONS[sample.labels.status] ?? "refused" },
            { title: "Under", cell: (sample) => h("code", null, sample.labels.route) },
            { title: "How often", right: true, cell: (sample) => count(sample.value) },
          ],
          refused,
          { label: "Errors since the start" },
        );
  const answers =
    failed.length > 0 &&
    card(
      "Answers since the start",
      { flush: true },
      table(
        [
          { title: "Model", head: true, cell: (row) => h("code", null, row.model) },
          { title: "Complete", right: true, cell: (row) => count(row.complete) },
          { title: "Client left", right: true, cell: (row) => count(row.gone) },
          { title: "Failed", right: true, cell: (row) => (row.failed ? tag(count(row.failed), "bad") : "0") },
        ],
        failed,
        { label: "Answers since the start" },
      ),
    );
  return [card("Errors since the start", { flush: true }, http), answers];
}

function devices(status) {
  if (!status.devices?.length) return null;
  return card(
    "Devices",
    { flush: true },
    table(
      [
        { title: "Device", head: true, cell: (device) => device.description || device.name },
        { title: "Kind", cell: (device) => tag(device.kind) },
        { title: "Memory", right: true, cell: (device) => bytes(device.memory_bytes) },
        { title: "Free", right: true, cell: (device) => bytes(device.memory_free_bytes) },
      ],
      status.devices,
      { label: "Devices" },
    ),
  );
}

function draw({ status, list, now }) {
  const { memory } = status;
  const share = memory.budget_bytes ? memory.reserved_bytes / memory.budget_bytes : 0;
  const output = rates("output").slice(-3);
  const speed = output.length ? output.reduce((total, value) => total + value, 0) / output.length : 0;
  return h(
    "div",
    { class: "stack" },
    figures([
      ["Running", count(now.running), `${count(now.waiting)} waiting`],
      ["Output", `${fixed(speed, 1)}`, "tokens a second, last seconds"],
      ["Model memory", bytes(memory.reserved_bytes), [`of ${bytes(memory.budget_bytes)}`, meter(share, "Model memory in use")]],
      ["Requests", count(status.requests), "since the start"],
      ["Up for", span(status.uptime_s), `version ${status.version}`],
    ]),
    card("Load", { text: "The last minutes, as seen by this page." }, load()),
    h("section", { class: "stack", "aria-label": "Workers" }, h("h2", null, "Workers"), status.workers.length === 0 ? h("div", { class: "card" }, empty("No model is loaded", "A model is loaded when it is first asked for, and unloaded when it is idle.", linkButton("See the models", "/operator/models"))) : status.workers.map((one) => worker(one, list))),
    errors(list),
    devices(status),
  );
}

export async function service({ signal }) {
  const place = h("div", null, draw(await read(signal)));
  const refresh = async () => {
    // What someone looks at is not drawn over: an open table, a selection, a focus inside.
    const looking = place.querySelector("details[open]") || place.contains(document.activeElement) || !document.getSelection()?.isCollapsed;
    try {
      const state = await read(signal);
      if (!looking) fill(place, draw(state));
    } catch (error) {
      if (error.name !== "AbortError" && !signal.aborted) fill(place, problem(error));
    }
    if (!signal.aborted) setTimeout(refresh, document.hidden ? EVERY_MS * 5 : EVERY_MS);
  };
  setTimeout(refresh, EVERY_MS);
  return [head("Service", "What runs where, how busy it is, and what went wrong.", h("a", { class: "button", href: "/metrics", target: "_blank", rel: "noopener" }, "Metrics")), place];
}
