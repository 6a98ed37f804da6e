// Billing: the balance, vouchers, invoices, and one invoice as a page.

import { download, get, mayBe, once, post, who } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { count, exactMoney, money } from "../format.js";
import { button, card, empty, field, figures, form, head, input, linkButton, notice, pages, problem, table, tag, toast } from "../parts.js";

function redeem(again) {
  return open("Redeem a voucher", (close) =>
    form([field("Code", input({ name: "code", required: true, maxlength: "200", autocomplete: "off", spellcheck: "false" }))], {
      text: "Redeem",
      cancel: () => close(),
      submit: async ({ code }) => {
        const answer = await post("/vouchers/redeem", { code: code.value.trim() }, once());
        close();
        toast(answer?.amount ? `${money(answer.amount, answer.currency)} of credit was added.` : "The credit was added.");
        await again();
      },
    }),
  );
}

function balanceFigures(balance) {
  const { currency } = balance;
  return figures([
    ["Available", money(balance.available ?? balance.balance, currency), balance.mode === "postpaid" ? "you pay by invoice" : "prepaid"],
    ["Balance", money(balance.balance, currency), exactMoney(balance.balance, currency)],
    ["Held", money(balance.held ?? "0", currency), "for answers under way"],
    balance.mode === "postpaid" && ["Credit limit", money(balance.credit_limit, currency)],
  ].filter(Boolean));
}

/** When an invoice was made, whatever its service calls it. */
const issued = (row) => String(row.issued_at ?? row.created_at ?? row.date ?? "").slice(0, 10) || "–";
const total = (row) => row.total ?? row.amount;
const STATES = { paid: "good", open: "warn", overdue: "bad" };

function invoiceTable(rows) {
  return table(
    [
      { title: "Number", head: true, cell: (row) => h("a", { href: `/billing/${encodeURIComponent(row.id ?? row.number)}` }, row.number ?? row.id) },
      { title: "Month", cell: (row) => row.month ?? "–" },
      { title: "Issued", cell: issued },
      { title: "State", cell: (row) => (row.kind === "credit_note" ? tag("credit note") : row.state ? tag(row.state, STATES[row.state]) : "") },
      { title: "Total", right: true, cell: (row) => exactMoney(total(row), row.currency) },
      { title: "", right: true, cell: (row) => h("div", { class: "actions" }, button("PDF", () => pdf(row), { kind: "quiet", sign: "down", label: `PDF of ${row.number ?? row.id}` })) },
    ],
    rows,
    { label: "Invoices" },
  );
}

function pdf(row) {
  return download(`/invoices/${encodeURIComponent(row.id ?? row.number)}?format=pdf`, `invoice-${row.number ?? row.id}.pdf`);
}

/** A part of a page that may be missing without breaking the rest. */
async function part(make) {
  try {
    return await make();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return problem(error);
  }
}

export async function billing({ signal, again }) {
  if (!who().tenant) return [head("Billing"), h("div", { class: "card" }, empty("This is the page of a tenant", "Credit for tenants is given on the page Tenants."))];
  const [balance, list] = await Promise.all([
    part(async () => balanceFigures(await get("/balance", { signal }))),
    part(() =>
      pages(
        (after) => get(`/invoices${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }),
        invoiceTable,
        empty("No invoices yet", "One is made at the start of each month for the month before, to the nano-unit.", linkButton("See this month's usage", "/usage")),
      ),
    ),
  ]);
  return [
    head("Billing", "What you have, what is held for answers under way, and what was billed.", mayBe("billing") && button("Redeem a voucher", () => redeem(again), { sign: "plus" })),
    h("div", { class: "stack" }, balance, card("Invoices", { flush: true }, list)),
  ];
}

function invoiceLines(data) {
  const lines = data.lines ?? data.items ?? [];
  if (lines.length === 0) return empty("This invoice has no lines", "Nothing was billed in its month.");
  const foot = h("tfoot", null, h("tr", null, h("th", { scope: "row", colspan: "3" }, "Total"), h("td", { class: "right" }, exactMoney(total(data), data.currency))));
  return table(
    [
      { title: "What", head: true, cell: (line) => [line.description ?? line.model ?? line.sku ?? "–", line.meter && h("span", { class: "faint" }, ` ${line.meter}`)] },
      { title: "Quantity", right: true, cell: (line) => `${count(Number(line.quantity ?? 0))} ${line.unit ?? ""}` },
      { title: "Price", right: true, cell: (line) => (line.unit_price ?? line.price ? exactMoney(line.unit_price ?? line.price, data.currency) : "–") },
      { title: "Amount", right: true, cell: (line) => exactMoney(line.amount, data.currency) },
    ],
    lines,
    { label: "Lines", foot },
  );
}

export async function invoice({ signal, parameters }) {
  const id = encodeURIComponent(parameters.invoice);
  const data = await get(`/invoices/${id}?format=json`, { signal });
  const name = data.number ?? data.id ?? parameters.invoice;
  const row = { id: data.id ?? parameters.invoice, number: data.number };
  const page = () => download(`/invoices/${id}?format=html`, `invoice-${name}.html`);
  return [
    head(`${data.kind === "credit_note" ? "Credit note" : "Invoice"} ${name}`, `${data.month ? `For ${data.month}, ` : ""}issued ${issued(data)}.`, button("PDF", () => pdf(row), { kind: "primary", sign: "down" }), button("HTML", page, { sign: "down" }), linkButton("All invoices", "/billing", { kind: "quiet" })),
    h("div", { class: "stack" }, figures([["Total", exactMoney(total(data), data.currency)], data.tax !== undefined && ["Of it tax", exactMoney(data.tax, data.currency)], data.state && ["State", data.state]].filter(Boolean)), card("Lines", { flush: true }, invoiceLines(data)), data.note && notice("info", null, data.note)),
  ];
}
