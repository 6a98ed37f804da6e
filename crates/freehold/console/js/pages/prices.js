// Prices: what holds now, what will, what held. Everyone may read them; the operator publishes new versions.

import { ApiError, all, get, once, operate, post, who } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { decimal, exactMoney, moment, toNano } from "../format.js";
import { button, card, empty, field, form, head, input, notice, table, tag } from "../parts.js";

/** A version that begins so soon after it was published is waited for. */
const SOON_MS = 5000;

const KINDS = [["input", "Input"], ["cached", "Cached input"], ["output", "Output"]];

/** The versions of an answer: what holds now and what will. */
function versions(answer) {
  const list = [];
  for (let one = answer; one; one = one.upcoming) if (one.number > 0) list.push(one);
  return list;
}

/** The versions before one, the newest first: each is asked for by the moment before the next began. */
async function before(version, signal) {
  const list = [];
  for (let next = version; next.number > 1; next = list.at(-1)) {
    const moment = new Date(Date.parse(next.effective_at) - 1).toISOString();
    const older = await get(`/prices?at=${encodeURIComponent(moment)}`, { signal });
    if (older.number < 1 || older.number >= next.number) break;
    list.push(older);
  }
  return list;
}

const modelRows = (list) => Object.entries(list?.models ?? {}).map(([name, price]) => ({ name, ...price })).sort((a, b) => (a.name === "*") - (b.name === "*") || a.name.localeCompare(b.name));

function priceTable(list) {
  const models = modelRows(list);
  const skus = Object.entries(list.skus ?? {});
  const price = ([name, title]) => ({ title, right: true, cell: (row) => exactMoney(row[name], list.currency) });
  return [
    models.length > 0 && table([{ title: "Model", head: true, cell: (row) => (row.name === "*" ? "Every other model" : h("code", null, row.name)) }, ...KINDS.map(price)], models, { label: "Prices for 1,000,000 tokens" }),
    skus.length > 0 && table([{ title: "Sku", head: true, cell: ([name]) => h("code", null, name) }, { title: "A second", right: true, cell: ([, amount]) => exactMoney(amount, list.currency) }], skus, { label: "Prices for a second" }),
    models.length + skus.length === 0 && empty("This version has no prices", "It was published empty."),
  ];
}

/** A row of the form: a model and its three prices. */
function line(name, price, known) {
  const box = (kind, title) => input({ class: "input", "data-kind": kind, inputmode: "decimal", maxlength: "19", required: true, "aria-label": `${title} price`, placeholder: title, value: price ? decimal(price[kind]) : "" });
  const model = input({ class: "input", "data-kind": "model", list: known, required: true, maxlength: "96", "aria-label": "Model, or * for all others", placeholder: "Model or *", value: name });
  const node = h("div", { class: "price-line", "data-line": "" }, model, KINDS.map(([kind, title]) => box(kind, title)), button("", () => node.remove(), { kind: "quiet icon", sign: "close", label: `Remove the price of ${name || "this model"}` }));
  return node;
}

function readLines(node) {
  const models = {};
  for (const row of node.querySelectorAll("[data-line]")) {
    const value = (kind) => row.querySelector(`[data-kind="${kind}"]`).value.trim();
    const name = value("model");
    if (!name) throw new ApiError(400, "Say for which model each price is; * is for all others.");
    models[name] = Object.fromEntries(
      KINDS.map(([kind, title]) => {
        const amount = toNano(value(kind));
        if (amount === null) throw new ApiError(400, `${title} of ${name} is an amount such as 0.15.`);
        return [kind, amount];
      }),
    );
  }
  return models;
}

function publish(current, currency, models, again) {
  const known = h("datalist", { id: "known-models" }, [...models.map((model) => model.name), "*"].map((value) => h("option", { value })));
  const start = modelRows(current).map((row) => line(row.name, row, "known-models"));
  const lines = h("div", { class: "stack tight" }, start.length ? start : line("*", null, "known-models"));
  return open("Publish prices", (close) =>
    form(
      [
        notice("info", null, "A new version holds from its time on, for calls that begin after it. Prices never change backwards."),
        h("fieldset", { class: "stack tight", "aria-label": "Prices for 1,000,000 tokens" }, h("p", { class: "small muted" }, `For 1,000,000 tokens, in ${currency}`), known, h("div", { class: "price-line heads", "aria-hidden": "true" }, ["Model", ...KINDS.map(([, title]) => title)].map((title) => h("span", { class: "small faint" }, title))), lines, h("div", null, button("Add a model", () => lines.append(line("", null, "known-models")), { sign: "plus" }))),
        field("Holds from", input({ name: "at", type: "datetime-local" }), { help: "Left empty: from now on. Your local time." }),
      ],
      {
        text: "Publish",
        cancel: () => close(),
        submit: async (fields) => {
          const body = { models: readLines(lines), skus: current?.skus ?? {} };
          if (fields.at.value) body.effective_at = new Date(fields.at.value).toISOString();
          const published = await post("/prices", body, once());
          const wait = Date.parse(published.effective_at) - Date.now();
          if (wait < SOON_MS) await new Promise((done) => setTimeout(done, Math.max(0, wait) + 50));
          close();
          await again();
        },
      },
    ),
  { broad: true });
}

export async function prices({ signal, again }) {
  const operator = Boolean(who()?.operator);
  operate(operator);
  const answer = await get("/prices", { signal });
  const list = versions(answer);
  const now = Date.now();
  const current = list.find((one) => Date.parse(one.effective_at) <= now);
  const later = list.filter((one) => one !== current);
  const models = operator ? await all("/models", { signal }).catch(() => []) : [];
  const publisher = () => button("Publish prices", () => publish(list.at(-1) ?? null, answer.currency, models, again), { kind: "primary", sign: "plus" });
  const title = (one) => `Version ${one.number ?? "–"}`;
  const earlier = h("div", { class: "stack" });
  const showEarlier = async (node) => {
    const older = await before(current, signal);
    earlier.replaceChildren(...older.map((one) => card(`${title(one)}, since ${moment(one.effective_at)}`, { flush: true }, priceTable(one))));
    node.hidden = true;
  };
  return [
    head("Prices", "For 1,000,000 tokens, before tax. Published versions never change; a new one holds from its time on.", operator && publisher()),
    h(
      "div",
      { class: "stack" },
      list.length === 0 && h("div", { class: "card" }, empty("No prices are published", operator ? "Publish the first version, and what is used from then on is billed." : "Nothing that you use here costs anything so far.", operator && publisher())),
      current && card(`${title(current)}, since ${moment(current.effective_at)}`, { flush: true, actions: [tag("holds now", "good")] }, priceTable(current)),
      later.map((one) => card(`${title(one)}, from ${moment(one.effective_at)}`, { flush: true, actions: [tag("soon", "warn")] }, priceTable(one))),
      current?.number > 1 && h("div", null, button("Show earlier versions", showEarlier)),
      earlier,
    ),
  ];
}
