// Tenants for the operator: list, create, change, give credit, vouchers.

import { ApiError, get, once, patch, post } from "../api.js";
import { open } from "../dialog.js";
import { h } from "../dom.js";
import { count, exactMoney, moment, toNano } from "../format.js";
import { button, card, empty, field, form, head, input, linkButton, notice, pages, problem, secret, table, toast } from "../parts.js";

function amountOf(fields) {
  const amount = toNano(fields.amount.value);
  if (amount === null || BigInt(amount) <= 0n) throw new ApiError(400, "The amount is more than zero, such as 25 or 0.50.", { param: "amount" });
  return amount;
}

const amountField = (text) => field(text, input({ name: "amount", required: true, inputmode: "decimal", maxlength: "19", placeholder: "25.00" }));

function edit(tenant, again) {
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

function credit(tenant, again) {
  return open(`Credit for ${tenant.name}`, (close) =>
    form([amountField("Amount"), field("Note", input({ name: "note", maxlength: "200", placeholder: "Invoice 42, a gift, …" }), { help: "The tenant sees it." })], {
      text: "Give the credit",
      cancel: () => close(),
      submit: async (fields) => {
        await post("/credit", { tenant: tenant.id, amount: amountOf(fields), note: fields.note.value.trim() }, once());
        close();
        toast(`${tenant.name} has more credit.`);
        await again();
      },
    }),
  );
}

function newVoucher(again) {
  return open("Make a voucher", (close) =>
    form(
      [
        amountField("Amount for each use"),
        h("div", { class: "fields" }, field("Uses", input({ name: "uses", type: "number", min: "1", step: "1", required: true, value: "1" })), field("Good until", input({ name: "until", type: "date" }), { help: "Left empty: for ever." })),
      ],
      {
        text: "Make the voucher",
        cancel: () => close(),
        submit: async (fields) => {
          const body = { amount: amountOf(fields), uses: Number(fields.uses.value) };
          if (fields.until.value) body.expires_at = new Date(`${fields.until.value}T23:59:59`).toISOString();
          const voucher = await post("/vouchers", body, once());
          close();
          await open("The voucher is made", (done) => [notice("good", null, "Whoever has the code can redeem it on the page Billing."), secret(voucher.code), h("footer", null, button("Done", () => done(), { kind: "primary" }))]);
          await again();
        },
      },
    ),
  );
}

async function vouchers(signal, again) {
  try {
    const list = await pages(
      (after) => get(`/vouchers${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }),
      (rows) =>
        table(
          [
            { title: "Code", head: true, cell: (row) => h("code", { class: "breaks" }, row.code ?? row.hint ?? row.id) },
            { title: "Amount", right: true, cell: (row) => exactMoney(row.amount, row.currency) },
            { title: "Used", right: true, cell: (row) => `${count(row.used ?? 0)} of ${count(row.uses)}` },
            { title: "Good until", cell: (row) => (row.expires_at ? moment(row.expires_at) : "for ever") },
          ],
          rows,
          { label: "Vouchers" },
        ),
      empty("No vouchers", "A voucher is a code that gives credit to whoever redeems it."),
    );
    return card("Vouchers", { flush: true, actions: [button("Make a voucher", () => newVoucher(again), { sign: "plus" })] }, list);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return card("Vouchers", {}, problem(error));
  }
}

export async function tenants({ signal, again }) {
  const creator = () => button("Create a tenant", () => edit(null, again), { kind: "primary", sign: "plus" });
  const list = await pages(
    (after) => get(`/tenants${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }),
    (rows) =>
      table(
        [
          { title: "Tenant", head: true, cell: (tenant) => h("span", { class: "breaks" }, tenant.name) },
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
                button("Credit", () => credit(tenant, again), { kind: "quiet", label: `Credit for ${tenant.name}` }),
                button("Change", () => edit(tenant, again), { kind: "quiet", label: `Change ${tenant.name}` }),
              ),
          },
        ],
        rows,
        { label: "Tenants" },
      ),
    empty("No tenants yet", "A tenant owns keys, usage and invoices. Its prompts are never shared with another.", creator()),
  );
  return [head("Tenants", "Who uses the service. Tenants share models fairly, by weight, and never each other's prompts.", creator()), h("div", { class: "stack" }, card("Tenants", { flush: true }, list), await vouchers(signal, again))];
}
