// Invoices and credit notes: lists, one as a page, and what an operator does with one.

import { ApiError, download, get, onceFor, post, who } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { count, decimal, exactMoney, money, toNano } from "../format.js";
import { button, card, empty, field, figures, form, head, input, linkButton, table, tag, toast } from "../parts.js";
import { taxWords } from "./tax.js";

const issued = (row) => String(row.issued_at ?? "").slice(0, 10) || "–";
const STATES = { paid: "good", issued: "warn", credited: "" };
const kindOf = (row) => row.kind?.kind ?? row.kind;
const isNote = (row) => kindOf(row) === "credit_note";
const isReceipt = (row) => kindOf(row) === "top_up";
const isOpen = (row) => !isNote(row) && !isReceipt(row) && row.state === "issued" && BigInt(row.due ?? 0) > 0n;

/** How an invoice stands. */
function stateTag(row) {
  if (isNote(row)) return tag("credit note");
  if (isReceipt(row)) return tag("receipt", "good");
  return tag(row.state === "issued" ? "to be paid" : row.state, STATES[row.state]);
}

/** A list of invoices; `names` (tenants by id) is for operators. */
export function invoiceTable(rows, { base = "/billing", names = null, again = null } = {}) {
  const actions = (row) => [
    again && isOpen(row) && button("Paid", () => paid(row, again), { kind: "quiet", label: `Note that ${row.number} is paid` }),
    button("PDF", () => pdf(row), { kind: "quiet", sign: "down", label: `PDF of ${row.number}` }),
  ];
  const columns = [
    { title: "Number", head: true, cell: (row) => h("a", { href: `${base}/${encodeURIComponent(row.id)}`, class: "nowrap" }, row.number) },
    names && { title: "Tenant", cell: (row) => h("span", { class: "breaks" }, names.get(row.tenant) ?? row.tenant) },
    { title: "Month", cell: (row) => h("span", { class: "nowrap" }, row.month) },
    { title: "Issued", cell: (row) => h("span", { class: "nowrap" }, issued(row)) },
    { title: "State", cell: stateTag },
    { title: "Total", right: true, cell: (row) => exactMoney(row.gross, row.currency) },
    { title: "Due", right: true, cell: (row) => (isOpen(row) ? exactMoney(row.due, row.currency) : "–") },
    { title: "", right: true, cell: (row) => h("div", { class: "actions" }, actions(row)) },
  ];
  return table(columns.filter(Boolean), rows, { label: "Invoices" });
}

function pdf(row) {
  return download(`/invoices/${encodeURIComponent(row.id)}?format=pdf`, `${row.number}.pdf`);
}

async function paid(row, again) {
  const text = `You have received ${exactMoney(row.due, row.currency)} for ${row.number}. This cannot be taken back.`;
  const done = await confirm("Is this invoice paid?", text, "It is paid", () => post(`/invoices/${encodeURIComponent(row.id)}/paid`));
  if (!done) return;
  toast(`${row.number} is paid.`);
  await again();
}

function creditNote(row, again) {
  const repeatable = onceFor();
  const whole = isOpen(row);
  const amount = input({ name: "amount", required: true, inputmode: "decimal", maxlength: "19", value: decimal(whole ? row.due : row.total), readonly: whole });
  const help = whole ? "Nothing was paid on this invoice, so all that is due on it goes, its tax too." : "It becomes credit of the tenant; at most what is left of the invoice, without tax: the tax stays paid, as for all credit.";
  const submit = async (fields, close) => {
    const nano = toNano(fields.amount.value);
    if (nano === null || BigInt(nano) <= 0n) throw new ApiError(400, "The amount is more than zero, such as 25 or 0.50.", { param: "amount" });
    const body = { amount: nano, reason: fields.reason.value.trim() };
    const text = `The note gets a number of its own and stands for good. It costs you ${exactMoney(nano, row.currency)}.`;
    const done = await confirm(`Credit ${exactMoney(nano, row.currency)} of ${row.number}?`, text, "Make the credit note", () => post(`/invoices/${encodeURIComponent(row.id)}/credit-note`, body, repeatable(body)));
    if (!done) return;
    close();
    toast("The credit note is made.");
    await again();
  };
  return open(`Credit note on ${row.number}`, (close) =>
    form([field(`Amount (${row.currency})`, amount, { help }), field("Reason", input({ name: "reason", required: true, maxlength: "200", autocomplete: "off" }), { help: "It stands on the note." })], {
      text: "Go on",
      cancel: () => close(),
      submit: (fields) => submit(fields, close),
    }),
  );
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
  const tax = data.tax && line(`${taxWords(data.tax)}${data.tax_amount === "0" ? "" : ` on ${exactMoney(data.taxable, data.currency)}`}`, data.tax_amount);
  if (isNote(data) || isReceipt(data)) return h("tfoot", null, tax && line("Net", data.total), tax, line(isNote(data) ? "Credited" : "Paid", data.gross));
  const due = data.state === "issued" ? "Due" : `Was due, now ${data.state}`;
  const totals = tax ? [line("Net total", data.total), tax, line("Total with tax", data.gross)] : line("Total", data.total);
  return h("tfoot", null, credits.length > 0 && line("Subtotal", data.subtotal), credits, totals, prepaid, data.due !== "0" && line(due, data.due));
}

function invoiceLines(data) {
  if (!data.lines?.length) return empty("There are no lines", "Nothing was billed in this month.");
  return table(
    [
      { title: isNote(data) || isReceipt(data) ? "What" : "Model or sku", head: true, cell: (line) => [line.description, line.month && h("span", { class: "faint" }, ` in ${line.month}, after its invoice`)] },
      { title: "Used", cell: (line) => h("div", null, (line.parts ?? []).map((part) => used(part, data.currency))) },
      { title: "Records", right: true, cell: (line) => (line.records ? count(line.records) : "–") },
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

export async function invoice({ signal, parameters, again }) {
  const id = encodeURIComponent(parameters.invoice);
  const operator = location.pathname.startsWith("/operator/") && who().operator;
  const data = await get(`/invoices/${id}?format=json`, { signal });
  const page = () => download(`/invoices/${id}?format=html`, `${data.number}.html`);
  const note = isNote(data);
  const receipt = isReceipt(data);
  const due = isOpen(data) && data.due_at ? `, due ${String(data.due_at).slice(0, 10)}` : "";
  const parties = [party("From", data.seller), party("To", data.buyer)].filter(Boolean);
  const actions = [
    operator && isOpen(data) && button("Note its payment", () => paid(data, again)),
    operator && !note && !receipt && data.state !== "credited" && button("Credit note", () => creditNote(data, again)),
    button("PDF", () => pdf(data), { kind: "primary", sign: "down" }),
    button("HTML", page, { sign: "down" }),
    linkButton("All invoices", operator ? "/operator/billing" : "/billing", { kind: "quiet" }),
  ];
  const sum = (name) => [name, money(data.gross, data.currency), exactMoney(data.gross, data.currency)];
  const taxed = data.tax && [taxWords(data.tax), money(data.tax_amount, data.currency), exactMoney(data.tax_amount, data.currency)];
  const facts = note || receipt
    ? [sum(note ? "Credited" : "Paid"), taxed, ["State", stateTag(data)]].filter(Boolean)
    : [sum("Total"), taxed, ["Due", isOpen(data) ? money(data.due, data.currency) : money("0", data.currency)], ["State", stateTag(data)]].filter(Boolean);
  return [
    head(`${note ? "Credit note" : receipt ? "Receipt" : "Invoice"} ${data.number}`, `For ${data.month}, issued ${issued(data)}${due}.`, ...actions.filter(Boolean)),
    h(
      "div",
      { class: "stack" },
      figures(facts),
      parties.length > 0 && h("div", { class: "cards" }, parties),
      card("Lines", { flush: true, text: "Each amount is rounded once for each usage record, a tax once for the document, half to even; everything adds up exactly." }, invoiceLines(data)),
      data.note && card("Note", {}, data.note.split("\n").filter(Boolean).map((text) => h("p", { class: "muted" }, text))),
    ),
  ];
}
