// The audit trail: who changed what, as CloudEvents.

import { all, get, operate, who } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { ago, moment } from "../format.js";
import { button, card, code, empty, field, head, pages, select, table } from "../parts.js";
import { go } from "../router.js";

/** What an event says, in short: the last words of its type. */
function title(event) {
  const words = String(event.type ?? "").split(".").slice(-2).join(" ").replaceAll("_", " ").replaceAll("-", " ");
  return words || "–";
}

/** Who did it: a person's address, a key's id, or anybody. */
function actor(event) {
  const by = event.data?.by ?? {};
  return by.email ?? by.id ?? "–";
}

const subject = (event) => event.data?.name ?? event.data?.email ?? event.subject ?? "–";

function detail(event) {
  return open(title(event), () => [h("p", { class: "muted" }, moment(event.time)), code(JSON.stringify(event, null, 2), "The event as JSON")], { broad: true });
}

function draw(rows) {
  return table(
    [
      { title: "What", head: true, cell: title },
      { title: "When", cell: (event) => h("span", { class: "nowrap", title: moment(event.time) }, ago(event.time)) },
      { title: "On", cell: (event) => h("span", { class: "breaks" }, String(subject(event))) },
      { title: "By", cell: (event) => h("span", { class: "breaks muted" }, actor(event)) },
      { title: "", right: true, cell: (event) => h("div", { class: "actions" }, button("Details", () => detail(event), { kind: "quiet", label: `Details of ${title(event)}` })) },
    ],
    rows,
    { label: "Audit trail" },
  );
}

/** For operators: whose trail to look at. */
async function filter(whose, signal) {
  if (!who().operator) return null;
  const tenants = await all("/tenants", { signal, operator: true });
  const own = who().tenant?.name ?? "The whole service";
  const choose = (event) => go(event.target.value ? `/trail?tenant=${encodeURIComponent(event.target.value)}` : "/trail");
  return h("div", { class: "filters" }, field("Of", select([["", own], ...tenants.map((tenant) => [tenant.id, tenant.name])], { value: whose, onchange: choose })));
}

export async function trail({ signal, query }) {
  const whose = query.get("tenant") ?? "";
  operate(whose);
  const path = `/trail?limit=100${whose ? `&tenant=${encodeURIComponent(whose)}` : ""}`;
  const choice = await filter(whose, signal);
  const list = await pages(
    (after) => get(`${path}${after ? `&after=${encodeURIComponent(after)}` : ""}`, { signal }),
    draw,
    empty("Nothing happened yet", "Every change to keys, people, limits and models leaves an entry here that nobody can edit."),
  );
  return [head("Audit trail", "Every administrative action: who did what, and when. Events are CloudEvents 1.0."), h("div", { class: "stack" }, choice, card("Events", { flush: true }, list))];
}
