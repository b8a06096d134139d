// R7: address x time: which buffer or tensor lies where, and when. The highest address that is taken is marked.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { format, grouped } from "../format";
import { AXIS, fitted, LEFT, onColour, OverTime, type Pen, shade } from "../overtime";
import type { Panel } from "../panel";
import { place, select, type Selection } from "../selection";
import type { Page } from "../types";

interface Box {
  name: string;
  kind: string;
  address: number;
  bytes: number;
  slots: number;
  from: number;
  to: number;
}

interface Space {
  name: string;
  size: number;
  peak: { bytes: number; kernel: number };
  banks: number;
  boxes: Box[];
}

interface MemoryMapPart {
  version: number;
  cycles: number;
  clock_hz: number;
  kernels: { name: string; start: number; cycles: number }[];
  spaces: Space[];
  constant_bytes: number;
}

const HEIGHT = 290;
const BELOW = 8;
const LOW = 0.25; // of the size: a memory that is used less is drawn up to its peak only
const TITLES: Record<string, string> = { local: "local memory", accumulator: "accumulator", far: "far memory" };
const COLOURS: [RegExp, string, string][] = [ // as in the mapping panel
  [/^(source|query|input)/, "c-useful", "inputs"],
  [/^(weights|keys|values)/, "c-weights", "weights, keys and values"],
  [/^(output|last)/, "c-memory", "outputs"],
  [/^(parameters|side|tables|mask)/, "c-fill", "parameters and tables"],
  [/^(sums|scores)/, "c-vector", "sums"],
  [/^(scratch|hidden|reset|mixed|spare)/, "c-sync", "scratch and states"],
];
const KINDS: Record<string, [string, string]> = {
  input: ["c-useful", "inputs"],
  intermediate: ["c-underfill", "between kernels"],
  output: ["c-memory", "outputs"],
  shared: ["c-vector", "between kernels, in shared memory"],
};
const REST: [string, string] = ["c-host", "others"];

function look(box: Box): [string, string] {
  const kind = KINDS[box.kind];
  if (kind !== undefined) return kind;
  const found = COLOURS.find(([names]) => names.test(box.name));
  return found === undefined ? REST : [found[1], found[2]];
}

/** The highest address of the drawing. */
function limit(space: Space): number {
  return space.peak.bytes < LOW * space.size ? Math.max(1, space.peak.bytes * 1.12) : space.size;
}

function Chart({ part, page, selected }: { part: MemoryMapPart; page: Page; selected: Selection }) {
  const [name, set] = useState(part.spaces[0]?.name ?? "");
  const space = part.spaces.find((one) => one.name === name) ?? part.spaces[0];
  const report = page.reports[0];
  const at = report === undefined ? -1 : place(report, selected.layer);
  const kernel = part.kernels[at];
  const chosen = kernel === undefined ? null : { from: kernel.start, to: kernel.start + kernel.cycles };
  if (space === undefined) return null;
  const legend = new Map(space.boxes.map((box) => look(box)).map(([colour, words]) => [words, colour]));
  return (
    <>
      <OverTime
        cycles={part.cycles} clock={part.clock_hz} height={HEIGHT} chosen={chosen} version={space.name}
        label={`Memory map: ${TITLES[space.name] ?? space.name}, peak ${format(space.peak.bytes, "B")} in ${part.kernels[space.peak.kernel]?.name ?? "no kernel"}; the table below has the buffers in numbers`}
        draw={(pen) => draw(pen, part, space, at)}
        told={(pen, x, y) => told(pen, part, space, x, y)}
        press={(pen, x, y) => {
          const box = boxAt(pen, part, space, x, y);
          const time = pen.at(x);
          const found = part.kernels.findIndex((k) => k.start <= time && time < k.start + k.cycles);
          if (x >= LEFT && found >= 0) select({ layer: part.kernels[space.name === "far" && box !== undefined ? box.from : found]!.name });
        }}
      >
        <span class="space-buttons" role="group" aria-label="Memory">
          {part.spaces.map((one) => (
            <button key={one.name} type="button" aria-pressed={one === space} onClick={() => set(one.name)}>{TITLES[one.name] ?? one.name}</button>
          ))}
        </span>
      </OverTime>
      <p class="legend">
        {[...legend].map(([words, colour]) => <span key={words}><i class="swatch" style={{ background: `var(--${colour})` }} aria-hidden="true" />{words}</span>)}
        <span class="peak-words">peak <b data-name="peak" data-value={space.peak.bytes}>{format(space.peak.bytes, "B")}</b> of {format(space.size, "B")} in <code>{part.kernels[space.peak.kernel]?.name}</code></span>
        {kernel !== undefined && <span><code>{kernel.name}</code> holds {format(held(space, at), "B")}</span>}
        {space.name === "far" && part.constant_bytes > 0 && <span>constants, not drawn: {format(part.constant_bytes, "B")}</span>}
      </p>
      <Table part={part} space={space} chosen={at} />
    </>
  );
}

function scale(pen: Pen, space: Space): (address: number) => number {
  const [low, high] = [pen.height - BELOW, AXIS + 4];
  return (address) => low - (address / limit(space)) * (low - high);
}

function spanOf(part: MemoryMapPart, box: Box): [number, number] {
  const last = part.kernels[box.to]!;
  return [part.kernels[box.from]!.start, last.start + last.cycles];
}

function draw(pen: Pen, part: MemoryMapPart, space: Space, chosen: number): void {
  const { c, x, width, colour, window } = pen;
  const y = scale(pen, space);
  shade(pen, part.kernels[chosen]);
  addresses(pen, space, y);
  for (const box of space.boxes) {
    const [start, end] = spanOf(part, box);
    if (end <= window.from || start >= window.to) continue;
    const [from, to] = [Math.max(LEFT, x(start)), Math.min(width, x(end))];
    for (let slot = 0; slot < box.slots; slot++) {
      const [low, high] = [y(box.address + slot * box.bytes), y(box.address + (slot + 1) * box.bytes)];
      c.fillStyle = colour(look(box)[0]);
      c.globalAlpha = slot % 2 === 0 ? 1 : 0.72;
      c.fillRect(from, high, Math.max(0.6, to - from - (to - from > 3 ? 1 : 0)), Math.max(1, low - high - (low - high > 4 ? 0.5 : 0)));
    }
    c.globalAlpha = 1;
    const [low, high] = [y(box.address), y(box.address + box.bytes * box.slots)];
    const text = low - high > 12 ? fitted(c, box.name, to - from - 8) : "";
    if (text === "") continue;
    c.textAlign = "left";
    c.fillStyle = onColour(pen, look(box)[0]);
    c.fillText(text, from + 4, (low + high) / 2);
  }
  peak(pen, part, space, y);
}

function addresses(pen: Pen, space: Space, y: (address: number) => number): void {
  const { c, width, colour } = pen;
  const most = limit(space);
  c.fillStyle = colour("line");
  if (space.banks > 0 && space.banks <= 16) {
    for (let bank = 0; bank <= space.banks; bank++) {
      const at = (space.size / space.banks) * bank;
      if (at <= most) c.fillRect(LEFT, Math.round(y(at)), width - LEFT, 1);
    }
  }
  c.textAlign = "right";
  const step = 2 ** Math.ceil(Math.log2(most / 5));
  for (let at = 0; at <= most; at += step) {
    c.fillStyle = colour("line");
    c.fillRect(LEFT - 5, Math.round(y(at)), 5, 1);
    c.fillStyle = colour("dim");
    c.fillText(format(at, "B").replace(/\.0+ /, " "), LEFT - 10, Math.min(pen.height - BELOW - 2, y(at)));
  }
}

function peak(pen: Pen, part: MemoryMapPart, space: Space, y: (address: number) => number): void {
  const { c, width, colour, x } = pen;
  const at = Math.round(y(space.peak.bytes)) - 0.5;
  c.strokeStyle = colour("ink");
  c.setLineDash([4, 3]);
  c.beginPath();
  c.moveTo(LEFT, at);
  c.lineTo(width, at);
  c.stroke();
  c.setLineDash([]);
  const kernel = part.kernels[space.peak.kernel];
  if (kernel === undefined) return;
  const text = `peak ${format(space.peak.bytes, "B")}`;
  const wide = c.measureText(text).width;
  const begin = Math.min(width - wide - 6, Math.max(LEFT + 4, x(kernel.start)));
  c.fillStyle = colour("paper");
  c.fillRect(begin - 3, at - 17, wide + 6, 15);
  c.fillStyle = colour("ink");
  c.textAlign = "left";
  c.fillText(text, begin, at - 9);
}

function boxAt(pen: Pen, part: MemoryMapPart, space: Space, x: number, y: number): Box | undefined {
  if (x < LEFT) return undefined;
  const [low, high] = [pen.height - BELOW, AXIS + 4];
  const address = ((low - y) / (low - high)) * limit(space);
  const margin = (1.5 / (low - high)) * limit(space);
  const time = pen.at(x);
  const inside = (box: Box, by: number) => {
    const [start, end] = spanOf(part, box);
    return start <= time && time < end && box.address - by <= address && address < box.address + box.bytes * box.slots + by;
  };
  return space.boxes.find((box) => inside(box, 0)) ?? space.boxes.find((box) => inside(box, margin));
}

function told(pen: Pen, part: MemoryMapPart, space: Space, x: number, y: number): ComponentChildren | null {
  const box = boxAt(pen, part, space, x, y);
  if (box === undefined) return null;
  const [first, last] = [part.kernels[box.from]!, part.kernels[box.to]!];
  return (
    <>
      <b>{box.name}</b>
      <p>{sizes(box)}, from address {grouped(box.address)}</p>
      <p>{look(box)[1]}, {box.from === box.to ? `in ${first.name}` : `from ${first.name} to ${last.name}`}</p>
    </>
  );
}

/** Bytes of the boxes that live in a kernel: less than the highest address, where banks are kept apart. */
function held(space: Space, at: number): number {
  return space.boxes.reduce((sum, box) => sum + (box.from <= at && at <= box.to ? box.bytes * box.slots : 0), 0);
}

function sizes(box: Box): string {
  return box.slots === 1 ? format(box.bytes, "B") : `${box.slots} × ${format(box.bytes, "B")}`;
}

function Table({ part, space, chosen }: { part: MemoryMapPart; space: Space; chosen: number }) {
  const at = chosen >= 0 ? chosen : space.peak.kernel;
  const own = space.boxes.filter((box) => box.from <= at && at <= box.to).sort((a, b) => a.address - b.address);
  const kernel = part.kernels[at];
  if (kernel === undefined) return null;
  return (
    <details>
      <summary>The same in numbers: {TITLES[space.name]} during {kernel.name}{chosen < 0 && ", which takes most"}</summary>
      <table class="plain">
        <thead><tr><th scope="col">name</th><th scope="col" class="num">address</th><th scope="col" class="num">bytes</th><th scope="col" class="num">slots</th></tr></thead>
        <tbody>
          {own.map((box) => (
            <tr key={`${box.address} ${box.name}`}>
              <th scope="row">{box.name}</th>
              <td class="num">{grouped(box.address)}</td>
              <td class="num" data-value={box.bytes}>{grouped(box.bytes)}</td>
              <td class="num">{box.slots}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

export const memoryMap: Panel<MemoryMapPart> = {
  name: "memory_map",
  title: "Memory map",
  short: "Memory",
  about: "What lies where, and when: buffers of each kernel on chip, tensors in far memory. The dashed line is the peak.",
  draw: (part, page, selected) => <Chart part={part} page={page} selected={selected} />,
  csv: (part) => [
    ["memory", "name", "kind", "address", "bytes", "slots", "from_kernel", "to_kernel"],
    ...part.spaces.flatMap((space) =>
      space.boxes.map((box) => [space.name, box.name, box.kind, box.address, box.bytes, box.slots, part.kernels[box.from]?.name, part.kernels[box.to]?.name]),
    ),
  ],
};
