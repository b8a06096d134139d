// Words and colours of causes, bounds and provenance, in the order in which they are drawn everywhere.

export interface Word {
  short: string;
  long: string;
}

export const CAUSES: Record<string, Word> = {
  useful: { short: "useful MACs", long: "The array multiplies and accumulates with full cells." },
  underfill: { short: "under-fill", long: "Cells of the array stay empty: the layer's sizes do not fill it." },
  fill: { short: "fill/drain", long: "The array fills with a first row or drains its last sums." },
  weights: { short: "weights", long: "Weights are loaded while the array waits." },
  memory: { short: "memory", long: "The array waits for data from memory." },
  vector: { short: "vector", long: "The vector unit works: depthwise products, activations, norms, softmax." },
  sync: { short: "sync", long: "Cores wait for each other." },
  launch: { short: "launch", long: "Kernels are launched." },
  host: { short: "host", long: "The host starts the run." },
};

export const BOUND_CAUSES: Record<string, string> = {
  compute: "useful",
  fill: "fill",
  memory: "memory",
  vector: "vector",
  launch: "launch",
  host: "host",
};

export const COMPONENTS: Record<string, Word> = {
  compute: { short: "MACs", long: "Multiply-accumulates." },
  operands: { short: "operands", long: "The way of operands and sums through registers." },
  sram: { short: "local SRAM", long: "Reads and writes of the local memory." },
  accumulator: { short: "accumulator", long: "Reads and writes of the accumulator memory." },
  shared: { short: "shared memory", long: "Memory that cores share." },
  dram: { short: "DRAM", long: "Far memory." },
  vector: { short: "vector lanes", long: "Operations of the vector lanes." },
  clock: { short: "clock", long: "Clock tree, control and sequencing." },
  static: { short: "static", long: "Leakage, and what flows always." },
};

export const PROVENANCE: Record<string, string> = {
  datasheet: "from a data sheet",
  measured: "measured on the chip",
  calibrated: "fitted to measurements",
  analytic: "computed from the chip's numbers",
  assumed: "assumed: nobody has published it",
};

export const FIDELITY: Record<string, string> = {
  roofline: "a bound",
  estimate: "closed forms and loop-compressed programs",
  event: "every event simulated",
  rtl: "the hardware itself simulated",
};

export const EVIDENCE: Record<string, string> = {
  rtl: "Our hardware runs this program in lockstep with the simulator.",
  program: "Our program on a machine with this chip's numbers; vendors time their own programs.",
  estimate: "Array or dataflow is unpublished or has no program, so this is a price.",
};

export function colour(cause: string): string {
  return `var(--c-${cause})`;
}
