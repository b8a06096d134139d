// R4: what each layer reaches under the roofs of the chip: operations per byte against operations per second.

import { scaleLog, scaleSqrt } from "d3-scale";
import { format } from "../format";
import type { Panel } from "../panel";
import { other, place, type Selection, shown, toggle } from "../selection";
import type { Layer, Page, Report } from "../types";
import { causeText, pressable, tip, useWidth } from "../ui";
import { BOUND_CAUSES, colour } from "../words";

const MOST = 1500; // bubbles: of the layers that take most time

interface Roof {
  name: string;
  bytes_per_s: number;
}

interface Point {
  layer: Layer;
  /** null: it has no DRAM traffic, all of its data is on chip */
  intensity: number | null;
  achieved: number;
}

function points(report: Report): Point[] {
  const found: Point[] = [];
  for (const layer of report.layers) {
    const seconds = layer.latency_s.value;
    if (layer.macs > 0 && seconds > 0) {
      found.push({ layer, intensity: layer.intensity_op_per_byte, achieved: (2 * layer.macs) / seconds });
    }
  }
  return found.sort((a, b) => b.layer.latency_s.value - a.layer.latency_s.value);
}

/** Roofs of memories: the far one from the report, nearer ones where the page has the chip. */
function roofs(page: Page, report: Report): Roof[] {
  const chip = page.parts["chip"] as { memories?: Roof[] } | undefined;
  const near = chip?.memories?.filter((one) => one.name !== "DRAM" && one.bytes_per_s > 0) ?? [];
  return [{ name: "DRAM", bytes_per_s: report.chip.dram_bytes_per_s }, ...near];
}

/** Return the highest bandwidth. */
function nearest(memories: Roof[]): number {
  return Math.max(...memories.map((one) => one.bytes_per_s));
}

/** Roofs of other precisions, where the page has the chip; those with the same peak share one. */
function peaks(page: Page, report: Report): { dtype: string; ops_per_s: number }[] {
  const chip = page.parts["chip"] as { peaks?: { dtype: string; ops_per_s: number }[] } | undefined;
  const found = new Map<number, string[]>();
  for (const { dtype, ops_per_s: rate } of chip?.peaks ?? []) {
    if (rate !== report.chip.peak_ops_per_s) found.set(rate, [...(found.get(rate) ?? []), dtype]);
  }
  return [...found].map(([rate, dtypes]) => ({ dtype: dtypes.join(", "), ops_per_s: rate }));
}

function decades(low: number, high: number): [number, number] {
  return [10 ** Math.floor(Math.log10(low) - 0.05), 10 ** Math.ceil(Math.log10(high) + 0.05)];
}

function powers([low, high]: [number, number]): number[] {
  const found: number[] = [];
  for (let e = Math.round(Math.log10(low)); e <= Math.round(Math.log10(high)); e++) found.push(10 ** e);
  return found;
}

function Chart({ report, page, selected }: { report: Report; page: Page; selected: Selection }) {
  const [ref, width] = useWidth();
  const height = Math.min(430, Math.max(280, width * 0.5));
  const box = { left: width < 520 ? 62 : 74, right: width - 14, top: 12, bottom: height - 42 };
  const measured = points(report);
  const own = measured.slice(0, MOST);
  const second = other(page, selected);
  const ghosts = second === null ? [] : points(second).slice(0, MOST);
  const memories = roofs(page, report);
  const peak = report.chip.peak_ops_per_s;
  const ridge = peak / report.chip.dram_bytes_per_s;
  const all = [...measured, ...ghosts];
  const known = all.flatMap((p) => p.intensity ?? []);
  const strip = all.some((p) => p.intensity === null) ? 56 : 0;
  const outer = box.right;
  box.right -= strip;
  const flat = peaks(page, report);
  const xs = decades(Math.min(ridge / 8, ...known), Math.max(ridge * 8, ...known));
  const ys = decades(Math.min(peak / 30, ...all.map((p) => p.achieved)), Math.max(peak, ...flat.map((one) => one.ops_per_s)) * 1.01);
  const log = scaleLog(xs, [box.left, box.right]);
  const x = (intensity: number | null) => (intensity === null ? outer - strip / 2 + 4 : log(intensity));
  const y = scaleLog(ys, [box.bottom, box.top]).clamp(true);
  const radius = scaleSqrt([0, Math.max(...all.map((p) => p.layer.latency_s.value), 1e-12)], [0, Math.min(24, width / 26)]);
  const chosen = place(report, selected.layer);
  return (
    <div ref={ref}>
      <svg data-drawing class="roofline" width={width} height={height} role="group" aria-label="Roofline of the chip with the layers of the network">
        <Axes x={x} y={y} xs={xs} ys={ys} box={box} isCut={strip > 0} />
        {memories.map((roof) => (
          <Line key={roof.name} roof={roof} peak={peak} x={x} y={y} xs={xs} ys={ys} box={box} />
        ))}
        {flat.map((one) => (
          <g key={one.dtype} class="near">
            <line class="roof" x1={x(Math.max(xs[0], one.ops_per_s / nearest(memories)))} x2={box.right} y1={y(one.ops_per_s)} y2={y(one.ops_per_s)} />
            <text class="roof-name" x={box.right - 4} y={y(one.ops_per_s) - 5} text-anchor="end">{one.dtype} {format(one.ops_per_s, "op/s")}</text>
          </g>
        ))}
        <line class="roof" x1={x(Math.min(xs[1], ridge))} x2={outer} y1={y(peak)} y2={y(peak)} />
        <text class="roof-name strong" x={Math.max(box.left + 110, Math.min(x(ridge) + 6, box.right - 130))} y={y(peak) - 6}>{report.dtype} peak {format(peak, "op/s")}</text>
        {strip > 0 && (
          <g class="tick">
            <line x1={box.right + 8} x2={box.right + 8} y1={box.top} y2={box.bottom} class="split" />
            <text x={outer - strip / 2 + 4} y={box.bottom + 15} text-anchor="middle">on chip</text>
          </g>
        )}
        {ghosts.map((p) => (
          <circle key={p.layer.name} class="ghost" cx={x(p.intensity)} cy={y(p.achieved)} r={radius(p.layer.latency_s.value)} />
        ))}
        {own.map((p) => (
          <Bubble key={p.layer.name} p={p} x={x} y={y} r={radius(p.layer.latency_s.value)} selected={selected} isChosen={report.layers[chosen] === p.layer} isFirst={selected.layer === null && p === own[0]} />
        ))}
        {measured.filter((p) => report.layers[chosen] === p.layer).map((p) => (
          <Marker key="marker" p={p} x={x} y={y} box={box} />
        ))}
      </svg>
    </div>
  );
}

type Scale = (value: number) => number;
type Across = (value: number | null) => number;
interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

function Axes({ x, y, xs, ys, box, isCut }: { x: Scale; y: Scale; xs: [number, number]; ys: [number, number]; box: Box; isCut: boolean }) {
  const plain = (n: number) => (n >= 1 ? format(n).replace(/\.0+$/, "") : `${n}`);
  const across = powers(xs);
  const every = Math.ceil(across.length / 9);
  return (
    <g class="tick">
      {across.map((t, i) => (
        <g key={`x${t}`}>
          <line x1={x(t)} x2={x(t)} y1={box.top} y2={box.bottom} />
          {i % every === 0 && !(isCut && i === across.length - 1) && <text x={x(t)} y={box.bottom + 15} text-anchor="middle">{t >= 1e4 ? format(t, "op").replace(/ ?OP$/, "").replace(".0", "") : plain(t)}</text>}
        </g>
      ))}
      {powers(ys).map((t) => (
        <g key={`y${t}`}>
          <line x1={box.left} x2={box.right} y1={y(t)} y2={y(t)} />
          <text x={box.left - 7} y={y(t) + 4} text-anchor="end">{format(t, "op/s").replace(/\.0+(?= )/, "")}</text>
        </g>
      ))}
      <text x={(box.left + box.right) / 2} y={box.bottom + 34} text-anchor="middle" class="axis">operations per byte of DRAM traffic</text>
    </g>
  );
}

function Line({ roof, peak, x, y, xs, ys, box }: { roof: Roof; peak: number; x: Scale; y: Scale; xs: [number, number]; ys: [number, number]; box: Box }) {
  const begin = Math.max(xs[0], ys[0] / roof.bytes_per_s);
  const end = Math.min(xs[1], peak / roof.bytes_per_s);
  if (begin >= end) return null;
  const [x1, y1, x2, y2] = [x(begin), y(begin * roof.bytes_per_s), x(end), y(end * roof.bytes_per_s)];
  const angle = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
  const at = 0.42;
  const [tx, ty] = [x1 + (x2 - x1) * at, y1 + (y2 - y1) * at];
  const isFar = roof.name === "DRAM";
  return (
    <g class={isFar ? "" : "near"}>
      <line class="roof" x1={x1} y1={y1} x2={x2} y2={y2} />
      {x2 - x1 > 60 && tx > box.left && (
        <text class="roof-name" transform={`translate(${tx} ${ty - 6}) rotate(${angle})`} text-anchor="middle">
          {roof.name} {format(roof.bytes_per_s, "B/s")}
        </text>
      )}
    </g>
  );
}

interface BubbleProps {
  p: Point;
  x: Across;
  y: Scale;
  r: number;
  selected: Selection;
  isChosen: boolean;
  isFirst: boolean;
}

function Bubble({ p, x, y, r, selected, isChosen, isFirst }: BubbleProps) {
  const { layer } = p;
  const cause = BOUND_CAUSES[layer.bound] ?? "useful";
  const lost = selected.cause === null ? 1 : (layer.waterfall.find((part) => part.part === selected.cause)?.seconds ?? 0);
  const faded = selected.cause !== null && lost < 0.05 * layer.latency_s.value;
  const reached = p.achieved / layer.attainable_ops_per_s;
  const told = () => (
    <>
      <b>{layer.name}</b>
      <p>{format(layer.latency_s.value, "s")}, {format(layer.share, "%")} of the time; bound by {layer.bound}</p>
      <p>{format(p.achieved, "op/s")} of {format(layer.attainable_ops_per_s, "op/s")} under the roof: {format(reached, "%")}</p>
      <p>{p.intensity === null ? "no DRAM traffic" : `${format(p.intensity)} OP/B`}; {format(layer.utilization, "%")} of the peak</p>
    </>
  );
  const press = pressable(() => toggle(layer.name));
  const keyboard = { ...press, tabIndex: isChosen || isFirst ? 0 : -1 };
  return (
    <circle
      class={`bubble${faded ? " faded" : ""}${isChosen ? " chosen" : ""}`}
      cx={x(p.intensity)}
      cy={y(p.achieved)}
      r={Math.max(2, r)}
      style={{ fill: colour(cause), stroke: colour(cause) }}
      aria-pressed={isChosen}
      aria-label={`${layer.name}: ${format(layer.latency_s.value, "s")}, ${causeText(cause)}`}
      {...keyboard}
      {...tip(told)}
    />
  );
}

function Marker({ p, x, y, box }: { p: Point; x: Across; y: Scale; box: Box }) {
  const [cx, cy, top] = [x(p.intensity), y(p.achieved), y(p.layer.attainable_ops_per_s)];
  const right = cx < (box.left + box.right) / 2;
  return (
    <g class="marker" aria-hidden="true">
      <line x1={cx} x2={cx} y1={cy} y2={top} />
      <circle cx={cx} cy={top} r={3} />
      <text x={cx + (right ? 8 : -8)} y={(cy + top) / 2 + 4} text-anchor={right ? "start" : "end"}>
        {format(p.achieved / p.layer.attainable_ops_per_s, "%")} of the roof
      </text>
    </g>
  );
}

function ghostName(page: Page, selected: Selection): string {
  if (page.parts["compare"] !== undefined) return "as it is";
  return selected.side === "silicon" ? "our program" : "on silicon";
}

function draw(report: Report, page: Page, selected: Selection) {
  const drawable = points(report).length;
  const hidden = report.layers.length - drawable;
  const bounds = [...new Set(report.layers.map((layer) => layer.bound))];
  return (
    <>
      <Chart report={report} page={page} selected={selected} />
      <p class="legend">
        {bounds.map((bound) => (
          <span key={bound}>
            <i class="swatch round" style={{ background: colour(BOUND_CAUSES[bound] ?? "useful") }} aria-hidden="true" /> {bound}
          </span>
        ))}
        {other(page, selected) !== null && (
          <span><i class="swatch round open" aria-hidden="true" /> {ghostName(page, selected)}</span>
        )}
        <span class="dim">area: time{page.parts["chip"] !== undefined && "; dashed roofs: bytes of that memory, other precisions"}{hidden > 0 && `; ${hidden} layers without MACs are not drawn`}{drawable > MOST && `; the ${MOST} longest are drawn`}</span>
      </p>
    </>
  );
}

export const roofline: Panel<Report> = {
  name: "roofline",
  title: "Roofline",
  about: "A layer under the slope waits for memory at best; under the flat roof it could fill the array. The gap to the roof is lost time.",
  part: (page) => page.reports[0] ?? null,
  draw: (_part, page, selected) => {
    const report = shown(page, selected);
    return report === null ? null : draw(report, page, selected);
  },
  csv: (_part, page, selected) => {
    const report = shown(page, selected);
    const body = report === null ? [] : points(report);
    return [
      ["layer", "intensity_op_per_byte", "achieved_ops_per_s", "attainable_ops_per_s", "seconds", "bound"],
      ...body.map((p) => [p.layer.name, p.intensity, p.achieved, p.layer.attainable_ops_per_s, p.layer.latency_s.value, p.layer.bound]),
    ];
  },
};
