// R8: how the selected layer lies on the machine: its loops, the tiles of its tensors visit by visit, its buffers, and
// the cells of the array that its weights fill.

import { useEffect, useState } from "preact/hooks";
import { format, grouped } from "../format";
import type { Panel } from "../panel";
import { place, select, type Selection, shown } from "../selection";
import type { Page } from "../types";
import { tip, useWidth } from "../ui";
import { axesOf, type Axis, type Loop, placesOf, Tensors, visits } from "./mapping_tiles";
import "../mapping.css";

export interface Mapped {
  kind: string;
  nest: string[];
  loops: Loop[];
  cores: [number, number, number];
  source: [number, number, number, number];
  window: [number, number];
  stride: [number, number];
  dilation: [number, number];
  padding: [number, number];
  pool: [number, number];
  weights: boolean;
  buffers: [string, string, number, number, number][];
  passes: [number, number, number, number][];
  filled: number | null;
}

export interface MappingPart {
  array: { kind: string; rows?: number; columns?: number; m?: number; n?: number; k?: number; units: number };
  memory: Record<string, number>;
  kernels: [string, number][];
  maps: Mapped[];
}

/** The kernel of the selected layer; without one, that which takes most of our program's time. */
function chosen(part: MappingPart, page: Page, selected: Selection): number {
  const named = part.kernels.findIndex(([name]) => name === selected.layer);
  if (named >= 0) return named;
  const report = page.reports[selected.report];
  if (report === undefined) return 0;
  const at = place(report, selected.layer);
  const same = part.kernels.findIndex(([name]) => name === report.layers[at]?.name);
  if (same >= 0) return same;
  const longest = [...report.layers].sort((a, b) => b.cycles - a.cycles)[0]?.name;
  return Math.max(0, part.kernels.findIndex(([name]) => name === longest));
}

function Mapping({ part, page, selected }: { part: MappingPart; page: Page; selected: Selection }) {
  const at = chosen(part, page, selected);
  const [name, number] = part.kernels[at] ?? ["", 0];
  const map = part.maps[number];
  if (map === undefined) return null;
  const others = part.kernels.filter(([, other]) => other === number).length - 1;
  return (
    <>
      <div class="tools">
        <label class="pick">
          layer
          <select value={name} onChange={(event) => select({ layer: event.currentTarget.value })}>
            {part.kernels.map(([kernel]) => <option key={kernel} value={kernel}>{kernel}</option>)}
          </select>
        </label>
        <span class="dim">{others > 0 ? `${others} more layer${others > 1 ? "s have" : " has"} the same mapping` : ""}</span>
      </div>
      {shown(page, selected)?.kind === "silicon" && <p class="dim">This is our program's mapping; the vendor's own is not published.</p>}
      <div class="mapping-columns">
        <div>
          {map.loops.length > 0 ? <Visits key={name} map={map} /> : <p class="dim">This kernel has loops of its own; its mapping is told in the text.</p>}
        </div>
        <div>
          <h3>Loops, outermost first</h3>
          <pre class="nest" tabIndex={0} aria-label="Loop nest">{map.nest.map((line) => line.replace(/^ {2}/, "")).filter((line) => !/^(local|accumulator) holds/.test(line)).join("\n")}</pre>
        </div>
      </div>
      <div class="mapping-columns">
        {map.passes.length > 0 && <Cells part={part} map={map} />}
        <Memory part={part} map={map} />
      </div>
    </>
  );
}

// --- visits -----------------------------------------------------------------------------------------------------------
function Visits({ map }: { map: Mapped }) {
  const [ref, width] = useWidth();
  const total = visits(map.loops);
  const [visit, setVisit] = useState(0);
  const [isRunning, setRunning] = useState(false);
  useEffect(() => {
    if (!isRunning) return;
    const by = Math.max(1, Math.round(total / 240));
    const timer = setInterval(() => setVisit((now) => (now + by < total ? now + by : 0)), 250);
    return () => clearInterval(timer);
  }, [isRunning, total]);
  const axes = axesOf(map);
  const places = placesOf(map, visit);
  return (
    <div ref={ref} class="visits">
      <h3>Tiles of its tensors</h3>
      <Tensors map={map} axes={axes} places={places} width={Math.min(width, 560)} />
      {total > 1 && (
        <div class="transport" data-keys>
          <button type="button" onClick={() => setRunning(!isRunning)}>{isRunning ? "pause" : "▶ play"}</button>
          <button type="button" disabled={visit === 0} onClick={() => setVisit(visit - 1)} aria-label="One visit back">◀</button>
          <button type="button" disabled={visit >= total - 1} onClick={() => setVisit(visit + 1)} aria-label="One visit on">▶</button>
          <input type="range" min={0} max={total - 1} value={visit} aria-label="Visit" onInput={(event) => setVisit(Number(event.currentTarget.value))} />
          <output>visit {grouped(visit + 1)} of {grouped(total)}</output>
        </div>
      )}
      <p class="dim">{told(axes, places, map)}</p>
    </div>
  );
}

function told(axes: Axis[], places: Record<string, number[]>, map: Mapped): string {
  const cut = axes.filter((axis) => axis.tiles > 1);
  if (cut.length === 0) return "All of it is one tile.";
  const cores = map.cores.reduce((a, b) => a * b, 1);
  const where = cut.map((axis) => {
    const at = places[axis.name] ?? [];
    const which = at.length > 1 ? `${(at[0] ?? 0) + 1} to ${(at[at.length - 1] ?? 0) + 1}` : `${(at[0] ?? 0) + 1}`;
    return `${axis.words} ${which} of ${axis.tiles}`;
  });
  return `Tile of ${where.join(", ")}${cores > 1 ? `; ${cores} cores at once` : ""}.`;
}

// --- the array --------------------------------------------------------------------------------------------------------
function Cells({ part, map }: { part: MappingPart; map: Mapped }) {
  const { array } = part;
  const isMatrix = array.rows !== undefined && array.columns !== undefined;
  if (!isMatrix || array.kind !== "weight_stationary") {
    const shape = isMatrix ? `${array.rows} x ${array.columns} cells` : `${array.units} units of ${array.m} x ${array.n} x ${array.k}`;
    const [k, n, times] = map.passes[0] ?? [0, 0, 0];
    return (
      <div>
        <h3>The matrix unit</h3>
        <p>{shape} ({array.kind.replace("_", " ")}); a product sums {k} inputs for {n} channels, {grouped(times)} times.</p>
      </div>
    );
  }
  const rows = map.passes.reduce((sum, pass) => sum + pass[3], 0);
  const kinds = map.passes.slice(0, 4);
  const wide = (array.columns ?? 1) * array.units;
  const scale = 92 / Math.max(array.rows ?? 1, wide);
  return (
    <div>
      <h3>Cells that hold weights</h3>
      <p class="big-line"><b data-name="filled" data-value={map.filled ?? ""}>{format(map.filled, "%")}</b> of the {array.rows} x {wide} cells, over all passes</p>
      <div class="occupancy">
        {kinds.map(([k, n, times, all]) => (
          <figure key={`${k},${n}`} {...tip(() => <p>{grouped(times)} passes with {k} inputs and {n} channels; {grouped(all)} rows in all</p>)}>
            <svg width={wide * scale + 2} height={(array.rows ?? 1) * scale + 2} role="img" aria-label={`${k} of ${array.rows} rows and ${n} of ${wide} columns of cells`}>
              <Grid rows={array.rows ?? 1} columns={wide} scale={scale} k={k} n={n} />
            </svg>
            <figcaption><b>{k} x {n}</b><br />{format(rows > 0 ? all / rows : 0, "%")} of the rows</figcaption>
          </figure>
        ))}
      </div>
      {map.passes.length > 4 && <p class="dim">and {map.passes.length - 4} more kinds of passes</p>}
    </div>
  );
}

function Grid({ rows, columns, scale, k, n }: { rows: number; columns: number; scale: number; k: number; n: number }) {
  const lines = Math.max(rows, columns) <= 32;
  const down = lines ? Array.from({ length: rows - 1 }, (_, i) => `M1 ${1 + (i + 1) * scale}h${columns * scale}`) : [];
  const across = lines ? Array.from({ length: columns - 1 }, (_, i) => `M${1 + (i + 1) * scale} 1v${rows * scale}`) : [];
  return (
    <>
      <rect class="cells-all" x={1} y={1} width={columns * scale} height={rows * scale} />
      <rect class="cells-used" x={1} y={1} width={n * scale} height={k * scale} />
      <path class="cells-lines" d={[...down, ...across].join("")} />
    </>
  );
}

// --- memory -----------------------------------------------------------------------------------------------------------
const BUFFERS: Record<string, string> = { source: "--c-useful", weights: "--c-weights", output: "--c-memory", sums: "--c-vector", parameters: "--c-fill" };
const MORE = ["--c-underfill", "--c-sync", "--c-fill", "--c-launch", "--c-host", "--c-useful"];

/** The colour of a buffer: those of products have their own, others take turns. */
function hue(name: string, own: Mapped["buffers"]): string {
  const others = own.map(([other]) => other).filter((other) => BUFFERS[other] === undefined);
  return `var(${BUFFERS[name] ?? MORE[others.indexOf(name) % MORE.length] ?? "--c-launch"})`;
}

function Memory({ part, map }: { part: MappingPart; map: Mapped }) {
  const [ref, width] = useWidth();
  return (
    <div ref={ref}>
      <h3>Buffers</h3>
      {["local", "accumulator"].map((memory) => {
        const own = map.buffers.filter((buffer) => buffer[1] === memory);
        const size = part.memory[memory] ?? 0;
        if (own.length === 0 || size === 0) return null;
        const used = own.reduce((sum, [, , , each, slots]) => sum + each * slots, 0);
        return (
          <div key={memory} class="memory-bar">
            <p>{memory === "local" ? "local memory" : "accumulator"} <span class="dim">{format(used, "B")} of {format(size, "B")}</span></p>
            <svg width={width} height={30} role="img" aria-label={own.map(([name, , , each, slots]) => `${name}: ${slots} times ${format(each, "B")}`).join(", ")}>
              <rect class="memory-all" x={0.5} y={0.5} width={width - 1} height={29} rx={4} />
              {own.flatMap(([name, , address, each, slots]) =>
                Array.from({ length: slots }, (_, slot) => (
                  <rect
                    key={`${name}${slot}`}
                    class="memory-slot"
                    x={((address + slot * each) / size) * width}
                    y={1}
                    width={Math.max(1.5, (each / size) * width - 1)}
                    height={28}
                    style={{ fill: hue(name, own) }}
                    {...tip(() => <><b>{name}</b><p>slot {slot + 1} of {slots}, {format(each, "B")} at {grouped(address + slot * each)}</p></>)}
                  />
                )),
              )}
            </svg>
            <p class="legend">
              {own.map(([name, , , each, slots]) => (
                <span key={name}><i class="swatch" style={{ background: hue(name, own) }} aria-hidden="true" /> {name} {slots > 1 ? `${slots} x ` : ""}{format(each, "B")}</span>
              ))}
            </p>
          </div>
        );
      })}
    </div>
  );
}

export const mapping: Panel<MappingPart> = {
  name: "mapping",
  title: "Mapping of a layer",
  short: "Mapping",
  about: "Which tile is computed when, what each loop loads, and which cells of the array its weights fill. Our program, as it was compiled.",
  draw: (part, page, selected) => <Mapping part={part} page={page} selected={selected} />,
  csv: (part) => [
    ["layer", "kind", "loops", "cores", "filled"],
    ...part.kernels.map(([name, number]) => {
      const map = part.maps[number];
      const loops = (map?.loops ?? []).filter(([, times]) => times > 1).map(([axis, times, tile, extent]) => `${axis}: ${times} x ${tile} of ${extent}`);
      return [name, map?.kind ?? "", loops.join("; "), (map?.cores ?? []).join("x"), map?.filled ?? ""];
    }),
  ],
};
