// A forgotten password: asking for the mail, and the link in it.

import { post } from "../api.js";
import { fill, h } from "../dom.js";
import { dead, field, form, input, linkButton } from "../parts.js";
import { newPassword } from "./signup.js";

export function forgot() {
  const place = h("div", { class: "door" });
  const fields = form([field("E-mail", input({ type: "email", name: "email", autocomplete: "username", required: true, maxlength: "254" }))], {
    text: "Send me a link",
    full: true,
    submit: async ({ email }) => {
      await post("/password/forgot", { email: email.value.trim() });
      fill(place, h("div", { class: "card stack" }, h("h1", null, "Look into your mail"), h("p", { class: "muted" }, "If there is an account with this address, a link to a new password is on its way. It is good for a short time."), linkButton("Back to sign in", "/login")));
    },
  });
  return fill(place, h("div", null, h("h1", null, "Forgotten password"), h("p", { class: "muted" }, "We send you a link with which you choose a new one.")), h("div", { class: "card" }, fields), h("p", { class: "small" }, h("a", { href: "/login" }, "Back to sign in")));
}

/** The link out of the mail. */
export function reset({ token }) {
  if (!token) return dead("This link is not whole", "Open the link in the mail once more, or ask for a new one.", linkButton("Ask for a new link", "/forgot"));
  const place = h("div", { class: "door" });
  const fields = form([newPassword()], {
    text: "Set the password",
    full: true,
    submit: async ({ password }) => {
      await post("/password/reset", { token, password: password.value });
      fill(place, h("div", { class: "card stack" }, h("h1", null, "Your password is new"), h("p", { class: "muted" }, "You are signed out on every other device."), linkButton("Sign in", "/login", { kind: "primary big" })));
    },
  });
  return fill(place, h("h1", null, "New password"), h("div", { class: "card" }, fields));
}
