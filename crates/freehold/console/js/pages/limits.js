// Limits and budgets of a tenant, or of one of its keys.

import { ApiError, all, get, mayBe, put, who } from "../api.js";
import { h } from "../dom.js";
import { bytes, count, decimal, money, toNano } from "../format.js";
import { card, empty, field, form, head, input, linkButton, meter, notice, secret, select, toast } from "../parts.js";
import { go } from "../router.js";

const COUNTS = [
  ["requests_per_minute", "Requests a minute", "Over it, calls answer 429 and say when to try again."],
  ["tokens_per_minute", "Tokens a minute", "Prompt and answer together."],
  ["parallel", "Requests at the same time", "One more is refused with 429."],
  ["storage_bytes", "Stored bytes", "Responses with what was asked. What does not fit is not stored."],
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

function limitForm(limits, path, { may, again }) {
  const { currency } = limits;
  const whole = ([name, text, help]) => field(text, input({ name, type: "number", min: "0", step: "1", inputmode: "numeric", placeholder: limits[`${name}_default`] ?? "no limit", value: limits[name] ?? "" }), { help });
  const amount = ([name, text, help]) => field(`${text} (${currency})`, input({ name, inputmode: "decimal", maxlength: "19", placeholder: "no limit", value: limits[name] === undefined ? "" : decimal(limits[name]) }), { help });
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
  if (!may) return [notice("info", null, "You can read the limits; an owner or the billing role changes them."), h("fieldset", { disabled: true, class: "stack" }, fields)];
  return form(fields, {
    text: "Save",
    submit: async (elements) => {
      await put(path, read(elements));
      toast("The limits are saved. They hold from the next request on.");
      await again();
    },
  });
}

/** How much of something limited is used; null when it is not limited. */
function used(label, limit, amount, write) {
  if (limit === undefined || BigInt(limit) <= 0n) return null;
  const share = Number((BigInt(amount) * 1000n) / BigInt(limit)) / 1000;
  return h("div", { class: "rank" }, h("div", { class: "row" }, h("span", null, label), h("span", { class: "num" }, `${write(amount)} of ${write(limit)}`)), meter(share, `${label}: ${Math.round(share * 100)} percent used`));
}

function meters(limits) {
  const { in_use: now, currency } = limits;
  const amount = (value) => money(value, currency);
  return [
    used("Today", limits.budget_day, now.day_spent, amount),
    used("This month", limits.budget_month, now.month_spent, amount),
    used("Requests in the last minute", limits.requests_per_minute, now.requests, count),
    used("Tokens in the last minute", limits.tokens_per_minute, now.tokens, count),
    used("Requests at the same time", limits.parallel, now.parallel, count),
    used("Stored", limits.storage_bytes ?? limits.storage_bytes_default, now.storage_bytes, bytes),
  ].filter(Boolean);
}

/** What is used of limits, and the form that changes them. */
export function limitCards(limits, { title, text, path, may, again }) {
  const bars = meters(limits);
  const signed = limits.webhook_secret && h("details", { class: "apart" }, h("summary", null, "What alerts are signed with"), h("p", { class: "small muted" }, "The header x-freehold-signature has the HMAC-SHA256 of the message with this secret; docs/billing.md says how to check it."), secret(limits.webhook_secret));
  return [bars.length > 0 && card("Used", {}, h("div", { class: "ranks" }, bars)), card(title, { text }, limitForm(limits, path, { may, again }), signed)];
}

export async function limits({ signal, query, again }) {
  if (!who().tenant) return [head("Limits and budgets"), h("div", { class: "card" }, empty("This is the page of a tenant", "The limits of a tenant are on its page under Tenants.", linkButton("See the tenants", "/operator/tenants")))];
  const key = query.get("key") ?? "";
  const path = `/limits${key ? `?key=${encodeURIComponent(key)}` : ""}`;
  const [now, keys] = await Promise.all([get(path, { signal }), all("/keys", { signal })]);
  const good = keys.filter((one) => one.state === "active");
  const name = good.find((one) => one.id === key)?.name;
  const choose = (event) => go(event.target.value ? `/limits?key=${encodeURIComponent(event.target.value)}` : "/limits");
  return [
    head("Limits and budgets", "They are checked before work starts, for the request at hand: many at once cannot pass a budget together."),
    h(
      "div",
      { class: "stack" },
      h("div", { class: "filters" }, field("Limits of", select([["", `All of ${who().tenant.name}`], ...good.map((one) => [one.id, `Key ${one.name}`])], { value: key, onchange: choose }))),
      limitCards(now, { title: name ? `Limits of the key ${name}` : `Limits of ${who().tenant.name}`, text: name ? "The tenant's limits hold as well." : "Across all of its keys.", path, may: mayBe("billing"), again }),
    ),
  ];
}
