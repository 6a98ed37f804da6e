// Amounts, counts and times as people read them.
//
// Invariant: money is computed in BigInt nano-units and never in floating point.

const NANO = 1_000_000_000n;

/** An amount of nano-units (text, number or BigInt) as a BigInt; null when it is none. */
export function nano(amount) {
  if (typeof amount === "bigint") return amount;
  if (amount === null || amount === undefined || !/^-?\d+$/.test(String(amount))) return null;
  return BigInt(amount);
}

/** Nano-units as a decimal number in text, exact. */
export function decimal(amount) {
  const value = nano(amount) ?? 0n;
  const size = value < 0n ? -value : value;
  const part = String(size % NANO).padStart(9, "0").replace(/0+$/, "");
  return `${value < 0n ? "-" : ""}${size / NANO}${part ? `.${part}` : ""}`;
}

/** A decimal number that a person typed, in nano-units as text; null when it is none or finer than a nano-unit. */
export function toNano(text) {
  const match = /^\s*(-?)(\d{1,9})(?:[.,](\d{0,9}))?\s*$/.exec(text);
  if (!match) return null;
  const value = BigInt(match[2]) * NANO + BigInt((match[3] ?? "").padEnd(9, "0"));
  return String(match[1] ? -value : value);
}

/** An amount with its currency: two decimals, more where the amount is small. */
export function money(amount, currency) {
  const value = nano(amount);
  if (value === null) return "–";
  const size = value < 0n ? -value : value;
  return inCurrency(decimal(value), currency, 2, decimals(size));
}

function decimals(size) {
  if (size === 0n || size >= NANO / 10n) return 2;
  if (size >= NANO / 1000n) return 4;
  return size >= NANO / 100_000n ? 6 : 9;
}

/** A writer of amounts that stand below each other: as many decimals as the smallest of them needs. */
export function moneyColumn(amounts, currency) {
  const sizes = amounts.map((amount) => nano(amount) ?? 0n).map((value) => (value < 0n ? -value : value)).filter((size) => size > 0n);
  const least = sizes.reduce((a, b) => (b < a ? b : a), NANO);
  const digits = decimals(least);
  return (amount) => (nano(amount) === null ? "–" : inCurrency(decimal(amount), currency, digits, digits));
}

/** An amount that somebody has: never shown as more than it is. */
export function moneyLeft(amount, currency) {
  return nano(amount) === null ? "–" : inCurrency(decimal(amount), currency, 2, 2, { roundingMode: "floor" });
}

/** An amount with every digit that it has. */
export function exactMoney(amount, currency) {
  return nano(amount) === null ? "–" : inCurrency(decimal(amount), currency, 2, 9);
}

function inCurrency(text, currency, least, most, more = {}) {
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency: currency || "EUR", currencyDisplay: "narrowSymbol", minimumFractionDigits: least, maximumFractionDigits: most, ...more }).format(text);
  } catch {
    return `${text} ${currency}`;
  }
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A whole number with separators. */
export function count(value) {
  return value === null || value === undefined ? "–" : WHOLE.format(value);
}

/** A number short enough for a label. */
export function short(value) {
  return SHORT.format(value);
}

/** A number with some decimals. */
export function fixed(value, digits) {
  return Number.isFinite(value) ? value.toFixed(digits) : "–";
}

/** Bytes in binary units. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = Number(value);
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** How many weights: 135 M, 3.2 B. */
export function weights(value) {
  if (!value) return "–";
  return value >= 1e9 ? `${(value / 1e9).toFixed(1).replace(/\.0$/, "")} B` : `${Math.round(value / 1e6)} M`;
}

const two = (value) => String(value).padStart(2, "0");

/** A day of the local calendar: 2026-11-23. */
export function day(date) {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** A day of the calendar in UTC, by which usage is counted. */
export function utcDay(date) {
  return date.toISOString().slice(0, 10);
}

/** A moment, in local time to the minute. */
export function moment(text) {
  const date = new Date(text);
  if (!text || Number.isNaN(date.getTime())) return "–";
  return `${day(date)} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

const UNITS = [[86_400, "day"], [3600, "hour"], [60, "minute"]];

/** How long ago, or until when: "3 minutes ago", "in 2 days". */
export function ago(text) {
  const date = new Date(text);
  if (!text || Number.isNaN(date.getTime())) return "never";
  const seconds = (Date.now() - date.getTime()) / 1000;
  for (const [size, name] of UNITS) {
    const number = Math.floor(Math.abs(seconds) / size);
    if (number >= 1) {
      const words = `${number} ${name}${number === 1 ? "" : "s"}`;
      return seconds >= 0 ? `${words} ago` : `in ${words}`;
    }
  }
  return seconds >= 0 ? "just now" : "in a moment";
}

/** A length of time in seconds: 2 d 3 h. */
export function span(seconds) {
  const days = Math.floor(seconds / 86_400);
  const hours = Math.floor((seconds % 86_400) / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}
