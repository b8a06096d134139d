// The pieces of work of a timeline: read from the packed columns of the page (onchip/reports/timeline.py), and asked
// for what a pixel needs: the piece under a time, the share of an interval in which a unit is busy, bytes on the port.

export interface KernelSpan {
  name: string;
  start: number;
  cycles: number;
  bound: string;
  local_bytes: number;
  /** that have work */
  cores: number;
  /** what one of them gets */
  dram_bytes_per_cycle: number;
  /** that all cores move in the kernel */
  dram_bytes: number;
  busy: { matrix: number; vector: number };
}

export interface TimelinePart {
  version: number;
  cycles: number;
  clock_hz: number;
  cores: number;
  local_bytes: number;
  dram_bytes_per_cycle: number;
  kernels: KernelSpan[];
  places: string[];
  n_events: number;
  n_recorded: number;
  cut: string;
  columns: [string, number, number][];
  data: string;
}

/** The work of one unit in order of time; cycles of the core's clock. `busy[i]` are the busy cycles before piece i. */
export interface Row {
  name: string;
  n: number;
  start: Float64Array;
  free: Float64Array;
  tail: Float64Array;
  text: Float64Array;
  busy: Float64Array;
  bytes: Float64Array | null;
}

/** When the DRAM port serves requests of core 0, and the bytes that all cores have moved before each. */
export interface Port {
  begin: Float64Array;
  end: Float64Array;
  moved: Float64Array;
}

export interface Timeline {
  rows: Row[];
  port: Port;
  lines: string[];
}

const known = new WeakMap<TimelinePart, Timeline>();

/** The decoded timeline, once it is there. */
export function decoded(part: TimelinePart): Timeline | undefined {
  return known.get(part);
}

export async function decode(part: TimelinePart): Promise<Timeline> {
  const had = known.get(part);
  if (had !== undefined) return had;
  performance.mark("timeline-begin");
  const data = await inflate(part.data);
  const columns = new Map<string, Float64Array>();
  let at = 0;
  for (const [name, count, bytes] of part.columns) {
    columns.set(name, varints(data, at, count));
    at += bytes;
  }
  const lines = at < data.length ? new TextDecoder().decode(data.subarray(at)).split("\n") : [];
  const rows = part.places.map((name) => row(name, columns));
  const made = { rows, port: port(part, rows), lines };
  known.set(part, made);
  performance.measure("timeline-decode", "timeline-begin");
  return made;
}

async function inflate(text: string): Promise<Uint8Array> {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function varints(data: Uint8Array, from: number, count: number): Float64Array {
  const out = new Float64Array(count);
  let at = from;
  for (let i = 0; i < count; i++) {
    let byte = data[at++] ?? 0;
    let value = byte & 127;
    for (let scale = 128; byte > 127; scale *= 128) {
      byte = data[at++] ?? 0;
      value += (byte & 127) * scale;
    }
    out[i] = value;
  }
  return out;
}

function row(name: string, columns: Map<string, Float64Array>): Row {
  const empty = new Float64Array(0);
  const [gap, cycles] = [columns.get(`${name}.gap`) ?? empty, columns.get(`${name}.cycles`) ?? empty];
  const n = gap.length;
  const [start, free, busy] = [new Float64Array(n), new Float64Array(n), new Float64Array(n + 1)];
  const text = columns.get(`${name}.text`) ?? empty;
  let [time, total, line] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    time += gap[i]!;
    start[i] = time;
    time += cycles[i]!;
    free[i] = time;
    total += cycles[i]!;
    busy[i + 1] = total;
    const code = text[i]!;
    line += code % 2 === 1 ? -(code + 1) / 2 : code / 2;
    text[i] = line;
  }
  const tail = columns.get(`${name}.tail`) ?? empty;
  return { name, n, start, free, tail, text, busy, bytes: columns.get(`${name}.bytes`) ?? null };
}

/** Serve the requests of loads and stores in the order in which they were made, as the simulator does. */
function port(part: TimelinePart, rows: Row[]): Port {
  const [load, store] = ["load", "store"].map((name) => rows.find((one) => one.name === name));
  const n = requests(load) + requests(store);
  const made: Port = { begin: new Float64Array(n), end: new Float64Array(n), moved: new Float64Array(n + 1) };
  const at = [0, 0];
  let [kernel, time] = [0, 0];
  for (let i = 0; i < n; i++) {
    for (const [side, one] of [load, store].entries()) while (one?.bytes && one.bytes[at[side]!] === 0) at[side]!++;
    const [a, b] = [load?.start[at[0]!] ?? Infinity, store?.start[at[1]!] ?? Infinity];
    const side = a <= b ? 0 : 1;
    const one = side === 0 ? load! : store!;
    const [start, bytes] = [one.start[at[side]!]!, one.bytes![at[side]!]!];
    at[side]!++;
    while (kernel + 1 < part.kernels.length && part.kernels[kernel + 1]!.start <= start) kernel++;
    made.begin[i] = time = Math.max(time, start);
    made.end[i] = time += bytes / (part.kernels[kernel]?.dram_bytes_per_cycle ?? 1);
    made.moved[i + 1] = made.moved[i]! + bytes * (part.kernels[kernel]?.cores ?? 1);
  }
  return made;
}

function requests(one: Row | undefined): number {
  return one?.bytes?.reduce((n, bytes) => n + (bytes > 0 ? 1 : 0), 0) ?? 0;
}

/** The first index whose value is above x, in an ascending array. */
export function above(values: Float64Array, x: number, from = 0, to = values.length): number {
  let [low, high] = [from, to];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! > x) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Busy cycles of a unit before a time. */
export function busyBefore(one: Row, time: number): number {
  const at = above(one.free, time);
  return one.busy[at]! + (at < one.n ? Math.max(0, time - one.start[at]!) : 0);
}

/** Bytes that the DRAM port has moved before a time. */
export function movedBefore(one: Port, time: number): number {
  const at = above(one.end, time);
  const begin = one.begin[at];
  if (begin === undefined || time <= begin) return one.moved[at]!;
  const bytes = one.moved[at + 1]! - one.moved[at]!;
  return one.moved[at]! + (bytes * (time - begin)) / (one.end[at]! - begin);
}

/** The kernel that runs at a time, -1 before the first. */
export function kernelAt(kernels: readonly { start: number }[], time: number): number {
  let [low, high] = [0, kernels.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (kernels[middle]!.start > time) high = middle;
    else low = middle + 1;
  }
  return low - 1;
}
