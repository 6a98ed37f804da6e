// The audit trail: who changed what, as CloudEvents.

import { get, who } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { ago, moment } from "../format.js";
import { button, card, code, empty, head, pages, table } from "../parts.js";

/** What an event says, in short: the last words of its type. */
function title(event) {
  const words = String(event.type ?? "").split(".").slice(-2).join(" ").replaceAll("_", " ").replaceAll("-", " ");
  return words || "–";
}

/** Who did it: a person's address, a key's id, or anybody. */
function actor(event) {
  const by = event.data?.by ?? {};
  return by.email ?? by.id ?? by.kind ?? "–";
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

export async function trail({ signal }) {
  const list = await pages(
    (after) => get(`/trail?limit=100${after ? `&after=${encodeURIComponent(after)}` : ""}`, { signal }),
    draw,
    empty("Nothing happened yet", "Every change to keys, people, limits and models leaves an entry here that nobody can edit."),
  );
  return [head("Audit trail", "Every administrative action: who did what, and when. Events are CloudEvents 1.0."), card(who().tenant ? `Of ${who().tenant.name}` : "Of the service", { flush: true }, list)];
}
