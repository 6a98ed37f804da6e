// The team: members of a tenant, their roles, and invitations.

import { all, get, mayBe, once, patch, post, remove, who } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { ago, moment } from "../format.js";
import { button, card, empty, field, form, head, input, notice, pages, secret, select, table, tag, toast } from "../parts.js";

const ROLES = [
  ["owner", "Owner", "everything, also the team"],
  ["developer", "Developer", "keys, models and usage"],
  ["billing", "Billing", "usage, invoices, credit and limits"],
  ["viewer", "Viewer", "reads, and changes nothing"],
];

/** The dialog that invites to a tenant: the caller's own, or for operators the one that is named. */
export function invite(again, tenant = null) {
  return open("Invite someone", (close) =>
    form(
      [
        field("E-mail", input({ type: "email", name: "email", required: true, maxlength: "254", autocomplete: "off" })),
        field("Role", select(ROLES.map(([value, title, text]) => [value, `${title}: ${text}`]), { name: "role", value: "developer" })),
      ],
      {
        text: "Invite",
        cancel: () => close(),
        submit: async ({ email, role }) => {
          const address = email.value.trim();
          const outcome = await post("/users", { email: address, role: role.value, ...(tenant && { tenant: tenant.id }) }, once());
          close();
          await told(address, outcome?.invite);
          await again();
        },
      },
    ),
  );
}

/** Says what came of an invitation; only operators see its code. */
export async function told(address, invite) {
  if (!invite?.code) {
    toast(`${address || "The person"} is invited${invite?.mailed === false ? "" : " and gets a mail"}.`);
    return;
  }
  const link = `${location.origin}/#/invite/${encodeURIComponent(invite.code)}`;
  const text = invite.mailed ? "A mail with this link is on its way. It is shown this once." : "Give this link to the person. It is shown this once.";
  await open("The invitation is made", (done) => [notice("good", null, text), secret(link), h("footer", null, button("Done", () => done(), { kind: "primary" }))]);
}

/** What of the members of a tenant is asked for: the caller's own, or for operators those of the one that is named. */
const whose = (tenant) => (tenant ? `?tenant=${encodeURIComponent(tenant.id)}` : "");

function roleCell(user, again, tenant) {
  if (!tenant && !mayBe()) return ROLES.find(([name]) => name === user.role)?.[1] ?? user.role;
  const choice = select(ROLES.map(([value, title]) => [value, title]), { class: "input", value: user.role, "aria-label": `Role of ${user.email}` });
  choice.addEventListener("change", async () => {
    try {
      await patch(`/users/${encodeURIComponent(user.id)}${whose(tenant)}`, { role: choice.value });
      toast(`${user.email} is now ${choice.value}.`);
    } catch (error) {
      toast(error.message);
    }
    await again();
  });
  return choice;
}

async function expel(user, again, tenant) {
  const text = `${user.email} can no longer act for ${(tenant ?? who().tenant).name}. Keys that they made stay good: revoke them on the page Keys.`;
  if (await confirm(`Remove ${user.name || user.email}?`, text, "Remove", () => remove(`/users/${encodeURIComponent(user.id)}${whose(tenant)}`))) await again();
}

/** A list of members. */
export function memberTable(rows, again, tenant = null) {
  return table(columns(again, tenant), rows, { label: "Members" });
}

function columns(again, tenant) {
  const own = who().user?.id;
  return [
    { title: "Person", head: true, cell: (user) => [h("span", { class: "breaks" }, user.name || user.email), user.id === own && [" ", tag("you", "good")]] },
    { title: "E-mail", cell: (user) => h("span", { class: "breaks muted" }, user.email) },
    { title: "Role", cell: (user) => roleCell(user, again, tenant) },
    { title: "Address", cell: (user) => (user.verified === false ? tag("not confirmed", "warn") : tag("confirmed", "good")) },
    { title: "Since", cell: (user) => h("span", { class: "nowrap" }, moment(user.created_at)) },
    { title: "Last here", cell: (user) => h("span", { title: moment(user.last_login_at) }, ago(user.last_login_at)) },
    { title: "", right: true, cell: (user) => ((tenant || mayBe()) && user.id !== own ? h("div", { class: "actions" }, button("Remove", () => expel(user, again, tenant), { kind: "quiet", label: `Remove ${user.email}` })) : null) },
  ];
}

/** Whether an invitation can still be accepted. */
export const isOpen = (invite) => invite.uses < invite.uses_max && Date.parse(invite.expires_at) > Date.now();

async function invitations(signal, again) {
  if (!mayBe()) return null;
  const rows = (await all("/invites", { signal })).filter(isOpen);
  if (rows.length === 0) return null;
  const withdraw = async (invite) => {
    if (await confirm("Withdraw the invitation?", `${invite.email} can no longer accept it.`, "Withdraw", () => remove(`/invites/${encodeURIComponent(invite.id)}`))) await again();
  };
  const columnsOf = [
    { title: "E-mail", head: true, cell: (invite) => h("span", { class: "breaks" }, invite.email) },
    { title: "Role", cell: (invite) => tag(invite.role) },
    { title: "Good until", cell: (invite) => moment(invite.expires_at) },
    { title: "", right: true, cell: (invite) => h("div", { class: "actions" }, button("Withdraw", () => withdraw(invite), { kind: "quiet", label: `Withdraw the invitation of ${invite.email}` })) },
  ];
  return card("Invited", { flush: true }, table(columnsOf, rows, { label: "Invitations" }));
}

export async function team({ signal, again }) {
  const asker = () => button("Invite someone", () => invite(again), { kind: "primary", sign: "plus" });
  if (!who().tenant) return [head("Team"), h("div", { class: "card" }, empty("This is the page of a tenant", "Sign in as a member of a tenant to see its team."))];
  const invited = await invitations(signal, again);
  const list = await pages(
    (after) => get(`/users${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }),
    (rows) => memberTable(rows, again),
    empty("Nobody is here yet", "This tenant has keys but no people. Invite someone, and they can sign in with a password.", mayBe() && asker()),
  );
  return [
    head("Team", "Who can sign in, and what they may do.", mayBe() && asker()),
    h(
      "div",
      { class: "stack" },
      who().kind === "key" && notice("info", null, "You are signed in with a key, so you are not a member yourself."),
      card(`Members of ${who().tenant.name}`, { flush: true }, list),
      invited,
      card("Roles", {}, h("dl", { class: "pairs" }, ROLES.map(([, title, text]) => [h("dt", null, title), h("dd", null, text)]))),
    ),
  ];
}
