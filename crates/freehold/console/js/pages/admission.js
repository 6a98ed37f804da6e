// Admission for the operator: the waiting list and invite codes.

import { get, once, post, remove } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { ago, count, moment } from "../format.js";
import { button, card, empty, field, form, head, input, notice, pages, problem, table, tag, toast } from "../parts.js";
import { isOpen, told } from "./team.js";
import { signupMode } from "./welcome.js";

const MODES = { open: "Anyone can sign up.", preview: "People wait until you let them in; an invite code skips the list.", closed: "Nobody can sign up; you make tenants and keys." };

function waitingTable(rows, again) {
  const admit = async (entry) => {
    await post(`/waiting/${encodeURIComponent(entry.id)}/admit`);
    toast(`${entry.email} is let in and gets a mail.`);
    await again();
  };
  const refuse = async (entry) => {
    const text = `${entry.email} is told nothing, and can sign up again.`;
    if (await confirm("Take this person off the list?", text, "Remove", () => remove(`/waiting/${encodeURIComponent(entry.id)}`))) await again();
  };
  return table(
    [
      { title: "Person", head: true, cell: (entry) => h("span", { class: "breaks" }, entry.email) },
      { title: "Tenant", cell: (entry) => h("span", { class: "breaks" }, entry.tenant_name ?? "–") },
      { title: "Waits since", cell: (entry) => h("span", { title: moment(entry.created_at) }, ago(entry.created_at)) },
      { title: "", right: true, cell: (entry) => h("div", { class: "actions" }, button("Let in", () => admit(entry), { label: `Let ${entry.email} in` }), button("Remove", () => refuse(entry), { kind: "quiet", label: `Take ${entry.email} off the list` })) },
    ],
    rows,
    { label: "Waiting list, the first in line first" },
  );
}

function newInvite(again) {
  return open("Make an invite", (close) =>
    form(
      [
        field("E-mail", input({ name: "email", type: "email", maxlength: "254", autocomplete: "off" }), { help: "Left empty: whoever has the link may use it." }),
        h("div", { class: "fields" }, field("Uses", input({ name: "uses", type: "number", min: "1", step: "1", required: true, value: "1" })), field("Good until", input({ name: "expires_at", type: "date" }), { help: "Left empty: for a week." })),
        field("Note", input({ name: "note", maxlength: "200", autocomplete: "off" }), { help: "For you, to remember it by." }),
      ],
      {
        text: "Make the invite",
        cancel: () => close(),
        submit: async (fields) => {
          const body = { uses: Number(fields.uses.value) };
          if (fields.email.value.trim()) body.email = fields.email.value.trim();
          if (fields.note.value.trim()) body.note = fields.note.value.trim();
          if (fields.expires_at.value) body.expires_at = new Date(`${fields.expires_at.value}T23:59:59`).toISOString();
          const invite = await post("/invites", body, once());
          close();
          await told(body.email, invite);
          await again();
        },
      },
    ),
  );
}

function inviteTable(rows, again) {
  const name = (invite) => invite.email ?? (invite.note || invite.id);
  const withdraw = async (invite) => {
    if (await confirm("Withdraw this invite?", `The invite of ${name(invite)} can no longer be used.`, "Withdraw", () => remove(`/invites/${encodeURIComponent(invite.id)}`))) await again();
  };
  return table(
    [
      { title: "For", head: true, cell: (invite) => h("span", { class: "breaks" }, invite.email ?? "whoever has the link") },
      { title: "To", cell: (invite) => (invite.tenant ? `a team, as ${invite.role}` : "the service") },
      { title: "State", cell: (invite) => (isOpen(invite) ? tag("good", "good") : tag(invite.uses < invite.uses_max ? "over" : "used up")) },
      { title: "Note", cell: (invite) => h("span", { class: "breaks muted" }, invite.note || "–") },
      { title: "Used", right: true, cell: (invite) => `${count(invite.uses)} of ${count(invite.uses_max)}` },
      { title: "Good until", cell: (invite) => moment(invite.expires_at) },
      { title: "", right: true, cell: (invite) => h("div", { class: "actions" }, button("Withdraw", () => withdraw(invite), { kind: "quiet", label: `Withdraw the invite of ${name(invite)}` })) },
    ],
    rows,
    { label: "Invites" },
  );
}

/** A list that may be missing without breaking the rest of the page. */
async function list(path, draw, nothing, signal) {
  try {
    return await pages((after) => get(`${path}${after ? `?after=${encodeURIComponent(after)}` : ""}`, { signal }), draw, nothing);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return h("div", { class: "more" }, problem(error));
  }
}

export async function admission({ signal, again }) {
  const signup = await signupMode(signal);
  const [waiting, invites] = await Promise.all([
    list("/waiting", (rows) => waitingTable(rows, again), empty("Nobody is waiting", "In preview, people who sign up without an invite stand here."), signal),
    list("/invites", (rows) => inviteTable(rows, again), empty("No invites", "An invite lets someone sign up at once."), signal),
  ]);
  return [
    head("Admission", "Who may come in.", button("Make an invite", () => newInvite(again), { kind: "primary", sign: "plus" })),
    h("div", { class: "stack" }, signup && notice("info", `Signing up is ${signup.mode}`, `${MODES[signup.mode] ?? ""} The option signup of the service decides this.`), card("Waiting list", { flush: true }, waiting), card("Invites", { flush: true }, invites)),
  ];
}
