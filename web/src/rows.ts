// The layer table's rows: filtered, sorted, or folded along the dots of their names.

import type { Selection } from "./selection";
import type { Layer, Part, Report } from "./types";

export type Key = "index" | "name" | "kind" | "time" | "bound" | "util" | "macs" | "dram" | "energy";

export interface Row {
  /** of a layer: its place in the report; of a module: -1 */
  index: number;
  name: string;
  label: string;
  depth: number;
  layer: Layer | null;
  /** names of modules that are folded here: path; null for layers */
  path: string | null;
  count: number;
  seconds: number;
  macs: number;
  dram: number;
  energy: number | null;
  parts: Part[];
}

const LEAST = 0.05; // of a layer's time that a cause has to take to pass the filter

export function passes(layer: Layer, selected: Selection): boolean {
  const text = selected.text.trim().toLowerCase();
  if (text !== "" && !`${layer.name} ${layer.kind} ${layer.nodes.join(" ")}`.toLowerCase().includes(text)) return false;
  if (selected.cause === null) return true;
  const lost = layer.waterfall.find((part) => part.part === selected.cause)?.seconds ?? 0;
  return lost > LEAST * layer.latency_s.value;
}

export function leaf(layer: Layer, index: number, depth = 0, label = layer.name): Row {
  return {
    index, name: layer.name, label, depth, layer, path: null, count: 1, seconds: layer.latency_s.value,
    macs: layer.macs, dram: layer.dram_bytes, energy: layer.energy_j?.value ?? null, parts: layer.waterfall,
  };
}

/** Return the value to sort by; with a cause chosen, time is the time lost to it. */
function value(row: Row, key: Key, cause: string | null): number | string {
  switch (key) {
    case "index": return row.index;
    case "name": return row.name;
    case "kind": return row.layer?.kind ?? "";
    case "bound": return row.layer?.bound ?? "";
    case "util": return row.layer?.utilization ?? 0;
    case "macs": return row.macs;
    case "dram": return row.dram;
    case "energy": return row.energy ?? -1;
    case "time":
      return cause === null ? row.seconds : (row.parts.find((part) => part.part === cause)?.seconds ?? 0);
  }
}

export function sorted(rows: Row[], key: Key, down: boolean, cause: string | null): Row[] {
  const sign = down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [p, q] = [value(a, key, cause), value(b, key, cause)];
    const order = typeof p === "string" ? p.localeCompare(q as string, "en", { numeric: true }) : p - (q as number);
    return order === 0 ? a.index - b.index : sign * order;
  });
}

interface Module {
  path: string;
  label: string;
  modules: Map<string, Module>;
  items: (Module | Row)[];
}

function isModule(item: Module | Row): item is Module {
  return "modules" in item;
}

/** Return the layers under the modules that their dotted names tell; a module with one layer is that layer. */
export function tree(report: Report, keep: (layer: Layer) => boolean, open: ReadonlySet<string>): Row[] {
  const root: Module = { path: "", label: "", modules: new Map(), items: [] };
  report.layers.forEach((layer, index) => {
    if (!keep(layer)) return;
    const words = layer.name.split(/[./]/).filter((word) => word !== "");
    let at = root;
    for (const word of words.slice(0, -1)) {
      let next = at.modules.get(word);
      if (next === undefined) {
        next = { path: at.path === "" ? word : `${at.path}.${word}`, label: word, modules: new Map(), items: [] };
        at.modules.set(word, next);
        at.items.push(next);
      }
      at = next;
    }
    at.items.push(leaf(layer, index, 0, words[words.length - 1] ?? layer.name));
  });
  return listed(root, 0, open);
}

function listed(module: Module, depth: number, open: ReadonlySet<string>): Row[] {
  const rows: Row[] = [];
  for (const item of module.items) {
    if (!isModule(item)) {
      rows.push({ ...item, depth });
      continue;
    }
    const inner = leaves(item);
    if (inner.length === 1 && inner[0] !== undefined) {
      rows.push({ ...inner[0], depth, label: inner[0].name.slice(module.path === "" ? 0 : module.path.length + 1) });
      continue;
    }
    rows.push(folded(item, inner, depth));
    if (open.has(item.path)) rows.push(...listed(item, depth + 1, open));
  }
  return rows;
}

function leaves(module: Module): Row[] {
  return module.items.flatMap((item) => (isModule(item) ? leaves(item) : [item]));
}

function folded(module: Module, inner: Row[], depth: number): Row {
  const sum = (of: (row: Row) => number) => inner.reduce((total, row) => total + of(row), 0);
  const parts = new Map<string, number>();
  for (const row of inner) for (const { part, seconds } of row.parts) parts.set(part, (parts.get(part) ?? 0) + seconds);
  return {
    index: inner[0]?.index ?? -1, name: module.path, label: module.label, depth, layer: null, path: module.path,
    count: inner.length, seconds: sum((row) => row.seconds), macs: sum((row) => row.macs), dram: sum((row) => row.dram),
    energy: inner.some((row) => row.energy === null) ? null : sum((row) => row.energy ?? 0),
    parts: [...parts].map(([part, seconds]) => ({ part, seconds })),
  };
}
