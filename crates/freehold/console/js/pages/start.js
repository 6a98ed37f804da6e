// The first page: what to do next, and how things stand.

import { all, get, mayBe, who } from "../api.js";
import { exportKey, firstCall } from "../code.js";
import { h } from "../dom.js";
import { count, money, moneyLeft, utcDay } from "../format.js";
import { icon } from "../icons.js";
import { button, card, code, empty, figures, head, linkButton, notice, secret, table, tabs, tag } from "../parts.js";
import { createKey } from "./keys.js";
import { waiting } from "./signup.js";

/** What an optional part of the API answers; null when it has nothing or is not there. */
async function maybe(path, signal) {
  try {
    return await get(path, { signal });
  } catch (error) {
    if (error.name === "AbortError" || error.status === 401) throw error;
    return null;
  }
}

/** The first day of this month and today, in UTC. */
function thisMonth() {
  const now = new Date();
  return { from: utcDay(new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1))), to: utcDay(now) };
}

function step(number, done, title, ...content) {
  const state = done ? [icon("check"), h("span", { class: "sr" }, "Done")] : number;
  return h("li", { class: ["step", done && "done"] }, h("div", { class: "mark" }, state), h("div", { class: "stack" }, h("h2", null, title), content));
}

function summary(balance, usage) {
  const items = [];
  if (balance) {
    const left = balance.available === undefined ? "No limit" : moneyLeft(balance.available, balance.currency);
    items.push(["Available", left, balance.mode === "postpaid" ? "paid by invoice" : "prepaid"]);
  }
  if (usage) {
    const rows = usage.data ?? [];
    const sum = (name) => rows.reduce((total, row) => total + Number(row[name] ?? 0), 0);
    const spent = rows.reduce((total, row) => total + BigInt(row.amount ?? 0), 0n);
    items.push(["Spent this month", money(spent, usage.currency)], ["Requests this month", count(sum("requests"))], ["Tokens this month", count(sum("input_tokens") + sum("cached_tokens") + sum("output_tokens"))]);
  }
  return items.length > 0 && figures(items);
}

function modelTable(models) {
  if (models.length === 0) return empty("There is no model yet", "The operator of this service adds models; they appear here.");
  return table(
    [
      { title: "Model", head: true, cell: (model) => h("code", null, model.name) },
      { title: "State", cell: (model) => tag(model.state === "ready" ? "ready" : model.state === "loading" ? "loading" : "loads on demand", model.state === "ready" ? "good" : "") },
      { title: "Context", right: true, cell: (model) => `${count(model.context_length)} tokens` },
      { title: "Licence", cell: (model) => model.licence ?? "–" },
      { title: "Adapters", cell: (model) => model.adapters?.map((name) => `${model.name}:${name}`).join(", ") || "–" },
    ],
    models,
    { label: "Models" },
  );
}

export async function start({ signal, again }) {
  const { from, to } = thisMonth();
  const caller = who();
  if (caller.waiting) return waiting(caller.waiting);
  if (!caller.tenant) return [head("Welcome"), notice("info", "You belong to no tenant yet", "Ask for an invitation from a team that uses this service, or from its operator.")];
  const [keys, models, balance, usage] = await Promise.all([
    all("/keys", { signal }),
    all("/models", { signal }),
    maybe("/balance", signal),
    maybe(`/usage?from=${from}&to=${to}&by=day`, signal),
  ]);
  const good = keys.filter((key) => key.state === "active");
  const used = (usage?.data ?? []).some((row) => Number(row.requests) > 0) || good.some((key) => key.last_used_at && key.id !== caller.key);
  let fresh = null;
  const snippets = h("div", { class: "stack" });
  const draw = () => {
    snippets.replaceChildren(
      code(exportKey(fresh), "Key for the shell"),
      tabs(firstCall(models[0]?.name).map(([name, text]) => [name, () => code(text, name)]), { label: "Language" }),
    );
  };
  draw();
  const made = h("div");
  const make = async () => {
    const key = await createKey(models);
    if (!key) return;
    fresh = key.secret;
    made.replaceChildren(notice("good", `The key ${key.name} is made`, "It is shown this once: keep it now.", secret(key.secret)));
    draw();
  };
  const known = good.length > 0 ? `${caller.tenant.name} has ${good.length} good key${good.length === 1 ? "" : "s"}.` : "A key is what a program signs in with. Its secret is shown once.";
  return [
    head(`Welcome to ${caller.tenant.name}`, "Three steps to the first answer; below, what you can use."),
    h(
      "div",
      { class: "stack loose" },
      summary(balance, usage),
      h(
        "div",
        { class: "card" },
        h(
          "ol",
          { class: "steps" },
          step(1, good.length > 0, "Get a key", h("p", { class: "muted" }, known), made, h("div", { class: "row" }, mayBe("developer") && button("Create a key", make, { kind: good.length ? "" : "primary", sign: "plus" }), linkButton("See the keys", "/keys", { kind: "quiet" }))),
          step(2, used, "Make a call", h("p", { class: "muted" }, "Any OpenAI client works: change the base URL and the key, keep your code."), snippets),
          step(3, false, "Look around", h("p", { class: "muted" }, "Try a model without code, and see what every token cost."), h("div", { class: "row" }, linkButton("Open the playground", "/playground", { sign: "chat" }), linkButton("See usage and spend", "/usage", { sign: "chart" }))),
        ),
      ),
      card("Models", { flush: true, text: "What your keys can ask for.", actions: [button("Refresh", again, { kind: "quiet", sign: "turn" })] }, modelTable(models)),
    ),
  ];
}
