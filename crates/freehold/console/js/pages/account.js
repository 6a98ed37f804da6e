// The account: who is signed in, and signing out here or everywhere.

import { ApiError, leave, post, who } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { moment } from "../format.js";
import { button, card, field, form, head, input, notice, table, tag, toast } from "../parts.js";
import { go } from "../router.js";
import { themeButton } from "../shell.js";
import { passwordField } from "./signup.js";

function pairs(items) {
  return h("dl", { class: "pairs" }, items.filter(Boolean).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

function changePassword() {
  return open("Change the password", (close) =>
    form(
      [
        field("Password until now", input({ type: "password", name: "current", autocomplete: "current-password", required: true, maxlength: "200" })),
        passwordField("New password", "new"),
        field("The new password again", input({ type: "password", name: "again", autocomplete: "new-password", required: true, maxlength: "200" })),
      ],
      {
        text: "Change the password",
        cancel: () => close(),
        submit: async (fields) => {
          if (fields.namedItem("new").value !== fields.again.value) throw new ApiError(400, "The two new passwords are not the same.", { param: "again" });
          await post("/password/change", { current: fields.current.value, new: fields.namedItem("new").value }, { quiet: true });
          close();
          toast("Your password is new. You are signed out on every other device.");
        },
      },
    ),
  );
}

function person(caller) {
  const { user } = caller;
  const everywhere = async () => {
    const done = await confirm("Sign out everywhere?", "Every session of yours ends, on this and on all other devices. API keys stay good.", "Sign out everywhere", () => leave(true));
    if (done) await go("/login");
  };
  return [
    card("You", {}, pairs([["Name", user.name || "–"], ["E-mail", user.email], ["This session ends", moment(caller.expires)], caller.operator && ["Operator", "yes"]])),
    card(
      "Tenants",
      { flush: true },
      table([{ title: "Tenant", head: true, cell: (tenant) => tenant.name }, { title: "Role", cell: (tenant) => tag(tenant.role) }, { title: "Id", cell: (tenant) => h("code", { class: "faint breaks" }, tenant.id) }], caller.tenants, { label: "Tenants" }),
    ),
    card("Security", {}, h("div", { class: "stack" }, h("p", { class: "muted" }, "If you think that somebody else knows your password, change it and sign out everywhere."), h("div", { class: "row" }, button("Change the password", changePassword), button("Sign out everywhere", everywhere, { kind: "danger" })))),
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
