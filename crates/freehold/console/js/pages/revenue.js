// Revenue for the operator: what all tenants used and what it came to.

import { all, get } from "../api.js";
import { h } from "../dom.js";
import { count, exactMoney, money, utcDay } from "../format.js";
import { card, empty, field, figures, head, linkButton, select } from "../parts.js";
import { ranks } from "../plot.js";
import { go } from "../router.js";
import { everyDay, plotDays, sumBy, sumTable } from "./usage.js";

const DAY_MS = 86_400_000;
const RANGES = [["7", "Last 7 days"], ["30", "Last 30 days"], ["90", "Last 90 days"]];

export async function revenue({ signal, query }) {
  const days = query.get("days") ?? "30";
  const by = query.get("by") === "model" ? "model" : "tenant";
  const to = utcDay(new Date());
  const from = utcDay(new Date(Date.parse(to) - (Number(days) - 1) * DAY_MS));
  const [answer, tenants] = await Promise.all([get(`/revenue?from=${from}&to=${to}&by=day,tenant,model`, { signal }), all("/tenants", { signal }).catch(() => [])]);
  const rows = answer.data ?? [];
  const { currency } = answer;
  const names = new Map(tenants.map((tenant) => [tenant.id, tenant.name]));
  const move = (name, value) => {
    const next = new URLSearchParams(query);
    next.set(name, value);
    go(`/operator/revenue?${next}`);
  };
  const filters = h(
    "div",
    { class: "filters" },
    field("Period", select(RANGES, { value: days, onchange: (event) => move("days", event.target.value) })),
    field("Split by", select([["tenant", "Tenant"], ["model", "Model"]], { value: by, onchange: (event) => move("by", event.target.value) })),
  );
  const top = head("Revenue", "What was billed for use, by day (UTC). It adds up to the nano-unit.");
  const total = sumBy(rows.map((row) => ({ ...row, all: "all" })), "all")[0];
  if (!total) return [top, h("div", { class: "stack" }, filters, h("div", { class: "card" }, empty("No revenue in this time", "What tenants use appears here when prices are published.", linkButton("See the prices", "/prices"))))];
  const title = `Revenue by day and ${by}`;
  const sums = sumBy(rows, by);
  return [
    top,
    h(
      "div",
      { class: "stack" },
      filters,
      figures([["Revenue", money(total.amount, currency), exactMoney(total.amount, currency)], ["Requests", count(total.requests)], ["Output tokens", count(total.output_tokens)], ["Tenants", count(sumBy(rows, "tenant").length)]]),
      card(title, {}, plotDays(rows, { days: everyDay(from, to), by, names, measure: "amount", currency, title })),
      card(by === "tenant" ? "Tenants" : "Models", {}, ranks(sums.map((sum) => ({ name: names.get(sum.name) ?? sum.name, value: Number(sum.amount) / 1e9, text: money(sum.amount, currency) })), { label: title })),
      card(`By ${by}`, { flush: true }, sumTable(by === "tenant" ? "Tenant" : "Model", `Revenue by ${by}`, sums, names, currency)),
    ),
  ];
}
