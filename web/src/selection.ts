// What the reader has chosen, once for all panels: which report, whose program, which layer, which cause.
//
// Panels read it as the third argument of `draw` and change it with `select`; everything is drawn anew.

import { useEffect, useState } from "preact/hooks";
import type { Layer, Page, Report, Side } from "./types";

export interface Selection {
  /** index into page.reports */
  report: number;
  /** whose program the numbers are of, where a report knows both */
  side: Side;
  /** name of the selected layer, or null */
  layer: string | null;
  /** cause of lost time that filters the layers, or null */
  cause: string | null;
  /** text that filters the layers */
  text: string;
}

let current: Selection = { report: 0, side: "program", layer: null, cause: null, text: "" };
/** names of the layers in the order in which the layer table shows them: arrow keys walk along it */
let order: string[] = [];
const listeners = new Set<() => void>();

export function selection(): Selection {
  return current;
}

export function select(change: Partial<Selection>): void {
  const next = { ...current, ...change };
  const keys = Object.keys(next) as (keyof Selection)[];
  if (keys.every((key) => next[key] === current[key])) return;
  current = next;
  for (const listener of [...listeners]) listener();
}

/** Select a layer, or nothing when it is selected already. */
export function toggle(layer: string): void {
  select({ layer: current.layer === layer ? null : layer });
}

export function useSelection(): Selection {
  const [seen, set] = useState(current);
  useEffect(() => {
    const listener = () => set(current);
    listeners.add(listener);
    listener();
    return () => void listeners.delete(listener);
  }, []);
  return seen;
}

export function setOrder(names: string[]): void {
  order = names;
}

/** Move the selected layer by some places in the order of the table. */
export function move(by: number): void {
  if (order.length === 0) return;
  const at = current.layer === null ? (by > 0 ? -1 : order.length) : order.indexOf(current.layer);
  const next = Math.min(order.length - 1, Math.max(0, at + by));
  select({ layer: order[next] ?? null });
}

/** Return the report whose numbers are shown: ours, or that of silicon where it is chosen and known. */
export function shown(page: Page, selected: Selection): Report | null {
  const report = page.reports[selected.report] ?? null;
  if (report === null) return null;
  return selected.side === "silicon" && report.silicon !== null ? report.silicon : report;
}

/** Return what stands beside the shown report: the other program of the two, the run that a what-if began with, or null. */
export function other(page: Page, selected: Selection): Report | null {
  const base = (page.parts["compare"] as { base?: number | null } | undefined)?.base ?? null;
  if (base !== null) return selected.report === base ? null : (page.reports[base] ?? null);
  const report = page.reports[selected.report] ?? null;
  if (report === null || report.silicon === null) return null;
  return selected.side === "silicon" ? report : report.silicon;
}

const indices = new WeakMap<Report, Map<string, number>>();

/** Return the place of a layer in a report by its name or that of one of its nodes; -1 where there is none. */
export function place(report: Report, name: string | null): number {
  if (name === null) return -1;
  let index = indices.get(report);
  if (index === undefined) {
    index = new Map();
    for (const [i, layer] of report.layers.entries()) {
      for (const node of layer.nodes) if (!index.has(node)) index.set(node, i);
    }
    for (const [i, layer] of report.layers.entries()) index.set(layer.name, i);
    indices.set(report, index);
  }
  return index.get(name) ?? -1;
}

/** Return the selected layer of the shown report, also when it was selected in the report of the other program. */
export function selectedLayer(page: Page, selected: Selection): Layer | null {
  const report = shown(page, selected);
  if (report === null || selected.layer === null) return null;
  const at = place(report, selected.layer);
  if (at >= 0) return report.layers[at] ?? null;
  const others = other(page, selected);
  const elsewhere = others === null ? -1 : place(others, selected.layer);
  for (const node of others?.layers[elsewhere]?.nodes ?? []) {
    const found = place(report, node);
    if (found >= 0) return report.layers[found] ?? null;
  }
  return null;
}
