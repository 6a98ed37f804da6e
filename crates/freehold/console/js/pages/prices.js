// Prices: what holds now, what will, what held. Everyone may read them; the operator publishes new versions.

import { ApiError, all, get, once, post, who } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { decimal, exactMoney, moment, toNano } from "../format.js";
import { button, card, empty, field, form, head, input, notice, table, tag } from "../parts.js";

const KINDS = [["input", "Input"], ["cached", "Cached input"], ["output", "Output"]];

/** The versions of an answer: what holds now and what will, the newest first. */
function versions(answer) {
  const list = [];
  for (let one = answer; one; one = one.upcoming) if (one.number > 0) list.push(one);
  return list.sort((a, b) => Date.parse(b.effective_at) - Date.parse(a.effective_at));
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

function publish(current, models, again) {
  const known = h("datalist", { id: "known-models" }, [...models.map((model) => model.name), "*"].map((value) => h("option", { value })));
  const start = modelRows(current).map((row) => line(row.name, row, "known-models"));
  const lines = h("div", { class: "stack tight" }, start.length ? start : line("*", null, "known-models"));
  const currency = current ? null : field("Currency", input({ name: "currency", value: "EUR", required: true, pattern: "[A-Z]{3}", maxlength: "3" }), { help: "Of every price from now on: it cannot change later." });
  return open("Publish prices", (close) =>
    form(
      [
        notice("info", null, "A new version holds from its time on, for calls that begin after it. Prices never change backwards."),
        currency,
        h("fieldset", { class: "stack tight", "aria-label": "Prices for 1,000,000 tokens" }, h("p", { class: "small muted" }, `For 1,000,000 tokens${current ? `, in ${current.currency}` : ""}`), known, h("div", { class: "price-line heads", "aria-hidden": "true" }, ["Model", ...KINDS.map(([, title]) => title)].map((title) => h("span", { class: "small faint" }, title))), lines, h("div", null, button("Add a model", () => lines.append(line("", null, "known-models")), { sign: "plus" }))),
        field("Holds from", input({ name: "at", type: "datetime-local" }), { help: "Left empty: from now on. Your local time." }),
      ],
      {
        text: "Publish",
        cancel: () => close(),
        submit: async (fields) => {
          const body = { currency: current?.currency ?? fields.currency.value, models: readLines(lines), skus: current?.skus ?? {} };
          if (fields.at.value) body.effective_at = new Date(fields.at.value).toISOString();
          await post("/prices", body, once());
          close();
          await again();
        },
      },
    ),
  { broad: true });
}

export async function prices({ signal, again }) {
  const operator = Boolean(who()?.operator);
  const answer = await get("/prices", { signal });
  const list = versions(answer);
  const now = Date.now();
  const current = list.find((one) => Date.parse(one.effective_at) <= now);
  const later = list.filter((one) => Date.parse(one.effective_at) > now).reverse();
  const models = operator ? await all("/models", { signal }).catch(() => []) : [];
  const publisher = () => button("Publish prices", () => publish(current ?? list[0] ?? null, models, again), { kind: "primary", sign: "plus" });
  const title = (one) => `Version ${one.number ?? "–"}`;
  const older = list.filter((one) => one !== current && !later.includes(one));
  return [
    head("Prices", "For 1,000,000 tokens, before tax. Published versions never change; a new one holds from its time on.", operator && publisher()),
    h(
      "div",
      { class: "stack" },
      list.length === 0 && h("div", { class: "card" }, empty("No prices are published", operator ? "Publish the first version, and what is used from then on is billed." : "Nothing that you use here costs anything so far.", operator && publisher())),
      current && card(`${title(current)}, since ${moment(current.effective_at)}`, { flush: true, actions: [tag("holds now", "good")] }, priceTable(current)),
      later.map((one) => card(`${title(one)}, from ${moment(one.effective_at)}`, { flush: true, actions: [tag("soon", "warn")] }, priceTable(one))),
      older.length > 0 && h("details", null, h("summary", null, `Older versions (${older.length})`), h("div", { class: "stack", style: { "margin-top": "16px" } }, older.map((one) => card(`${title(one)}, since ${moment(one.effective_at)}`, { flush: true }, priceTable(one))))),
    ),
  ];
}
