// The account: who is signed in, and signing out here or everywhere.

import { leave, post, who } from "../api.js";
import { confirm } from "../dialog.js";
import { h } from "../dom.js";
import { moment } from "../format.js";
import { button, card, head, notice, table, tag, toast } from "../parts.js";
import { go } from "../router.js";
import { themeButton } from "../shell.js";

function pairs(items) {
  return h("dl", { class: "pairs" }, items.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function person(caller) {
  const { user } = caller;
  const everywhere = async () => {
    const done = await confirm("Sign out everywhere?", "Every session of yours ends, on this and on all other devices. API keys stay good.", "Sign out everywhere", () => leave(true));
    if (done) await go("/login");
  };
  const change = async () => {
    await post("/password/forgot", { email: user.email });
    toast(`A link to a new password is on its way to ${user.email}.`);
  };
  return [
    card("You", {}, pairs([["Name", user.name || "–"], ["E-mail", user.email], ["This session ends", moment(caller.expires)], caller.operator && ["Operator", "yes"]])),
    card(
      "Tenants",
      { flush: true },
      table([{ title: "Tenant", head: true, cell: (tenant) => tenant.name }, { title: "Role", cell: (tenant) => tag(tenant.role) }, { title: "Id", cell: (tenant) => h("code", { class: "faint breaks" }, tenant.id) }], caller.tenants, { label: "Tenants" }),
    ),
    card("Security", {}, h("div", { class: "stack" }, h("p", { class: "muted" }, "If you think that somebody else knows your password, change it and sign out everywhere."), h("div", { class: "row" }, button("Change the password", change), button("Sign out everywhere", everywhere, { kind: "danger" })))),
  ];
}

function program(caller) {
  const forget = async () => {
    await leave();
    await go("/login");
  };
  return [
    notice("info", "You are signed in with an API key", "It is kept in this browser tab only. People sign in with an account; the page Team invites them."),
    card("The key", { actions: [button("Forget the key", forget, { kind: "danger" })] }, pairs([["Acts for", caller.operator ? "the operator" : caller.tenant.name], ["Key", h("code", null, caller.key)], ["Models", caller.operator ? "none" : (caller.models?.join(", ") ?? "all")]])),
  ];
}

export async function account() {
  const caller = who();
  return [head("Account"), h("div", { class: "stack" }, caller.kind === "session" ? person(caller) : program(caller), card("Appearance", {}, h("div", { class: "row" }, themeButton(), h("span", { class: "muted" }, "Light, dark, or as your system has it."))))];
}
