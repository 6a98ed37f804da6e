// Usage and spend: by day, model and key, as plots and numbers, and as FOCUS files.

import { all, download, get, who } from "../api.js";
import { h } from "../dom.js";
import { count, decimal, exactMoney, money, moneyColumn, short, utcDay } from "../format.js";
import { button, card, empty, field, figures, head, input, linkButton, notice, select, table } from "../parts.js";
import { bars, ranks } from "../plot.js";
import { go } from "../router.js";

const DAY_MS = 86_400_000;
const DAYS_MAX = 400;
const RANGES = [["7", "Last 7 days"], ["30", "Last 30 days"], ["90", "Last 90 days"]];
const MEASURES = [["amount", "Spend"], ["tokens", "Tokens"], ["requests", "Requests"]];

/** Every day from `from` to `to`, both included. */
export function everyDay(from, to) {
  const days = [];
  for (let at = Date.parse(from); at <= Date.parse(to) && days.length < DAYS_MAX; at += DAY_MS) days.push(utcDay(new Date(at)));
  return days;
}

// Tokens of a prompt that had to be computed and those that a cache had are counted apart.
const tokens = (row) => Number(row.input_tokens ?? 0) + Number(row.cached_tokens ?? 0) + Number(row.output_tokens ?? 0);

/** A measure of a row as a number for a plot. Money loses nothing that a plot could show. */
function value(row, measure) {
  if (measure === "amount") return Number(decimal(row.amount));
  return measure === "tokens" ? tokens(row) : Number(row.requests ?? 0);
}

/** Sums rows by a field; money stays exact. */
export function sumBy(rows, name) {
  const sums = new Map();
  for (const row of rows) {
    const key = row[name] ?? "–";
    const sum = sums.get(key) ?? { name: key, requests: 0, input_tokens: 0, cached_tokens: 0, output_tokens: 0, seconds: 0, amount: 0n };
    for (const part of ["requests", "input_tokens", "cached_tokens", "output_tokens", "seconds"]) sum[part] += Number(row[part] ?? 0);
    sum.amount += BigInt(row.amount ?? 0);
    sums.set(key, sum);
  }
  return [...sums.values()].sort((a, b) => (b.amount > a.amount ? 1 : b.amount < a.amount ? -1 : b.requests - a.requests));
}

/** A plot of rows over days, split by a field. */
export function plotDays(rows, { days, by, names = new Map(), measure, currency, title }) {
  const at = new Map(days.map((day, index) => [day, index]));
  const series = new Map();
  for (const row of rows) {
    const name = names.get(row[by]) ?? row[by] ?? "–";
    const one = series.get(name) ?? { name, values: days.map(() => 0) };
    const index = at.get(String(row.day ?? "").slice(0, 10));
    if (index !== undefined) one.values[index] += value(row, measure);
    series.set(name, one);
  }
  const nanoOf = (number) => String(Math.round(number * 1e9));
  const format = measure === "amount" ? (number) => money(nanoOf(number), currency) : short;
  const exact = measure === "amount" ? (number) => money(nanoOf(number), currency) : count;
  return bars({ title, labels: days, ticks: days.map((day) => day.slice(5)), series: [...series.values()], format, exact });
}

/** A table of sums, as `sumBy` makes them. */
export function sumTable(title, label, sums, names, currency) {
  const money = moneyColumn(sums.map((row) => row.amount), currency);
  const number = (heading, name) => ({ title: heading, right: true, cell: (row) => count(row[name]) });
  const columns = [
    { title, head: true, cell: (row) => h("span", { class: "breaks" }, names.get(row.name) ?? row.name) },
    number("Requests", "requests"),
    number("Input", "input_tokens"),
    number("Cached", "cached_tokens"),
    number("Output", "output_tokens"),
    { title: "Spend", right: true, cell: (row) => h("span", { title: exactMoney(row.amount, currency) }, money(row.amount)) },
  ];
  return table(columns, sums, { label });
}

function range(query) {
  const today = utcDay(new Date());
  const named = query.get("days") ?? (query.get("from") ? "" : "30");
  const to = named ? today : (query.get("to") ?? today);
  const from = named ? utcDay(new Date(Date.parse(today) - (Number(named) - 1) * DAY_MS)) : query.get("from");
  return { named, from, to };
}

function filters(query, { named, from, to, measure, by }) {
  const move = (changes) => {
    const next = new URLSearchParams(query);
    for (const [name, text] of Object.entries(changes)) {
      if (text) next.set(name, text);
      else next.delete(name);
    }
    go(`/usage?${next}`);
  };
  const date = (name, at) => input({ type: "date", value: at, max: utcDay(new Date()), onchange: (event) => event.target.value && move({ days: null, from, to, [name]: event.target.value }) });
  return h(
    "div",
    { class: "filters" },
    field("Period", select([...RANGES, ["", "Other"]], { value: named, onchange: (event) => move(event.target.value ? { days: event.target.value, from: null, to: null } : { days: null, from, to }) })),
    !named && field("From", date("from", from)),
    !named && field("To", date("to", to)),
    field("Show", select(MEASURES, { value: measure, onchange: (event) => move({ show: event.target.value }) })),
    field("Split by", select([["model", "Model"], ["key", "Key"]], { value: by, onchange: (event) => move({ by: event.target.value }) })),
  );
}

function focus() {
  const month = input({ type: "month", value: utcDay(new Date()).slice(0, 7), max: utcDay(new Date()).slice(0, 7) });
  const file = (format) => button(format === "csv" ? "CSV" : "Parquet", () => download(`/usage/focus?month=${month.value}&format=${format}`, `focus-${month.value}.${format}`), { sign: "down" });
  return card("Take it with you", { text: "One row for each charge in FOCUS 1.2, the FinOps Foundation's open format; cost tools read it." }, h("div", { class: "filters" }, field("Month", month), h("div", { class: "row" }, file("csv"), file("parquet"))));
}

export async function usage({ signal, query }) {
  if (!who().tenant) return [head("Usage and spend"), notice("info", "This is the page of a tenant", h("p", null, "What all tenants used is on ", h("a", { href: "/operator/revenue" }, "Revenue"), "."))];
  const { named, from, to } = range(query);
  const measure = query.get("show") ?? "amount";
  const by = query.get("by") === "key" ? "key" : "model";
  const [answer, keys] = await Promise.all([get(`/usage?from=${from}&to=${to}&by=day,model,key`, { signal }), all("/keys", { signal }).catch(() => [])]);
  const rows = answer.data ?? [];
  const { currency } = answer;
  const names = new Map([["", "Without a key, in this console"], ...keys.map((key) => [key.id, key.name])]);
  const total = sumBy(rows.map((row) => ({ ...row, all: "all" })), "all")[0];
  const top = [head("Usage and spend", "Days are in UTC. An answer is counted when its end has reached you, and never otherwise."), h("div", { class: "stack" }, filters(query, { named, from, to, measure, by }))];
  const none = h("div", { class: "card" }, empty("Nothing was used in this time", "Make a call, or look at another period.", linkButton("Open the playground", "/playground", { sign: "chat" })));
  if (!total) return [...top, h("div", { class: "stack", style: { "margin-top": "16px" } }, none, focus())];
  const title = `${MEASURES.find(([name]) => name === measure)[1]} by day and ${by}`;
  const ranked = (list, known) => list.map((sum) => ({ name: known.get(sum.name) ?? sum.name, value: value(sum, measure), text: measure === "amount" ? money(sum.amount, currency) : count(value(sum, measure)) }));
  const models = sumBy(rows, "model");
  const byKey = sumBy(rows, "key");
  return [
    ...top,
    h(
      "div",
      { class: "stack", style: { "margin-top": "16px" } },
      figures([
        ["Spend", money(total.amount, currency), exactMoney(total.amount, currency)],
        ["Requests", count(total.requests)],
        ["Input tokens", count(total.input_tokens + total.cached_tokens), `${count(total.cached_tokens)} of them cached`],
        ["Output tokens", count(total.output_tokens)],
      ]),
      card(title, {}, plotDays(rows, { days: everyDay(from, to), by, names, measure, currency, title })),
      h("div", { class: "cards" }, card("Models", {}, ranks(ranked(models, new Map()), { label: "Models" })), card("Keys", {}, ranks(ranked(byKey, names), { label: "Keys" }))),
      card("By model", { flush: true }, sumTable("Model", "Usage by model", models, new Map(), currency)),
      card("By key", { flush: true }, sumTable("Key", "Usage by key", byKey, names, currency)),
      card("By day", { flush: true }, sumTable("Day", "Usage by day", sumBy(rows, "day").sort((a, b) => (a.name < b.name ? 1 : -1)), new Map(), currency)),
      focus(),
    ),
  ];
}
