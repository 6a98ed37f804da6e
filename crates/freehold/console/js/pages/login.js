// Signing in: with a password, with another provider, or with an API key.

import { login as withPassword, useKey } from "../api.js";
import { h } from "../dom.js";
import { card, field, form, input, linkButton, notice } from "../parts.js";
import { go } from "../router.js";
import { signupMode } from "./welcome.js";

/** A path of this console out of `?next=`, and of nowhere else. */
function next(query) {
  const path = query.get("next") ?? "/";
  return path.startsWith("/") && !path.startsWith("//") && !path.includes("\\") && !path.startsWith("/login") ? path : "/";
}

/** Buttons of the providers that one can sign in with. */
export function providers(list, invite = "") {
  const begin = invite ? `?invite=${encodeURIComponent(invite)}` : "";
  if (!list?.length) return null;
  const link = ({ name, title }) => h("a", { class: "button big full", href: `/api/v1/oidc/${encodeURIComponent(name)}/start${begin}` }, `Continue with ${title || name}`);
  return [h("div", { class: "stack tight" }, list.map(link)), h("p", { class: "or" }, "or")];
}

function passwordForm(query) {
  return form(
    [
      field("E-mail", input({ type: "email", name: "email", autocomplete: "username", required: true, maxlength: "254" })),
      field("Password", input({ type: "password", name: "password", autocomplete: "current-password", required: true, maxlength: "1024" })),
    ],
    {
      text: "Sign in",
      full: true,
      submit: async (fields) => {
        await withPassword(fields.email.value.trim(), fields.password.value);
        await go(next(query));
      },
    },
  );
}

function keyForm(query) {
  return form(
    [field("API key", input({ type: "password", name: "key", autocomplete: "off", spellcheck: "false", required: true, maxlength: "256", placeholder: "fh-…" }), { help: "It stays in this browser tab and is forgotten when you close it." })],
    {
      text: "Sign in with the key",
      full: true,
      kind: "",
      submit: async (fields) => {
        await useKey(fields.key.value.trim());
        await go(next(query));
      },
    },
  );
}

/** Why a provider did not sign someone in, by the code of the error. */
const FAILURES = {
  invalid_credentials: "The provider refused the sign-in. Try again, or sign in another way.",
  rate_limited: "There were too many tries. Wait a minute and try again.",
};

export async function login({ signal, query }) {
  const signup = await signupMode(signal);
  const failure = query.get("error");
  return h(
    "div",
    { class: "door" },
    h("div", null, h("h1", null, "Sign in"), signup && signup.mode !== "closed" && h("p", { class: "muted" }, "New here? ", h("a", { href: "/signup" }, signup.mode === "preview" ? "Join the waiting list" : "Sign up"), ".")),
    failure && notice("bad", "You are not signed in", FAILURES[failure] ?? `The sign-in failed (${failure.slice(0, 60)}). Try again, or sign in another way.`),
    signup && h("section", { class: "card stack", "aria-label": "With a password" }, providers(signup.oidc), passwordForm(query), signup.mail !== false && h("p", { class: "small" }, h("a", { href: "/forgot" }, "Forgot your password?"))),
    card("With an API key", { text: signup ? "For operators, and for a look at a single key." : null }, keyForm(query)),
    h("p", { class: "small faint" }, "On the service's own machine, the first keys are in ", h("code", null, "credentials.json"), " in its data folder; ", h("code", null, "freehold key create"), " makes more."),
    !signup && linkButton("Back", "/", { kind: "quiet" }),
  );
}
