// Billing: the balance, vouchers, invoices, and one invoice as a page.

import { download, get, mayBe, once, post, who } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { count, exactMoney, money } from "../format.js";
import { button, card, empty, field, figures, form, head, input, linkButton, pages, problem, table, tag, toast } from "../parts.js";

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

const issued = (row) => String(row.issued_at ?? "").slice(0, 10) || "–";
const STATES = { paid: "good", issued: "warn", draft: "", void: "", credited: "" };
const isNote = (row) => row.kind === "credit_note" || row.kind?.kind === "credit_note";

function invoiceTable(rows) {
  return table(
    [
      { title: "Number", head: true, cell: (row) => h("a", { href: `/billing/${encodeURIComponent(row.id)}` }, row.number) },
      { title: "Month", cell: (row) => row.month },
      { title: "Issued", cell: issued },
      { title: "State", cell: (row) => (isNote(row) ? tag("credit note") : tag(row.state, STATES[row.state])) },
      { title: "Total", right: true, cell: (row) => exactMoney(row.total, row.currency) },
      { title: "Due", right: true, cell: (row) => exactMoney(row.due ?? row.total, row.currency) },
      { title: "", right: true, cell: (row) => h("div", { class: "actions" }, button("PDF", () => pdf(row), { kind: "quiet", sign: "down", label: `PDF of ${row.number}` })) },
    ],
    rows,
    { label: "Invoices" },
  );
}

function pdf(row) {
  return download(`/invoices/${encodeURIComponent(row.id)}?format=pdf`, `${row.number}.pdf`);
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

/** What was used: "54 input tokens at €0.30 for 1,000,000". */
function used(part, currency) {
  const price = `${exactMoney(part.unit_price, currency)}${part.per > 1 ? ` for ${count(part.per)}` : ""}`;
  return h("div", null, `${count(part.quantity)} ${part.unit} `, h("span", { class: "faint nowrap" }, `at ${price}`));
}

function sums(data) {
  const line = (name, amount) => h("tr", null, h("th", { scope: "row", colspan: "3" }, name), h("td", { class: "right", "data-label": name }, exactMoney(amount, data.currency)));
  const credits = (data.credits ?? []).map((credit) => line(credit.description, `-${credit.amount}`));
  const prepaid = data.paid_from_credit && data.paid_from_credit !== "0" && line("Paid from credit", `-${data.paid_from_credit}`);
  return h("tfoot", null, credits.length > 0 && line("Subtotal", data.subtotal), credits, line("Total", data.total), prepaid, data.due !== undefined && line("Due", data.due));
}

function invoiceLines(data) {
  if (!data.lines?.length) return empty("This invoice has no lines", "Nothing was billed in its month.");
  return table(
    [
      { title: "Model or sku", head: true, cell: (line) => line.description },
      { title: "Used", cell: (line) => h("div", null, (line.parts ?? []).map((part) => used(part, data.currency))) },
      { title: "Records", right: true, cell: (line) => count(line.records) },
      { title: "Amount", right: true, cell: (line) => exactMoney(line.amount, data.currency) },
    ],
    data.lines,
    { label: "Lines", foot: sums(data) },
  );
}

function party(title, one) {
  if (!one?.name && !one?.lines?.length) return null;
  return card(title, {}, h("p", null, h("strong", null, one.name)), (one.lines ?? []).map((line) => h("p", { class: "muted" }, line)));
}

export async function invoice({ signal, parameters }) {
  const id = encodeURIComponent(parameters.invoice);
  const data = await get(`/invoices/${id}?format=json`, { signal });
  const page = () => download(`/invoices/${id}?format=html`, `${data.number}.html`);
  const what = isNote(data) ? `Credit note ${data.number}` : `Invoice ${data.number}`;
  const due = data.due_at ? `, due ${String(data.due_at).slice(0, 10)}` : "";
  const parties = [party("From", data.seller), party("To", data.buyer)].filter(Boolean);
  return [
    head(what, `For ${data.month}, issued ${issued(data)}${due}.`, button("PDF", () => pdf(data), { kind: "primary", sign: "down" }), button("HTML", page, { sign: "down" }), linkButton("All invoices", "/billing", { kind: "quiet" })),
    h(
      "div",
      { class: "stack" },
      figures([["Total", money(data.total, data.currency), exactMoney(data.total, data.currency)], ["Due", money(data.due ?? data.total, data.currency)], ["State", data.state]]),
      parties.length > 0 && h("div", { class: "cards" }, parties),
      card("Lines", { flush: true, text: "Each amount is rounded once for each usage record, half to even; the lines add up to the total exactly." }, invoiceLines(data)),
      data.note && card("Note", {}, data.note.split("\n").filter(Boolean).map((text) => h("p", { class: "muted" }, text))),
    ),
  ];
}
