// One tenant for the operator: credit, terms, limits, members, invoices.

import { ApiError, all, get, once, onceFor, patch, post, put } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { decimal, exactMoney, moment, toNano } from "../format.js";
import { button, card, empty, field, form, head, input, linkButton, pages, select, toast } from "../parts.js";
import { go } from "../router.js";
import { balanceFigures, transferTable } from "./billing.js";
import { invoiceTable } from "./invoice.js";
import { limitCards } from "./limits.js";
import { taxCard, taxWords } from "./tax.js";
import { invite, memberTable } from "./team.js";

/** The amount that was typed, in nano-units. */
export function amountOf(fields) {
  const amount = toNano(fields.amount.value);
  if (amount === null || BigInt(amount) <= 0n) throw new ApiError(400, "The amount is more than zero, such as 25 or 0.50.", { param: "amount" });
  return amount;
}

export const amountField = (text) => field(text, input({ name: "amount", required: true, inputmode: "decimal", maxlength: "19", placeholder: "25.00", autocomplete: "off" }));

/** The dialog that makes or changes a tenant. */
export function edit(tenant, again) {
  const name = field("Name", input({ name: "name", required: true, maxlength: "96", value: tenant?.name ?? "", autocomplete: "off", placeholder: "acme" }), { help: "Letters, digits, '.', '_' and '-'." });
  const weight = field("Weight", input({ name: "weight", type: "number", required: true, min: "1", max: "1000", step: "1", value: String(tenant?.weight ?? 100) }), { help: "Its share of the machine against other tenants when it is busy." });
  return open(tenant ? `Change ${tenant.name}` : "Create a tenant", (close) =>
    form([name, weight], {
      text: tenant ? "Save" : "Create the tenant",
      cancel: () => close(),
      submit: async (fields) => {
        const body = { name: fields.name.value.trim(), weight: Number(fields.weight.value) };
        if (tenant) await patch(`/tenants/${encodeURIComponent(tenant.id)}`, body);
        else await post("/tenants", body, once());
        close();
        await again();
      },
    }),
  );
}

/** The dialog that gives a tenant credit. */
export function credit(tenant, currency, again, tax = null) {
  const repeatable = onceFor();
  const submit = async (fields, close) => {
    const body = { tenant: tenant.id, amount: amountOf(fields), note: fields.note.value.trim(), paid: fields.kind.value === "paid" };
    const taxed = tax?.now.treatment === "taxed" && tax.now.rate_percent !== "0";
    const received = taxed ? `You have received this money and ${taxWords(tax.now)} on it; there is a receipt with both.` : "You have received this money.";
    const text = body.paid ? `${received} It can be spent at once.` : "It is a present of yours. It can be spent at once, and is not taken back here.";
    const done = await confirm(`Give ${exactMoney(body.amount, currency)} to ${tenant.name}?`, text, "Give the credit", () => post("/credit", body, repeatable(body)));
    if (!done) return;
    close();
    toast(`${tenant.name} has ${exactMoney(body.amount, currency)} more.`);
    await again();
  };
  const kind = select([["gift", "A present of yours"], ["paid", "Somebody paid for it"]], { name: "kind" });
  return open(`Credit for ${tenant.name}`, (close) =>
    form([amountField(`Amount (${currency})`), field("What it is", kind), field("Note", input({ name: "note", maxlength: "200", placeholder: "Transfer of 2 May, welcome, …", autocomplete: "off" }), { help: "The tenant sees it." })], {
      text: "Go on",
      cancel: () => close(),
      submit: (fields) => submit(fields, close),
    }),
  );
}

function terms(tenant, balance, again) {
  const mode = select([["prepaid", "Before: with credit"], ["postpaid", "After: by invoice"]], { name: "mode", value: balance.mode });
  const limit = input({ name: "credit_limit", inputmode: "decimal", maxlength: "19", placeholder: "no limit", value: balance.credit_limit === undefined ? "" : decimal(balance.credit_limit) });
  const owed = field(`Credit limit (${balance.currency})`, limit, { help: "What it may owe at most. Left empty, it may owe anything." });
  const draw = () => {
    owed.hidden = mode.value === "prepaid";
  };
  mode.addEventListener("change", draw);
  draw();
  return open(`How ${tenant.name} pays`, (close) =>
    form([field("It pays", mode), owed], {
      text: "Save",
      cancel: () => close(),
      submit: async (fields) => {
        const body = { mode: fields.mode.value };
        const text = fields.credit_limit.value.trim();
        if (body.mode === "postpaid" && text) {
          body.credit_limit = toNano(text);
          if (body.credit_limit === null || BigInt(body.credit_limit) < 0n) throw new ApiError(400, "The credit limit is an amount such as 25 or 0.50.", { param: "credit_limit" });
        }
        await put(`/balance?tenant=${encodeURIComponent(tenant.id)}`, body);
        close();
        toast("The terms are saved. They hold from the next request on.");
        await again();
      },
    }),
  );
}

/** Limits of the tenant, or of one of its keys that is chosen here. */
function limitsOf(one, { keys, key, limits, whose, again }) {
  const base = `/operator/tenants/${encodeURIComponent(one.id)}`;
  const choose = (event) => go(event.target.value ? `${base}?key=${encodeURIComponent(event.target.value)}` : base);
  const name = keys.find((known) => known.id === key)?.name;
  return [
    h("div", { class: "filters" }, field("Limits of", select([["", `All of ${one.name}`], ...keys.map((known) => [known.id, `Key ${known.name}`])], { value: name ? key : "", onchange: choose }))),
    limitCards(limits, {
      title: name ? `Limits of the key ${name}` : `Limits of ${one.name}`,
      text: name ? `The limits of ${one.name} hold as well.` : "Across all of its keys.",
      path: `/limits?${whose}${name ? `&key=${encodeURIComponent(key)}` : ""}`,
      may: true,
      again,
    }),
  ];
}

export async function tenant({ signal, parameters, query, again }) {
  const one = await get(`/tenants/${encodeURIComponent(parameters.tenant)}`, { signal });
  const whose = `tenant=${encodeURIComponent(one.id)}`;
  const more = (after) => (after ? `&after=${encodeURIComponent(after)}` : "");
  const keys = (await all(`/keys?${whose}`, { signal })).filter((known) => known.state === "active");
  const key = keys.some((known) => known.id === query.get("key")) ? query.get("key") : "";
  const [balance, tax, limits, transfers, invoices, members] = await Promise.all([
    get(`/balance?${whose}`, { signal }),
    get(`/tax?${whose}`, { signal }),
    get(`/limits?${whose}${key ? `&key=${encodeURIComponent(key)}` : ""}`, { signal }),
    get(`/credit?${whose}`, { signal }),
    pages((after) => get(`/invoices?${whose}${more(after)}`, { signal }), (rows) => invoiceTable(rows, { base: "/operator/billing", again }), empty("No invoices yet", "They are made for each month that is over; the page Invoices and vouchers says when.")),
    pages((after) => get(`/users?${whose}${more(after)}`, { signal }), (rows) => memberTable(rows, again, one), empty("It has no people", "Its programs use keys. Invite somebody to let them sign in.")),
  ]);
  return [
    head(
      one.name,
      `Since ${moment(one.created_at)}, weight ${one.weight}.`,
      button("Give credit", () => credit(one, balance.currency, again, tax), { kind: "primary", sign: "plus" }),
      button("Terms", () => terms(one, balance, again)),
      button("Change", () => edit(one, again)),
      linkButton("Keys", `/keys?${whose}`, { kind: "quiet" }),
      linkButton("Trail", `/trail?${whose}`, { kind: "quiet" }),
    ),
    h(
      "div",
      { class: "stack" },
      balanceFigures(balance),
      limitsOf(one, { keys, key, limits, whose, again }),
      taxCard(tax, { tenant: one, again }),
      card("Invoices", { flush: true }, invoices),
      card("Credit and payments", { flush: true }, transferTable(transfers.data)),
      card("Members", { flush: true, actions: [button("Invite someone", () => invite(again, one), { sign: "plus" })] }, members),
    ),
  ];
}
