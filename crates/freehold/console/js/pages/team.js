// The team: members of a tenant, their roles, and invitations.

import { get, mayBe, once, patch, post, remove, who } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { moment } from "../format.js";
import { button, card, empty, field, form, head, input, notice, pages, select, table, tag, toast } from "../parts.js";

const ROLES = [
  ["owner", "Owner", "everything, also the team"],
  ["developer", "Developer", "keys, models and usage"],
  ["billing", "Billing", "usage, invoices, credit and limits"],
  ["viewer", "Viewer", "reads, and changes nothing"],
];

function invite(again) {
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
          await post("/users", { email: email.value.trim(), role: role.value }, once());
          close();
          toast(`${email.value.trim()} is invited.`);
          await again();
        },
      },
    ),
  );
}

function roleCell(user, again) {
  if (!mayBe()) return ROLES.find(([name]) => name === user.role)?.[1] ?? user.role;
  const choice = select(ROLES.map(([value, title]) => [value, title]), { class: "input", value: user.role, "aria-label": `Role of ${user.email}` });
  choice.addEventListener("change", async () => {
    try {
      await patch(`/users/${encodeURIComponent(user.id)}`, { role: choice.value });
      toast(`${user.email} is now ${choice.value}.`);
    } catch (error) {
      toast(error.message);
    }
    await again();
  });
  return choice;
}

async function expel(user, again) {
  const text = `${user.email} can no longer sign in to ${who().tenant.name}. Keys that they made stay good: revoke them on the page Keys.`;
  if (await confirm(`Remove ${user.name || user.email}?`, text, "Remove", () => remove(`/users/${encodeURIComponent(user.id)}`))) await again();
}

function columns(again) {
  const own = who().user?.id;
  return [
    { title: "Person", head: true, cell: (user) => [h("span", { class: "breaks" }, user.name || user.email), user.id === own && [" ", tag("you", "good")]] },
    { title: "E-mail", cell: (user) => h("span", { class: "breaks muted" }, user.email) },
    { title: "Role", cell: (user) => roleCell(user, again) },
    { title: "State", cell: (user) => (user.state && user.state !== "active" ? tag(user.state, "warn") : tag("active", "good")) },
    { title: "Since", cell: (user) => moment(user.joined_at ?? user.created_at) },
    { title: "", right: true, cell: (user) => (mayBe() && user.id !== own ? h("div", { class: "actions" }, button("Remove", () => expel(user, again), { kind: "quiet", label: `Remove ${user.email}` })) : null) },
  ];
}

export async function team({ signal, again }) {
  const asker = () => button("Invite someone", () => invite(again), { kind: "primary", sign: "plus" });
  const list = await pages(
    (after) => get(`/users${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }),
    (rows) => table(columns(again), rows, { label: "Members" }),
    empty("Nobody is here yet", "This tenant has keys but no people. Invite someone, and they can sign in with a password.", mayBe() && asker()),
  );
  return [
    head("Team", "Who can sign in, and what they may do.", mayBe() && asker()),
    h(
      "div",
      { class: "stack" },
      who().kind === "key" && notice("info", null, "You are signed in with a key, so you are not a member yourself."),
      card(`Members of ${who().tenant?.name ?? "the service"}`, { flush: true }, list),
      card("Roles", {}, h("dl", { class: "pairs" }, ROLES.map(([, title, text]) => [h("dt", null, title), h("dd", null, text)]))),
    ),
  ];
}
