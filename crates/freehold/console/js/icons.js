// Icons: strokes on a 16 x 16 grid.

import { s } from "./dom.js";

const PATHS = {
  home: "M2.5 7.5 8 2.8l5.5 4.7M4 6.5v6.7h8V6.5M6.7 13.2V9.5h2.6v3.7",
  chat: "M2.5 3.5h11v7.6H7.3L4.3 13.5v-2.4H2.5z",
  key: "M6.6 9.4a3 3 0 1 1-4.2-4.3 3 3 0 0 1 4.2 4.3zM6.7 7.2h7v2.6M11 7.4v2",
  chart: "M2.5 13.5h11M4.2 11V7.5M8 11V3M11.8 11V5.5",
  gauge: "M2.6 11.8a5.8 5.8 0 1 1 10.8 0M8 9.6l2.6-3.4",
  bill: "M3.5 2.5h9v11l-2.2-1.3L8 13.5l-2.3-1.3-2.2 1.3zM5.8 5.8h4.4M5.8 8.6h4.4",
  people: "M6 7.6a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6zM1.8 13c.4-2.3 2-3.5 4.2-3.5s3.8 1.2 4.2 3.5M10.5 3.3a2.2 2.2 0 0 1 0 4.1M11.8 9.7c1.4.4 2.2 1.5 2.5 3.3",
  trail: "M3 3.5h10M3 8h10M3 12.5h6",
  person: "M8 8a2.6 2.6 0 1 0 0-5.2A2.6 2.6 0 0 0 8 8zM3.2 13.5c.4-2.4 2.2-3.8 4.8-3.8s4.4 1.4 4.8 3.8",
  building: "M3.5 13.5v-11h6v11M9.5 6.5h3v7M2.5 13.5h11M5.5 5.5h2M5.5 8h2M5.5 10.5h2",
  door: "M4 13.5v-11h8v11M2.5 13.5h11M9.6 8h.1",
  tag: "M2.8 2.8h4.7l5.7 5.7-4.7 4.7-5.7-5.7zM5.4 5.4h.1",
  chip: "M4.5 4.5h7v7h-7zM6.5 2.5v2M9.5 2.5v2M6.5 11.5v2M9.5 11.5v2M2.5 6.5h2M2.5 9.5h2M11.5 6.5h2M11.5 9.5h2",
  box: "M8 2.3 13.2 5v6L8 13.7 2.8 11V5zM2.9 5 8 7.7 13.1 5M8 7.7v5.9",
  store: "M2.5 3h11v3.2h-11zM3.5 6.2v7h9v-7M6.3 8.8h3.4",
  coins: "M6.5 7.5c2.2 0 4-.9 4-2s-1.8-2-4-2-4 .9-4 2 1.8 2 4 2zM2.5 5.5v4c0 1.1 1.8 2 4 2M10.5 5.5v1.2M9.7 12.6c2.1 0 3.8-.8 3.8-1.9s-1.7-1.9-3.8-1.9-3.7.8-3.7 1.9 1.6 1.9 3.7 1.9z",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  check: "M3 8.5 6.5 12 13 4.5",
  plus: "M8 3v10M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  sun: "M8 10.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM8 1.8v1.4M8 12.8v1.4M1.8 8h1.4M12.8 8h1.4M3.6 3.6l1 1M11.4 11.4l1 1M12.4 3.6l-1 1M4.6 11.4l-1 1",
  moon: "M13 9.6A5.4 5.4 0 0 1 6.4 3 5.4 5.4 0 1 0 13 9.6z",
  half: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  warn: "M8 2.5 14 13.2H2zM8 6.5v3M8 11.3v.1",
  info: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 7.3v3.7M8 5v.1",
  stop: "M4.5 4.5h7v7h-7z",
  send: "M8 13V3M3.8 7.2 8 3l4.2 4.2",
  code: "M5.5 4.5 2 8l3.5 3.5M10.5 4.5 14 8l-3.5 3.5",
  down: "M8 2.5v8M4.5 7.5 8 11l3.5-3.5M3 13.5h10",
  turn: "M13 8a5 5 0 1 1-1.5-3.6M13 2.5v2.8h-2.8",
  out: "M6.5 2.5h-4v11h4M6 8h7.5M10.5 5l3 3-3 3",
};

/** An icon beside a text, hidden from readers of the screen. */
export function icon(name) {
  const strokes = { d: PATHS[name], fill: "none", stroke: "currentColor", "stroke-width": "1.4", "stroke-linecap": "round", "stroke-linejoin": "round" };
  return s("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" }, s("path", strokes));
}

/** The sign of Freehold. */
export function mark() {
  return s(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": "true", focusable: "false" },
    s("rect", { width: "32", height: "32", rx: "7", class: "f1" }),
    s("path", { d: "M10 24V8h12v3.6h-8V15h7v3.5h-7V24z", fill: "var(--on-accent)" }),
  );
}
