// Elements from plain calls: h("p", {class: "muted"}, "text", child).
//
// Invariant: text is always a text node and never markup, so nothing that a server or a model says becomes an element.

const SVG = "http://www.w3.org/2000/svg";

function put(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === true) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (name === "class") node.setAttribute("class", Array.isArray(value) ? value.filter(Boolean).join(" ") : value);
  else if (name === "data") Object.assign(node.dataset, value);
  else if (name === "style") for (const [key, part] of Object.entries(value)) node.style.setProperty(key, part);
  else if (name === "value") node.value = value;
  else if (value === true) node.setAttribute(name, "");
  else node.setAttribute(name, value);
}

/** An HTML element. */
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  put(node, children);
  // After the children: a select takes its value only when it has its options.
  for (const [name, value] of Object.entries(attributes ?? {})) set(node, name, value);
  return node;
}

/** An SVG element. */
export function s(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) set(node, name, value);
  return put(node, children);
}

/** Replaces what an element holds. */
export function fill(node, ...children) {
  node.replaceChildren();
  return put(node, children);
}

let ids = 0;

/** An id that no other element of this page has. */
export function newId(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}
