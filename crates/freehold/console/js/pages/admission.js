// Admission for the operator: the waiting list and invite codes.

import { get, once, post, remove } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { ago, count, moment } from "../format.js";
import { button, card, empty, field, form, head, input, notice, pages, problem, secret, table, toast } from "../parts.js";
import { signupMode } from "./welcome.js";

const MODES = { open: "Anyone can sign up.", preview: "People wait until you let them in; an invite code skips the list.", closed: "Nobody can sign up; you make tenants and keys." };

function waitingTable(rows, again) {
  const admit = async (entry) => {
    await post(`/waiting/${encodeURIComponent(entry.id)}/admit`);
    toast(`${entry.email} is let in and gets a mail.`);
    await again();
  };
  return table(
    [
      { title: "Place", cell: (entry) => count(entry.position) },
      { title: "Person", head: true, cell: (entry) => h("span", { class: "breaks" }, entry.name ? `${entry.name} · ${entry.email}` : entry.email) },
      { title: "Waits since", cell: (entry) => h("span", { title: moment(entry.created_at) }, ago(entry.created_at)) },
      { title: "", right: true, cell: (entry) => h("div", { class: "actions" }, button("Let in", () => admit(entry), { label: `Let ${entry.email} in` })) },
    ],
    rows,
    { label: "Waiting list" },
  );
}

function newInvite(again) {
  return open("Make an invite", (close) =>
    form(
      [
        field("E-mail", input({ name: "email", type: "email", maxlength: "254", autocomplete: "off" }), { help: "Left empty: whoever has the code may use it." }),
        h("div", { class: "fields" }, field("Uses", input({ name: "uses", type: "number", min: "1", step: "1", required: true, value: "1" })), field("Good until", input({ name: "until", type: "date" }))),
      ],
      {
        text: "Make the invite",
        cancel: () => close(),
        submit: async (fields) => {
          const body = { uses: Number(fields.uses.value) };
          if (fields.email.value.trim()) body.email = fields.email.value.trim();
          if (fields.until.value) body.expires_at = new Date(`${fields.until.value}T23:59:59`).toISOString();
          const invite = await post("/invites", body, once());
          close();
          const link = invite.code && `${location.origin}/signup?invite=${encodeURIComponent(invite.code)}`;
          if (link) await open("The invite is made", (done) => [notice("good", null, "Give this address to the person; it fills in the code."), secret(link), h("footer", null, button("Done", () => done(), { kind: "primary" }))]);
          await again();
        },
      },
    ),
  );
}

function inviteTable(rows, again) {
  const name = (invite) => invite.email ?? invite.hint ?? invite.code ?? invite.id;
  const withdraw = async (invite) => {
    if (await confirm("Withdraw this invite?", `${name(invite)} can no longer be used to sign up.`, "Withdraw", () => remove(`/invites/${encodeURIComponent(invite.id ?? invite.code)}`))) await again();
  };
  return table(
    [
      { title: "For", head: true, cell: (invite) => h("span", { class: "breaks" }, invite.email ?? "anyone with the code") },
      { title: "Code", cell: (invite) => h("code", { class: "breaks faint" }, invite.code ?? invite.hint ?? "–") },
      { title: "Used", right: true, cell: (invite) => `${count(invite.used ?? 0)} of ${count(invite.uses ?? 1)}` },
      { title: "Good until", cell: (invite) => (invite.expires_at ? moment(invite.expires_at) : "for ever") },
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
    h("div", { class: "stack" }, signup && notice("info", `Signing up is ${signup.mode}`, `${MODES[signup.mode] ?? ""} The option of the service decides this.`), card("Waiting list", { flush: true }, waiting), card("Invites", { flush: true }, invites)),
  ];
}
