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

const actor = (event) => event.actor ?? event.data?.actor ?? event.source ?? "–";
const subject = (event) => event.subject ?? event.data?.subject ?? "–";
const text = (value) => (typeof value === "object" && value !== null ? (value.email ?? value.name ?? value.id ?? JSON.stringify(value)) : String(value));

function detail(event) {
  return open(title(event), () => [h("p", { class: "muted" }, moment(event.time)), code(JSON.stringify(event, null, 2), "The event as JSON")], { broad: true });
}

function draw(rows) {
  return table(
    [
      { title: "When", cell: (event) => h("span", { class: "nowrap", title: moment(event.time) }, ago(event.time)) },
      { title: "What", head: true, cell: title },
      { title: "On", cell: (event) => h("span", { class: "breaks" }, text(subject(event))) },
      { title: "By", cell: (event) => h("span", { class: "breaks muted" }, text(actor(event))) },
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
