// The shapes of the JSON inside of the page: reports as in onchip/schemas/report-1.json, parts as in onchip/reports/.

export type Provenance = "datasheet" | "measured" | "calibrated" | "analytic" | "assumed";
export type Fidelity = "roofline" | "estimate" | "event" | "rtl";
export type Side = "program" | "silicon";

export interface Quantity {
  value: number;
  unit: string;
  low: number | null;
  high: number | null;
  provenance: Provenance;
  fidelity: Fidelity;
}

export interface Part {
  part: string;
  seconds: number;
}

export interface Layer {
  name: string;
  nodes: string[];
  kind: string;
  cycles: number;
  latency_s: Quantity;
  energy_j: Quantity | null;
  share: number;
  macs: number;
  utilization: number;
  bound: string;
  intensity_op_per_byte: number | null;
  attainable_ops_per_s: number;
  dram_bytes: number;
  local_peak_bytes: number;
  cores: number;
  waterfall: Part[];
  how: string;
}

export interface Report {
  schema_version: number;
  tool: string;
  kind: Side;
  model: { name: string; hash: string; macs: number; parameters: number; assumptions: string[] };
  chip: {
    name: string;
    hash: string;
    evidence: string;
    clock_hz: number;
    cores: number;
    peak_ops_per_s: number;
    dram_bytes_per_s: number;
    local_bytes: number;
  };
  batch: number;
  dtype: string;
  latency_s: Quantity;
  throughput_per_s: Quantity;
  energy_j: Quantity | null;
  power_w: Quantity | null;
  utilization: Quantity;
  memory: { local_peak_bytes: number; local_bytes: number; layer: string; dram_traffic_bytes: number };
  bound: string;
  waterfall: Part[];
  energy_parts: { part: string; joules: number }[];
  layers: Layer[];
  assumptions: string[];
  program_hash: string;
  bit_exact: boolean | null;
  cycles: number;
  silicon: Report | null;
}

/** Sentences about a report, made by the same code as the text report. */
export interface Told {
  verdict: string;
  why: { program: string[]; silicon: string[] };
}

export interface Page {
  onchip_page: number;
  tool: string;
  title: string;
  reports: Report[];
  told: Told[];
  parts: Record<string, unknown>;
}
