// Questions to the server that this page came from, and their answers: see onchip/app/engine.py.

import type { Page } from "../types";

export interface Failure {
  code: string;
  where: string;
  fact: string;
  limit: string;
  next: string;
  text: string;
}

export interface ChipEntry {
  name: string;
  family: string;
  description: string;
  evidence: string;
  default_dtype: string;
  dtypes: string[];
}

export interface Catalog {
  chips: ChipEntry[];
  models: string[];
}

export type Overrides = Record<string, string>;

/** What is priced: a network, a chip with changed numbers, a batch, a dtype. */
export interface Run {
  model: string;
  chip: string;
  overrides: Overrides;
  batch: number;
  dtype: string | null;
}

export interface Network {
  name: string;
  nodes: number;
  parameters: number;
  macs: number | null;
  symbols: string[];
  upload?: string;
}

export interface Block {
  name: string;
  evidence: string;
  dtypes: string[];
  default: string;
  values: Record<string, string>;
  array: string;
  peak_ops_per_s: number;
  lanes: number;
  cores: number;
  clock_hz: number;
  memories: { name: string; size_bytes: number; bytes_per_s: number }[];
}

export interface Row {
  chip: string;
  dtype: string;
  latency_s: number;
  energy_j: number | null;
  band: string;
  bound: string;
}

export interface Answers {
  catalog: Catalog;
  inspect: Network;
  chip: Block;
  estimate: { page: Page };
  compare: { rows: Row[]; refused: { chip: string; reason: string }[] };
}

export class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.text);
  }
}

const GONE: Failure = {
  code: "", where: "app", fact: "", limit: "", next: "",
  text: "The app does not answer. Is `onchip app` still running?",
};

async function read<T>(request: Promise<Response>): Promise<T> {
  let made: T | { error: Failure };
  try {
    made = (await (await request).json()) as T | { error: Failure };
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused(GONE);
  }
  if (typeof made === "object" && made !== null && "error" in made) throw new Refused(made.error);
  return made as T;
}

/** Ask a question. Throws Refused. */
export function ask<V extends keyof Answers>(verb: V, rest: object = {}, signal?: AbortSignal): Promise<Answers[V]> {
  const body = JSON.stringify({ verb, ...rest });
  return read(fetch("/ask", { method: "POST", body, ...(signal ? { signal } : {}) }));
}

/** Send a file; the answer says what network it is. Throws Refused. */
export function upload(file: File): Promise<Network> {
  return read(fetch(`/upload?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file }));
}

export function schema(): Promise<Schema> {
  return read(fetch("/schema"));
}

export interface Property {
  $ref?: string;
  type?: string;
  enum?: (string | number)[];
  anyOf?: Property[];
  description?: string;
  minimum?: number;
  maximum?: number;
  default?: unknown;
}

export interface Schema {
  $defs: Record<string, { properties?: Record<string, Property>; description?: string }>;
}

/** The link of the whole report of a run, made by the server. */
export function reportLink(run: Run): string {
  return `/report?q=${encodeURIComponent(JSON.stringify({ verb: "document", ...run }))}`;
}
