// Limits and budgets of a tenant, or of one of its keys.

import { ApiError, all, get, mayBe, put, who } from "../api.js";
import { h } from "../dom.js";
import { decimal, money, toNano, utcDay } from "../format.js";
import { card, empty, field, form, head, input, meter, notice, select, toast } from "../parts.js";
import { go } from "../router.js";
import { thisMonth } from "./start.js";

const COUNTS = [
  ["requests_per_minute", "Requests a minute", "Over it, calls answer 429 and say when to try again."],
  ["tokens_per_minute", "Tokens a minute", "Prompt and answer together."],
  ["parallel", "Requests at the same time", "One more is refused with 429."],
];
const BUDGETS = [
  ["budget_day", "Budget a day", "Hard: the call that does not fit is refused. Days are in UTC."],
  ["budget_month", "Budget a month", "Hard, as the one of the day."],
];

/** What was typed, as the API takes it; what is empty has no limit. */
function read(fields) {
  const limits = {};
  for (const [name] of COUNTS) limits[name] = fields[name].value === "" ? null : Number(fields[name].value);
  for (const [name, text] of BUDGETS) {
    limits[name] = fields[name].value.trim() === "" ? null : toNano(fields[name].value);
    if (fields[name].value.trim() !== "" && limits[name] === null) throw new ApiError(400, `${text} is an amount such as 25 or 0.50.`, { param: name });
  }
  const percents = fields.alert_at_percent.value.split(/[\s,;]+/).filter(Boolean).map(Number);
  if (percents.some((percent) => !Number.isInteger(percent) || percent < 1 || percent > 100)) {
    throw new ApiError(400, "Alerts are whole percents from 1 to 100, such as 50, 80, 100.", { param: "alert_at_percent" });
  }
  limits.alert_at_percent = percents;
  const url = fields.webhook.value.trim();
  limits.webhook = url ? { url } : null;
  return limits;
}

function limitForm(limits, path, { currency, again }) {
  const whole = ([name, text, help]) => field(text, input({ name, type: "number", min: "1", step: "1", inputmode: "numeric", placeholder: "no limit", value: limits[name] ?? "" }), { help });
  const amount = ([name, text, help]) => field(`${text}${currency ? ` (${currency})` : ""}`, input({ name, inputmode: "decimal", maxlength: "19", placeholder: "no limit", value: limits[name] === null || limits[name] === undefined ? "" : decimal(limits[name]) }), { help });
  const fields = [
    h("div", { class: "fields" }, COUNTS.map(whole)),
    h("div", { class: "fields" }, BUDGETS.map(amount)),
    h(
      "div",
      { class: "fields" },
      field("Alert at percent of a budget", input({ name: "alert_at_percent", placeholder: "50, 80, 100", value: (limits.alert_at_percent ?? []).join(", ") }), { help: "Soft: nothing is refused, the webhook is called." }),
      field("Webhook", input({ name: "webhook", type: "url", placeholder: "https://example.com/alerts", maxlength: "2000", value: limits.webhook?.url ?? "" }), { help: "Called with a signed message, and again if it does not answer." }),
    ),
  ];
  if (!mayBe("billing")) return [notice("info", null, "Your role can read the limits; an owner or the billing role changes them."), h("fieldset", { disabled: true, class: "stack" }, fields)];
  return form(fields, {
    text: "Save",
    submit: async (elements) => {
      await put(path, read(elements));
      toast("The limits are saved. They hold from the next request on.");
      await again();
    },
  });
}

/** How much of a budget is used; null when there is no budget. */
function used(label, budget, amount, currency) {
  if (budget === null || budget === undefined || BigInt(budget) <= 0n) return null;
  const share = Number((BigInt(amount) * 1000n) / BigInt(budget)) / 1000;
  return h("div", { class: "rank" }, h("div", { class: "row" }, h("span", null, label), h("span", { class: "num" }, `${money(amount, currency)} of ${money(budget, currency)}`)), meter(share, `${label}: ${Math.round(share * 100)} percent used`));
}

async function spent(key, signal) {
  const { from, to } = thisMonth();
  try {
    const usage = await get(`/usage?from=${from}&to=${to}&by=day,key`, { signal });
    const rows = (usage.data ?? []).filter((row) => !key || row.key === key);
    const sum = (some) => some.reduce((total, row) => total + BigInt(row.amount ?? 0), 0n);
    return { month: sum(rows), day: sum(rows.filter((row) => String(row.day).slice(0, 10) === utcDay(new Date()))), currency: usage.currency };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}

export async function limits({ signal, query, again }) {
  if (!who().tenant) return [head("Limits and budgets"), h("div", { class: "card" }, empty("This is the page of a tenant", "Sign in as a member or with a key of a tenant to see its limits."))];
  const key = query.get("key") ?? "";
  const path = `/limits${key ? `?key=${encodeURIComponent(key)}` : ""}`;
  const [now, keys, sums] = await Promise.all([get(path, { signal }), all("/keys", { signal }), spent(key, signal)]);
  const currency = now.currency ?? sums?.currency;
  const good = keys.filter((one) => one.state === "active");
  const meters = sums && [used("Today", now.budget_day, sums.day, currency), used("This month", now.budget_month, sums.month, currency)].filter(Boolean);
  const name = good.find((one) => one.id === key)?.name;
  return [
    head("Limits and budgets", "They are checked before work starts, for the request at hand: many at once cannot pass a budget together."),
    h(
      "div",
      { class: "stack" },
      h("div", { class: "filters" }, field("Limits of", select([["", `All of ${who().tenant.name}`], ...good.map((one) => [one.id, `Key ${one.name}`])], { value: key, onchange: (event) => go(event.target.value ? `/limits?key=${encodeURIComponent(event.target.value)}` : "/limits") }))),
      meters?.length > 0 && card("Used", {}, h("div", { class: "ranks" }, meters)),
      card(name ? `Limits of the key ${name}` : `Limits of ${who().tenant.name}`, { text: name ? "The tenant's limits hold as well." : "Across all of its keys." }, limitForm(now, path, { currency, again })),
    ),
  ];
}
