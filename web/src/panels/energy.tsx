// R9: where the energy goes: by component, by layer, and what one event costs, with its source.

import { scaleLinear } from "d3-scale";
import { format } from "../format";
import type { Panel } from "../panel";
import { place, type Selection, shown, toggle } from "../selection";
import type { Page, Report } from "../types";
import { bandText, Num, pressable, tip, useWidth } from "../ui";
import { COMPONENTS } from "../words";

const MOST = 14; // layers that are drawn
const ROW = 23;

interface Side {
  layers: number[][];
  outside: number;
}

interface EnergyPart {
  components: string[];
  program: Side | null;
  silicon: Side | null;
}

interface Event {
  event: string;
  unit: string;
  pj: number;
  low: number;
  high: number;
  source: string;
}

interface Bar {
  name: string;
  joules: number;
  parts: [string, number][];
}

const fill = (component: string) => `var(--e-${component})`;
const word = (component: string) => COMPONENTS[component]?.short ?? component;

/** The layers with most energy; their components where the page has them. */
function bars(report: Report, part: EnergyPart | undefined, chosen: number): { shown: Bar[]; rest: Bar } {
  const side = part?.[report.kind] ?? null;
  const known = part?.components ?? [];
  const all = report.layers.map((layer, i) => {
    const joules = layer.energy_j?.value ?? 0;
    const row = side?.layers.length === report.layers.length ? side.layers[i] : undefined;
    const parts = known.map((name, k): [string, number] => [name, row?.[k] ?? 0]);
    return { name: layer.name, joules, parts: row === undefined ? ([["", joules]] as [string, number][]) : parts };
  });
  const order = all.map((_, i) => i).sort((a, b) => (all[b]?.joules ?? 0) - (all[a]?.joules ?? 0));
  const kept = order.slice(0, MOST);
  if (chosen >= 0 && !kept.includes(chosen)) kept[kept.length - 1] = chosen;
  const others = order.filter((i) => !kept.includes(i)).map((i) => all[i]?.joules ?? 0);
  const rest = others.reduce((a, b) => a + b, 0);
  return {
    shown: kept.flatMap((i) => all[i] ?? []),
    rest: { name: `${others.length} more layers`, joules: others.length ? rest : 0, parts: [["", rest]] },
  };
}

function Layers({ report, part, selected }: { report: Report; part: EnergyPart | undefined; selected: Selection }) {
  const [ref, width] = useWidth();
  const chosen = place(report, selected.layer);
  const { shown: list, rest } = bars(report, part, chosen);
  const rows = rest.joules > 0 ? [...list, rest] : list;
  const left = width < 520 ? 120 : 190;
  const x = scaleLinear([0, Math.max(...list.map((row) => row.joules), 1e-30)], [left, width - 76]);
  return (
    <div ref={ref}>
      <svg data-drawing width={width} height={rows.length * ROW + 4} role="group" aria-label="Energy of the layers that need most, by component">
        {rows.map((row, i) => (
          <Line key={row.name} row={row} y={i * ROW} x={x} left={left} width={width} report={report} isChosen={report.layers[chosen]?.name === row.name} isRest={row === rest} />
        ))}
      </svg>
    </div>
  );
}

interface LineProps {
  row: Bar;
  y: number;
  x: (value: number) => number;
  left: number;
  width: number;
  report: Report;
  isChosen: boolean;
  isRest: boolean;
}

function Line({ row, y, x, left, width, report, isChosen, isRest }: LineProps) {
  let at = 0;
  const whole = report.energy_j?.value ?? 0;
  const told = () => (
    <>
      <b>{row.name}</b>
      <p>{format(row.joules, "J")}{whole > 0 && `, ${format(row.joules / whole, "%")} of the energy`}</p>
      {row.parts.filter(([name, joules]) => name !== "" && joules > 0).sort((a, b) => b[1] - a[1]).slice(0, 4).map(([name, joules]) => (
        <p key={name}>{word(name)} {format(joules, "J")}</p>
      ))}
    </>
  );
  const cut = left < 150 ? 16 : 27;
  const name = row.name.length > cut ? `…${row.name.slice(row.name.length - cut + 1)}` : row.name;
  const press = isRest ? {} : { ...pressable(() => toggle(row.name)), "aria-pressed": isChosen };
  return (
    <g class={`wf-row${isChosen ? " on" : ""}`} transform={`translate(0 ${y})`} {...press} {...tip(told)}>
      <rect class="hit" width={width} height={ROW} />
      <text x={left - 10} y={16} text-anchor="end" class={isRest ? "dim" : isChosen ? "strong mono" : "mono"}>{name}</text>
      {!isRest && row.parts.map(([component, joules]) => {
        const begin = at;
        at += joules;
        if (joules <= 0) return null;
        return <rect key={component} x={x(begin)} y={5} width={Math.max(0.5, x(at) - x(begin))} height={ROW - 10} style={{ fill: component === "" ? "var(--line-strong)" : fill(component) }} />;
      })}
      <text x={isRest ? left : x(row.joules) + 8} y={16} class={isRest ? "dim" : ""}>{format(row.joules, "J")}</text>
    </g>
  );
}

function Components({ report }: { report: Report }) {
  const whole = report.energy_j?.value ?? 0;
  const parts = report.energy_parts.filter(({ joules }) => joules > 0);
  return (
    <>
      <div class="stack" aria-hidden="true">
        {parts.map(({ part, joules }) => <i key={part} style={{ width: `${(joules / whole) * 100}%`, background: fill(part) }} />)}
      </div>
      <ul class="components">
        {parts.map(({ part, joules }) => (
          <li key={part} title={COMPONENTS[part]?.long}>
            <i class="swatch" style={{ background: fill(part) }} aria-hidden="true" />
            <span>{word(part)}</span>
            <Num value={joules} unit="J" name={`energy-${part}`} />
            <span class="num dim">{format(whole ? joules / whole : 0, "%")}</span>
          </li>
        ))}
      </ul>
    </>
  );
}

function Events({ events, node }: { events: Event[]; node: number | null }) {
  return (
    <details class="events" open>
      <summary>What one event costs{node !== null && ` at ${format(node)} nm`}</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label="Energy of one event">
        <table class="plain">
          <thead><tr><th scope="col">event</th><th scope="col" class="num">energy</th><th scope="col" class="num">from</th><th scope="col" class="num">to</th><th scope="col">source</th></tr></thead>
          <tbody>
            {events.map((event) => (
              <tr key={event.event}>
                <th scope="row">{event.event}</th>
                <td class="num" data-value={event.pj} data-name="event">{format(event.pj, event.unit)}</td>
                <td class="num dim">{format(event.low)}</td>
                <td class="num dim">{format(event.high)}</td>
                <td class="dim source">{event.source}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function draw(page: Page, selected: Selection) {
  const report = shown(page, selected);
  if (report === null) return null;
  if (report.energy_j === null) return <p>The chip's energy table cannot price {report.dtype}.</p>;
  const chip = selected.report === 0 ? (page.parts["chip"] as { events?: Event[]; node_nm?: number | null } | undefined) : undefined;
  const part = selected.report === 0 ? (page.parts["energy"] as EnergyPart | undefined) : undefined;
  return (
    <div class="energy">
      <div>
        <h3>by component: <Num value={report.energy_j.value} unit="J" name="energy-total" /> <span class="dim">{bandText(report.energy_j)}</span></h3>
        <Components report={report} />
      </div>
      <div>
        <h3>by layer</h3>
        <Layers report={report} part={part} selected={selected} />
      </div>
      {chip?.events && chip.events.length > 0 && <Events events={chip.events} node={chip.node_nm ?? null} />}
    </div>
  );
}

export const energy: Panel<Report> = {
  name: "energy",
  title: "Energy",
  about: "Counts of events times what one event costs. Not validated against silicon: the band is that of the published tables.",
  part: (page) => page.reports.find((report) => report.energy_j !== null) ?? null,
  draw: (_part, page, selected) => draw(page, selected),
  csv: (_part, page, selected) => {
    const report = shown(page, selected);
    const part = page.parts["energy"] as EnergyPart | undefined;
    const side = report === null ? null : (part?.[report.kind] ?? null);
    const names = side === null ? [] : (part?.components ?? []);
    return [
      ["layer", "joules", ...names.map((name) => `${name}_j`)],
      ...(report?.layers ?? []).map((layer, i) => [layer.name, layer.energy_j?.value, ...names.map((_, k) => side?.layers[i]?.[k])]),
    ];
  },
};
