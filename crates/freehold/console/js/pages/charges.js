// Invoices of all tenants and vouchers, for the operator.

import { all, get, onceFor, post } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { ago, count, exactMoney, moment, utcDay } from "../format.js";
import { button, card, empty, field, figures, form, head, input, notice, pages, secret, table, tag } from "../parts.js";
import { invoiceTable } from "./invoice.js";
import { taxCard } from "./tax.js";
import { amountField, amountOf } from "./tenant.js";

/** The month before this one, in UTC. */
function lastMonth() {
  const day = new Date();
  day.setUTCDate(0);
  return utcDay(day).slice(0, 7);
}

const STATES = { done: "good", waiting: "warn", running: "" };

/** The first names, and that there are more. */
function named(names, all, most) {
  const shown = (names ?? []).slice(0, most);
  return shown.join(", ") + (all > shown.length ? ` and ${count(all - shown.length)} more` : "");
}

/** What is left of a run, in a sentence or two. */
function left(run) {
  const parts = [];
  if (run.waiting_count > 0) parts.push(`${count(run.waiting_count)} wait for requests to end: ${named(run.waiting, run.waiting_count, 5)}.`);
  for (const one of (run.failed ?? []).slice(0, 3)) parts.push(`${one.tenant} has none: ${one.why}.`);
  if (run.failed_count > 3) parts.push(`${count(run.failed_count - 3)} more have none: freehold invoice runs ${run.month}.`);
  if (run.next_at) parts.push(`Tried again ${ago(run.next_at)}.`);
  return parts.join(" ") || "–";
}

function runTable(rows) {
  if (rows.length === 0) return null;
  return table(
    [
      { title: "Month", head: true, cell: (run) => h("span", { class: "nowrap" }, run.month) },
      { title: "State", cell: (run) => tag(run.state, STATES[run.state]) },
      { title: "Invoices", right: true, cell: (run) => count(run.invoices) },
      { title: "Made by", cell: (run) => (run.by === "service" ? "the service" : "an operator") },
      { title: "When", cell: (run) => h("span", { class: "nowrap" }, moment(run.finished_at ?? run.started_at)) },
      { title: "Left", cell: (run) => h("span", { class: "breaks muted" }, left(run)) },
    ],
    rows,
    { label: "Months that were invoiced" },
  );
}

function runner(runs, again) {
  const month = input({ type: "month", value: lastMonth(), max: lastMonth(), required: true });
  const run = async () => {
    let made = null;
    const text = "Each tenant that used something is billed for it. Who has an invoice for this month keeps it; nothing is billed twice.";
    await confirm(`Make the invoices for ${month.value}?`, text, "Make the invoices", async () => {
      made = await post("/invoices/run", { month: month.value });
    });
    if (!made) return;
    const issued = made.issued.length === 0 ? "No new invoice was due." : `${count(made.issued.length)} made: ${made.issued.slice(0, 20).join(", ")}${made.issued.length > 20 ? " and more" : ""}.`;
    const before = made.before > 0 && `${count(made.before)} had been made before.`;
    const soon = runs.monthly ? "The service tries again in a minute." : "Make the invoices again in some minutes.";
    const waits = made.waiting_count > 0 && notice("warn", "Not yet", `${named(made.waiting, made.waiting_count, 20)}: requests of that month are still being answered. ${soon}`);
    const failed = made.failed?.length > 0 && notice("bad", "Not made", made.failed.slice(0, 20).map((one) => `${one.tenant}: ${one.why}`), made.failed_count > 20 && `${count(made.failed_count - 20)} more: freehold invoice runs ${made.month}.`);
    await open(`Invoices for ${made.month}`, (close) => [notice("good", null, issued, before), waits, failed, h("footer", null, button("Done", () => close(), { kind: "primary" }))]);
    await again();
  };
  const next = runs.upcoming && `The service makes those of ${runs.upcoming.month} by itself on ${moment(runs.upcoming.at)}.`;
  const text = next || "The option invoice_monthly is off: make the invoices of each month here when it is over.";
  return card("Monthly invoices", { flush: true, text: `${text} Making them again makes nothing twice.` }, h("div", { class: "filters" }, field("Month", month), button("Make the invoices", run)), runTable(runs.data.slice(0, 6)));
}

function newVoucher(currency, again) {
  const repeatable = onceFor();
  const submit = async (fields, close) => {
    const body = { amount: amountOf(fields), uses: Number(fields.uses.value) };
    if (fields.note.value.trim()) body.note = fields.note.value.trim();
    if (fields.until.value) body.expires_at = new Date(`${fields.until.value}T23:59:59`).toISOString();
    const most = exactMoney(BigInt(body.amount) * BigInt(body.uses), currency);
    let voucher = null;
    const text = `Whoever has the code gets ${exactMoney(body.amount, currency)}, ${body.uses === 1 ? "once" : `${count(body.uses)} tenants in all`}: it costs you up to ${most}.`;
    await confirm("Make this voucher?", text, "Make the voucher", async () => {
      voucher = await post("/vouchers", body, repeatable(body));
    });
    if (!voucher) return;
    close();
    const shown = voucher.code ? [notice("good", "Keep it now", "The code is shown this once. Whoever has it can redeem it on the page Billing."), secret(voucher.code)] : notice("warn", null, "This voucher was made before; its code cannot be shown again.");
    await open("The voucher is made", (done) => [shown, h("footer", null, button("Done", () => done(), { kind: "primary" }))]);
    await again();
  };
  const uses = field("Uses", input({ name: "uses", type: "number", min: "1", max: "1000000", step: "1", required: true, value: "1" }), { help: "How many tenants may redeem it, each once." });
  const until = field("Good until", input({ name: "until", type: "date" }), { help: "Left empty: for ever." });
  return open("Make a voucher", (close) =>
    form([amountField(`Amount for each use (${currency})`), h("div", { class: "fields" }, uses, until), field("Note", input({ name: "note", maxlength: "200", autocomplete: "off" }), { help: "For you, to remember it by." })], {
      text: "Go on",
      cancel: () => close(),
      submit: (fields) => submit(fields, close),
    }),
  );
}

function voucherState(row) {
  if (row.redeemed >= row.uses) return tag("used up");
  return row.expires_at && Date.parse(row.expires_at) <= Date.now() ? tag("over", "warn") : tag("good", "good");
}

function voucherTable(rows) {
  return table(
    [
      { title: "Code", head: true, cell: (row) => h("code", { class: "nowrap" }, row.hint) },
      { title: "Note", cell: (row) => h("span", { class: "breaks muted" }, row.note || "–") },
      { title: "State", cell: voucherState },
      { title: "Amount", right: true, cell: (row) => exactMoney(row.amount, row.currency) },
      { title: "Used", right: true, cell: (row) => `${count(row.redeemed)} of ${count(row.uses)}` },
      { title: "Good until", cell: (row) => h("span", { class: "nowrap" }, row.expires_at ? moment(row.expires_at) : "for ever") },
    ],
    rows,
    { label: "Vouchers" },
  );
}

const ACCOUNTS = [["customer", "Credit of tenants", "below zero: they owe it"], ["receivable", "To be paid", "on invoices"], ["cash", "Received", "payments noted here"], ["operator_credit", "Given away", "credit, vouchers, credit notes"], ["revenue", "Revenue", "charged for use"], ["tax", "Taxes", "asked for, and owed to the state"]];

/** The accounts of the ledger. What came from outside of a tenant's account stands there as a debt: the sign is turned. */
function accounts(ledger) {
  const turned = new Set(["cash", "operator_credit", "receivable"]);
  const shown = ACCOUNTS.filter(([kind]) => ledger.accounts[kind] !== undefined);
  const value = (kind) => (turned.has(kind) ? -BigInt(ledger.accounts[kind]) : BigInt(ledger.accounts[kind]));
  if (shown.length === 0) return null;
  return figures(shown.map(([kind, title, note]) => [title, exactMoney(value(kind), ledger.currency), note]));
}

export async function charges({ signal, again }) {
  const [ledger, tenants, runs, tax] = await Promise.all([get("/ledger", { signal }), all("/tenants", { signal }), get("/invoices/runs", { signal }), get("/tax", { signal })]);
  const names = new Map(tenants.map((tenant) => [tenant.id, tenant.name]));
  const [invoices, vouchers] = await Promise.all([
    pages(
      (after) => get(`/invoices${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }),
      (rows) => invoiceTable(rows, { base: "/operator/billing", names, again }),
      empty("No invoices yet", runs.monthly ? "The service makes them when the month is over." : "Make them below for each month that is over."),
    ),
    pages((after) => get(`/vouchers${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }), voucherTable, empty("No vouchers", "A voucher is a code that gives credit to whoever redeems it.")),
  ]);
  return [
    head("Invoices and vouchers", ledger.total === "0" ? "Every account of the service, added up, is zero, as it must be." : `The accounts do not add up: ${ledger.total} nano-units are too many.`),
    h(
      "div",
      { class: "stack" },
      accounts(ledger),
      card("Invoices", { flush: true }, invoices),
      runner(runs, again),
      taxCard(tax, { again }),
      card("Vouchers", { flush: true, actions: [button("Make a voucher", () => newVoucher(ledger.currency, again), { sign: "plus" })] }, vouchers),
    ),
  ];
}
