// What every cell of a systolic array does in a cycle, from the starts that the simulator's trace gave: the same as
// onchip/simulator/systolic.py plays register by register. tests/web/test_lesson.py compares all of both.

export type Rate = readonly [number, number];

export interface Pass {
  load: number;
  start: number;
  k: number;
  n: number;
  kBegin: number;
  nBegin: number;
}

export interface Product {
  isMoving: boolean; // both operands move, sums stay: output-stationary
  rows: number;
  columns: number; // of one unit
  units: number;
  bytes: number;
  read: Rate;
  weightRead: Rate;
  m: number;
  k: number;
  n: number;
  cycles: number;
  passes: readonly Pass[];
  a: readonly (readonly number[])[];
  b: readonly (readonly number[])[];
}

export interface Cell {
  /** IDLE, or pass * m + row of A (weight-stationary), or the step of the product (output-stationary) */
  item: number;
  x: number;
  weight: number;
  /** what the cell adds up to in this cycle; a sum that stays is shown while its block is not done */
  sum: number;
  /** the weight that waits for the next product */
  shadow: number;
  /** whether its weight or its sum belongs to the product: the others multiply zeros */
  isUsed: boolean;
}

export const IDLE = -1;

/** The cycle in which each of `count` items enters: one a cycle, from the `first` on those that the port brings. */
export function entries(count: number, bytes: number, rate: Rate, first = 0): number[] {
  const real = count - first;
  const late = (i: number) => Math.ceil(((i + 1) * bytes * rate[1]) / (real * rate[0])) - 1;
  return Array.from({ length: count }, (_, i) => (i < first ? i : Math.max(i, late(i - first))));
}

export interface Plan {
  product: Product;
  wide: number;
  /** local time (cycle - row - column) -> (pass, row of A) or (0, step) */
  rows: Map<number, readonly [number, number]>;
  /** by pass: local times at which its rows of weights enter, the bottom one's first */
  loads: number[][];
  across: number;
}

export function planOf(product: Product): Plan {
  const { rows: high, bytes } = product;
  const wide = product.columns * product.units;
  const rows = new Map<number, readonly [number, number]>();
  const loads: number[][] = [];
  const across = Math.ceil(product.n / wide);
  if (product.isMoving) {
    const steps = Math.ceil(product.m / high) * across * product.k;
    const total = (product.m * product.k + product.k * product.n) * bytes;
    const start = product.passes[0]?.start ?? 0;
    entries(steps, total, product.read).forEach((at, step) => rows.set(start + at, [0, step]));
  } else {
    product.passes.forEach((pass, p) => {
      entries(product.m, product.m * pass.k * bytes, product.read).forEach((at, i) => rows.set(pass.start + at, [p, i]));
      loads.push(entries(high, pass.k * pass.n * bytes, product.weightRead, high - pass.k).map((at) => pass.load + at));
    });
  }
  return { product, wide, rows, loads, across };
}

const at = (matrix: readonly (readonly number[])[], i: number, j: number): number => matrix[i]?.[j] ?? 0;

/** The local time of a cell: everything reaches it one cycle later than its left and its upper neighbour. */
export function local(plan: Plan, cycle: number, row: number, column: number): number {
  return cycle - row - (column % plan.product.columns);
}

export function cellAt(plan: Plan, cycle: number, row: number, column: number): Cell {
  const time = local(plan, cycle, row, column);
  return plan.product.isMoving ? movingCell(plan, time, row, column) : stationaryCell(plan, time, row, column);
}

function weightOf(product: Product, p: number, row: number, column: number): number {
  const pass = product.passes[p];
  if (pass === undefined || row < 0 || row >= pass.k || column >= pass.n) return 0;
  return at(product.b, pass.kBegin + row, pass.nBegin + column);
}

function stationaryCell(plan: Plan, time: number, row: number, column: number): Cell {
  const { product } = plan;
  let now = -1;
  product.passes.forEach((pass, p) => {
    if (pass.start <= time) now = p;
  });
  const pass = product.passes[now];
  const entered = plan.rows.get(time);
  const weight = weightOf(product, now, row, column);
  const isUsed = pass !== undefined && row < pass.k && column < pass.n;
  const shadow = shadowAt(plan, time, row, column);
  if (entered === undefined || pass === undefined) return { item: IDLE, x: 0, weight, sum: 0, shadow, isUsed };
  const [p, i] = entered;
  const x = row < pass.k ? at(product.a, i, pass.kBegin + row) : 0;
  let sum = 0;
  for (let r = 0; r <= row; r++) {
    if (r < pass.k) sum += at(product.a, i, pass.kBegin + r) * weightOf(product, now, r, column);
  }
  return { item: p * product.m + i, x, weight, sum, shadow, isUsed };
}

/** The second register of a cell: weights of the latest load that has reached it, else those before, moved down. */
function shadowAt(plan: Plan, time: number, row: number, column: number): number {
  let p = -1;
  plan.loads.forEach((times, i) => {
    if ((times[0] ?? Infinity) <= time) p = i;
  });
  if (p < 0) return 0;
  const come = (plan.loads[p] ?? []).filter((when) => when <= time).length;
  return come > row ? weightOf(plan.product, p, plan.product.rows - come + row, column) : weightOf(plan.product, p - 1, row - come, column);
}

function movingCell(plan: Plan, time: number, row: number, column: number): Cell {
  const { product, wide, across } = plan;
  const entered = plan.rows.get(time);
  const step = entered === undefined ? lastStep(plan, time) : entered[1];
  const block = Math.floor(step / product.k);
  const kk = step % product.k;
  const i = Math.floor(block / across) * product.rows + row;
  const j = (block % across) * wide + column;
  const isUsed = step >= 0 && i < product.m && j < product.n;
  let sum = 0;
  for (let k = 0; isUsed && k <= kk; k++) sum += at(product.a, i, k) * at(product.b, k, j);
  if (entered === undefined) {
    const isHeld = step >= 0 && kk < product.k - 1;
    return { item: IDLE, x: 0, weight: 0, sum: isHeld ? sum : 0, shadow: 0, isUsed: isHeld && isUsed };
  }
  const x = i < product.m ? at(product.a, i, kk) : 0;
  return { item: step, x, weight: j < product.n ? at(product.b, kk, j) : 0, sum, shadow: 0, isUsed };
}

function lastStep(plan: Plan, time: number): number {
  let step = -1;
  for (const [when, [, found]] of plan.rows) if (when <= time && found > step) step = found;
  return step;
}

export function frame(plan: Plan, cycle: number): Cell[][] {
  const { rows } = plan.product;
  return Array.from({ length: rows }, (_, r) => Array.from({ length: plan.wide }, (_, c) => cellAt(plan, cycle, r, c)));
}

/** A finished sum of a cycle: it leaves for row i and column j of the result. */
export interface Leaving {
  row: number; // of the array
  column: number;
  i: number;
  j: number;
  value: number;
}

/** The sums that leave the array at the end of a cycle. */
export function leaving(plan: Plan, cycle: number): Leaving[] {
  const { product, wide, across } = plan;
  const found: Leaving[] = [];
  const bottom = product.rows - 1;
  for (let c = 0; c < wide; c++) {
    for (let r = product.isMoving ? 0 : bottom; r <= bottom; r++) {
      const cell = cellAt(plan, cycle, r, c);
      if (cell.item === IDLE) continue;
      if (product.isMoving) {
        const block = Math.floor(cell.item / product.k);
        if (cell.item % product.k !== product.k - 1 || !cell.isUsed) continue;
        found.push({ row: r, column: c, i: Math.floor(block / across) * product.rows + r, j: (block % across) * wide + c, value: cell.sum });
      } else {
        const pass = product.passes[Math.floor(cell.item / product.m)];
        if (pass === undefined || c >= pass.n) continue;
        found.push({ row: r, column: c, i: cell.item % product.m, j: pass.nBegin + c, value: cell.sum });
      }
    }
  }
  return found;
}

/** Cells that multiply in each cycle: those of the product, and those that multiply zeros. */
export function busy(plan: Plan): { useful: number; empty: number }[] {
  return Array.from({ length: plan.product.cycles }, (_, t) => {
    const cells = frame(plan, t).flat().filter((cell) => cell.item !== IDLE);
    const useful = cells.filter((cell) => cell.isUsed).length;
    return { useful, empty: cells.length - useful };
  });
}

/** What the accumulator holds when `cycle` is over: by row and column null (nothing yet) or the sum so far. */
export function resultsAt(plan: Plan, cycle: number): (number | null)[][] {
  const { m, n } = plan.product;
  const made: (number | null)[][] = Array.from({ length: m }, () => Array.from({ length: n }, () => null));
  for (let t = 0; t <= cycle; t++) {
    for (const { i, j, value } of leaving(plan, t)) {
      const row = made[i];
      if (row !== undefined) row[j] = (row[j] ?? 0) + value;
    }
  }
  return made;
}
