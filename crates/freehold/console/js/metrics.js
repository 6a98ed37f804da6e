// Prometheus' text format, as far as the service writes it.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** The samples of a text: {name, labels, value}. */
export function samples(text) {
  const list = [];
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(LABEL)) labels[name] = value.replace(/\\(.)/g, "$1");
    list.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return list;
}

/** The sum of a metric over the samples that have these labels. */
export function sum(list, name, labels = {}) {
  return list
    .filter((sample) => sample.name === name && Object.entries(labels).every(([key, value]) => (value instanceof RegExp ? value.test(sample.labels[key] ?? "") : sample.labels[key] === value)))
    .reduce((total, sample) => total + sample.value, 0);
}

/** The values that a label has in a metric. */
export function values(list, name, label) {
  return [...new Set(list.filter((sample) => sample.name === name).map((sample) => sample.labels[label]))].filter(Boolean);
}

/** A quantile (0 to 1) out of a histogram's buckets, by linear interpolation; null when it has no observations. */
export function quantile(list, name, labels, share) {
  const buckets = new Map();
  for (const sample of list) {
    if (sample.name !== `${name}_bucket` || !Object.entries(labels).every(([key, value]) => sample.labels[key] === value)) continue;
    const bound = sample.labels.le === "+Inf" ? Infinity : Number(sample.labels.le);
    buckets.set(bound, (buckets.get(bound) ?? 0) + sample.value);
  }
  const sorted = [...buckets].sort((a, b) => a[0] - b[0]);
  const count = sorted.at(-1)?.[1] ?? 0;
  if (!(count > 0)) return null;
  let [lower, below] = [0, 0];
  for (const [bound, total] of sorted) {
    if (total >= share * count) {
      if (bound === Infinity) return lower;
      return total === below ? bound : lower + ((bound - lower) * (share * count - below)) / (total - below);
    }
    [lower, below] = [bound, total];
  }
  return lower;
}
