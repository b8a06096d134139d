// R10: the network, a box for each layer or folded module, coloured by a number of one's choice.

import { scaleSqrt } from "d3-scale";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { format } from "../format";
import { depthFor, type Edge, type Folded, groups, layered, type Place } from "../layered";
import type { Panel } from "../panel";
import { place, type Selection, shown, toggle } from "../selection";
import type { Layer, Page, Report } from "../types";
import { pressable, tip } from "../ui";
import { BOUND_CAUSES, colour } from "../words";

interface GraphPart {
  nodes: [string, string, (number | string)[], string][];
  edges: [number, number][];
}

interface Metric {
  title: string;
  unit: string;
  of: (layer: Layer) => number;
  /** of several layers: their sum, or the share that is weighted by time */
  mean?: boolean;
}

const METRICS: Record<string, Metric> = {
  time: { title: "time", unit: "s", of: (layer) => layer.latency_s.value },
  energy: { title: "energy", unit: "J", of: (layer) => layer.energy_j?.value ?? 0 },
  dram: { title: "DRAM traffic", unit: "B", of: (layer) => layer.dram_bytes },
  macs: { title: "MACs", unit: "MAC", of: (layer) => layer.macs },
  util: { title: "utilisation", unit: "%", of: (layer) => layer.utilization, mean: true },
};
const [WIDE, HIGH, GAP_X, GAP_Y] = [132, 40, 34, 14];
const MOST = 48; // boxes before modules fold

interface Box extends Folded, Place {
  value: number;
  cause: string;
  label: string;
}

/** Edges between layers: through nodes that are in none (reshapes) as if these were not there. */
function layerEdges(part: GraphPart, report: Report): [number, number][] {
  const of = part.nodes.map(([name]) => place(report, name));
  const sources: Set<number>[] = part.nodes.map(() => new Set());
  const found = new Set<string>();
  const edges: [number, number][] = [];
  for (const [from, to] of part.edges) {
    const reached = (of[from] ?? -1) >= 0 ? [of[from] ?? -1] : [...(sources[from] ?? [])];
    for (const source of reached) {
      const target = of[to] ?? -1;
      if (target < 0) sources[to]?.add(source);
      else if (target !== source && !found.has(`${source},${target}`)) {
        found.add(`${source},${target}`);
        edges.push([source, target]);
      }
    }
  }
  return edges;
}

function boxes(report: Report, edges: [number, number][], metric: Metric, depth: number, open: ReadonlySet<string>): { list: Box[]; edges: Edge[] } {
  const names = report.layers.map((layer) => layer.name);
  const { of, list } = groups(names, depth, open);
  const seen = new Set<string>();
  const between: Edge[] = [];
  for (const [a, b] of edges) {
    const [from, to] = [of[a] ?? 0, of[b] ?? 0];
    if (from === to || seen.has(`${from},${to}`)) continue;
    seen.add(`${from},${to}`);
    between.push({ from, to });
  }
  const places = layered(list.length, between);
  const made = list.map((one, i): Box => {
    const own = one.layers.flatMap((k) => report.layers[k] ?? []);
    const seconds = own.reduce((sum, layer) => sum + layer.latency_s.value, 0);
    const total = own.reduce((sum, layer) => sum + metric.of(layer) * (metric.mean ? layer.latency_s.value : 1), 0);
    const longest = own.reduce((a, b) => (b.latency_s.value > a.latency_s.value ? b : a));
    const label = own.length === 1 ? longest.name : one.path;
    return { ...one, ...(places[i] ?? { rank: 0, row: 0 }), value: metric.mean ? (seconds ? total / seconds : 0) : total, cause: BOUND_CAUSES[longest.bound] ?? "useful", label };
  });
  return { list: made, edges: between };
}

function Drawing({ report, part, selected }: { report: Report; part: GraphPart; selected: Selection }) {
  const [metric, setMetric] = useState("time");
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [zoom, setZoom] = useState(1);
  const scroll = useRef<HTMLDivElement>(null);
  const names = useMemo(() => report.layers.map((layer) => layer.name), [report]);
  const depth = useMemo(() => depthFor(names, MOST), [names]);
  const links = useMemo(() => layerEdges(part, report), [part, report]);
  const chosenMetric = METRICS[metric] ?? (METRICS["time"] as Metric);
  const { list, edges } = useMemo(() => boxes(report, links, chosenMetric, depth, open), [report, links, chosenMetric, depth, open]);
  const chosen = place(report, selected.layer);
  const rows = list.map((box) => box.row);
  const top = Math.min(...rows);
  const width = (Math.max(...list.map((box) => box.rank)) + 1) * (WIDE + GAP_X) + 20;
  const height = (Math.max(...rows) - top + 1) * (HIGH + GAP_Y) + 36;
  const x = (box: Box) => 10 + box.rank * (WIDE + GAP_X);
  const y = (box: Box) => 22 + (box.row - top) * (HIGH + GAP_Y);
  const share = scaleSqrt([0, Math.max(...list.map((box) => box.value), 1e-30)], [0, 1]);
  const current = list.find((box) => box.layers.includes(chosen));
  useEffect(() => {
    const element = scroll.current;
    if (element === null || current === undefined) return;
    const at = (x(current) + WIDE / 2) * zoom;
    if (at < element.scrollLeft + 80 || at > element.scrollLeft + element.clientWidth - 80) element.scrollLeft = at - element.clientWidth / 2;
  }, [current?.path, zoom]);
  const fold = (path: string) => {
    const next = new Set(open);
    next.add(path);
    setOpen(next);
  };
  const fit = () => scroll.current !== null && setZoom(Math.max(0.12, Math.min(1, scroll.current.clientWidth / width)));
  return (
    <>
      <div class="tools">
        <label class="pick">colour by <select value={metric} onChange={(event) => setMetric(event.currentTarget.value)}>{Object.entries(METRICS).map(([key, one]) => <option key={key} value={key}>{one.title}</option>)}</select></label>
        <span role="group" aria-label="Zoom">
          <button type="button" class="quiet" onClick={() => setZoom((z) => Math.max(0.12, z / 1.3))}>−</button>
          <button type="button" class="quiet" onClick={() => setZoom((z) => Math.min(2, z * 1.3))}>+</button>
          <button type="button" class="quiet" onClick={fit}>fit</button>
        </span>
        {open.size > 0 && <button type="button" class="quiet" onClick={() => setOpen(new Set())}>fold modules</button>}
        <span class="dim count">{list.length === names.length ? `${names.length} layers` : `${names.length} layers in ${list.length} boxes; choose a module to open it`}</span>
      </div>
      <div class="graph-box" ref={scroll} tabIndex={0} role="region" aria-label="Graph of the network">
        <svg data-drawing width={width * zoom} height={height * zoom} viewBox={`0 0 ${width} ${height}`} role="group" aria-label="Graph of the network">
          {edges.map(({ from, to }) => {
            const [a, b] = [list[from], list[to]];
            if (a === undefined || b === undefined) return null;
            return <path key={`${from},${to}`} class={`edge${a === current || b === current ? " on" : ""}`} d={curve(x(a) + WIDE, y(a) + HIGH / 2, x(b), y(b) + HIGH / 2)} />;
          })}
          {list.map((box) => <BoxView key={box.path} box={box} x={x(box)} y={y(box)} share={share(box.value)} unit={chosenMetric.unit} report={report} isChosen={box === current} fold={fold} />)}
        </svg>
      </div>
    </>
  );
}

/** A curve from a box to another; one that skips boxes in its own row passes above them. */
function curve(x1: number, y1: number, x2: number, y2: number): string {
  const bend = x2 > x1 ? Math.max(16, (x2 - x1) / 2) : 60;
  if (x2 - x1 > WIDE && Math.abs(y2 - y1) < HIGH) {
    const up = Math.min(y1, y2) - HIGH / 2 - 9;
    return `M${x1} ${y1}C${x1 + 20} ${y1} ${x1 + 6} ${up} ${x1 + 30} ${up}L${x2 - 30} ${up}C${x2 - 6} ${up} ${x2 - 20} ${y2} ${x2} ${y2}`;
  }
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

function kindText(kind: string): string {
  return kind.length > 11 ? `${kind.slice(0, 10)}…` : kind;
}

interface BoxProps {
  box: Box;
  x: number;
  y: number;
  share: number;
  unit: string;
  report: Report;
  isChosen: boolean;
  fold: (path: string) => void;
}

function BoxView({ box, x, y, share, unit, report, isChosen, fold }: BoxProps) {
  const isModule = box.layers.length > 1;
  const first = report.layers[box.layers[0] ?? 0];
  const press = () => (isModule ? fold(box.path) : first && toggle(first.name));
  const told = () => (
    <>
      <b>{box.label}</b>
      {isModule ? <p>{box.layers.length} layers</p> : <p>{first?.kind}; {first?.nodes.length === 1 ? "" : first?.nodes.join(", ")}</p>}
      <p>{format(box.value, unit)}; bound by {first?.bound}</p>
    </>
  );
  const label = box.label.length > 17 ? `…${box.label.slice(box.label.length - 16)}` : box.label;
  return (
    <g class={`box${isChosen ? " chosen" : ""}${isModule ? " module" : ""}`} transform={`translate(${x} ${y})`} aria-pressed={isModule ? undefined : isChosen} {...pressable(press)} {...tip(told)}>
      {isModule && <rect class="behind" x={3} y={-3} width={WIDE} height={HIGH} rx={5} />}
      <rect class="card" width={WIDE} height={HIGH} rx={5} />
      <rect width={Math.max(2, WIDE * share)} height={4} y={HIGH - 4} rx={1.5} style={{ fill: colour(box.cause) }} />
      <rect class="tint" width={WIDE} height={HIGH} rx={5} style={{ fill: colour(box.cause), fillOpacity: 0.06 + 0.4 * share }} />
      <text x={8} y={16} class="mono">{label}</text>
      <text x={8} y={31} class="dim">{format(box.value, unit)}</text>
      <text x={WIDE - 8} y={31} text-anchor="end" class="dim">{isModule ? `${box.layers.length} layers` : kindText(first?.kind ?? "")}</text>
    </g>
  );
}

export const graph: Panel<GraphPart> = {
  name: "graph",
  title: "Network",
  about: "A box for each layer, or for a module with many; the stronger its colour, the more of the chosen number; the hue says what bounds it.",
  part: (page) => (page.reports[0] === undefined ? null : ((page.parts["graph"] as GraphPart | undefined) ?? null)),
  draw: (part, page: Page, selected) => {
    const report = shown(page, selected);
    if (report === null || report.layers.length === 0) return null;
    return <Drawing key={report.kind} report={report} part={part} selected={selected} />;
  },
  csv: (part, page, selected) => {
    const report = shown(page, selected);
    const rows = part.nodes.map(([name, op, shape, dtype]) => {
      const layer = report === null ? undefined : report.layers[place(report, name)];
      return [name, op, shape.join("x"), dtype, layer?.name ?? ""];
    });
    return [["node", "op", "shape", "dtype", "layer"], ...rows];
  },
};
