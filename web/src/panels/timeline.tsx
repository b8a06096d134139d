// R6: units x time. Where many pieces of work fall on a pixel, the height of its bar is the share in which the unit is
// busy (exact, from prefix sums); near enough, every piece is a box with its instruction. Counters below.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { above, busyBefore, decode, decoded, kernelAt, movedBefore, type KernelSpan, type Row, type Timeline, type TimelinePart } from "../events";
import { format, grouped } from "../format";
import { AXIS, fitted, LEFT, OverTime, type Pen, shade } from "../overtime";
import type { Panel } from "../panel";
import { place, select, type Selection, toggle } from "../selection";
import type { Page } from "../types";
import { setView, view } from "../timeview";

const BAND = 22;
const ROW = 30;
const GAP = 6;
const COUNTER = 44;
const MOST_ROWS = 400; // of the table
const COLOURS: Record<string, string> = {
  load: "c-memory", weights: "c-weights", matrix: "c-useful", vector: "c-vector", store: "c-sync",
};
const WORDS: Record<string, string> = {
  load: "loads from far memory", weights: "weights into the array", matrix: "products", vector: "vector operations", store: "stores to far memory",
};

function top(i: number): number {
  return AXIS + BAND + GAP + i * (ROW + GAP);
}

function heightOf(part: TimelinePart): number {
  return top(part.places.length) + 2 * (COUNTER + GAP) + 4;
}

function Chart({ part, page, selected }: { part: TimelinePart; page: Page; selected: Selection }) {
  const [time, set] = useState(() => decoded(part));
  const [failed, setFailed] = useState("");
  useEffect(() => {
    if (time === undefined) decode(part).then(set, (error: unknown) => setFailed(`${error}`));
  }, [part]);
  const report = page.reports[0];
  const at = report === undefined ? -1 : place(report, selected.layer);
  const kernel = part.kernels[at];
  const chosen = kernel === undefined ? null : { from: kernel.start, to: kernel.start + kernel.cycles };
  if (failed !== "") return <p class="dim">This browser cannot read the events ({failed}). The numbers above are complete.</p>;
  return (
    <>
      <OverTime
        cycles={part.cycles} clock={part.clock_hz} height={heightOf(part)} chosen={chosen} version={time}
        label={`Timeline: ${part.places.length} units of one core over ${format(part.cycles / part.clock_hz, "s")}, ${part.kernels.length} kernels; the table below has the same in numbers`}
        draw={(pen) => draw(pen, part, time, at)}
        told={(pen, x, y) => told(pen, part, time, x, y)}
        press={(pen, x, y) => press(pen, part, x, y)}
      />
      {part.cut !== "" && <p class="dim note">Drawn are {part.cut}; lighter bars are averages of the kernels behind them.</p>}
      {time !== undefined && <Shares part={part} time={time} chosen={at} />}
    </>
  );
}

function draw(pen: Pen, part: TimelinePart, time: Timeline | undefined, chosen: number): void {
  shade(pen, part.kernels[chosen]);
  bands(pen, part, chosen);
  part.places.forEach((name, i) => {
    label(pen, name, top(i) + ROW / 2);
    rule(pen, top(i) + ROW + 0.5);
  });
  if (time !== undefined) time.rows.forEach((row, i) => work(pen, row, time.lines, top(i)));
  for (const name of ["matrix", "vector"] as const) {
    const y = top(part.places.indexOf(name)) + ROW;
    averages(pen, part, COLOURS[name]!, y, (one) => (one.busy[name] / one.cycles) * ROW);
  }
  counters(pen, part, time);
}

function label({ c, colour }: Pen, text: string, y: number, isSoft = false): void {
  c.textAlign = "right";
  c.fillStyle = colour(isSoft ? "dim" : "soft");
  c.fillText(text, LEFT - 10, y);
}

function rule({ c, width, colour }: Pen, y: number): void {
  c.fillStyle = colour("line");
  c.fillRect(LEFT, y, width - LEFT, 1);
}

function bands(pen: Pen, part: TimelinePart, chosen: number): void {
  const { c, window, x, width, colour } = pen;
  label(pen, "kernels", AXIS + BAND / 2);
  const first = Math.max(0, kernelAt(part.kernels, window.from));
  for (let i = first; i < part.kernels.length; i++) {
    const kernel = part.kernels[i]!;
    if (kernel.start >= window.to) break;
    const [from, to] = [Math.max(LEFT, x(kernel.start)), Math.min(width, x(kernel.start + kernel.cycles))];
    c.fillStyle = colour(i === chosen ? "accent" : i % 2 === 0 ? "line" : "line-strong");
    c.fillRect(from, AXIS + 1, Math.max(0.5, to - from - (to - from > 3 ? 1 : 0)), BAND - 2);
    const text = fitted(c, kernel.name, to - from - 10);
    if (text === "") continue;
    c.textAlign = "left";
    c.fillStyle = colour(i === chosen ? "paper" : "ink");
    c.fillText(text, from + 5, AXIS + BAND / 2 + 0.5);
  }
}

/** Draw the work of one unit: boxes where they have a pixel or two each, otherwise bars of busy shares. */
function work(pen: Pen, row: Row, lines: string[], y: number): void {
  const { c, window, width, colour } = pen;
  const first = above(row.free, window.from);
  let last = above(row.start, window.to, first);
  c.fillStyle = colour(COLOURS[row.name] ?? "c-host");
  if (last - first <= (width - LEFT) / 3) return boxes(pen, row, lines, y, first, last);
  const each = (window.to - window.from) / (width - LEFT);
  let before = busyBefore(row, window.from);
  for (let px = LEFT; px < width; px++) {
    const until = window.from + (px + 1 - LEFT) * each;
    const now = busyBefore(row, until);
    const share = Math.min(1, (now - before) / each);
    before = now;
    if (share > 0) c.fillRect(px, y + ROW * (1 - share), 1, ROW * share);
  }
}

/** Draw one bar for each kernel whose events are left out: what is known of it without them. */
function averages(pen: Pen, part: TimelinePart, colour: string, bottom: number, height: (kernel: KernelSpan) => number): void {
  const { c, window, x, width } = pen;
  c.fillStyle = pen.colour(colour);
  c.globalAlpha = 0.45;
  for (let i = Math.max(part.n_recorded, kernelAt(part.kernels, window.from)); i < part.kernels.length; i++) {
    const kernel = part.kernels[i]!;
    if (kernel.start >= window.to) break;
    const [from, to] = [Math.max(LEFT, x(kernel.start)), Math.min(width, x(kernel.start + kernel.cycles))];
    c.fillRect(from, bottom - height(kernel), Math.max(0.5, to - from), height(kernel));
  }
  c.globalAlpha = 1;
}

function boxes(pen: Pen, row: Row, lines: string[], y: number, first: number, last: number): void {
  const { c, x, colour, width } = pen;
  const own = colour(COLOURS[row.name] ?? "c-host");
  for (let i = first; i < last; i++) {
    const [from, to] = [Math.max(LEFT, x(row.start[i]!)), Math.min(width, x(row.free[i]!))];
    const wide = to - from;
    const tail = Math.min(width, x(row.free[i]! + row.tail[i]!));
    if (row.name !== "weights" && tail - to > 1 && tail > LEFT) {
      c.globalAlpha = 0.28;
      c.fillStyle = own;
      c.fillRect(Math.max(to, LEFT), y + ROW - 5, tail - Math.max(to, LEFT), 5);
      c.globalAlpha = 1;
    }
    c.fillStyle = own;
    c.fillRect(from, y, Math.max(0.6, wide - (wide > 3 ? 1 : 0)), ROW);
    const text = wide > 30 ? fitted(c, lines[row.text[i]!]?.split(" ", 1)[0] ?? "", wide - 8) : "";
    if (text === "") continue;
    c.textAlign = "left";
    c.fillStyle = colour("paper");
    c.fillText(text, from + 4, y + ROW / 2 + 0.5);
  }
}

function counters(pen: Pen, part: TimelinePart, time: Timeline | undefined): void {
  const { c, window, x, width, colour } = pen;
  const memory = top(part.places.length) + COUNTER;
  label(pen, "local memory", memory - COUNTER / 2 - 7);
  label(pen, format(part.local_bytes, "B"), memory - COUNTER / 2 + 8, true);
  c.fillStyle = colour("c-underfill");
  for (let i = Math.max(0, kernelAt(part.kernels, window.from)); i < part.kernels.length; i++) {
    const kernel = part.kernels[i]!;
    if (kernel.start >= window.to) break;
    const [from, to] = [Math.max(LEFT, x(kernel.start)), Math.min(width, x(kernel.start + kernel.cycles))];
    const high = Math.min(1, kernel.local_bytes / part.local_bytes) * COUNTER;
    c.fillRect(from, memory - high, Math.max(0.5, to - from), high);
  }
  rule(pen, memory + 0.5);
  const dram = memory + GAP + COUNTER;
  label(pen, "DRAM", dram - COUNTER / 2 - 7);
  label(pen, format(part.dram_bytes_per_cycle * part.clock_hz, "B/s"), dram - COUNTER / 2 + 8, true);
  rule(pen, dram + 0.5);
  averages(pen, part, "c-memory", dram, (one) => (one.dram_bytes / one.cycles / part.dram_bytes_per_cycle) * COUNTER);
  if (time === undefined) return;
  const each = (window.to - window.from) / (width - LEFT);
  let before = movedBefore(time.port, window.from);
  c.fillStyle = colour("c-memory");
  for (let px = LEFT; px < width; px++) {
    const now = movedBefore(time.port, window.from + (px + 1 - LEFT) * each);
    const high = Math.min(1, (now - before) / each / part.dram_bytes_per_cycle) * COUNTER;
    before = now;
    if (high > 0) c.fillRect(px, dram - high, 1, high);
  }
}

/** Return which row lies under a place: its index, "kernels", "memory", "dram", or null. */
function under(part: TimelinePart, y: number): number | "kernels" | "memory" | "dram" | null {
  if (y < AXIS) return null;
  if (y < AXIS + BAND) return "kernels";
  const n = part.places.length;
  const i = Math.floor((y - top(0)) / (ROW + GAP));
  if (i >= 0 && i < n) return i;
  return y < top(n) + COUNTER ? "memory" : "dram";
}

function kernelUnder(pen: Pen, part: TimelinePart, x: number): KernelSpan | undefined {
  if (x < LEFT) return undefined;
  return part.kernels[kernelAt(part.kernels, pen.at(x))];
}

function press(pen: Pen, part: TimelinePart, x: number, y: number): void {
  const kernel = kernelUnder(pen, part, x);
  if (kernel === undefined || y < AXIS) return;
  if (y < AXIS + BAND) toggle(kernel.name);
  else select({ layer: kernel.name });
}

function told(pen: Pen, part: TimelinePart, time: Timeline | undefined, x: number, y: number): ComponentChildren | null {
  const found = under(part, y);
  const kernel = kernelUnder(pen, part, x);
  if (found === null || kernel === undefined || pen.at(x) >= part.cycles) return null;
  const head = <b>{kernel.name}</b>;
  if (found === "kernels") {
    return <>{head}<p>{span(kernel.start, kernel.start + kernel.cycles, part)}</p><p>bound: {kernel.bound}</p></>;
  }
  if (found === "memory") {
    return <>{head}<p>{format(kernel.local_bytes, "B")} of {format(part.local_bytes, "B")} of local memory</p></>;
  }
  if (time === undefined) return null;
  if (part.kernels.indexOf(kernel) >= part.n_recorded) return <>{head}{toldAverage(part, kernel, found)}</>;
  const [from, to] = [pen.at(x - 0.5), pen.at(x + 0.5)];
  if (found === "dram") {
    const rate = ((movedBefore(time.port, to) - movedBefore(time.port, from)) / (to - from)) * part.clock_hz;
    return <>{head}<p>DRAM {format(rate, "B/s")} of {format(part.dram_bytes_per_cycle * part.clock_hz, "B/s")}</p></>;
  }
  return toldWork(pen, part, time.rows[found]!, time.lines, x, head);
}

function toldAverage(part: TimelinePart, kernel: KernelSpan, found: number | "dram"): ComponentChildren {
  if (found === "dram") return <p>DRAM {format((kernel.dram_bytes / kernel.cycles) * part.clock_hz, "B/s")} on average; its events are left out</p>;
  const name = part.places[found] ?? "";
  const busy = kernel.busy[name as "matrix" | "vector"] as number | undefined;
  return <p>{name}: {busy === undefined ? "not known" : `busy ${format(busy / kernel.cycles, "%")}`}; its events are left out</p>;
}

function toldWork(pen: Pen, part: TimelinePart, row: Row, lines: string[], x: number, head: ComponentChildren): ComponentChildren {
  const [from, to] = [pen.at(x - 1.5), pen.at(x + 1.5)];
  const first = above(row.free, from);
  const count = above(row.start, to, first) - first;
  if (count === 0) return <>{head}<p>{row.name}: idle</p></>;
  if (count > 3) {
    const share = (busyBefore(row, to) - busyBefore(row, from)) / (to - from);
    return <>{head}<p>{row.name}: {WORDS[row.name]}</p><p>busy {format(share, "%")}, {grouped(count)} pieces here; zoom in to see them</p></>;
  }
  const middle = pen.at(x);
  let at = first;
  for (let i = first; i < first + count; i++) if (row.start[i]! <= middle) at = i;
  const line = lines[row.text[at]!] ?? "";
  const bytes = row.bytes?.[at] ?? 0;
  return (
    <>
      {head}
      <p>{span(row.start[at]!, row.free[at]!, part)}{row.tail[at]! > 0 && `, complete ${grouped(row.tail[at]!)} later`}</p>
      {bytes > 0 && <p>{format(bytes, "B")} of DRAM</p>}
      <p><code>{line}</code></p>
    </>
  );
}

function span(from: number, to: number, part: TimelinePart): string {
  return `${grouped(from)} to ${grouped(to)}: ${grouped(to - from)} cycles, ${format((to - from) / part.clock_hz, "s")}`;
}

/** Busy share of a unit in a kernel; null where the kernel has no events. */
function shareOf(part: TimelinePart, row: Row, i: number): number | null {
  const kernel = part.kernels[i]!;
  if (i >= part.n_recorded) {
    const known = part.kernels[i]!.busy[row.name as "matrix" | "vector"] as number | undefined;
    return known === undefined ? null : known / kernel.cycles;
  }
  return (busyBefore(row, kernel.start + kernel.cycles) - busyBefore(row, kernel.start)) / kernel.cycles;
}

function Shares({ part, time, chosen }: { part: TimelinePart; time: Timeline; chosen: number }) {
  return (
    <details>
      <summary>The same in numbers: how busy each unit is in each kernel</summary>
      <div class="scroll table-box" tabIndex={0} role="region" aria-label="Busy shares">
        <table class="plain shares">
          <thead>
            <tr><th scope="col">kernel</th><th scope="col" class="num">cycles</th>{time.rows.map((row) => <th key={row.name} scope="col" class="num">{row.name}</th>)}<th scope="col" class="num">local memory</th></tr>
          </thead>
          <tbody>
            {part.kernels.slice(0, MOST_ROWS).map((kernel, i) => (
              <tr key={i} class={i === chosen ? "chosen" : ""}>
                <th scope="row"><button type="button" class="row-name" onClick={() => toggle(kernel.name)}>{kernel.name}</button></th>
                <td class="num" data-value={kernel.cycles}>{grouped(kernel.cycles)}</td>
                {time.rows.map((row) => {
                  const share = shareOf(part, row, i);
                  return <td key={row.name} class="num" data-name={row.name} data-value={share ?? ""}>{format(share, "%")}</td>;
                })}
                <td class="num" data-value={kernel.local_bytes}>{format(kernel.local_bytes, "B")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {part.kernels.length > MOST_ROWS && <p class="dim">The first {MOST_ROWS} of {part.kernels.length} kernels; the CSV has all.</p>}
    </details>
  );
}

export const timeline: Panel<TimelinePart> = {
  name: "timeline",
  title: "Timeline",
  about: (part, page) =>
    `${page.reports[0]?.silicon ? "Our program, not the vendor's: exact on a machine with this chip's numbers. " : ""}What each unit of one core does, ${part.cut === "" ? "every instruction of the run" : "instruction by instruction"}. A bar's height is the share of its pixel in which the unit is busy; zoom in and each instruction is a box.${part.cores > 1 ? ` Core 0 of ${grouped(part.cores)}: the others run the same program on their share.` : ""}`,
  draw: (part, page, selected) => <Chart part={part} page={page} selected={selected} />,
  csv: (part) => {
    const rows = decoded(part)?.rows ?? [];
    const heads = ["kernel", "start_cycle", "cycles", ...rows.map((row) => `${row.name}_busy`), "local_bytes"];
    return [heads, ...part.kernels.map((kernel, i) => [kernel.name, kernel.start, kernel.cycles, ...rows.map((row) => shareOf(part, row, i)), kernel.local_bytes])];
  },
};

/** Bytes per second that all cores move from and to DRAM, in n equal parts of the run. */
function rates(part: TimelinePart, n: number): number[] {
  const port = decoded(part)?.port;
  if (port === undefined) return [];
  const each = part.cycles / n;
  return Array.from({ length: n }, (_, i) => ((movedBefore(port, (i + 1) * each) - movedBefore(port, i * each)) / each) * part.clock_hz);
}

// for scripts and tests: the window, in cycles, and what the DRAM counter draws
Object.assign(globalThis, { onchipWindow: view, onchipSetView: setView, onchipRates: rates });
