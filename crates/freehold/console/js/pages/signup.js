// Signing up: the form, what comes after it, and the link out of the mail.

import { get, post } from "../api.js";
import { fill, h } from "../dom.js";
import { button, dead, field, form, input, linkButton, notice, problem, toast } from "../parts.js";
import { providers } from "./login.js";

const PASSWORD_MIN = 10;
const PASSWORD_MAX = 200;

/** The field of a new password. */
export const newPassword = () => passwordField("Password", "password");

export function passwordField(label, name) {
  return field(label, input({ type: "password", name, autocomplete: "new-password", required: true, minlength: String(PASSWORD_MIN), maxlength: String(PASSWORD_MAX) }), {
    help: `At least ${PASSWORD_MIN} characters; a few words that you can remember are good.`,
  });
}

function mailSent(email) {
  return h(
    "div",
    { class: "card stack" },
    h("h1", null, "Look into your mail"),
    h("p", { class: "muted breaks" }, "A link is on its way to ", h("strong", null, email), ". Open it, type your password once more, and your account is ready."),
    h("p", { class: "small faint" }, "Nothing there? Look into the spam folder, or have it sent again."),
    button("Send it again", async () => {
      await post("/signup/resend", { email });
      toast("It was sent again.");
    }),
  );
}

/** Where someone stands in the waiting list. */
export function waiting(position) {
  return h(
    "div",
    { class: "card stack" },
    h("h1", null, "You are on the list"),
    position && h("p", null, h("span", { class: "position" }, position), h("span", { class: "muted" }, " is your place in it.")),
    h("p", { class: "muted" }, "You get a mail as soon as there is room for you. With an invite code you can sign up at once."),
  );
}

function ready(title) {
  return h(
    "div",
    { class: "card stack" },
    h("h1", null, title),
    h("p", { class: "muted" }, "Sign in, and the first page shows you how to make your first call."),
    linkButton("Sign in", "/login", { kind: "primary big" }),
  );
}

function after(answer, email) {
  if (answer.state === "waiting") return waiting(answer.position);
  return answer.state === "verify" ? mailSent(email) : ready("Your account is ready");
}

export async function signup({ signal, query, token }) {
  const code = token ?? query.get("invite") ?? "";
  const how = await get("/signup", { signal });
  if (how.mode === "closed" && !code) return dead("Signing up is closed", "The operator of this service gives out accounts and keys.", linkButton("Sign in", "/login", { kind: "primary" }));
  const preview = how.mode === "preview";
  const place = h("div", { class: "door" });
  const invite = field("Invite code", input({ name: "invite", autocomplete: "off", maxlength: "200", value: code }), { help: preview ? "With a code you skip the waiting list." : "If somebody gave you one." });
  const fields = form(
    [
      field("Your name", input({ name: "name", autocomplete: "name", maxlength: "96" })),
      field("E-mail", input({ type: "email", name: "email", autocomplete: "email", required: true, maxlength: "254", value: query.get("email") ?? "" })),
      newPassword(),
      field("Team or company", input({ name: "tenant", autocomplete: "organization", maxlength: "96" }), { help: "Keys, usage and invoices belong to it. Left out, it is named after you." }),
      invite,
    ],
    {
      text: preview && !code ? "Join" : "Sign up",
      full: true,
      submit: async (elements) => {
        const body = { email: elements.email.value.trim(), password: elements.password.value };
        for (const name of ["name", "tenant", "invite"]) {
          const value = elements[name].value.trim();
          if (value) body[name] = value;
        }
        const answer = await post("/signup", body);
        fill(place, after(answer, body.email));
        place.querySelector("h1").scrollIntoView({ block: "center" });
      },
    },
  );
  return fill(
    place,
    h("div", null, h("h1", null, preview ? "Join the waiting list" : "Sign up"), h("p", { class: "muted" }, "Already have an account? ", h("a", { href: "/login" }, "Sign in"), ".")),
    preview && notice("info", "This service is in preview", "It lets people in as room becomes free."),
    h("section", { class: "card stack", "aria-label": "Sign up" }, providers(how.oidc, code), fields),
  );
}

/** The link out of the mail that confirms an address. */
export function verify({ token }) {
  if (!token) return dead("This link is not whole", "Open the link in the mail once more, or copy all of it into the address bar.", linkButton("Sign in", "/login"));
  const place = h("div", { class: "door" });
  const fields = form(
    [
      field("Password", input({ type: "password", name: "password", autocomplete: "current-password", required: true, maxlength: String(PASSWORD_MAX) }), {
        help: "The one that you chose when you signed up.",
      }),
    ],
    {
      text: "Confirm",
      full: true,
      submit: async ({ password }) => {
        const answer = await post("/signup/verify", { token, password: password.value }, { quiet: true });
        fill(place, answer?.state === "waiting" ? waiting(answer.position) : ready("Your address is confirmed"));
      },
    },
  );
  return fill(
    place,
    h("div", null, h("h1", null, "Confirm your address"), h("p", { class: "muted" }, "Type your password once more. It shows that you filled in the form, and not somebody else.")),
    h("div", { class: "card" }, fields),
    h("p", { class: "small" }, "Never signed up, or forgot the password? ", h("a", { href: "/signup" }, "Sign up again"), "."),
  );
}

/** The link of an invitation: for who has an account, and for who has none. */
export async function invite(context) {
  const { token } = context;
  if (!token) return dead("This link is not whole", "Open the link of the invitation once more, or copy all of it into the address bar.", linkButton("Sign in", "/login"));
  const place = h("div", { class: "door" });
  const accept = async () => {
    try {
      await post("/signup/verify", { token });
      fill(place, ready("You are a member now"));
    } catch (error) {
      const unknown = error.status === 409;
      fill(errors, unknown ? notice("warn", "Sign up with the invitation instead", "There is no account yet with the address that it went to, or nobody has confirmed that address. It takes a moment, and sets a new password.") : problem(error));
    }
  };
  const errors = h("div", { "aria-live": "assertive" });
  const join = async () => {
    fill(place, await signup(context));
  };
  return fill(
    place,
    h("div", null, h("h1", null, "You are invited"), h("p", { class: "muted" }, "If you have an account here, the invitation adds you to the team. If not, sign up with it.")),
    h("div", { class: "card stack" }, button("I have an account: accept", accept, { kind: "primary big full" }), button("I am new: sign up", join, { kind: "big full" }), errors),
  );
}
