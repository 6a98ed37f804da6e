// Models for the operator: what there is, and adding more with progress.

import { all, get, once, patch, post, remove } from "../api.js";
import { confirm, open } from "../dialog.js";
import { fill, h } from "../dom.js";
import { ago, bytes, count, fixed, moment, weights } from "../format.js";
import { button, card, check, empty, field, form, head, input, meter, notice, select, table, tag, toast } from "../parts.js";

const EVERY_MS = 1000;
const STATES = { ready: "good", loading: "warn", failed: "bad", unreachable: "bad" };

/** What is known of a model whose file is here. */
const ofTheFile = (model) => [
  ["Licence", model.licence ?? "–"],
  ["Architecture", `${model.architecture}, ${weights(model.parameter_count)} weights in ${model.quantization}`],
  ["Context", `${count(model.context_length)} tokens, ${bytes(model.kv_bytes_per_token)} of cache each`],
  ["Size", bytes(model.size_bytes)],
  ["SHA-256", h("code", { class: "small" }, model.sha256)],
  ["Adapters", model.adapters.join(", ") || "none"],
];

/** What is known of a model that another server serves. */
const ofTheServer = (model) => [
  ["Server", h("code", { class: "small breaks" }, model.upstream.url)],
  ["Its name there", h("code", { class: "breaks" }, model.upstream.model)],
  ["Provider", model.upstream.provider],
  ["Key", model.upstream.has_key ? "asked with a key, which is kept sealed" : "asked without a key"],
  ["Context", `${count(model.context_length)} tokens`],
  ["At the same time", `${count(model.upstream.parallel_max)} requests, and ${count(model.upstream.queue_max)} that wait`],
  ["Prefixes", model.upstream.cache_salt ? "kept apart by tenant" : "as the server shares them"],
];

function catalogueTable(entries, choose) {
  return table(
    [
      { title: "Model", head: true, cell: (entry) => [entry.title, h("div", null, h("code", { class: "faint" }, entry.name))] },
      { title: "Weights", right: true, cell: (entry) => weights(entry.parameter_count) },
      { title: "Download", right: true, cell: (entry) => bytes(entry.download_bytes) },
      { title: "Needs", right: true, cell: (entry) => bytes(entry.memory_bytes) },
      { title: "Fits", cell: (entry) => h("span", { title: entry.explanation }, tag(entry.fits ? "fits" : "too large", entry.fits ? "good" : "warn")) },
      { title: "Licence", cell: (entry) => entry.licence },
      { title: "", right: true, cell: (entry) => h("div", { class: "actions" }, button("Choose", () => choose(entry.name), { kind: "quiet", label: `Choose ${entry.title}` })) },
    ],
    entries,
    { label: "Known models" },
  );
}

function add(catalogue, again) {
  return open(
    "Add a model",
    (close) => {
      const source = input({ name: "source", required: true, maxlength: "4096", autocomplete: "off", spellcheck: "false", placeholder: "llama-3.2-3b-instruct" });
      const treat = select([["", "As it is"], ["optimize", "Find the fastest that is as good"], ["q8_0", "Write as q8_0"], ["q4_k_m", "Write as q4_k_m"], ["q4_0", "Write as q4_0"]], { name: "treat" });
      const choose = (name) => {
        source.value = name;
        source.focus();
      };
      return form(
        [
          field("Source", source, { help: "A name from the list below, hf:owner/repo or hf:owner/repo:file.gguf, or the path of a GGUF file on the service's machine." }),
          h("div", { class: "fields" }, field("Name", input({ name: "name", maxlength: "96", autocomplete: "off", placeholder: "made from the source" }), { help: "What requests ask for." }), field("Weights", treat, { help: "Each way is measured on this machine." })),
          check("Add it even if it does not fit the memory", { name: "force" }),
          h("details", { open: true }, h("summary", null, `Known models (${catalogue.length})`), catalogueTable(catalogue, choose)),
        ],
        {
          text: "Add the model",
          cancel: () => close(),
          submit: async (fields) => {
            const body = { source: fields.source.value.trim(), force: fields.force.checked };
            if (fields.name.value.trim()) body.name = fields.name.value.trim();
            if (treat.value === "optimize") body.optimize = true;
            else if (treat.value) body.quantize = treat.value;
            await post("/models", body, once());
            close();
            await again();
          },
        },
      );
    },
    { broad: true },
  );
}

function detail(model, again) {
  return open(
    model.name,
    (close) => {
      const act = (text, work, said) => button(text, async () => {
        await work();
        close();
        toast(said);
        await again();
      });
      const path = `/models/${encodeURIComponent(model.name)}`;
      const drop = async () => {
        close();
        const text = model.upstream ? "The server keeps it; this service forgets its address and key." : "Its files and adapters are removed. Answers that are under way may end first.";
        if (await confirm(`Remove ${model.name}?`, text, "Remove the model", () => remove(path))) await again();
      };
      const pairs = [
        ["State", tag(model.state, STATES[model.state])],
        ["Source", model.source],
        ...(model.upstream ? ofTheServer(model) : ofTheFile(model)),
        ["Added", moment(model.added_at)],
      ];
      const measured = (row) => [row.name, row.served && [" ", tag("served", "good")]];
      return h(
        "div",
        { class: "sheet" },
        h("dl", { class: "pairs" }, pairs.map(([name, value]) => [h("dt", null, name), h("dd", null, value)])),
        model.measurements.length > 0 &&
          h(
            "div",
            { class: "stack tight" },
            h("h3", null, "Measured on this machine"),
            table(
              [
                { title: "Weights", head: true, cell: measured },
                { title: "Size", right: true, cell: (row) => bytes(row.bytes) },
                { title: "Perplexity", right: true, cell: (row) => fixed(row.perplexity, 3) },
                { title: "Answers, tokens/s", right: true, cell: (row) => fixed(row.decode_tokens_per_s, 1) },
                { title: "Prompts, tokens/s", right: true, cell: (row) => fixed(row.prompt_tokens_per_s, 1) },
              ],
              model.measurements,
              { label: "Measurements" },
            ),
          ),
        h(
          "footer",
          null,
          button("Remove", drop, { kind: "danger" }),
          !model.upstream && model.state === "ready" && act("Unload", () => post(`${path}/unload`), `${model.name} is unloaded when its answers have ended.`),
          !model.upstream && act(model.pinned ? "Unpin" : "Keep loaded", () => patch(path, { pinned: !model.pinned }), model.pinned ? `${model.name} may be unloaded when it is idle.` : `${model.name} stays loaded.`),
        ),
      );
    },
    { broad: true },
  );
}

function modelTable(models, again) {
  return table(
    [
      { title: "Model", head: true, cell: (model) => [h("code", null, model.name), model.pinned && [" ", tag("pinned")]] },
      { title: "State", cell: (model) => tag(model.state, STATES[model.state]) },
      { title: "Weights", right: true, cell: (model) => weights(model.parameter_count) },
      { title: "As", cell: (model) => model.quantization ?? (model.source === "upstream" ? tag("another server's") : "–") },
      { title: "Size", right: true, cell: (model) => bytes(model.size_bytes) },
      { title: "Context", right: true, cell: (model) => count(model.context_length) },
      { title: "", right: true, cell: (model) => h("div", { class: "actions" }, button("Details", () => detail(model, again), { kind: "quiet", label: `Details of ${model.name}` })) },
    ],
    models,
    { label: "Models" },
  );
}

const ended = (operation) => ["done", "failed", "cancelled"].includes(operation.state);

function progress(operation, again) {
  const share = operation.progress_permille / 1000;
  const cancel = async () => {
    await remove(`/operations/${encodeURIComponent(operation.id)}`);
    await again();
  };
  return h(
    "div",
    { class: "card progress" },
    h("div", { class: "row apart" }, h("strong", { class: "breaks" }, operation.subject), h("div", { class: "row" }, h("span", { class: "num muted" }, `${fixed(share * 100, 0)} %`), button("Cancel", cancel, { kind: "quiet", label: `Cancel ${operation.subject}` }))),
    h("div", { class: "meter", role: "progressbar", "aria-label": `Progress of ${operation.subject}`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(share * 100)) }, h("span", { style: { width: `${share * 100}%` } })),
    h("p", { class: "small muted" }, operation.step || operation.state),
  );
}

function history(operations) {
  if (operations.length === 0) return null;
  const states = { done: "good", failed: "bad", cancelled: "" };
  return card(
    "Added before",
    { flush: true },
    table(
      [
        { title: "Model", head: true, cell: (operation) => operation.subject },
        { title: "End", cell: (operation) => tag(operation.state, states[operation.state]) },
        { title: "What happened", cell: (operation) => h("span", { class: "breaks" }, operation.error?.message ?? (operation.state === "done" ? "Added" : operation.step)) },
        { title: "When", cell: (operation) => h("span", { title: moment(operation.updated_at) }, ago(operation.updated_at)) },
      ],
      operations.slice(0, 20),
      { label: "Operations" },
    ),
  );
}

/** Watches what is under way; when one ends the page is drawn again. */
function watch(running, place, { signal, again }) {
  let open = running.map((operation) => operation.id);
  const look = async () => {
    const page = await get("/operations?limit=50", { signal });
    const now = page.data.filter((operation) => !ended(operation));
    if (signal.aborted) return;
    const over = open.some((id) => !now.some((operation) => operation.id === id));
    open = now.map((operation) => operation.id);
    fill(place, now.map((operation) => progress(operation, again)));
    if (over && !document.querySelector("dialog[open]")) await again();
    else if (open.length > 0) setTimeout(() => look().catch(() => {}), EVERY_MS);
  };
  if (open.length > 0) setTimeout(() => look().catch(() => {}), EVERY_MS);
}

export async function models(context) {
  const { signal, again } = context;
  const [list, catalogue, operations] = await Promise.all([all("/models", { signal }), all("/catalogue", { signal }), get("/operations?limit=50", { signal })]);
  const running = operations.data.filter((operation) => !ended(operation));
  const place = h("div", { class: "stack", "aria-live": "polite" }, running.map((operation) => progress(operation, again)));
  watch(running, place, context);
  const adder = () => button("Add a model", () => add(catalogue, again), { kind: "primary", sign: "plus" });
  const content = list.length === 0 ? empty("No models yet", "Add one by name, from a hub or from a file; its progress shows here.", adder()) : modelTable(list, again);
  return [
    head("Models", "A model is loaded when it is first asked for. All share one memory budget.", adder()),
    h("div", { class: "stack" }, running.length > 0 && notice("info", null, `${running.length === 1 ? "A model is" : `${running.length} models are`} being added.`), place, card("Models", { flush: true }, content), history(operations.data.filter(ended))),
  ];
}
