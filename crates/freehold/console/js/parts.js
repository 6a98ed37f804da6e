// What pages are put together from: buttons, fields, tables, notices, code, tabs.

import { ApiError } from "./api.js";
import { fill, h, newId } from "./dom.js";
import { icon } from "./icons.js";

/** A button. `press` may be async: until it ends the button is busy, and what it throws is shown as a toast. */
export function button(text, press, { kind = "", sign = null, label = null, type = "button", ...rest } = {}) {
  const node = h("button", { type, class: ["button", kind], "aria-label": label, title: label, ...rest }, sign && icon(sign), text && h("span", null, text));
  if (press) node.addEventListener("click", () => busy(node, press));
  return node;
}

/** Runs something while a button shows that it is busy. */
export async function busy(node, work) {
  if (node.getAttribute("aria-busy") === "true") return;
  node.setAttribute("aria-busy", "true");
  node.setAttribute("aria-disabled", "true");
  try {
    await work(node);
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message);
    if (!(error instanceof ApiError) && error.name !== "AbortError") throw error;
  } finally {
    node.removeAttribute("aria-busy");
    node.removeAttribute("aria-disabled");
  }
}

/** A link that looks like a button. */
export function linkButton(text, href, { kind = "", sign = null } = {}) {
  return h("a", { href, class: ["button", kind] }, sign && icon(sign), text);
}

/** A short message that goes away. */
export function toast(text) {
  const node = h("div", { class: "toast" }, text);
  document.getElementById("toasts").append(node);
  setTimeout(() => node.remove(), 6000);
}

/** A field with its label. `control` is an input, select or textarea. */
export function field(label, control, { help = null } = {}) {
  const id = control.id || newId("field");
  control.id = id;
  control.classList.add("input");
  const helpNode = help && h("p", { class: "help", id: `${id}-help` }, help);
  const wrong = h("p", { class: "wrong", id: `${id}-wrong`, hidden: true });
  if (help) control.setAttribute("aria-describedby", `${id}-help`);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, helpNode, wrong);
}

export function input(attributes = {}) {
  return h("input", { type: "text", ...attributes });
}

/** A select. `options` are values or [value, text]. */
export function select(options, attributes = {}) {
  const items = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return h("select", attributes, items.map(([value, text]) => h("option", { value }, text)));
}

export function check(text, attributes = {}) {
  return h("label", { class: "check" }, h("input", { type: "checkbox", ...attributes }), h("span", null, text));
}

/**
 * A form. `submit` gets the form's elements by name; what it throws is shown above the button, and at the field that
 * the API names.
 */
export function form(children, { text, submit, cancel = null, kind = "primary", full = false }) {
  const errors = h("div", { "aria-live": "assertive" });
  const send = button(text, null, { type: "submit", kind: full ? `${kind} big full` : kind });
  const feet = full ? send : h("footer", null, cancel && button("Cancel", cancel, { kind: "quiet" }), send);
  const node = h("form", { class: "stack", novalidate: true }, children, errors, feet);
  node.addEventListener("input", () => fill(errors));
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    clear(node, errors);
    if (!fits(node)) return;
    busy(send, async () => {
      try {
        await submit(node.elements);
      } catch (error) {
        if (error.name === "AbortError") return;
        if (!(error instanceof ApiError)) console.error(error);
        show(node, errors, error);
      }
    });
  });
  return node;
}

function clear(node, errors) {
  fill(errors);
  for (const control of node.querySelectorAll("[aria-invalid]")) clearOne(control);
}

/** Shows at each control what the browser finds wrong with it; the first gets the focus. */
function fits(node) {
  const bad = [...node.elements].filter((control) => control.willValidate && !control.validity.valid);
  for (const control of bad) point(control, control.validationMessage);
  bad[0]?.focus();
  return bad.length === 0;
}

/** Takes back what was said to be wrong with a control. */
function clearOne(control) {
  control.removeAttribute("aria-invalid");
  const wrong = document.getElementById(`${control.id}-wrong`);
  if (!wrong) return;
  wrong.hidden = true;
  const help = document.getElementById(`${control.id}-help`);
  if (help) control.setAttribute("aria-describedby", help.id);
  else control.removeAttribute("aria-describedby");
}

function point(control, message) {
  control.setAttribute("aria-invalid", "true");
  // What is said does not stay when it may no longer be true.
  control.addEventListener("input", () => clearOne(control), { once: true });
  const wrong = document.getElementById(`${control.id}-wrong`);
  if (!wrong) return;
  wrong.textContent = message;
  wrong.hidden = false;
  control.setAttribute("aria-describedby", wrong.id);
}

function show(node, errors, error) {
  const control = error.param && node.elements.namedItem(String(error.param).split(/[.[]/)[0]);
  if (control instanceof Element) {
    point(control, error.message);
    control.focus();
  }
  fill(errors, problem(error));
}

/** An error, in the API's words. */
export function problem(error, retry = null) {
  if (error instanceof ApiError && error.missingRoute) {
    return notice("info", "This service does not offer this yet", "Its operator can bring it up to date; everything else works.");
  }
  const foot = error.request && h("p", { class: "small faint" }, "Request ", h("code", null, error.request));
  const again = retry && h("p", null, button("Try again", retry));
  return notice("bad", error.status === 403 ? "You may not do this" : "That did not work", error.message, foot, again);
}

const NOTICE_SIGNS = { bad: "warn", warn: "warn", good: "check", info: "info" };

/** A notice: `bad`, `warn`, `good` or `info`. */
export function notice(kind, title, ...text) {
  const body = text.flat().filter(Boolean).map((part) => (part instanceof Node ? part : h("p", null, part)));
  return h("div", { class: ["notice", kind], role: kind === "bad" ? "alert" : null }, icon(NOTICE_SIGNS[kind]), h("div", null, title && h("strong", null, title), body));
}

/** What an empty list says: what it would hold, and what to do. */
export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("h3", null, title), h("p", null, text), actions.some(Boolean) && h("div", { class: "row" }, actions));
}

/** A whole page that says why there is nothing here. */
export function dead(title, text, ...actions) {
  return h("div", { class: "card stack" }, h("h1", null, title), h("p", { class: "muted" }, text), actions.length > 0 && h("div", { class: "row" }, actions));
}

export function loading(text = "Loading.") {
  return h("p", { class: "loading", role: "status" }, text);
}

/** The head of a page. */
export function head(title, text, ...actions) {
  return h("header", { class: "page-head" }, h("div", null, h("h1", null, title), text && h("p", null, text)), actions.length > 0 && h("div", { class: "row" }, actions));
}

/** A card with a title. */
export function card(title, { text = null, actions = [], flush = false, level = "h2" } = {}, ...children) {
  const id = newId("card");
  return h(
    "section",
    { class: ["card", flush && "flush"], "aria-labelledby": id },
    h("header", null, h("div", null, h(level, { id }, title), text && h("p", null, text)), actions.length > 0 && h("div", { class: "row" }, actions)),
    children,
  );
}

/** Large figures side by side: [label, value, note]. */
export function figures(items) {
  return h("dl", { class: "figures" }, items.map(([label, value, note]) => h("div", { class: "figure" }, h("dt", null, label), h("dd", null, value), note && h("dd", { class: "note" }, note))));
}

export function tag(text, kind = "") {
  return h("span", { class: ["tag", kind] }, text);
}

/** How full something is, 0 to 1. */
export function meter(share, label) {
  const kind = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "";
  const percent = Math.max(0, Math.min(100, Math.round(share * 100)));
  return h("div", { class: ["meter", kind], role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(percent) }, h("span", { style: { width: `${percent}%` } }));
}

/**
 * A table. A column is {title, cell(row), right, head}; `head` makes its cells the row's heading. On a phone each row
 * folds into a block of labelled lines.
 */
export function table(columns, rows, { label, foot = null } = {}) {
  const cell = (column, row) => {
    const content = column.cell(row);
    const attributes = { class: column.right && "right", "data-label": column.title };
    return column.head ? h("th", { ...attributes, scope: "row" }, content) : h("td", attributes, content);
  };
  return h(
    "div",
    { class: "table-wrap" },
    h(
      "table",
      { class: "table folds", "aria-label": label },
      h("thead", null, h("tr", null, columns.map((column) => h("th", { scope: "col", class: column.right && "right" }, column.title || h("span", { class: "sr" }, "Actions"))))),
      h("tbody", null, rows.map((row) => h("tr", null, columns.map((column) => cell(column, row))))),
      foot,
    ),
  );
}

/** A list of the API in pages: shows the first and a button for more. `draw(rows)` makes the table. */
export async function pages(load, draw, nothing) {
  const first = await load(null);
  const rows = first.data ?? [];
  if (rows.length === 0) return nothing;
  const place = h("div", null, draw(rows));
  let next = first.next ?? null;
  const more = button("Show more", async () => {
    const page = await load(next);
    rows.push(...page.data);
    next = page.next ?? null;
    fill(place, draw(rows));
    more.parentElement.hidden = !next;
  });
  return h("div", null, place, h("div", { class: "more", hidden: !next }, more));
}

/** Copies text; says so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https a page may not use the clipboard: the old way still works.
    const area = h("textarea", { class: "sr", readonly: true, value: text });
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) throw new ApiError(0, "This browser does not let the page copy: select the text and copy it yourself.");
  }
  toast("Copied.");
}

/** Code with a button that copies it. */
export function code(text, label = "Code") {
  return h("div", { class: "code" }, h("pre", { tabindex: "0", "aria-label": label }, h("code", null, text)), button("", () => copy(text), { kind: "quiet icon", sign: "copy", label: `Copy: ${label}` }));
}

/** A secret that is shown this once. */
export function secret(text) {
  return h("div", { class: "secret" }, h("code", { "data-secret": "" }, text), button("Copy", () => copy(text), { sign: "copy" }));
}

/** Tabs: [name, make()]; arrow keys move between them. */
export function tabs(items, { label }) {
  const base = newId("tabs");
  const panel = h("div", { class: "tab-panel", role: "tabpanel", id: `${base}-panel` });
  const heads = items.map(([name], index) => h("button", { type: "button", role: "tab", id: `${base}-${index}`, "aria-controls": `${base}-panel`, onclick: () => choose(index) }, name));
  const choose = (index, focus = false) => {
    heads.forEach((node, at) => {
      node.setAttribute("aria-selected", String(at === index));
      node.tabIndex = at === index ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", heads[index].id);
    fill(panel, items[index][1]());
    if (focus) heads[index].focus();
  };
  const keys = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose((heads.indexOf(document.activeElement) + step + heads.length) % heads.length, true);
  };
  choose(0);
  return h("div", null, h("div", { class: "tabs", role: "tablist", "aria-label": label, onkeydown: keys }, heads), panel);
}
