// Tenants for the operator: the list, and new ones.

import { get } from "../api.js";
import { h } from "../dom.js";
import { count, moment } from "../format.js";
import { button, card, empty, head, linkButton, pages, table } from "../parts.js";
import { credit, edit } from "./tenant.js";

function columns(currency, again) {
  return [
    { title: "Tenant", head: true, cell: (tenant) => h("a", { class: "breaks", href: `/operator/tenants/${encodeURIComponent(tenant.id)}` }, tenant.name) },
    { title: "Id", cell: (tenant) => h("code", { class: "faint small breaks" }, tenant.id) },
    { title: "Weight", right: true, cell: (tenant) => count(tenant.weight) },
    { title: "Since", cell: (tenant) => h("span", { class: "nowrap" }, moment(tenant.created_at)) },
    {
      title: "",
      right: true,
      cell: (tenant) =>
        h(
          "div",
          { class: "actions" },
          linkButton("Keys", `/keys?tenant=${encodeURIComponent(tenant.id)}`, { kind: "quiet" }),
          button("Credit", () => credit(tenant, currency, again), { kind: "quiet", label: `Credit for ${tenant.name}` }),
          button("Change", () => edit(tenant, again), { kind: "quiet", label: `Change ${tenant.name}` }),
        ),
    },
  ];
}

export async function tenants({ signal, again }) {
  const creator = () => button("Create a tenant", () => edit(null, again), { kind: "primary", sign: "plus" });
  const { currency } = await get("/prices", { signal });
  const list = await pages(
    (after) => get(`/tenants${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }),
    (rows) => table(columns(currency, again), rows, { label: "Tenants" }),
    empty("No tenants yet", "A tenant owns keys, usage and invoices. Its prompts are never shared with another.", creator()),
  );
  return [head("Tenants", "Who uses the service. Tenants share models fairly, by weight, and never each other's prompts. A tenant's page has its credit, limits, invoices and members.", creator()), card("Tenants", { flush: true }, list)];
}
