// The console: its pages, and who may see them.
//
// Invariant: what is hidden here is for clarity only; the service decides what a caller may do.

import { operate, resume, whenOver, who } from "./api.js";
import { fill } from "./dom.js";
import { dead, head, linkButton, loading, problem, toast } from "./parts.js";
import { go, setUp, show } from "./router.js";
import { inside, outside } from "./shell.js";
import { account } from "./pages/account.js";
import { admission } from "./pages/admission.js";
import { billing } from "./pages/billing.js";
import { charges } from "./pages/charges.js";
import { invoice } from "./pages/invoice.js";
import { keys } from "./pages/keys.js";
import { limits } from "./pages/limits.js";
import { login } from "./pages/login.js";
import { models } from "./pages/models.js";
import { forgot, reset } from "./pages/password.js";
import { playground } from "./pages/playground.js";
import { prices } from "./pages/prices.js";
import { responses } from "./pages/responses.js";
import { revenue } from "./pages/revenue.js";
import { service } from "./pages/service.js";
import { invite, signup, verify } from "./pages/signup.js";
import { start } from "./pages/start.js";
import { team } from "./pages/team.js";
import { tenant } from "./pages/tenant.js";
import { tenants } from "./pages/tenants.js";
import { trail } from "./pages/trail.js";
import { usage } from "./pages/usage.js";
import { welcome } from "./pages/welcome.js";

const PAGES = [
  { path: "/", title: "Start", page: start, stranger: welcome },
  { path: "/login", title: "Sign in", page: login, open: true, narrow: true },
  { path: "/signup", title: "Sign up", page: signup, open: true, narrow: true },
  { path: "/verify", title: "Confirm your address", page: verify, open: true, narrow: true },
  { path: "/forgot", title: "Forgotten password", page: forgot, open: true, narrow: true },
  { path: "/reset", title: "New password", page: reset, open: true, narrow: true },
  { path: "/invite", title: "You are invited", page: invite, open: true, narrow: true },
  { path: "/prices", title: "Prices", page: prices, stranger: prices },
  { path: "/playground", title: "Playground", page: playground },
  { path: "/keys", title: "Keys", page: keys },
  { path: "/usage", title: "Usage and spend", page: usage },
  { path: "/responses", title: "Stored responses", page: responses },
  { path: "/limits", title: "Limits and budgets", page: limits },
  { path: "/billing", title: "Billing", page: billing },
  { path: "/billing/:invoice", title: "Invoice", page: invoice, under: "/billing" },
  { path: "/team", title: "Team", page: team },
  { path: "/trail", title: "Audit trail", page: trail },
  { path: "/account", title: "Account", page: account },
  { path: "/operator", title: "Service", page: service, operator: true },
  { path: "/operator/models", title: "Models", page: models, operator: true },
  { path: "/operator/tenants", title: "Tenants", page: tenants, operator: true },
  { path: "/operator/tenants/:tenant", title: "Tenant", page: tenant, operator: true, under: "/operator/tenants" },
  { path: "/operator/billing", title: "Invoices and vouchers", page: charges, operator: true },
  { path: "/operator/billing/:invoice", title: "Invoice", page: invoice, operator: true, under: "/operator/billing" },
  { path: "/operator/admission", title: "Admission", page: admission, operator: true },
  { path: "/operator/revenue", title: "Revenue", page: revenue, operator: true },
];

function nowhere() {
  return dead("There is no such page", "The address may be mistyped, or the page has moved.", linkButton("To the start", "/", { kind: "primary" }));
}

/** What someone who belongs to no tenant has; on other pages it says so. */
const WITHOUT_TENANT = new Set(["/", "/prices", "/account"]);

/** The page that this caller gets for a route; null when they have to sign in first. */
function choose(route, caller) {
  if (!route) return nowhere;
  if (route.open) return route.page;
  if (!caller) return route.stranger ?? null;
  if (!caller.tenant && !caller.operator && !WITHOUT_TENANT.has(route.path)) return start;
  if (route.path === "/" && !caller.tenant && caller.operator) return service;
  if (route.operator && !caller.operator) return nowhere;
  return route.page;
}

/** The token of a mail's link, which came behind the `#` and is kept here only. */
let token = null;

/** Takes up a link out of a mail: `/#/verify/TOKEN` becomes the page `/verify`, and the token leaves the address. */
function takeLink() {
  const match = /^#\/(verify|reset|invite|login|forgot)(?:\/([\w.~-]{1,500}))?(\?[\w=&.~%-]{0,500})?$/.exec(location.hash);
  if (!match) return false;
  token = match[2] ?? null;
  history.replaceState(null, "", `/${match[1]}${match[3] ?? ""}`);
  return true;
}

async function frame(route, context) {
  const caller = who();
  const page = choose(route, caller);
  if (!page) {
    const back = location.pathname + location.search;
    await go(`/login?next=${encodeURIComponent(back)}`, { replace: true });
    return;
  }
  document.title = route ? `${route.title} · Freehold` : "Freehold";
  const app = document.getElementById("app");
  const path = route?.path === "/" && page === service ? "/operator" : (route?.under ?? route?.path);
  const around = (content) => (caller && !route?.open ? inside(path, content) : outside(content, { narrow: route?.narrow }));
  const waiting = around(loading());
  fill(app, waiting);
  operate(route?.operator);
  let content;
  try {
    content = await page({ ...context, token, again: () => show() });
  } catch (error) {
    if (context.signal.aborted || error.name === "AbortError") return;
    console.debug(error);
    content = [head(route?.title ?? "Freehold"), problem(error, () => show())];
  }
  if (context.signal.aborted) return;
  const place = document.getElementById("content");
  fill(place, content);
  if (context.focus) place.focus({ preventScroll: true });
}

whenOver((message) => {
  toast(message);
  go(`/login?next=${encodeURIComponent(location.pathname)}`);
});

setUp(PAGES, frame);
window.addEventListener("hashchange", () => takeLink() && show());

takeLink();
try {
  await resume();
  await show();
} catch (error) {
  fill(document.getElementById("app"), outside([head("Freehold"), problem(error, () => location.reload())]));
}
