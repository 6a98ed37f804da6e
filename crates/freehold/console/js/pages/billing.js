// Billing: the balance, vouchers, what came in and went out, and invoices.

import { get, mayBe, once, post, who } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { exactMoney, moment, money, moneyLeft } from "../format.js";
import { button, card, empty, field, figures, form, head, input, linkButton, pages, table, toast } from "../parts.js";
import { invoiceTable } from "./invoice.js";
import { taxWords } from "./tax.js";

function redeem(again) {
  return open("Redeem a voucher", (close) =>
    form([field("Code", input({ name: "code", required: true, maxlength: "200", autocomplete: "off", spellcheck: "false", placeholder: "ABCDE-FGHJK-LMNPQ-RSTUV" }), { help: "Case, spaces and dashes do not matter." })], {
      text: "Redeem",
      cancel: () => close(),
      submit: async ({ code }) => {
        const balance = await post("/vouchers/redeem", { code: code.value.trim() }, once());
        close();
        toast(`The credit was added: your balance is ${money(balance.balance, balance.currency)}.`);
        await again();
      },
    }),
  );
}

/** What a tenant has, as large figures. */
export function balanceFigures(balance) {
  const { currency } = balance;
  const postpaid = balance.mode === "postpaid";
  const limit = balance.credit_limit === undefined ? "none" : money(balance.credit_limit, currency);
  return figures(
    [
      ["Available", balance.available === undefined ? "No limit" : moneyLeft(balance.available, currency), postpaid ? "paid by invoice" : "prepaid"],
      ["Balance", moneyLeft(balance.balance, currency), exactMoney(balance.balance, currency)],
      ["Held", money(balance.held ?? "0", currency), "for answers under way"],
      postpaid && ["Credit limit", limit, "what may be owed"],
    ].filter(Boolean),
  );
}

const REASONS = { top_up: "Payment", grant: "Credit", voucher: "Voucher", credit_note: "Credit note", invoice: "Invoice", payment: "Invoice paid" };

/** What moved on the account besides usage. */
export function transferTable(rows) {
  if (rows.length === 0) return empty("Nothing yet", "Credit, vouchers, payments and invoices appear here; what was used is on the page Usage.");
  return table(
    [
      { title: "What", head: true, cell: (row) => REASONS[row.reason] ?? row.reason.replaceAll("_", " ") },
      { title: "Note", cell: (row) => h("span", { class: "breaks muted" }, row.note || "–") },
      { title: "When", cell: (row) => h("span", { class: "nowrap" }, moment(row.at)) },
      { title: "Amount", right: true, cell: (row) => h("span", { class: "nowrap" }, exactMoney(row.amount, row.currency)) },
    ],
    rows,
    { label: "Credit and payments" },
  );
}

export async function billing({ signal, again }) {
  if (!who().tenant) return [head("Billing"), h("div", { class: "card" }, empty("This is the page of a tenant", "Credit and invoices of tenants are on the pages Tenants, and Invoices and vouchers.", linkButton("See the tenants", "/operator/tenants")))];
  const [balance, tax, credit, list] = await Promise.all([
    get("/balance", { signal }),
    get("/tax", { signal }),
    get("/credit", { signal }),
    pages(
      (after) => get(`/invoices${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }),
      (rows) => invoiceTable(rows),
      empty("No invoices yet", "The operator makes one for each month that is over, to the nano-unit.", linkButton("See this month's usage", "/usage")),
    ),
  ]);
  const taxed = tax.now.treatment === "none" ? "" : ` Prices and credit are net; on what is due, ${taxWords(tax.now)}.`;
  return [
    head("Billing", `What you have, what is held for answers under way, and what was billed.${taxed}`, mayBe("billing") && button("Redeem a voucher", () => redeem(again), { sign: "plus" })),
    h("div", { class: "stack" }, balanceFigures(balance), card("Invoices", { flush: true }, list), card("Credit and payments", { flush: true }, transferTable(credit.data))),
  ];
}
