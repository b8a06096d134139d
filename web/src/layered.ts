// A drawing of a directed graph in layers, from left to right: ranks by longest path, rows by the middle of neighbours.
//
// In: boxes in an order in which edges mostly go forwards, and edges between them. Out: places. Edges that go backwards
// (between folded modules) do not move anything.

export interface Place {
  rank: number;
  row: number;
}

export interface Edge {
  from: number;
  to: number;
}

const SWEEPS = 4;

export function layered(n: number, edges: readonly Edge[]): Place[] {
  const forward = edges.filter(({ from, to }) => from < to);
  const ranks = new Array<number>(n).fill(0);
  const into: number[][] = Array.from({ length: n }, () => []);
  const out: number[][] = Array.from({ length: n }, () => []);
  for (const { from, to } of forward) {
    into[to]?.push(from);
    out[from]?.push(to);
  }
  for (let i = 0; i < n; i++) ranks[i] = Math.max(0, ...(into[i] ?? []).map((j) => (ranks[j] ?? 0) + 1));
  const columns: number[][] = [];
  ranks.forEach((rank, i) => (columns[rank] ??= []).push(i));
  const rows = new Array<number>(n).fill(0);
  for (const column of columns) column?.forEach((i, k) => (rows[i] = k - (column.length - 1) / 2));
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const next = sweep % 2 === 0 ? into : out;
    const order = sweep % 2 === 0 ? columns : [...columns].reverse();
    for (const column of order) if (column !== undefined) settle(column, next, rows);
  }
  return ranks.map((rank, i) => ({ rank, row: rows[i] ?? 0 }));
}

/** Put the boxes of a column at the middle of their neighbours, one row apart at least. */
function settle(column: number[], neighbours: number[][], rows: number[]): void {
  const wish = (i: number): number => {
    const own = neighbours[i] ?? [];
    return own.length === 0 ? (rows[i] ?? 0) : own.reduce((sum, j) => sum + (rows[j] ?? 0), 0) / own.length;
  };
  const wished = column.map((i) => ({ i, y: wish(i) })).sort((a, b) => a.y - b.y || a.i - b.i);
  let last = Number.NEGATIVE_INFINITY;
  for (const one of wished) {
    one.y = Math.max(one.y, last + 1);
    last = one.y;
  }
  const drift = wished.reduce((sum, { i, y }) => sum + y - wish(i), 0) / wished.length;
  for (const { i, y } of wished) rows[i] = y - drift;
}

export interface Folded {
  /** the dotted prefix, or the name of the one layer in it */
  path: string;
  layers: number[];
}

/** Group layers by the first words of their names; `open` modules show one word more. */
export function groups(names: readonly string[], depth: number, open: ReadonlySet<string>): { of: number[]; list: Folded[] } {
  const list: Folded[] = [];
  const index = new Map<string, number>();
  const of = names.map((name, i) => {
    const path = prefix(name, depth, open);
    let at = index.get(path);
    if (at === undefined) {
      at = list.length;
      index.set(path, at);
      list.push({ path, layers: [] });
    }
    list[at]?.layers.push(i);
    return at;
  });
  return { of, list };
}

function prefix(name: string, depth: number, open: ReadonlySet<string>): string {
  const words = name.split(/[./]/);
  let n = Math.min(depth, words.length);
  while (n < words.length && open.has(words.slice(0, n).join("."))) n++;
  return n >= words.length ? name : words.slice(0, n).join(".");
}

/** Return the largest number of words at which at most `most` boxes are left; 1 if there is none. */
export function depthFor(names: readonly string[], most: number): number {
  const deepest = Math.max(1, ...names.map((name) => name.split(/[./]/).length));
  for (let depth = deepest; depth > 1; depth--) {
    if (groups(names, depth, new Set()).list.length <= most) return depth;
  }
  return 1;
}
