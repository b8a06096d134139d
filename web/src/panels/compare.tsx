// R12: one network on several chips: time and energy of an inference with bands, and why other chips are left out.

import { scaleLog } from "d3-scale";
import { useMemo, useState } from "preact/hooks";
import { format } from "../format";
import type { Panel } from "../panel";
import { select, type Selection } from "../selection";
import type { Part, Quantity } from "../types";
import { bandText, CauseBar, pressable, tip, useWidth } from "../ui";
import { EVIDENCE } from "../words";

interface Row {
  chip: string;
  evidence: string;
  kind: string;
  dtype: string;
  batch: number;
  latency_s: Quantity;
  seconds: number;
  energy_j: Quantity | null;
  joules: number | null;
  utilization: number;
  bound: string;
  waterfall: Part[];
  report: number | null;
}

interface ComparePart {
  verdict: string;
  base: number | null;
  rows: Row[];
  refused: { chip: string; code: string; error: string }[];
}

/** Whether the rows are changes of one run, not chips. */
function isWhatIf(part: ComparePart): boolean {
  return typeof part.base === "number";
}

type Key = "chip" | "seconds" | "joules" | "utilization" | "bound";

function span(values: number[]): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return [low / 1.25, Math.max(high * 1.25, low * 2)];
}

/** Low and high of one inference: those of the batch divided by its size. */
function ends(q: Quantity, batch: number): [number, number] | null {
  return q.low === null || q.high === null ? null : [q.low / batch, q.high / batch];
}

function Whisker({ row, scale }: { row: Row; scale: (value: number) => number }) {
  const band = ends(row.latency_s, row.batch);
  return (
    <svg class="whisker" width={120} height={20} viewBox="0 0 120 20" aria-hidden="true">
      <line x1={0} x2={120} y1={10} y2={10} class="base" />
      {band && <line x1={scale(band[0])} x2={scale(band[1])} y1={10} y2={10} class="range" />}
      <circle cx={scale(row.seconds)} cy={10} r={4} />
    </svg>
  );
}

function Table({ part, selected }: { part: ComparePart; selected: Selection }) {
  const [sort, set] = useState<{ key: Key | null; down: boolean }>({ key: isWhatIf(part) ? null : "seconds", down: false });
  const rows = useMemo(() => (sort.key === null ? part.rows : ordered(part.rows, sort.key, sort.down)), [part, sort]);
  const scale = scaleLog(span(part.rows.flatMap((row) => [row.seconds, ...(ends(row.latency_s, row.batch) ?? [])])), [6, 114]);
  const head = (key: Key, title: string, className = "") => (
    <th scope="col" class={className} {...(sort.key === key ? { "aria-sort": sort.down ? ("descending" as const) : ("ascending" as const) } : {})}>
      <button type="button" onClick={() => set({ key, down: sort.key === key ? !sort.down : key === "utilization" })}>
        {title}{sort.key === key && <span aria-hidden="true">{sort.down ? " ↓" : " ↑"}</span>}
      </button>
    </th>
  );
  return (
    <div class="table-box compare-box" tabIndex={0} role="region" aria-label="Chips">
      <table class="layers">
        <thead>
          <tr>
            {head("chip", isWhatIf(part) ? "change" : "chip")}
            <th scope="col">dtype</th>
            {head("seconds", "inference", "num")}
            <th scope="col">log scale</th>
            <th scope="col" class="num">band</th>
            {head("joules", "energy", "num")}
            {head("utilization", "util", "num")}
            {head("bound", "bound")}
            <th scope="col">time by cause</th>
            <th scope="col">numbers of</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <Line key={row.chip + row.dtype + row.batch} row={row} scale={scale} isChosen={row.report === selected.report} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ordered(rows: Row[], key: Key, down: boolean): Row[] {
  const value = (row: Row) => (key === "joules" ? (row.joules ?? Number.POSITIVE_INFINITY) : row[key]);
  const sign = down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [p, q] = [value(a), value(b)];
    return sign * (typeof p === "string" ? p.localeCompare(q as string, "en", { numeric: true }) : p - (q as number)) || a.seconds - b.seconds;
  });
}

function Line({ row, scale, isChosen }: { row: Row; scale: (value: number) => number; isChosen: boolean }) {
  const press = () => row.report !== null && select({ report: row.report, layer: null, cause: null, text: "" });
  return (
    <tr class={`layer-row${isChosen ? " chosen" : ""}`} onClick={press}>
      <th scope="row" class="c-name" title={row.chip}>
        {row.report === null ? <span class="mono">{row.chip}</span> : (
          <button type="button" class="row-name link" aria-pressed={isChosen} title="show this chip's report below" onClick={(event) => { event.stopPropagation(); press(); }}>{row.chip}</button>
        )}
      </th>
      <td>{row.dtype}{row.batch > 1 && `, b ${row.batch}`}</td>
      <td class="num" data-name="compare-time" data-value={row.seconds} data-unit="s">{format(row.seconds, "s")}</td>
      <td><Whisker row={row} scale={scale} /></td>
      <td class="num dim">{bandText(row.latency_s).replace("no band yet", "–")}</td>
      <td class="num" data-name="compare-energy" data-value={row.joules ?? ""} data-unit="J">{format(row.joules, "J")}</td>
      <td class="num">{format(row.utilization, "%")}</td>
      <td>{row.bound}</td>
      <td class="c-causes"><CauseBar parts={row.waterfall} whole={row.latency_s.value} /></td>
      <td class="dim" title={EVIDENCE[row.evidence]}>{row.kind === "silicon" ? "vendor" : "our program"}, {row.evidence}</td>
    </tr>
  );
}

/** Time against energy: what lies to the left and below is better. */
function Scatter({ part, selected }: { part: ComparePart; selected: Selection }) {
  const [ref, width] = useWidth();
  const rows = part.rows.filter((row) => row.joules !== null && row.joules > 0);
  if (rows.length < 2) return null;
  const height = Math.min(420, Math.max(280, width * 0.42));
  const box = { left: 64, right: width - 16, top: 10, bottom: height - 40 };
  const x = scaleLog(span(rows.map((row) => row.seconds)), [box.left, box.right]);
  const y = scaleLog(span(rows.map((row) => row.joules ?? 0)), [box.bottom, box.top]);
  const front = pareto(rows);
  const powers = (scale: { domain(): number[]; ticks(n: number): number[] }) => {
    const [low = 1, high = 1] = scale.domain();
    const found: number[] = [];
    for (let e = Math.ceil(Math.log10(low)); e <= Math.floor(Math.log10(high)); e++) found.push(10 ** e);
    return found.length < 2 ? scale.ticks(4) : found;
  };
  return (
    <div ref={ref}>
      <svg data-drawing width={width} height={height} role="group" aria-label="Time and energy of an inference on each chip">
        <g class="tick">
          {powers(x).map((t) => <g key={t}><line x1={x(t)} x2={x(t)} y1={box.top} y2={box.bottom} /><text x={x(t)} y={box.bottom + 15} text-anchor="middle">{format(t, "s").replace(/\.0+(?= )/, "")}</text></g>)}
          {powers(y).map((t) => <g key={t}><line x1={box.left} x2={box.right} y1={y(t)} y2={y(t)} /><text x={box.left - 7} y={y(t) + 4} text-anchor="end">{format(t, "J").replace(/\.0+(?= )/, "")}</text></g>)}
          <text class="axis" x={(box.left + box.right) / 2} y={height - 6} text-anchor="middle">{width < 520 ? "time against energy; left and down is better" : "time of an inference against its energy; left and down is better"}</text>
        </g>
        <path class="front" d={front.map((row, i) => `${i ? "L" : "M"}${x(row.seconds)} ${y(row.joules ?? 1)}`).join("")} />
        {rows.map((row) => <Point key={row.chip} row={row} cx={x(row.seconds)} cy={y(row.joules ?? 1)} isFront={front.includes(row)} isChosen={row.report === selected.report} />)}
        <Labels rows={rows.length <= 8 ? rows : front} x={x} y={y} box={box} />
      </svg>
    </div>
  );
}

function Labels({ rows, x, y, box }: { rows: Row[]; x: (v: number) => number; y: (v: number) => number; box: { right: number } }) {
  const taken: { x: number; y: number }[] = [];
  return (
    <>
      {rows.map((row) => {
        const at = { x: x(row.seconds), y: y(row.joules ?? 1) };
        const isFree = () => !taken.some((other) => Math.abs(other.x - at.x) < 110 && Math.abs(other.y - at.y) < 14);
        if (!isFree()) at.y += 16;
        if (!isFree()) return null;
        taken.push(at);
        const end = at.x > box.right - 110;
        return <text key={row.chip} class="point-name" x={at.x + (end ? -9 : 9)} y={at.y + 4} text-anchor={end ? "end" : "start"}>{row.chip.length > 40 ? `${row.chip.slice(0, 39)}…` : row.chip}</text>;
      })}
    </>
  );
}

function pareto(rows: Row[]): Row[] {
  let best = Number.POSITIVE_INFINITY;
  return [...rows].sort((a, b) => a.seconds - b.seconds || (a.joules ?? 0) - (b.joules ?? 0)).filter((row) => {
    if ((row.joules ?? 0) >= best) return false;
    best = row.joules ?? 0;
    return true;
  });
}

function Point({ row, cx, cy, isFront, isChosen }: { row: Row; cx: number; cy: number; isFront: boolean; isChosen: boolean }) {
  const told = () => (
    <>
      <b>{row.chip}</b>
      <p>{format(row.seconds, "s")} and {format(row.joules, "J")} per inference in {row.dtype}</p>
      <p>{format(row.utilization, "%")} of the peak; bound by {row.bound}</p>
    </>
  );
  const press = row.report === null ? {} : { ...pressable(() => select({ report: row.report ?? 0, layer: null, cause: null, text: "" })), "aria-label": row.chip, "aria-pressed": isChosen };
  return <circle class={`point${isFront ? " front-point" : ""}${isChosen ? " chosen" : ""}`} cx={cx} cy={cy} r={isFront ? 5 : 4} {...press} {...tip(told)} />;
}

/** Refusals with the same code and the same words but for the chip's name stand together. */
function Refused({ part }: { part: ComparePart }) {
  const groups = new Map<string, string[]>();
  for (const { chip, error } of part.refused) {
    const text = error.replaceAll(`'${chip}'`, "the chip").replace(`${chip}: `, "");
    groups.set(text, [...(groups.get(text) ?? []), chip]);
  }
  return (
    <div class="refused">
      <h3>{isWhatIf(part) ? "What cannot be priced" : `Why not the other ${part.refused.length === 1 ? "chip" : `${part.refused.length} chips`}`}</h3>
      <ul>{[...groups].map(([text, chips]) => <li key={text}><b>{chips.join(", ")}</b> {text}</li>)}</ul>
    </div>
  );
}

export const compare: Panel<ComparePart> = {
  name: "compare",
  title: "Side by side",
  short: "Compare",
  about: (part) => {
    if (isWhatIf(part)) return "Choose a row to see its report below; the roofline shows the run as it is beside it.";
    const inside = part.rows.filter((row) => row.report !== null).length;
    const others = inside < part.rows.length ? ` The ${inside} fastest are in this file; for another: onchip estimate --chip NAME.` : "";
    return `Choose a chip to see its report below.${others}`;
  },
  draw: (part, _page, selected) => (
    <>
      <Table part={part} selected={selected} />
      <Scatter part={part} selected={selected} />
      {part.refused.length > 0 && <Refused part={part} />}
    </>
  ),
  csv: (part) => [
    ["chip", "dtype", "batch", "seconds_per_inference", "latency_s", "latency_low_s", "latency_high_s", "joules_per_inference", "utilization", "bound", "kind", "evidence"],
    ...part.rows.map((row) => [row.chip, row.dtype, row.batch, row.seconds, row.latency_s.value, row.latency_s.low, row.latency_s.high, row.joules, row.utilization, row.bound, row.kind, row.evidence]),
    ...part.refused.map((row) => [row.chip, "", "", "", "", "", "", "", "", "", row.code, row.error]),
  ],
};
