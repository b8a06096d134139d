// The window of time that drawings over time share: what one zooms or pans, the others follow.

import { useEffect, useState } from "preact/hooks";

export interface Window {
  from: number;
  to: number;
}

const LEAST = 16; // cycles across a window
const windows = new Map<number, { now: Window; listeners: Set<() => void> }>(); // by the length of the run

function state(cycles: number) {
  let found = windows.get(cycles);
  if (found === undefined) windows.set(cycles, (found = { now: { from: 0, to: Math.max(1, cycles) }, listeners: new Set() }));
  return found;
}

export function view(cycles: number): Window {
  return state(cycles).now;
}

export function setView(cycles: number, from: number, to: number): void {
  const shared = state(cycles);
  const width = Math.min(Math.max(1, cycles), Math.max(Math.min(LEAST, cycles), to - from));
  const middle = (from + to) / 2;
  const begin = Math.min(Math.max(0, middle - width / 2), cycles - width);
  if (begin === shared.now.from && begin + width === shared.now.to) return;
  shared.now = { from: begin, to: begin + width };
  for (const listener of [...shared.listeners]) listener();
}

/** Zoom by a factor (above 1: in) around a time. */
export function zoom(cycles: number, factor: number, at: number): void {
  const { from, to } = view(cycles);
  setView(cycles, at - (at - from) / factor, at + (to - at) / factor);
}

/** Move the window by a share of its width. */
export function pan(cycles: number, share: number): void {
  const { from, to } = view(cycles);
  const by = Math.min(Math.max(share * (to - from), -from), cycles - to);
  setView(cycles, from + by, to + by);
}

export function useView(cycles: number): Window {
  const shared = state(cycles);
  const [seen, set] = useState(shared.now);
  useEffect(() => {
    const listener = () => set(shared.now);
    shared.listeners.add(listener);
    listener();
    return () => void shared.listeners.delete(listener);
  }, [cycles]);
  return seen;
}
