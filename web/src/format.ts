// Numbers for people, digit for digit as onchip/units.py writes them: three significant digits, SI and KiB, a dash for
// what is not there. tests/web/test_format.py compares the two.

import type { Quantity } from "./types";

export const DASH = "–";

type Ladder = readonly (readonly [number, string])[];
const DECIMAL: Ladder = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
const SMALL: Ladder = [[1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"], [1e-15, "f"]];
const BINARY: Ladder = [[2 ** 40, "Ti"], [2 ** 30, "Gi"], [2 ** 20, "Mi"], [2 ** 10, "Ki"], [1, ""]];
const LADDERS: Record<string, readonly [Ladder, string]> = {
  B: [BINARY, "B"],
  "B/s": [DECIMAL, "B/s"],
  Hz: [DECIMAL, "Hz"],
  "op/s": [DECIMAL, "OPS"],
  op: [DECIMAL, "OP"],
  MAC: [DECIMAL, "MAC"],
  "1/s": [DECIMAL, "/s"],
  parameters: [DECIMAL, ""],
  s: [SMALL, "s"],
  J: [SMALL, "J"],
  W: [[[1e3, "k"], ...SMALL], "W"],
  "J/B": [SMALL, "J/B"],
  "J/bit": [SMALL, "J/bit"],
};
const EXACT = new Set(["cycles", "events", "elements", "instructions"]);

/** Round to three significant digits, exact ties to the even digit, as Python does. */
function round3(x: number): number {
  const [mantissa = "", exponent = ""] = Math.abs(x).toExponential(60).split("e");
  const digits = mantissa.replace(".", "");
  const kept = Number(digits.slice(0, 3));
  const rest = digits.slice(3);
  const isTie = /^50*$/.test(rest);
  const up = isTie ? kept % 2 === 1 : rest >= "5";
  return Math.sign(x) * Number(`${kept + (up ? 1 : 0)}e${Number(exponent) - 2}`);
}

/** Round to a whole number, halves to the even one, as Python does. */
function whole(x: number): number {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

export function threeDigits(x: number): string {
  if (x === 0) return "0";
  const rounded = round3(x);
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded)) + 1e-12));
  return rounded.toFixed(Math.min(places, 12));
}

function rung(magnitude: number, ladder: Ladder): readonly [number, string] {
  if (magnitude === 0) return ladder.find(([scale]) => scale === 1) ?? [1, ""];
  return ladder.find(([scale]) => round3(magnitude / scale) >= 1) ?? ladder[ladder.length - 1] ?? [1, ""];
}

/** Return a number and its unit apart: "366", "µs". */
export function split(value: number | null | undefined, unit = ""): [string, string] {
  if (value === null || value === undefined) return [DASH, ""];
  if (unit === "%") return [threeDigits(value * 100), "%"];
  if (EXACT.has(unit)) return [grouped(whole(value)), unit];
  const found = LADDERS[unit];
  if (found === undefined) return [threeDigits(value), unit];
  const [scale, prefix] = rung(Math.abs(value), found[0]);
  const digits = unit === "B" && scale === 1 ? `${whole(value)}` : threeDigits(value / scale);
  return [digits, `${prefix}${found[1]}`];
}

/** Return a value for people: three significant digits and a prefix; "%" takes a fraction. */
export function format(value: number | null | undefined, unit = ""): string {
  return split(value, unit).join(" ").trim();
}

export function grouped(n: number): string {
  return `${n}`.replace(/\B(?=(\d{3})+$)/g, " ");
}

/** Return a quantity's band: `±8 %`, `−10/+25 %` when lopsided, a dash when nobody has validated one. */
export function band(q: Quantity | null): string {
  if (q === null || q.low === null || q.high === null || q.value === 0) return DASH;
  const down = (q.value - q.low) / Math.abs(q.value);
  const up = (q.high - q.value) / Math.abs(q.value);
  const close = Math.abs(down - up) <= Math.max(0.05 * Math.max(Math.abs(down), Math.abs(up)), 0.005);
  if (close) return `±${percent(up)} %`;
  return `−${percent(down)}/+${percent(up)} %`;
}

/** Round a share to whole percent, exact ties to the even one, as Python's `:.0%` does. */
function percent(share: number): string {
  return `${whole(share * 100)}`;
}

/** Return a relative change: `−30 %`, `+4.2 %`. */
export function change(share: number | null): string {
  if (share === null) return DASH;
  const points = share * 100;
  if (Math.abs(points) < 0.05) return "±0 %";
  const digits = Math.abs(points) >= 10 ? Math.abs(points).toFixed(0) : Math.abs(points).toFixed(1);
  return `${points < 0 ? "−" : "+"}${digits} %`;
}
