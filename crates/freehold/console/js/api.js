// The service's public API, as a browser calls it: with a session's cookie, or with an API key.
//
// Invariant: a key is kept in this tab's session storage and sent to this service only; a password is never kept.

const KEY = "freehold.key";
const TENANT = "freehold.tenant";

/** What went wrong, with the API's own words where it had some. */
export class ApiError extends Error {
  constructor(status, message, { code = null, param = null, request = null, retryAfter = null } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.param = param;
    this.request = request;
    this.retryAfter = retryAfter;
  }

  /** The service has no such route: it is older than this page, or the feature is off. */
  get missingRoute() {
    return (this.status === 404 && this.message.startsWith("There is nothing at ")) || this.status === 405;
  }
}

/** Who is signed in: null, {kind: "key", role, …} or {kind: "session", user, tenants, …}. */
let caller = null;

/** Called when a session or a key turned out to be over. */
let onEnd = () => {};

export function whenOver(callback) {
  onEnd = callback;
}

export function who() {
  return caller;
}

function stored(storage, name) {
  try {
    return storage.getItem(name);
  } catch {
    return null;
  }
}

function store(storage, name, value) {
  try {
    if (value === null) storage.removeItem(name);
    else storage.setItem(name, value);
  } catch {
    // Storage is switched off: it lasts as long as the page.
  }
}

/** Whether an operator who is also a member acts as operator on the page that is drawn, and not for a tenant. */
let operating = false;

export function operate(is) {
  operating = Boolean(is) && Boolean(caller?.operator);
}

function headers(more = {}, asOperator = operating) {
  const all = new Headers(more);
  if (caller?.kind === "key") all.set("authorization", `Bearer ${caller.secret}`);
  if (caller?.kind === "session") {
    all.set("x-csrf-token", caller.csrf);
    if (caller.tenant && !(asOperator && caller.operator)) all.set("x-freehold-tenant", caller.tenant.id);
  }
  return all;
}

async function refusal(response) {
  const text = await response.text().catch(() => "");
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // Not one of the service's own errors.
  }
  const message = typeof error === "string" ? error : error.message;
  return new ApiError(response.status, message || `The service answered with status ${response.status}.`, {
    code: error.code ?? null,
    param: error.param ?? null,
    request: error.request_id ?? response.headers.get("x-request-id"),
    retryAfter: response.headers.get("retry-after"),
  });
}

/** A request; the answer, or an ApiError. `quiet`: a refusal does not end the session here. */
export async function send(path, { method = "GET", body, signal, quiet = false, more = {}, operator } = {}) {
  const init = { method, signal, headers: headers(more, operator), credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    init.headers.set("content-type", "application/json");
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The service cannot be reached. Is it running, and is the network there?");
  }
  if (response.ok) return response;
  const failed = await refusal(response);
  if (response.status === 401 && caller && !quiet) {
    forget();
    onEnd(failed.message);
  }
  throw failed;
}

async function call(path, options) {
  const response = await send(`/api/v1${path}`, options);
  if (response.status === 204) return null;
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const get = (path, options) => call(path, options);
export const post = (path, body = {}, options = {}) => call(path, { method: "POST", body, ...options });
export const put = (path, body, options = {}) => call(path, { method: "PUT", body, ...options });
export const patch = (path, body, options = {}) => call(path, { method: "PATCH", body, ...options });
export const remove = (path, options = {}) => call(path, { method: "DELETE", ...options });

/** A header that makes a creating call safe to repeat. */
export function once() {
  return { more: { "idempotency-key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` } };
}

/** The same for a form: the header stays while the same is sent, since what seemed to fail may have arrived. */
export function onceFor() {
  let sent = null;
  let header = null;
  return (body) => {
    const text = JSON.stringify(body);
    if (text !== sent) [sent, header] = [text, once()];
    return header;
  };
}

/** Every page of a list, up to `most` things. */
export async function all(path, { most = 1000, signal, operator } = {}) {
  const data = [];
  let after = null;
  do {
    const joint = path.includes("?") ? "&" : "?";
    const page = await get(`${path}${after ? `${joint}after=${encodeURIComponent(after)}` : ""}`, { signal, operator });
    data.push(...(page.data ?? []));
    after = page.next ?? null;
  } while (after && data.length < most);
  return data;
}

/** A file of the service as a download. */
export async function download(path, name) {
  const response = await send(`/api/v1${path}`);
  const url = URL.createObjectURL(await response.blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function keep(session) {
  const tenants = session.tenants ?? [];
  const wish = stored(localStorage, TENANT);
  caller = {
    kind: "session",
    user: session.user ?? {},
    tenants,
    tenant: tenants.find((tenant) => tenant.id === wish) ?? tenants[0] ?? null,
    waiting: session.waiting ?? null,
    csrf: session.csrf_token,
    expires: session.expires_at,
    operator: Boolean(session.operator ?? session.user?.operator),
  };
  return caller;
}

/** Signs in with a key. */
export async function useKey(secret) {
  const before = caller;
  caller = { kind: "key", secret };
  try {
    const me = await get("/whoami", { quiet: true });
    const operator = me.role === "operator";
    const tenant = operator ? null : { id: me.tenant, name: me.tenant_name, role: "key" };
    caller = { kind: "key", secret, key: me.key, operator, tenant, tenants: tenant ? [tenant] : [], models: me.models ?? null, scopes: me.scopes ?? null };
    store(sessionStorage, KEY, secret);
    return caller;
  } catch (error) {
    caller = before;
    throw error;
  }
}

/** Signs in with a password. */
export async function login(email, password) {
  const session = await post("/session", { email, password }, { quiet: true });
  store(sessionStorage, KEY, null);
  return keep(session);
}

/** Takes up what this browser was signed in with before. */
export async function resume() {
  const secret = stored(sessionStorage, KEY);
  if (secret) {
    try {
      return await useKey(secret);
    } catch (error) {
      if (error.status !== 401) throw error;
      store(sessionStorage, KEY, null);
    }
  }
  try {
    return keep(await get("/session", { quiet: true }));
  } catch (error) {
    if (error.status === 401 || error.status === 403 || error.missingRoute) return null;
    throw error;
  }
}

/** Acts for another tenant from now on. */
export function actFor(id) {
  const tenant = caller?.tenants.find((one) => one.id === id);
  if (!tenant) return;
  caller.tenant = tenant;
  store(localStorage, TENANT, id);
}

export function forget() {
  store(sessionStorage, KEY, null);
  caller = null;
}

/** Signs out: here, or on every device. */
export async function leave(everywhere = false) {
  if (caller?.kind === "session") await remove(everywhere ? "/sessions" : "/session", { quiet: true });
  forget();
}

/** Whether the caller is an owner of the tenant or has one of these roles there. A key is at most a developer. */
export function mayBe(...roles) {
  const role = caller?.tenant?.role;
  if (role === "key") return roles.includes("developer") && (caller.scopes?.includes("manage") ?? true);
  return !role || role === "owner" || roles.includes(role);
}
