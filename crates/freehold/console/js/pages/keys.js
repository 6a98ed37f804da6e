// API keys: list, create, rotate, revoke.

import { ApiError, all, get, mayBe, once, operate, post, put, remove, who } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { ago, moment, toNano } from "../format.js";
import { button, card, check, code, empty, field, form, head, input, notice, pages, secret, select, table, tag } from "../parts.js";
import { go } from "../router.js";
import { exportKey } from "../code.js";

const DAY_MS = 86_400_000;
const LIFETIMES = [["", "Never"], ["7", "In 7 days"], ["30", "In 30 days"], ["90", "In 90 days"], ["365", "In a year"]];
const GRACES = [["0", "Ends at once"], ["3600", "Stays good for an hour"], ["86400", "Stays good for a day"], ["604800", "Stays good for a week"]];
const LIMITS = [["requests_per_minute", "Requests a minute"], ["tokens_per_minute", "Tokens a minute"], ["storage_bytes", "Stored bytes"]];
const BUDGETS = [["budget_day", "Budget a day"], ["budget_month", "Budget a month"]];

const SCOPES = [["inference", "Call models"], ["read", "See keys, usage and models"], ["manage", "Manage keys"]];

function limitFields() {
  const whole = ([name, text]) => field(text, input({ name, type: "number", min: "1", step: "1", inputmode: "numeric" }));
  const amount = ([name, text]) => field(text, input({ name, inputmode: "decimal", maxlength: "19" }));
  return h("details", null, h("summary", null, "Limits of this key"), h("div", { class: "stack" }, h("p", { class: "small muted" }, "Left empty, only the limits of the tenant hold."), h("div", { class: "fields" }, LIMITS.map(whole), BUDGETS.map(amount))));
}

/** The limits that were filled in, as the API takes them; null when there are none. */
function readLimits(fields) {
  const limits = {};
  for (const [name] of LIMITS) if (fields[name]?.value) limits[name] = Number(fields[name].value);
  for (const [name, text] of BUDGETS) {
    const value = fields[name]?.value;
    if (!value) continue;
    limits[name] = toNano(value);
    if (limits[name] === null) throw new ApiError(400, `${text} is an amount such as 25 or 0.50.`, { param: name });
  }
  return Object.keys(limits).length > 0 ? limits : null;
}

/** The dialog that creates a key; the key with its secret, or undefined when it was left. */
export function createKey(models, { tenants = null } = {}) {
  const names = models.map((model) => model.name);
  const list = h("fieldset", { class: "checks", hidden: true, "aria-label": "Models that the key may use" }, names.map((name) => check(name, { name: "model", value: name })));
  const scope = select([["all", "All models, also later ones"], ["some", "Only these"]], { name: "which" });
  scope.addEventListener("change", () => {
    list.hidden = scope.value === "all";
  });
  const owner = tenants && select([...tenants.map((tenant) => [tenant.id, tenant.name]), ["", "No tenant: an operator key"]], { name: "tenant" });
  return open("Create a key", (close) =>
    form(
      [
        field("Name", input({ name: "name", required: true, maxlength: "96", autocomplete: "off", placeholder: "backend" }), { help: "What people call it: where it is used, for example." }),
        owner && field("Tenant", owner),
        h("div", { class: "fields" }, field("Expires", select(LIFETIMES, { name: "expires" })), field("Models", scope)),
        list,
        h("fieldset", { class: "stack tight" }, h("legend", { class: "label" }, "It may"), h("div", { class: "row" }, SCOPES.map(([value, text]) => check(text, { name: "scope", value, checked: true })))),
        !tenants && mayBe("billing") && limitFields(),
      ],
      {
        text: "Create the key",
        cancel: () => close(),
        submit: async (fields) => {
          const chosen = [...list.querySelectorAll("input:checked")].map((box) => box.value);
          const body = { name: fields.name.value.trim() };
          if (owner) Object.assign(body, owner.value ? { tenant: owner.value } : { operator: true });
          if (fields.expires.value) body.expires_at = new Date(Date.now() + Number(fields.expires.value) * DAY_MS).toISOString();
          if (scope.value === "some") body.models = chosen;
          // All of them is the same as none named: everything, also what comes later.
          const scopes = [...fields.namedItem("name").form.querySelectorAll("[name=scope]:checked")].map((box) => box.value);
          if (scopes.length < SCOPES.length && !body.operator) body.scopes = scopes;
          const limits = tenants ? null : readLimits(fields);
          const key = await post("/keys", body, once());
          if (limits) {
            try {
              await put(`/limits?key=${encodeURIComponent(key.id)}`, limits);
            } catch (error) {
              key.warning = `The key is made, but its limits are not set: ${error.message}`;
            }
          }
          close(key);
        },
      },
    ),
  );
}

/** Shows a secret this once. */
function shown(key, title) {
  return open(title, (close) => [
    notice("good", "Keep it now", "This is the only time that the secret is shown. Treat it like a password."),
    key.warning && notice("warn", null, key.warning),
    secret(key.secret),
    code(exportKey(key.secret), "Key for the shell"),
    h("footer", null, button("I have kept it", () => close(), { kind: "primary" })),
  ]);
}

function rotate(key, again) {
  return open(`Rotate ${key.name}`, (close) =>
    form([h("p", { class: "muted" }, "The key gets a new secret; its name, models and limits stay."), field("The old secret", select(GRACES, { name: "grace", value: "3600" }))], {
      text: "Rotate the key",
      cancel: () => close(),
      submit: async (fields) => {
        const fresh = await post(`/keys/${encodeURIComponent(key.id)}/rotate`, { grace_s: Number(fields.grace.value) });
        close();
        await shown(fresh, "The new secret");
        await again();
      },
    }),
  );
}

async function revoke(key, again) {
  const own = key.id === who().key;
  const text = `${own ? "This is the key that you are signed in with. " : ""}The next request with it is refused. This cannot be undone.`;
  if (await confirm(`Revoke ${key.name}?`, text, "Revoke the key", () => remove(`/keys/${encodeURIComponent(key.id)}`))) await again();
}

const STATES = { active: ["good", "good"], expired: ["expired", "warn"], revoked: ["revoked", ""] };

function columns(tenants, again) {
  const name = new Map((tenants ?? []).map((tenant) => [tenant.id, tenant.name]));
  const may = (key) => (key.scopes ? h("span", { class: "allow" }, key.scopes.map((scope) => tag(scope))) : h("span", { class: "faint" }, "everything"));
  const models = (key) => (key.models ? h("span", { class: "allow" }, key.models.map((model) => tag(model))) : h("span", { class: "faint" }, key.kind === "operator" ? "–" : "all"));
  const actions = (key) =>
    key.state === "active" && mayBe("developer")
      ? h("div", { class: "actions" }, button("Rotate", () => rotate(key, again), { kind: "quiet", label: `Rotate ${key.name}` }), button("Revoke", () => revoke(key, again), { kind: "quiet", label: `Revoke ${key.name}` }))
      : null;
  return [
    { title: "Name", head: true, cell: (key) => h("span", { class: "breaks" }, key.name) },
    { title: "Secret", cell: (key) => h("code", { class: "faint nowrap" }, key.hint) },
    tenants && { title: "Tenant", cell: (key) => (key.kind === "operator" ? tag("operator", "warn") : (name.get(key.tenant) ?? key.tenant)) },
    { title: "State", cell: (key) => tag(STATES[key.state]?.[0] ?? key.state, STATES[key.state]?.[1]) },
    { title: "Models", cell: models },
    { title: "May", cell: may },
    { title: "Last used", cell: (key) => h("span", { class: "nowrap", title: moment(key.last_used_at) }, ago(key.last_used_at)) },
    { title: "Expires", cell: (key) => (key.expires_at ? h("span", { class: "nowrap", title: moment(key.expires_at) }, ago(key.expires_at)) : "never") },
    { title: "", right: true, cell: actions },
  ].filter(Boolean);
}

export async function keys({ signal, query, again }) {
  const whose = query.get("tenant");
  const operator = who().operator && (!who().tenant || Boolean(whose));
  operate(operator);
  const path = `/keys?limit=100${operator && whose ? `&tenant=${encodeURIComponent(whose)}` : ""}`;
  const [models, tenants] = await Promise.all([all("/models", { signal }), operator ? all("/tenants", { signal }) : null]);
  const make = async () => {
    const key = await createKey(models, { tenants });
    if (!key) return;
    await shown(key, `The key ${key.name} is made`);
    await again();
  };
  const create = () => button("Create a key", make, { kind: "primary", sign: "plus" });
  const list = await pages(
    (after) => get(after ? `${path}&after=${encodeURIComponent(after)}` : path, { signal }),
    (rows) => table(columns(tenants, again), [...rows].sort((a, b) => (a.state !== "active") - (b.state !== "active")), { label: "Keys" }),
    empty("No keys yet", "A key is what a program signs in with: one for each place that calls, so that you can revoke one and keep the others.", mayBe("developer") && create()),
  );
  const filter =
    operator &&
    h(
      "div",
      { class: "filters" },
      field("Tenant", select([["", "All"], ...tenants.map((tenant) => [tenant.id, tenant.name])], { value: whose ?? "", onchange: (event) => go(event.target.value ? `/keys?tenant=${encodeURIComponent(event.target.value)}` : "/keys") })),
    );
  return [head("Keys", "What programs sign in with. A revoked key fails on its next request.", mayBe("developer") && create()), h("div", { class: "stack" }, filter, card(operator ? "Keys of the service" : `Keys of ${who().tenant.name}`, { flush: true }, list))];
}
