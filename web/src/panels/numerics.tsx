// R13: what narrow numbers cost each layer: signal to quantization noise along the network, and of each layer alone.

import { DASH } from "../format";
import type { Panel } from "../panel";
import { type Selection, toggle } from "../selection";
import { pressable, tip, useWidth } from "../ui";
import "../pictures.css";

export interface NumericLayer {
  name: string;
  op: string;
  layer: string;
  cumulative_db: number | null;
  isolated_db: number | null;
  gain_db: number | null;
}

export interface NumericsPart {
  network_db: number | null;
  samples: number;
  method: string;
  dtype: string;
  is_measured_alone: boolean;
  layers: NumericLayer[];
}

const db = (value: number | null) => (value === null ? DASH : `${value.toFixed(1)} dB`);

function Chart({ part, selected }: { part: NumericsPart; selected: Selection }) {
  const [ref, width] = useWidth();
  const height = 250;
  const box = { left: 46, right: width - 12, top: 12, bottom: height - 30 };
  const values = part.layers.flatMap((one) => [one.cumulative_db, one.isolated_db]).filter((one): one is number => one !== null);
  const high = Math.ceil(Math.max(10, ...values) / 10) * 10;
  const low = Math.min(0, Math.floor(Math.min(0, ...values) / 10) * 10);
  const x = (i: number) => box.left + ((i + 0.5) / part.layers.length) * (box.right - box.left);
  const y = (value: number) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
  const each = (box.right - box.left) / part.layers.length;
  const line = part.layers.map((one, i) => (one.cumulative_db === null ? "" : `${i > 0 && part.layers[i - 1]?.cumulative_db !== null ? "L" : "M"}${x(i)} ${y(one.cumulative_db)}`)).join("");
  const ticks = Array.from({ length: (high - low) / 10 + 1 }, (_, i) => low + 10 * i).filter((tick) => high - low <= 60 || tick % 20 === 0);
  const at = part.layers.findIndex((one) => one.layer === selected.layer || one.name === selected.layer);
  return (
    <div ref={ref}>
      <svg data-drawing class="numerics" width={width} height={height} role="group" aria-label="Signal to quantization noise by layer, in dB">
        <g class="tick">
          {ticks.map((tick) => (
            <g key={tick}>
              <line x1={box.left} x2={box.right} y1={y(tick)} y2={y(tick)} />
              <text x={box.left - 7} y={y(tick) + 4} text-anchor="end">{tick} dB</text>
            </g>
          ))}
          <text class="axis" x={(box.left + box.right) / 2} y={height - 6} text-anchor="middle">layers, from input to output</text>
        </g>
        {part.network_db !== null && (
          <g>
            <line class="whole-db" x1={box.left} x2={box.right} y1={y(part.network_db)} y2={y(part.network_db)} />
          </g>
        )}
        <path class="cumulative" d={line} />
        {part.layers.map((one, i) => {
          const told = () => (
            <>
              <b>{one.name}</b>
              <p>{db(one.cumulative_db)} at this layer, with all before it in {part.dtype}</p>
              {part.is_measured_alone && <p>{db(one.isolated_db)} at the output, with only this layer in {part.dtype}</p>}
              {one.gain_db !== null && <p>{one.gain_db >= 0 ? "+" : "−"}{Math.abs(one.gain_db).toFixed(2)} dB by keeping it in floats</p>}
            </>
          );
          const press = { ...pressable(() => toggle(one.layer)), tabIndex: i === Math.max(0, at) ? 0 : -1 };
          return (
            <g key={one.name} class={`db-layer${i === at ? " chosen" : ""}`} aria-label={`${one.name}: ${db(one.cumulative_db)}`} aria-pressed={i === at} data-layer={one.name} data-cumulative={one.cumulative_db ?? ""} data-isolated={one.isolated_db ?? ""} {...press} {...tip(told)}>
              <rect class="hit" x={x(i) - each / 2} y={box.top} width={each} height={box.bottom - box.top} />
              {one.isolated_db !== null && <rect class="alone" x={x(i) - 3} y={y(one.isolated_db) - 3} width={6} height={6} />}
              {one.cumulative_db !== null && <circle class="dot-cumulative" cx={x(i)} cy={y(one.cumulative_db)} r={i === at ? 5 : 3.2} />}
            </g>
          );
        })}
      </svg>
    </div>
  );
}

function worst(part: NumericsPart): NumericLayer[] {
  const cost = (one: NumericLayer) => (part.is_measured_alone ? -(one.gain_db ?? 0) : (one.cumulative_db ?? Infinity));
  return [...part.layers].sort((a, b) => cost(a) - cost(b)).slice(0, 5);
}

function draw(part: NumericsPart, selected: Selection) {
  return (
    <>
      <Chart part={part} selected={selected} />
      <p class="legend">
        <span><i class="swatch round key-cumulative" aria-hidden="true" /> at the layer, everything before it in {part.dtype}</span>
        {part.is_measured_alone && <span><i class="swatch key-alone" aria-hidden="true" /> at the output, only this layer in {part.dtype}</span>}
        {part.network_db !== null && <span>dashed: the whole network, {db(part.network_db)}</span>}
        <span class="dim">measured on {part.samples} sample{part.samples === 1 ? "" : "s"}</span>
      </p>
      <div class="scroll">
        <table class="plain">
          <caption>{part.is_measured_alone ? "Layers that gain most by staying in floats" : "Layers with the most noise"}</caption>
          <thead>
            <tr><th>layer</th><th>op</th><th class="num">up to it</th><th class="num">alone</th><th class="num">gain in floats</th></tr>
          </thead>
          <tbody>
            {worst(part).map((one) => (
              <tr key={one.name} class={one.layer === selected.layer ? "chosen" : ""}>
                <th><button type="button" class="row-name" onClick={() => toggle(one.layer)}>{one.name}</button></th>
                <td>{one.op}</td>
                <td class="num">{db(one.cumulative_db)}</td>
                <td class="num">{db(one.isolated_db)}</td>
                <td class="num">{db(one.gain_db)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

export const numerics: Panel<NumericsPart> = {
  name: "numerics",
  title: "What narrow numbers cost",
  short: "Numerics",
  about: "Signal to quantization noise: 6 dB are one bit. A step down along the line is a layer that adds noise of its own.",
  draw: (part, _page, selected) => draw(part, selected),
  csv: (part) => [
    ["layer", "op", "cumulative_db", "isolated_db", "gain_db"],
    ...part.layers.map((one) => [one.name, one.op, one.cumulative_db, one.isolated_db, one.gain_db]),
  ],
};
