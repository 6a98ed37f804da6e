// The frame around a page: the rail with its sections, who is signed in, the theme.

import { actFor, leave, who } from "./api.js";
import { h } from "./dom.js";
import { icon, mark } from "./icons.js";
import { button, select } from "./parts.js";
import { go, show } from "./router.js";

const SECTIONS = [
  {
    title: "Use",
    tenant: true,
    items: [
      ["/", "Start", "home"],
      ["/playground", "Playground", "chat"],
      ["/keys", "Keys", "key"],
      ["/usage", "Usage and spend", "chart"],
      ["/responses", "Stored responses", "store"],
      ["/limits", "Limits and budgets", "gauge"],
      ["/billing", "Billing", "bill"],
      ["/prices", "Prices", "tag"],
    ],
  },
  {
    title: "Manage",
    tenant: true,
    items: [
      ["/team", "Team", "people"],
      ["/trail", "Audit trail", "trail"],
      ["/account", "Account", "person"],
    ],
  },
  {
    title: "Operate",
    operator: true,
    items: [
      ["/operator", "Service", "chip"],
      ["/operator/models", "Models", "box"],
      ["/operator/tenants", "Tenants", "building"],
      ["/operator/billing", "Invoices and vouchers", "bill"],
      ["/operator/admission", "Admission", "door"],
      ["/operator/revenue", "Revenue", "coins"],
    ],
  },
];

/** What someone without a tenant has of the other sections. */
const WITHOUT_TENANT = new Set(["/prices", "/account"]);
const OPERATOR_TOO = new Set([...WITHOUT_TENANT, "/keys", "/trail"]);

const THEMES = [
  [null, "System theme", "half"],
  ["light", "Light theme", "sun"],
  ["dark", "Dark theme", "moon"],
];

/** A button that goes through the themes. */
export function themeButton() {
  const root = document.documentElement;
  const now = () => THEMES.findIndex(([name]) => name === (root.dataset.theme ?? null));
  const node = button("", () => {
    const [name] = THEMES[(now() + 1) % THEMES.length];
    if (name) root.dataset.theme = name;
    else delete root.dataset.theme;
    try {
      if (name) localStorage.setItem("freehold.theme", name);
      else localStorage.removeItem("freehold.theme");
    } catch {
      // It lasts as long as the page.
    }
    draw();
  }, { kind: "quiet icon" });
  const draw = () => {
    const [, text, sign] = THEMES[now()];
    node.replaceChildren(icon(sign));
    node.setAttribute("aria-label", `${text}: change it`);
    node.title = text;
  };
  draw();
  return node;
}

function items(section, caller) {
  if (section.operator && !caller.operator) return [];
  if (section.tenant && !caller.tenant) {
    const some = caller.operator ? OPERATOR_TOO : WITHOUT_TENANT;
    return section.items.filter(([path]) => some.has(path));
  }
  return section.items;
}

function rail(path, caller) {
  const sections = caller.tenant ? SECTIONS : [SECTIONS[2], SECTIONS[0], SECTIONS[1]];
  const list = sections.map((section) => {
    const links = items(section, caller);
    return links.length === 0
      ? null
      : [
          h("h2", null, section.title),
          h("ul", null, links.map(([href, text, sign]) => h("li", null, h("a", { href, "aria-current": href === path ? "page" : null }, icon(sign), text)))),
        ];
  });
  return h("nav", { "aria-label": "Pages" }, list);
}

function tenantChoice(caller) {
  if (caller.tenants.length < 2) return null;
  const choice = select(caller.tenants.map((tenant) => [tenant.id, tenant.name]), { class: "input", "aria-label": "Tenant", value: caller.tenant?.id });
  choice.addEventListener("change", () => {
    actFor(choice.value);
    show();
  });
  return choice;
}

async function signOut() {
  await leave();
  await go("/login");
}

function foot(caller) {
  const name = caller.kind === "session" ? caller.user.name || caller.user.email : caller.operator ? "Operator key" : "API key";
  const where = caller.tenant ? caller.tenant.name : caller.operator ? "The whole service" : "";
  return h(
    "div",
    { class: "side-foot" },
    tenantChoice(caller),
    h("p", { class: "whoami" }, h("strong", null, name), where),
    h("div", { class: "row" }, button("Sign out", signOut, { kind: "quiet", sign: "out" }), themeButton()),
  );
}

/** The frame for someone who is signed in. */
export function inside(path, content) {
  const caller = who();
  const side = h("aside", { class: "side", id: "side" }, h("a", { class: "brand", href: "/" }, mark(), "Freehold"), rail(path, caller), foot(caller));
  const veil = h("div", { class: "veil", hidden: true });
  const menu = button("", () => turn(!side.classList.contains("open")), { kind: "quiet icon", sign: "menu", label: "Menu", "aria-expanded": "false", "aria-controls": "side" });
  const turn = (wide) => {
    side.classList.toggle("open", wide);
    veil.hidden = !wide;
    menu.setAttribute("aria-expanded", String(wide));
    if (wide) side.querySelector("a").focus();
    else menu.focus();
  };
  veil.addEventListener("click", () => turn(false));
  const top = h("header", { class: "top" }, h("a", { class: "brand", href: "/" }, mark(), "Freehold"), menu);
  const onkeydown = (event) => {
    if (event.key === "Escape" && side.classList.contains("open")) turn(false);
  };
  return h("div", { class: "frame", onkeydown }, side, veil, h("div", { class: "body" }, top, h("main", { class: "page", id: "content", tabindex: "-1" }, content)));
}

/** The frame for someone who is not. */
export function outside(content, { narrow = false } = {}) {
  const caller = who();
  const links = caller
    ? [h("a", { class: "button", href: "/" }, "To the console")]
    : [h("a", { class: "button quiet", href: "/prices" }, "Prices"), location.pathname !== "/login" && h("a", { class: "button", href: "/login" }, "Sign in")];
  return h(
    "div",
    { class: "outside" },
    h("header", null, h("a", { class: "brand", href: "/" }, mark(), "Freehold"), h("div", { class: "row" }, themeButton(), links)),
    h("main", { id: "content", tabindex: "-1", class: narrow && "narrow" }, content),
    h(
      "footer",
      null,
      h("a", { href: "/api/v1/openapi.json" }, "OpenAPI document"),
      h("a", { href: "/prices" }, "Prices"),
      h("a", { href: "/healthz" }, "Health"),
    ),
  );
}
