// Plots in SVG: stacked bars, ranks and lines. Each has a title, a description and its numbers as a table.

import { h, newId, s } from "./dom.js";
import { table } from "./parts.js";

/** Widest and narrowest plot, in pixels. */
const WIDTH_MAX = 1200;
const WIDTH_MIN = 240;
const SERIES_MAX = 6;

/** A round number that is at least `value`, in 1, 2, 2.5 or 5 times a power of ten. */
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= value * 0.999999);
  return step * power;
}

/** The largest series by sum, and the rest as one. Each is {name, values}. */
function largest(series) {
  const sum = (one) => one.values.reduce((total, value) => total + value, 0);
  const sorted = [...series].sort((a, b) => sum(b) - sum(a));
  if (sorted.length <= SERIES_MAX) return sorted;
  const rest = sorted.slice(SERIES_MAX - 1);
  const values = rest[0].values.map((_, index) => rest.reduce((total, one) => total + one.values[index], 0));
  return [...sorted.slice(0, SERIES_MAX - 1), { name: `${rest.length} others`, values }];
}

function frame({ width, title, text, height, body, left, labels, band, top, format }) {
  const titleId = newId("plot");
  const floor = height - 24;
  const lines = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const y = floor - share * (floor - 8);
    return [
      s("line", { class: share === 0 ? "base" : "grid", x1: left, x2: width, y1: y, y2: y }),
      s("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, format(top * share)),
    ];
  });
  // As many labels as fit without touching.
  const every = Math.max(1, Math.ceil((labels.length * 48) / (width - left)));
  const marks = labels.map((label, index) => index % every === 0 && s("text", { x: left + band * (index + 0.5), y: height - 6, "text-anchor": "middle" }, label));
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-labelledby": `${titleId} ${titleId}-desc` },
    s("title", { id: titleId }, title),
    s("desc", { id: `${titleId}-desc` }, text),
    lines,
    body,
    marks,
  );
}

function legend(names) {
  if (names.length < 2) return null;
  const swatch = (index) => s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("rect", { width: 10, height: 10, rx: 2, class: `f${index + 1}` }));
  return h("ul", { class: "legend" }, names.map((name, index) => h("li", null, swatch(index), h("span", null, name))));
}

function numbers(title, first, labels, series, exact) {
  const columns = [{ title: first, head: true, cell: (index) => labels[index] }, ...series.map((one) => ({ title: one.name, right: true, cell: (index) => exact(one.values[index]) }))];
  return h("details", null, h("summary", null, "Show as a table"), table(columns, labels.map((_, index) => index), { label: title }));
}

function describe(labels, series, exact) {
  const totals = labels.map((_, index) => series.reduce((total, one) => total + one.values[index], 0));
  const most = totals.indexOf(Math.max(...totals));
  const sum = totals.reduce((total, value) => total + value, 0);
  return `${labels.length} values from ${labels[0]} to ${labels.at(-1)}, ${exact(sum)} together; the most is ${exact(totals[most])} at ${labels[most]}.`;
}

/** A figure whose plot is drawn anew for each width, so that its text keeps its size. */
function figure(draw, series, table) {
  const place = h("div");
  let last = 0;
  const watch = new ResizeObserver(([entry]) => {
    const width = Math.round(Math.max(WIDTH_MIN, Math.min(WIDTH_MAX, entry.contentRect.width)));
    if (!place.isConnected) watch.disconnect();
    else if (width !== last) {
      last = width;
      place.replaceChildren(draw(width));
    }
  });
  place.append(draw(720));
  watch.observe(place);
  return h("figure", { class: "plot" }, place, legend(series.map((one) => one.name)), table);
}

/** Stacked bars over days. `series` are {name, values}; `format` is for the axis, `exact` for the rest. */
export function bars({ title, first = "Day", labels, ticks = labels, series, format, exact, height = 232 }) {
  const shown = largest(series);
  const totals = labels.map((_, index) => shown.reduce((total, one) => total + one.values[index], 0));
  const top = ceiling(Math.max(...totals));
  const [left, floor] = [56, height - 24];
  const text = describe(labels, shown, exact);
  const draw = (width) => {
    const band = (width - left) / labels.length;
    const thick = Math.max(1, Math.min(40, band * 0.72));
    const body = labels.map((label, index) => {
      let y = floor;
      return shown.map((one, at) => {
        const size = (one.values[index] / top) * (floor - 8);
        if (size <= 0) return null;
        y -= size;
        const x = left + band * (index + 0.5) - thick / 2;
        return s("rect", { class: `bar f${at + 1}`, x, y, width: thick, height: Math.max(size, 0.75) }, s("title", null, `${label} · ${one.name}: ${exact(one.values[index])}`));
      });
    });
    return frame({ width, title, text, height, body, left, labels: ticks, band, top, format });
  };
  return figure(draw, shown, numbers(title, first, labels, shown, exact));
}

/** Lines over moments. */
export function lines({ title, first = "Time", labels, ticks = labels, series, format, exact, height = 168 }) {
  const top = ceiling(Math.max(...series.flatMap((one) => one.values)));
  const [left, floor] = [40, height - 24];
  const text = describe(labels, series, exact);
  const draw = (width) => {
    const band = (width - left) / labels.length;
    const point = (value, index) => `${(left + band * (index + 0.5)).toFixed(1)},${(floor - (value / top) * (floor - 8)).toFixed(1)}`;
    const body = series.map((one, at) => {
      const points = one.values.map(point);
      const ground = [`${left + band * 0.5},${floor}`, ...points, `${left + band * (labels.length - 0.5)},${floor}`];
      return [s("polygon", { class: `area f${at + 1}`, points: ground.join(" ") }), s("polyline", { class: `line l${at + 1}`, points: points.join(" ") })];
    });
    return frame({ width, title, text, height, body, left, labels: ticks, band, top, format });
  };
  return figure(draw, series, numbers(title, first, labels, series, exact));
}

/** Horizontal bars, the largest first: items are {name, value, text}. */
export function ranks(items, { label }) {
  const most = Math.max(...items.map((item) => item.value), 0) || 1;
  const line = (item) => {
    const width = `${Math.max(0.5, (item.value / most) * 100)}%`;
    return h(
      "li",
      { class: "rank" },
      h("div", { class: "row" }, h("span", { class: "breaks" }, item.name), h("span", { class: "num nowrap" }, item.text)),
      h("div", { class: "meter", "aria-hidden": "true" }, h("span", { style: { width } })),
    );
  };
  return h("ol", { class: "ranks", "aria-label": label }, items.map(line));
}
