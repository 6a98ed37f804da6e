// Taxes: what is added to whose invoices, and the operator's form that says so.

import { put } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { utcDay } from "../format.js";
import { button, card, field, form, input, select, table, toast } from "../parts.js";

const WORDS = { taxed: "Taxed", exempt: "Exempt", reverse_charge: "Reverse charge", none: "No tax", inherit: "As for all tenants" };

/** A rule in a few words: "VAT 19 %". */
export function taxWords(rule) {
  if (rule.treatment === "taxed") return `${rule.name} ${rule.rate_percent} %`;
  return rule.name ? `${rule.name}: ${WORDS[rule.treatment].toLowerCase()}` : WORDS[rule.treatment];
}

function change(tax, { tenant, again }) {
  const now = tenant && tax.inherited ? { treatment: "inherit" } : tax.now;
  const kinds = tenant ? ["inherit", "taxed", "reverse_charge", "exempt", "none"] : ["none", "taxed", "exempt"];
  const treatment = select(kinds.map((kind) => [kind, WORDS[kind]]), { name: "treatment", value: now.treatment });
  const rate = field("Rate (percent)", input({ name: "rate_percent", inputmode: "decimal", maxlength: "8", value: now.rate_percent ?? "", placeholder: "19", autocomplete: "off" }), { help: "Exact, with up to four decimals." });
  const name = field("Name of the tax", input({ name: "name", maxlength: "40", value: now.name ?? "VAT", autocomplete: "off" }));
  const note = field("Note on documents", h("textarea", { name: "note", rows: "2", maxlength: "1000", value: now.note ?? "" }), { help: "What the law wants to stand there: why it is exempt, who owes the tax." });
  const from = field("From the month", input({ name: "from", type: "month", required: true, value: utcDay(new Date()).slice(0, 7) }), { help: "Invoices of this month and of later ones that are not issued yet. What was issued stays as it is." });
  const buyer = tenant && [
    field("Tax id of the tenant", input({ name: "tax_id", maxlength: "40", value: tax.tax_id ?? "", placeholder: "DE123456789", autocomplete: "off" })),
    field("Legal name and address", h("textarea", { name: "billed_to", rows: "3", maxlength: "500", value: tax.billed_to ?? "" }), { help: "They stand on its invoices." }),
  ];
  const draw = () => {
    rate.hidden = treatment.value !== "taxed";
    name.hidden = note.hidden = ["none", "inherit"].includes(treatment.value);
  };
  treatment.addEventListener("change", () => {
    // A note says why this treatment, and not another.
    note.querySelector("textarea").value = treatment.value === now.treatment ? (now.note ?? "") : "";
    draw();
  });
  draw();
  return open(tenant ? `Tax and address of ${tenant.name}` : "Tax for all tenants", (close) =>
    form([field(tenant ? "What it buys is" : "What tenants buy is", treatment), h("div", { class: "fields" }, rate, name), note, from, buyer], {
      text: "Save",
      cancel: () => close(),
      submit: async (fields) => {
        const body = { treatment: fields.treatment.value, from: fields.from.value };
        const percent = fields.rate_percent.value.trim().replace(",", ".");
        if (!rate.hidden && percent) body.rate_percent = percent;
        if (!name.hidden) Object.assign(body, { name: fields.name.value.trim(), note: fields.note.value.trim() });
        if (tenant) Object.assign(body, { tax_id: fields.tax_id.value.trim(), billed_to: fields.billed_to.value.trim() });
        await put(`/tax${tenant ? `?tenant=${encodeURIComponent(tenant.id)}` : ""}`, body);
        close();
        toast("The tax is saved. Documents that were issued stay as they are.");
        await again();
      },
    }),
  );
}

function rules(tax) {
  if (!tax.rules?.length) return null;
  return table(
    [
      { title: "From", head: true, cell: (rule) => h("span", { class: "nowrap" }, rule.from) },
      { title: "Tax", cell: taxWords },
      { title: "Note", cell: (rule) => h("span", { class: "breaks muted" }, rule.note || "–") },
    ],
    tax.rules,
    { label: "Rules about taxes" },
  );
}

/** The tax of a tenant, or of all, with the button that changes it. */
export function taxCard(tax, { tenant = null, again }) {
  const holds = `${taxWords(tax.now)}${tax.inherited ? ", as for all tenants" : ""}.`;
  const added = tax.now.treatment === "none" ? "Nothing is added to prices." : "It is added to what is due on invoices, and to credit that somebody pays for.";
  const text = tenant ? `${holds} Prices and credit are net.` : `${holds} ${added} Tenants can have a rule of their own.`;
  const lines = tenant && [tax.billed_to, tax.tax_id && `Tax id: ${tax.tax_id}`].filter(Boolean).join("\n");
  return card(
    tenant ? "Tax and address" : "Tax",
    { text, flush: true, actions: [button("Change", () => change(tax, { tenant, again }), { label: tenant ? `Change the tax of ${tenant.name}` : "Change the tax for all tenants" })] },
    lines && h("p", { class: "lines muted" }, lines),
    rules(tax),
  );
}
