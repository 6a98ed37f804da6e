// Pages by path, with the browser's history.
//
// Invariant: a page that is left is told so by its signal, and nothing that it still awaits is drawn.

let routes = [];
let wrap = (_, content) => content;
let leaving = new AbortController();
/** The address that is drawn: a step to another part of the same page draws nothing. */
let drawn = null;

/** Sets the pages: {path, title, page(context), open, operator}, and what draws the frame around one. */
export function setUp(pages, frame) {
  routes = pages;
  wrap = frame;
  window.addEventListener("popstate", () => address() === drawn || show());
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("a[href]");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.hash || !find(url.pathname)) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
}

const address = () => location.pathname + location.search;

function find(path) {
  for (const route of routes) {
    const names = [];
    const pattern = route.path.replace(/:(\w+)/g, (_, name) => {
      names.push(name);
      return "([^/]+)";
    });
    const match = new RegExp(`^${pattern}/?$`).exec(path);
    if (match) return { route, parameters: Object.fromEntries(names.map((name, index) => [name, decode(match[index + 1])])) };
  }
  return null;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Goes to a page. */
export function go(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  window.scrollTo(0, 0);
  return show({ focus: true });
}

/** Draws the page of the present path. */
export async function show({ focus = false } = {}) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  drawn = address();
  const found = find(location.pathname);
  await wrap(found?.route ?? null, { signal, parameters: found?.parameters ?? {}, query: new URLSearchParams(location.search), focus });
}
