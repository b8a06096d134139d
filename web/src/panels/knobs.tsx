// R11: which numbers of the chip the time reacts to: a tornado of what was priced at half and double, and sliders between.

import { scaleLinear } from "d3-scale";
import { useState } from "preact/hooks";
import { change, format } from "../format";
import type { Panel } from "../panel";
import { Command, tip, useWidth } from "../ui";

interface Knob {
  key: string;
  value: string;
  /** [factor, change of the time as a share], in order, priced */
  points: [number, number][];
}

interface Knobs {
  seconds: number;
  command: string;
  knobs: Knob[];
}

const ROW = 28;
const LEAST = 0.005; // of the time: knobs that move it less are told by name
const STOPS = [0.5, 0.75, 1, 1.5, 2] as const;
const SLIDERS = 6;

const at = (knob: Knob, factor: number): number | null => knob.points.find(([f]) => f === factor)?.[1] ?? null;
const reach = (knob: Knob): number => Math.max(...knob.points.map(([, share]) => Math.abs(share)));

/** Interpolate in the logarithm of the factor between the points that were priced. */
export function between(points: [number, number][], factor: number): number {
  const after = points.findIndex(([f]) => f >= factor);
  const [b, a] = [points[after], points[after - 1]];
  if (b === undefined) return points[points.length - 1]?.[1] ?? 0;
  if (b[0] === factor || a === undefined) return b[1];
  const way = Math.log(factor / a[0]) / Math.log(b[0] / a[0]);
  return a[1] + way * (b[1] - a[1]);
}

/** Return a chip file's value times a factor: "3.2 GB/s" -> "2.4GB/s". */
export function scaled(value: string, factor: number): string {
  const [number = "", ...unit] = value.split(" ");
  return `${Number((Number(number) * factor).toPrecision(9))}${unit.join("")}`;
}

function Tornado({ knobs }: { knobs: Knob[] }) {
  const [ref, width] = useWidth();
  const left = Math.min(290, Math.max(120, width * 0.36));
  const shares = knobs.flatMap((knob) => knob.points.map(([, share]) => share));
  const x = scaleLinear([Math.min(...shares, -0.02), Math.max(...shares, 0.02)], [left + 52, width - 60]);
  const height = knobs.length * ROW + 22;
  return (
    <div ref={ref}>
      <svg data-drawing width={width} height={height} role="img" aria-label="Change of the time when each number is halved and doubled">
        {x.ticks(Math.max(1, Math.floor((width - left) / 130))).map((t) => (
          <g key={t} class="tick">
            <line x1={x(t)} x2={x(t)} y1={0} y2={height - 20} />
            <text x={x(t)} y={height - 6} text-anchor="middle">{t === 0 ? "as it is" : change(t)}</text>
          </g>
        ))}
        {knobs.map((knob, i) => <Bars key={knob.key} knob={knob} y={i * ROW} x={x} left={left} />)}
        <line x1={x(0)} x2={x(0)} y1={0} y2={height - 20} class="kn-zero" />
      </svg>
    </div>
  );
}

function Bars({ knob, y, x, left }: { knob: Knob; y: number; x: (share: number) => number; left: number }) {
  const sides = ([[0.5, "halved"], [2, "doubled"]] as const).map(([factor, name]) => ({ name, share: at(knob, factor) }));
  const content = () => (
    <>
      <b>{knob.key} = {knob.value}</b>
      {sides.map(({ name, share }) => <p key={name}>{name}: {share === null ? "cannot be priced" : `${change(share)} time`}</p>)}
    </>
  );
  const name = knob.key.length * 7.2 > left ? `…${knob.key.slice(knob.key.length - Math.floor(left / 7.2) + 1)}` : knob.key;
  return (
    <g transform={`translate(0 ${y})`} {...tip(content)}>
      <text x={left - 10} y={18} text-anchor="end">{name}</text>
      {sides.map(({ name: side, share }, i) => {
        if (share === null || Math.abs(share) < 0.0005) return null;
        const [from, to] = share < 0 ? [x(share), x(0)] : [x(0), x(share)];
        const other = sides[1 - i]?.share ?? 0;
        const isSame = other !== 0 && Math.sign(other) === Math.sign(share);
        return (
          <g key={side}>
            <rect x={from} y={isSame ? (i === 0 ? 5 : 14) : 6} width={Math.max(1.5, to - from)} height={isSame ? 8 : ROW - 12} rx={1.5} class={`kn-${side}`} />
            {!isSame && <text x={share < 0 ? from - 6 : to + 6} y={18} text-anchor={share < 0 ? "end" : "start"} class="num" data-value={share} data-name={`knob-${knob.key}-${side}`}>{change(share)}</text>}
          </g>
        );
      })}
    </g>
  );
}

function Sliders({ part, knobs }: { part: Knobs; knobs: Knob[] }) {
  const [factors, set] = useState<Record<string, number>>({});
  const turned = knobs.filter((knob) => (factors[knob.key] ?? 1) !== 1);
  const share = turned.reduce((time, knob) => time * (1 + between(knob.points, factors[knob.key] ?? 1)), 1) - 1;
  const isPriced = turned.length <= 1 && turned.every((knob) => at(knob, factors[knob.key] ?? 1) !== null);
  const settings = turned.map((knob) => ` --set ${knob.key}=${scaled(knob.value, factors[knob.key] ?? 1)}`).join("");
  return (
    <div class="kn-try">
      <h3>Turn them</h3>
      <div class="kn-sliders">
        {knobs.map((knob) => {
          const stops = STOPS.filter((f) => f >= (knob.points[0]?.[0] ?? 1) && f <= (knob.points[knob.points.length - 1]?.[0] ?? 1));
          const factor = factors[knob.key] ?? 1;
          return (
            <label key={knob.key} class="kn-slider">
              <span>{knob.key}</span>
              <span class="kn-value">{factor === 1 ? knob.value : `×${factor} = ${scaled(knob.value, factor)}`}</span>
              <input
                type="range" min={0} max={stops.length - 1} step={1} value={stops.indexOf(factor as (typeof STOPS)[number])} disabled={stops.length < 2}
                aria-valuetext={scaled(knob.value, factor)}
                onInput={(event) => set({ ...factors, [knob.key]: stops[Number(event.currentTarget.value)] ?? 1 })}
              />
            </label>
          );
        })}
      </div>
      <p class="kn-result" aria-live="polite">
        <b data-value={part.seconds * (1 + share)} data-unit="s" data-name="knob-seconds">{format(part.seconds * (1 + share), "s")}</b> per inference
        {turned.length > 0 && <>, {change(share)}. {isPriced ? "This point was priced." : "Between priced points, and where several are turned, multiplied: the command prices it."}</>}
      </p>
      {turned.length > 0 && <Command text={`${part.command}${settings}`} />}
      {turned.length > 0 && <button type="button" class="quiet" onClick={() => set({})}>back to the chip as it is</button>}
    </div>
  );
}

function draw(part: Knobs) {
  const shown = part.knobs.filter((knob) => reach(knob) >= LEAST);
  const quiet = part.knobs.filter((knob) => reach(knob) < LEAST).map(({ key }) => key);
  return (
    <>
      {shown.length > 0 ? <Tornado knobs={shown} /> : <p>No number of the chip moves the time by 0.5 % when it is halved or doubled.</p>}
      {shown.length > 0 && <p class="dim act-key"><span><i class="kn-key kn-halved" aria-hidden="true" /> halved</span> <span><i class="kn-key kn-doubled" aria-hidden="true" /> doubled</span></p>}
      {quiet.length > 0 && <p class="dim">less than 0.5 %: {quiet.join(", ")}</p>}
      {shown.length > 0 && <Sliders part={part} knobs={shown.slice(0, SLIDERS)} />}
    </>
  );
}

export const knobs: Panel<Knobs> = {
  name: "knobs",
  title: "What if",
  about: "Each number of the chip halved and doubled, the network planned and priced again each time: a bar to the left is faster.",
  draw,
  csv: (part) => [
    ["key", "value", "factor", "time"],
    ...part.knobs.flatMap((knob) => knob.points.map(([factor, share]) => [knob.key, knob.value, factor, share])),
  ],
};
