// The array as a drawing: cells, what moves between them, the accumulator below. One call draws one cycle; CSS moves
// what has the same key from its old place to its new one.

import { IDLE, type Cell, cellAt, frame, type Plan, resultsAt } from "../systolic";
import { tip } from "../ui";

const QUEUE = 3; // items that are shown waiting in front of an edge
const COLOURS = 8;
const MOST_CHIPS = 100; // cells up to which numbers move: beyond, cells alone are drawn

interface Geometry {
  cell: number;
  left: number;
  top: number;
  pitch: number; // between items that wait
  resultTop: number;
  resultWide: number;
  resultHigh: number;
  width: number;
  height: number;
  hasChips: boolean;
}

export function geometry(plan: Plan, room: number): Geometry {
  const { rows, m, n } = plan.product;
  const cell = Math.max(20, Math.min(84, Math.floor((room - 12) / (plan.wide + 2.2)), Math.floor(560 / rows)));
  const hasChips = cell >= 44 && rows * plan.wide <= MOST_CHIPS;
  const pitch = hasChips ? Math.round(cell * 0.56) : Math.round(cell * 0.8);
  const left = hasChips ? QUEUE * pitch + 22 : 26;
  const top = hasChips ? QUEUE * 24 + 22 : 24;
  const resultHigh = Math.max(15, Math.min(24, Math.floor(300 / m)));
  const resultTop = top + rows * cell + 34;
  const resultWide = Math.min(cell, (plan.wide * cell) / n);
  const width = left + plan.wide * cell + Math.round(cell * 0.5);
  return { cell, left, top, pitch, resultTop, resultWide, resultHigh, width, height: resultTop + m * resultHigh + 8, hasChips };
}

/** The colour of an item: rows of A, or steps, repeat eight colours that colour-blind readers tell apart. */
function hue(item: number): string {
  return `var(--w${((item % COLOURS) + COLOURS) % COLOURS})`;
}

function itemColour(plan: Plan, item: number): string {
  return hue(plan.product.isMoving ? item % plan.product.k : item % plan.product.m);
}

export function Stage({ plan, cycle, room, step }: { plan: Plan; cycle: number; room: number; step: number }) {
  const g = geometry(plan, room);
  const cells = frame(plan, cycle);
  const { rows } = plan.product;
  const title = `The array in cycle ${cycle}: ${cells.flat().filter((c) => c.item !== IDLE).length} of ${rows * plan.wide} cells multiply`;
  return (
    <svg data-drawing class="stage" viewBox={`0 0 ${g.width} ${g.height}`} width={g.width} height={g.height} role="img" aria-label={title} style={{ "--step": `${step}ms` }}>
      <Labels plan={plan} g={g} />
      <Result plan={plan} cycle={cycle} g={g} />
      {cells.map((row, r) => row.map((cell, c) => <CellBox key={`${r},${c}`} plan={plan} cell={cell} r={r} c={c} g={g} />))}
      {g.hasChips && <Chips plan={plan} cycle={cycle} g={g} />}
    </svg>
  );
}

function Labels({ plan, g }: { plan: Plan; g: Geometry }) {
  const { isMoving, rows } = plan.product;
  const across = g.left + (plan.wide * g.cell) / 2;
  const down = g.top + (rows * g.cell) / 2;
  return (
    <g class="stage-labels" aria-hidden="true">
      <text x={across} y={13} text-anchor="middle">{isMoving ? "B: a column for each column of cells" : "weights B, bottom row first"}</text>
      <text transform={`translate(11 ${down}) rotate(-90)`} text-anchor="middle">{isMoving || g.cell < 60 ? "rows of A" : "A: row r starts r cycles later"}</text>
      <text x={g.left} y={g.resultTop - 9} text-anchor="start">accumulator: A · B</text>
    </g>
  );
}

function CellBox({ plan, cell, r, c, g }: { plan: Plan; cell: Cell; r: number; c: number; g: Geometry }) {
  const [x, y, size] = [g.left + c * g.cell, g.top + r * g.cell, g.cell];
  const isBusy = cell.item !== IDLE;
  const tint = isBusy ? itemColour(plan, cell.item) : "transparent";
  const kind = isBusy ? (cell.isUsed ? "busy" : "empty") : cell.isUsed ? "ready" : "idle";
  const isStill = !plan.product.isMoving;
  const told = () => (
    <>
      <b>Cell in row {r}, column {c}</b>
      {isBusy ? <p>{cell.sum - cell.x * cell.weight} + {cell.x} × {cell.weight} = {cell.sum}</p> : <p>nothing to multiply</p>}
      {isStill && <p>weight {cell.weight}, next weight {cell.shadow}</p>}
    </>
  );
  return (
    <g class={`cell ${kind}`} data-row={r} data-column={c} data-item={cell.item} data-sum={cell.sum} data-weight={cell.weight} {...tip(told)}>
      <rect x={x + 2} y={y + 2} width={size - 4} height={size - 4} rx={Math.min(7, size / 6)} />
      <rect class="tint" x={x + 2} y={y + 2} width={size - 4} height={size - 4} rx={Math.min(7, size / 6)} style={{ fill: tint }} />
      {isStill && size >= 44 && (
        <>
          <text class={`weight${cell.isUsed ? "" : " zero"}`} x={x + size - 9} y={y + 19} text-anchor="end">{cell.isUsed || isBusy ? cell.weight : ""}</text>
          <text class="shadow" x={x + size - 9} y={y + 33} text-anchor="end">{waits(cell, size)}</text>
        </>
      )}
      {!g.hasChips && size >= 30 && isBusy && (
        <text class="sum" x={x + size / 2} y={y + size / 2 + 4} text-anchor="middle">{cell.sum}</text>
      )}
    </g>
  );
}

/** The weight that waits in a cell's second register, where another product will take it. */
function waits(cell: Cell, size: number): string {
  if (cell.shadow === cell.weight && (cell.isUsed || cell.shadow === 0)) return "";
  return size >= 66 ? `next ${cell.shadow}` : `(${cell.shadow})`;
}

function Result({ plan, cycle, g }: { plan: Plan; cycle: number; g: Geometry }) {
  const made = resultsAt(plan, cycle - 1);
  return (
    <g class="results">
      {made.map((row, i) =>
        row.map((value, j) => {
          const [x, y] = [g.left + j * g.resultWide, g.resultTop + i * g.resultHigh];
          return (
            <g key={`${i},${j}`} class={value === null ? "hole" : "made"} data-i={i} data-j={j} data-value={value ?? ""}>
              <rect x={x + 1} y={y + 1} width={g.resultWide - 2} height={g.resultHigh - 2} rx={3} style={value === null || plan.product.isMoving ? {} : { stroke: hue(i) }} />
              {value !== null && g.resultWide >= 24 && <text x={x + g.resultWide / 2} y={y + g.resultHigh / 2 + 4} text-anchor="middle">{value}</text>}
            </g>
          );
        }),
      )}
    </g>
  );
}

interface Chip {
  key: string;
  kind: "x" | "b" | "sum";
  value: number;
  x: number;
  y: number;
  colour: string;
  opacity: number;
}

function Chips({ plan, cycle, g }: { plan: Plan; cycle: number; g: Geometry }) {
  const found = [...operands(plan, cycle, g), ...(plan.product.isMoving ? columnsOf(plan, cycle, g) : weights(plan, cycle, g)), ...sums(plan, cycle, g)];
  found.sort((a, b) => (a.key < b.key ? -1 : 1)); // a stable order: what moves keeps its element
  return (
    <g class={`chips${g.cell < 60 ? " small" : ""}`} aria-hidden="true">
      {found.map((chip) => (
        <g key={chip.key} class={`chip ${chip.kind}`} style={{ transform: `translate(${chip.x}px, ${chip.y}px)`, opacity: chip.opacity, "--hue": chip.colour }}>
          {chip.kind === "sum" ? <rect x={-g.cell * 0.34} y={-10.5} width={g.cell * 0.68} height={21} rx={5} /> : <circle r={g.cell < 60 ? 9.5 : 11.5} />}
          <text y={4.3} text-anchor="middle">{chip.value}</text>
        </g>
      ))}
    </g>
  );
}

const fade = (waits: number) => (waits <= 0 ? 1 : Math.max(0, 1 - (waits - 1) * 0.3));

/** Values of A: from the left edge to the right, one cell a cycle. */
function operands(plan: Plan, cycle: number, g: Geometry): Chip[] {
  const { product, across } = plan;
  const found: Chip[] = [];
  for (const [time, [p, item]] of plan.rows) {
    for (let r = 0; r < product.rows; r++) {
      const c = cycle - time - r;
      if (c < -QUEUE || c > product.columns) continue;
      const pass = product.passes[p];
      const step = Math.floor(item / product.k);
      const i = product.isMoving ? Math.floor(step / across) * product.rows + r : item;
      const k = product.isMoving ? item % product.k : (pass?.kBegin ?? 0) + r;
      if (i >= product.m || (!product.isMoving && r >= (pass?.k ?? 0))) continue;
      const value = product.a[i]?.[k] ?? 0;
      const x = c < 0 ? g.left - 14 + (c + 1) * g.pitch : g.left + c * g.cell + 17;
      const colour = hue(product.isMoving ? k : item);
      for (let u = 0; u < product.units; u++) {
        const shift = c < 0 ? 0 : u * product.columns * g.cell;
        if (c < 0 && u > 0) continue;
        found.push({ key: `a${p},${item},${r},${u}`, kind: "x", value, x: x + shift, y: g.top + r * g.cell + g.cell * 0.36, colour, opacity: c === product.columns ? 0 : fade(-c) });
      }
    }
  }
  return found;
}

/** Values of B that move down (output-stationary). */
function columnsOf(plan: Plan, cycle: number, g: Geometry): Chip[] {
  const { product, across, wide } = plan;
  const found: Chip[] = [];
  for (const [time, [, step]] of plan.rows) {
    const block = Math.floor(step / product.k);
    const k = step % product.k;
    for (let c = 0; c < wide; c++) {
      const r = cycle - time - (c % product.columns);
      const j = (block % across) * wide + c;
      if (r < -QUEUE || r > product.rows || j >= product.n) continue;
      const y = r < 0 ? g.top - 12 + (r + 1) * 24 : g.top + r * g.cell + 17;
      const opacity = r === product.rows ? 0 : fade(-r);
      found.push({ key: `b${step},${c}`, kind: "b", value: product.b[k]?.[j] ?? 0, x: g.left + c * g.cell + g.cell * 0.66, y, colour: hue(k), opacity });
    }
  }
  return found;
}

/** Weights that wait above the array; inside, the cells write them. */
function weights(plan: Plan, cycle: number, g: Geometry): Chip[] {
  const { product } = plan;
  const found: Chip[] = [];
  plan.loads.forEach((times, p) => {
    const pass = product.passes[p];
    times.forEach((time, j) => {
      const row = product.rows - 1 - j;
      for (let c = 0; pass !== undefined && row < pass.k && c < pass.n; c++) {
        const waits = time + (c % product.columns) - cycle;
        if (waits < 0 || waits > QUEUE) continue;
        const value = product.b[pass.kBegin + row]?.[pass.nBegin + c] ?? 0;
        const y = waits === 0 ? g.top + 20 : g.top - 12 - (waits - 1) * 24;
        found.push({ key: `w${p},${j},${c}`, kind: "b", value, x: g.left + c * g.cell + g.cell - 18, y, colour: "var(--dim)", opacity: waits === 0 ? 0 : fade(waits) });
      }
    });
  });
  return found;
}

/** Partial sums: down the column, then into the accumulator; or in their cell until they are done. */
function sums(plan: Plan, cycle: number, g: Geometry): Chip[] {
  const { product, wide, across } = plan;
  const found: Chip[] = [];
  for (let c = 0; c < wide; c++) {
    for (let r = 0; r < product.rows; r++) {
      const cell = cellAt(plan, cycle, r, c);
      const before = cellAt(plan, cycle - 1, r, c);
      const [x, y] = [g.left + c * g.cell + g.cell / 2, g.top + r * g.cell + g.cell * 0.72];
      if (product.isMoving) {
        if (cell.isUsed && (cell.item !== IDLE || cell.sum !== 0)) found.push(still(plan, cell, r, c, x, y));
        const block = Math.floor(before.item / product.k);
        if (before.item !== IDLE && before.isUsed && before.item % product.k === product.k - 1) {
          const [i, j] = [Math.floor(block / across) * product.rows + r, (block % across) * wide + c];
          found.push({ ...place(g, i, j), key: `s${block},${r},${c}`, kind: "sum", value: before.sum, colour: "var(--soft)", opacity: 0 });
        }
        continue;
      }
      if (cell.item !== IDLE && cell.isUsed) {
        found.push({ key: `s${cell.item},${c}`, kind: "sum", value: cell.sum, x, y, colour: itemColour(plan, cell.item), opacity: 1 });
      } else if (cell.item !== IDLE && isInPass(plan, cell.item, c)) {
        found.push({ key: `s${cell.item},${c}`, kind: "sum", value: cell.sum, x, y, colour: itemColour(plan, cell.item), opacity: 0.75 });
      }
      if (r === product.rows - 1 && before.item !== IDLE && isInPass(plan, before.item, c)) {
        const pass = product.passes[Math.floor(before.item / product.m)];
        const to = place(g, before.item % product.m, (pass?.nBegin ?? 0) + c);
        found.push({ ...to, key: `s${before.item},${c}`, kind: "sum", value: before.sum, colour: itemColour(plan, before.item), opacity: 0 });
      }
    }
  }
  return found;
}

function still(plan: Plan, cell: Cell, r: number, c: number, x: number, y: number): Chip {
  const block = cell.item === IDLE ? "held" : Math.floor(cell.item / plan.product.k);
  return { key: `s${block},${r},${c}`, kind: "sum", value: cell.sum, x, y, colour: cell.item === IDLE ? "var(--dim)" : itemColour(plan, cell.item), opacity: 1 };
}

function isInPass(plan: Plan, item: number, column: number): boolean {
  const pass = plan.product.passes[Math.floor(item / plan.product.m)];
  return pass !== undefined && column < pass.n;
}

function place(g: Geometry, i: number, j: number): { x: number; y: number } {
  return { x: g.left + (j + 0.5) * g.resultWide, y: g.resultTop + (i + 0.5) * g.resultHigh };
}
