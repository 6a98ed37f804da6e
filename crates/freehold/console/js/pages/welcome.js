// What a stranger sees: what this service is, how to get in, which APIs it speaks.

import { get } from "../api.js";
import { firstCall } from "../code.js";
import { h } from "../dom.js";
import { code, linkButton, tabs } from "../parts.js";

const SURFACES = [
  ["/v1", "OpenAI's API: chat completions, completions, responses, embeddings, models"],
  ["/llama/v1", "Meta's Llama API, for llama-api-client; /llama/compat/v1 is its OpenAI form"],
  ["/api/v1", "Freehold's own: keys, tenants, models, described by /api/v1/openapi.json"],
  ["/metrics", "Prometheus; /healthz and /readyz for load balancers"],
];

/** How one can sign up here, or null when the service does not say. */
export async function signupMode(signal) {
  try {
    return await get("/signup", { signal, quiet: true });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}

export async function welcome({ signal }) {
  const signup = await signupMode(signal);
  const inviting = { open: "Sign up", preview: "Join the waiting list" }[signup?.mode];
  const actions = inviting
    ? [linkButton(inviting, "/signup", { kind: "primary big" }), linkButton("Sign in", "/login", { kind: "big" })]
    : [linkButton("Sign in", "/login", { kind: "primary big" })];
  return [
    h(
      "div",
      { class: "hero" },
      h(
        "div",
        null,
        h("h1", null, "Llama models behind the API you already use."),
        h("p", { class: "lead" }, "Change the base URL and keep your code. Every token is metered exactly, every price is published, and everything you have here can leave in standard formats."),
        h("div", { class: "row" }, actions),
        !inviting && h("p", { class: "small faint", style: { "margin-top": "16px" } }, "New here? The operator of this service gives out keys."),
      ),
      h("div", { class: "card" }, tabs(firstCall(null).map(([name, text]) => [name, () => code(text, name)]), { label: "Language" })),
    ),
    h("section", { class: "stack", "aria-labelledby": "surfaces" }, h("h2", { id: "surfaces" }, "Where things are"), h("dl", { class: "surfaces" }, SURFACES.map(([path, text]) => [h("dt", null, h("code", null, path)), h("dd", null, text)]))),
  ];
}
