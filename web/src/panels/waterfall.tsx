// R2: where the time goes: one bar per cause, each beginning where the one before ends. A click filters the layers.

import { scaleLinear } from "d3-scale";
import { format } from "../format";
import type { Panel } from "../panel";
import { select, type Selection, selectedLayer, shown } from "../selection";
import type { Layer, Page, Part, Report } from "../types";
import { causeText, pressable, tip, useWidth } from "../ui";
import { CAUSES, colour } from "../words";

const ROW = 26;
const LEAST = 0.0005; // of the time: smaller causes have no row

/** The room for seconds and shares at the right. */
function margin(width: number): number {
  return width < 520 ? 122 : 140;
}

interface Row extends Part {
  begin: number;
}

function rows(parts: Part[], whole: number): Row[] {
  let begin = 0;
  const found: Row[] = [];
  for (const part of parts) {
    if (part.seconds > LEAST * whole) found.push({ ...part, begin });
    begin += part.seconds;
  }
  return found;
}

function Chart({ parts, whole, title, selected }: { parts: Part[]; whole: number; title: string; selected: Selection }) {
  const [ref, width] = useWidth();
  const shownRows = rows(parts, whole);
  const narrow = width < 520;
  const left = narrow ? 92 : 112;
  const right = margin(width);
  const x = scaleLinear([0, whole || 1], [left, width - right]);
  const height = (shownRows.length + 1) * ROW + 22;
  return (
    <div ref={ref}>
      <svg data-drawing width={width} height={height} role="group" aria-label={title}>
        {x.ticks(Math.max(1, Math.min(6, Math.floor((width - left - right) / 75)))).map((t) => (
          <g key={t} class="tick">
            <line x1={x(t)} x2={x(t)} y1={0} y2={height - 20} />
            <text x={x(t)} y={height - 6} text-anchor="middle">{format(t, "s")}</text>
          </g>
        ))}
        {shownRows.map((row, i) => (
          <Bar key={row.part} row={row} i={i} x={x} left={left} width={width} whole={whole} selected={selected} />
        ))}
        <g transform={`translate(0 ${shownRows.length * ROW})`} class="total">
          <line x1={left} x2={width - right} y1={0.5} y2={0.5} />
          <text x={left - 10} y={18} text-anchor="end">total</text>
          <rect x={left} y={6} width={x(whole) - left} height={ROW - 11} />
          <text x={width - right + 8} y={18} class="num" data-value={whole} data-unit="s" data-name="waterfall-total">{format(whole, "s")}</text>
        </g>
      </svg>
    </div>
  );
}

interface BarProps {
  row: Row;
  i: number;
  x: (value: number) => number;
  left: number;
  width: number;
  whole: number;
  selected: Selection;
}

function Bar({ row, i, x, left, width, whole, selected }: BarProps) {
  const on = selected.cause === row.part;
  const faded = selected.cause !== null && !on;
  const wide = Math.max(1.5, x(row.begin + row.seconds) - x(row.begin));
  const share = row.seconds / whole;
  const right = margin(width);
  const press = pressable(() => select({ cause: on ? null : row.part }));
  const told = () => (
    <>
      <b>{causeText(row.part)}</b>
      <p>{CAUSES[row.part]?.long}</p>
      <p>{format(row.seconds, "s")}, {format(share, "%")} of the time</p>
    </>
  );
  return (
    <g
      class={`wf-row${faded ? " faded" : ""}`}
      transform={`translate(0 ${i * ROW})`}
      aria-pressed={on}
      {...press}
      {...tip(told)}
    >
      <rect x={0} y={0} width={width} height={ROW} class="hit" />
      <text x={left - 10} y={17} text-anchor="end" class={on ? "strong" : ""}>{causeText(row.part)}</text>
      {i > 0 && <line x1={x(row.begin)} x2={x(row.begin)} y1={-ROW + 18} y2={6} class="joint" />}
      <rect x={x(row.begin)} y={5} width={wide} height={ROW - 9} rx={1.5} style={{ fill: colour(row.part) }} />
      <text x={width - right + 8} y={17} class="num" data-value={row.seconds} data-unit="s" data-name={`cause-${row.part}`}>{format(row.seconds, "s")}</text>
      <text x={width - 2} y={17} text-anchor="end" class="num dim">{format(share, "%")}</text>
    </g>
  );
}

function draw(report: Report, page: Page, selected: Selection) {
  const layer: Layer | null = selectedLayer(page, selected);
  return (
    <>
      <Chart parts={report.waterfall} whole={report.latency_s.value} title="Time by cause" selected={selected} />
      {layer !== null && (
        <div class="of-layer">
          <h3>of these, <code>{layer.name}</code></h3>
          <Chart parts={layer.waterfall} whole={layer.latency_s.value} title={`Time by cause of ${layer.name}`} selected={selected} />
        </div>
      )}
    </>
  );
}

export const waterfall: Panel<Report> = {
  name: "waterfall",
  title: "Where the time goes",
  short: "Time",
  about: "Every cycle of the critical core goes to one cause. Choose a cause to see the layers that lose most to it.",
  part: (page) => page.reports[0] ?? null,
  draw: (_part, page, selected) => {
    const report = shown(page, selected);
    return report === null ? null : draw(report, page, selected);
  },
  csv: (_part, page, selected) => {
    const report = shown(page, selected);
    const whole = report?.latency_s.value ?? 0;
    const body = (report?.waterfall ?? []).map(({ part, seconds }) => [part, seconds, whole ? seconds / whole : 0]);
    return [["cause", "seconds", "share"], ...body];
  },
};
