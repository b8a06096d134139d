// The tensors of a tiled kernel as a product: source beside, weights above, output between them; each cut into tiles.

import { grouped } from "../format";
import type { Mapped } from "./mapping";

/** axis, iterations on one core, tile, extent */
export type Loop = [string, number, number, number];

export interface Axis {
  name: string;
  words: string;
  tiles: number; // of all cores
  tile: number;
  extent: number;
}

const WORDS: Record<string, string> = { g: "block", b: "image", p: "rows", q: "columns", n: "channels", k: "input channels" };

export function visits(loops: readonly Loop[]): number {
  return loops.reduce((product, [, times]) => product * times, 1);
}

function coresOf(map: Mapped, axis: string): number {
  return { p: map.cores[0], n: map.cores[1], b: map.cores[2] }[axis] ?? 1;
}

export function axesOf(map: Mapped): Axis[] {
  return map.loops.map(([name, , tile, extent]) => ({ name, words: WORDS[name] ?? name, tile, extent, tiles: Math.ceil(extent / tile) }));
}

/** By axis: the tiles that all cores have in a visit; core i takes every so many-th tile, beginning with the i-th. */
export function placesOf(map: Mapped, visit: number): Record<string, number[]> {
  const found: Record<string, number[]> = {};
  let rest = visit;
  for (const [axis, times, tile, extent] of [...map.loops].reverse()) {
    const at = rest % times;
    rest = Math.floor(rest / times);
    const cores = coresOf(map, axis);
    const all = Array.from({ length: cores }, (_, core) => at * cores + core);
    found[axis] = all.filter((one) => one < Math.ceil(extent / tile));
  }
  return found;
}

interface Side {
  length: number; // pixels
  tiles: number;
  at: number[];
  label: string;
}

const pixels = (extent: number, most: number) => Math.round(Math.max(26, Math.min(most, 20 * Math.log2(extent + 1))));

function joined(axes: Axis[], places: Record<string, number[]>, names: string[]): { tiles: number; at: number[] } {
  let [tiles, at] = [1, [0]];
  for (const name of names) {
    const axis = axes.find((one) => one.name === name);
    if (axis === undefined) continue;
    const own = places[name] ?? [0];
    at = at.flatMap((outer) => own.map((one) => outer * axis.tiles + one));
    tiles *= axis.tiles;
  }
  return { tiles, at };
}

interface TensorsProps {
  map: Mapped;
  axes: Axis[];
  places: Record<string, number[]>;
  width: number;
}

export function Tensors({ map, axes, places, width }: TensorsProps) {
  const extent = (name: string) => axes.find((axis) => axis.name === name)?.extent ?? 1;
  const [b, p, q, n, k] = ["b", "p", "q", "n", "k"].map(extent) as [number, number, number, number, number];
  const taps = map.window[0] * map.window[1];
  const hasWeights = map.weights;
  const rows: Side = { length: pixels(b * p * q, 240), label: `${grouped(b * p * q)} positions`, ...joined(axes, places, ["b", "p", "q"]) };
  const inputs: Side = { length: pixels(taps * k, 150), label: `${k} input channels${taps > 1 ? ` x ${taps} taps` : ""}`, ...joined(axes, places, ["k"]) };
  const outputs: Side = { length: pixels(n, 190), label: `${n} channels`, ...joined(axes, places, ["n"]) };
  const source = hasWeights ? inputs : outputs;
  const [left, top] = [18, hasWeights ? inputs.length + 52 : 26];
  const middle = left + source.length + 46;
  const plane = p > 1 && q > 1;
  const planeX = middle + outputs.length + 40;
  const room = plane ? Math.max(70, Math.min(150, width - planeX - 4)) : 0;
  const isLong = source.label.length * 6.4 > source.length + 40;
  const high = top + rows.length + (isLong ? 42 : 28);
  const wide = plane ? planeX + room : middle + outputs.length + 20;
  return (
    <svg data-drawing class="tensors" width={Math.max(width, wide)} height={plane ? Math.max(high, 26 + 2 * (room + 30)) : high} viewBox={`0 0 ${Math.max(width, wide)} ${plane ? Math.max(high, 26 + 2 * (room + 30)) : high}`} role="img" aria-label="Tiles of source, weights and output">
      {hasWeights && <Tiles name="weights" x={middle} y={34} across={outputs} down={inputs} hue="--c-weights" />}
      <Tiles name="source" x={left} y={top} across={source} down={rows} hue="--c-useful" />
      <Tiles name="output" x={middle} y={top} across={outputs} down={rows} hue="--c-memory" />
      <text class="dim" x={left} y={top + rows.length + (isLong ? 32 : 16)}>{source.label}</text>
      <text class="dim" x={middle} y={top + rows.length + 16}>{outputs.label}</text>
      <text class="dim" transform={`translate(12 ${top + rows.length / 2}) rotate(-90)`} text-anchor="middle">{rows.label}</text>
      {plane && <Planes map={map} axes={axes} places={places} x={planeX} room={room} />}
    </svg>
  );
}

const MOST_LINES = 64;

function Tiles({ name, x, y, across, down, hue }: { name: string; x: number; y: number; across: Side; down: Side; hue: string }) {
  const [w, h] = [across.length / across.tiles, down.length / down.tiles];
  const lines: string[] = [];
  for (let i = 1; i < across.tiles && across.tiles <= MOST_LINES; i++) lines.push(`M${x + i * w} ${y}v${down.length}`);
  for (let i = 1; i < down.tiles && down.tiles <= MOST_LINES; i++) lines.push(`M${x} ${y + i * h}h${across.length}`);
  return (
    <g class="tensor" data-tensor={name} data-tiles={across.tiles * down.tiles}>
      <text class="strong" x={x} y={y - 8}>{name}</text>
      <rect class="whole" x={x} y={y} width={across.length} height={down.length} style={{ fill: `var(${hue})` }} />
      <path d={lines.join("")} />
      {across.at.flatMap((i) =>
        down.at.map((j) => (
          <rect key={`${i},${j}`} class="tile-now" x={x + i * w} y={y + j * h} width={Math.max(2, w)} height={Math.max(2, h)} style={{ fill: `var(${hue})` }} />
        )),
      )}
    </g>
  );
}

/** The rows and columns of an image: where the tile lies in the output, and what it reads of the source. */
function Planes({ map, axes, places, x, room }: { map: Mapped; axes: Axis[]; places: Record<string, number[]>; x: number; room: number }) {
  const axis = (name: string) => axes.find((one) => one.name === name) ?? { tile: 1, extent: 1, tiles: 1 };
  const [p, q] = [axis("p"), axis("q")];
  const [height, width] = [map.source[1], map.source[2]];
  const read = (at: number, tile: number, whole: number, i: 0 | 1): [number, number] => {
    const first = at * tile * map.stride[i] - map.padding[i];
    const span = (tile - 1) * map.stride[i] + (map.window[i] - 1) * map.dilation[i] + 1;
    return [Math.max(0, first), Math.min(whole, first + span)];
  };
  const now = (places["p"] ?? [0]).flatMap((i) => (places["q"] ?? [0]).map((j) => [i, j] as const));
  const [scaleIn, scaleOut] = [room / Math.max(height, width), room / Math.max(p.extent, q.extent)];
  const below = 26 + height * scaleIn + 44;
  return (
    <g class="planes">
      <text class="strong" x={x} y={18}>reads of the source</text>
      <rect class="whole" x={x} y={26} width={width * scaleIn} height={height * scaleIn} style={{ fill: "var(--c-useful)" }} />
      {now.map(([i, j]) => {
        const [[top, bottom], [left, right]] = [read(i, p.tile, height, 0), read(j, q.tile, width, 1)];
        return <rect key={`${i},${j}`} class="tile-now" x={x + left * scaleIn} y={26 + top * scaleIn} width={Math.max(2, (right - left) * scaleIn)} height={Math.max(2, (bottom - top) * scaleIn)} style={{ fill: "var(--c-useful)" }} />;
      })}
      <text class="dim" x={x} y={26 + height * scaleIn + 15}>{height} x {width}</text>
      <text class="strong" x={x} y={below - 8}>computes</text>
      <rect class="whole" x={x} y={below} width={q.extent * scaleOut} height={p.extent * scaleOut} style={{ fill: "var(--c-memory)" }} />
      {now.map(([i, j]) => (
        <rect
          key={`${i},${j}`}
          class="tile-now"
          x={x + j * q.tile * scaleOut}
          y={below + i * p.tile * scaleOut}
          width={Math.max(2, (Math.min(q.extent, (j + 1) * q.tile) - j * q.tile) * scaleOut)}
          height={Math.max(2, (Math.min(p.extent, (i + 1) * p.tile) - i * p.tile) * scaleOut)}
          style={{ fill: "var(--c-memory)" }}
        />
      ))}
      <text class="dim" x={x} y={below + p.extent * scaleOut + 15}>{p.extent} x {q.extent}</text>
    </g>
  );
}
