// A canvas over time: sharp on every screen, drawn anew when the window, the size, the theme or the selection change;
// zoom and pan by wheel, drag, buttons and keys. Timeline and memory map are drawings of this kind.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { format, grouped } from "./format";
import { pan, setView, useView, view, type Window, zoom } from "./timeview";
import { showTip, useWidth } from "./ui";

export const LEFT = 98; // pixels for names at the left
export const AXIS = 20; // and for times at the top
const STEP = 1.6; // zoom of one press or notch

export interface Pen {
  c: CanvasRenderingContext2D;
  width: number;
  height: number;
  window: Window;
  /** pixel of a time */
  x: (time: number) => number;
  /** time of a pixel */
  at: (x: number) => number;
  colour: (name: string) => string;
}

export interface OverTimeProps {
  cycles: number;
  clock: number;
  height: number;
  label: string;
  draw: (pen: Pen) => void;
  /** what to tell about a place of the drawing, null: nothing */
  told: (pen: Pen, x: number, y: number) => ComponentChildren | null;
  press: (pen: Pen, x: number, y: number) => void;
  /** the selected span, for "f" and its button */
  chosen: Window | null;
  /** changes where a new drawing is needed for other reasons */
  version?: unknown;
  children?: ComponentChildren;
}

export function OverTime(props: OverTimeProps) {
  const { cycles, height, label, chosen } = props;
  const [box, width] = useWidth();
  const canvas = useRef<HTMLCanvasElement>(null);
  const pen = useRef<Pen | null>(null);
  const window = useView(cycles);
  const theme = useTheme();
  const now = useRef(props);
  now.current = props;
  useEffect(() => {
    if (canvas.current === null) return;
    performance.mark("draw-begin");
    pen.current = penOf(canvas.current, width, height, window);
    clear(pen.current);
    axis(pen.current, cycles, props.clock);
    props.draw(pen.current);
    performance.measure("timeline-draw", "draw-begin");
  }, [width, height, window, theme, chosen?.from, chosen?.to, props.version]);
  useEffect(() => follow(cycles, chosen), [chosen?.from, chosen?.to]);
  useEffect(() => listen(canvas.current!, pen, now), []);
  const middle = (window.from + window.to) / 2;
  return (
    <div>
      <div class="tools time-tools">
        {props.children}
        <span class="time-buttons" role="group" aria-label={`Zoom ${label}`}>
          <button type="button" onClick={() => zoom(cycles, 1 / STEP, middle)} aria-label="Zoom out">−</button>
          <button type="button" onClick={() => zoom(cycles, STEP, middle)} aria-label="Zoom in">+</button>
          <button type="button" onClick={() => setView(cycles, 0, cycles)}>whole run</button>
          <button type="button" disabled={chosen === null} onClick={() => chosen && fit(cycles, chosen)}>selected layer</button>
        </span>
        <span class="dim time-hint">drag to move · Ctrl + wheel to zoom · keys ← → + − 0 f</span>
      </div>
      <div ref={box} class="over-time">
        <canvas ref={canvas} data-drawing tabIndex={0} role="img" aria-label={label} style={{ width: `${width}px`, height: `${height}px` }} />
      </div>
    </div>
  );
}

function penOf(canvas: HTMLCanvasElement, width: number, height: number, window: Window): Pen {
  const ratio = globalThis.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const c = canvas.getContext("2d")!;
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(document.documentElement);
  const colours = new Map<string, string>();
  const colour = (name: string) => {
    let found = colours.get(name);
    if (found === undefined) colours.set(name, (found = style.getPropertyValue(`--${name}`).trim() || "#888"));
    return found;
  };
  const scale = (width - LEFT) / (window.to - window.from);
  const x = (time: number) => LEFT + (time - window.from) * scale;
  return { c, width, height, window, x, at: (px) => window.from + (px - LEFT) / scale, colour };
}

function clear({ c, width, height, colour }: Pen): void {
  c.fillStyle = colour("paper");
  c.fillRect(0, 0, width, height);
  c.font = "11.5px ui-sans-serif, system-ui, sans-serif";
  c.textBaseline = "middle";
}

/** Tint the time of the selected kernel, where it does not fill the window. */
export function shade({ c, x, width, height, colour }: Pen, kernel: { start: number; cycles: number } | undefined): void {
  if (kernel === undefined) return;
  const [from, to] = [Math.max(LEFT, x(kernel.start)), Math.min(width, x(kernel.start + kernel.cycles))];
  if (to <= from || (from <= LEFT && to >= width)) return;
  c.fillStyle = colour("accent-soft");
  c.fillRect(from, AXIS, Math.max(1, to - from), height - AXIS);
}

/** Times at the top: seconds, or cycles where three digits of seconds would not tell neighbours apart. */
function axis(pen: Pen, cycles: number, clock: number): void {
  const { c, window, x, width, height, colour } = pen;
  const span = window.to - window.from;
  const inSeconds = span > cycles / 50;
  const unit = inSeconds ? 1 / clock : 1;
  const step = niceStep((span * unit) / Math.max(2, (width - LEFT) / 110)) / unit;
  c.textAlign = "center";
  for (let t = Math.ceil(window.from / step) * step; t <= window.to; t += step) {
    c.fillStyle = colour("line");
    c.fillRect(Math.round(x(t)), AXIS - 4, 1, height - AXIS + 4);
    c.fillStyle = colour("dim");
    const text = inSeconds ? format(t * unit, "s").replace(/^0 .*/, "0") : `${grouped(Math.round(t))}`;
    if (x(t) > LEFT + 14 && x(t) < width - 18) c.fillText(text, x(t), 8);
  }
  c.textAlign = "right";
  c.fillStyle = colour("dim");
  c.fillText(inSeconds ? "time" : "cycle", LEFT - 10, 8);
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-300)));
  const digit = [1, 2, 5, 10].find((d) => d * power >= rough) ?? 10;
  return digit * power;
}

/** Bring what was selected elsewhere into the window, where nothing of it is visible. */
function follow(cycles: number, chosen: Window | null): void {
  if (chosen === null) return;
  const { from, to } = view(cycles);
  if (chosen.to > from && chosen.from < to) return;
  const half = (to - from) / 2;
  const middle = (chosen.from + chosen.to) / 2;
  setView(cycles, middle - half, middle + half);
}

function fit(cycles: number, chosen: Window): void {
  const margin = (chosen.to - chosen.from) * 0.08;
  setView(cycles, chosen.from - margin, chosen.to + margin);
}

type Ref<T> = { current: T };

/** Pointer, wheel and keys of a canvas; returns what takes them off again. */
function listen(canvas: HTMLCanvasElement, pen: Ref<Pen | null>, now: Ref<OverTimeProps>): () => void {
  let grabbed: { x: number; y: number; moved: boolean } | null = null;
  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    grabbed = { x: event.offsetX, y: event.offsetY, moved: false };
    canvas.setPointerCapture(event.pointerId);
  };
  const move = (event: PointerEvent) => {
    if (pen.current === null) return;
    if (grabbed !== null) {
      const by = event.offsetX - grabbed.x;
      if (grabbed.moved || Math.abs(by) > 3) {
        pan(now.current.cycles, -by / (pen.current.width - LEFT));
        grabbed = { x: event.offsetX, y: event.offsetY, moved: true };
        showTip(null);
      }
      return;
    }
    const content = now.current.told(pen.current, event.offsetX, event.offsetY);
    showTip(content === null ? null : { x: event.clientX, y: event.clientY, content });
  };
  const up = () => {
    if (grabbed !== null && !grabbed.moved && pen.current !== null) now.current.press(pen.current, grabbed.x, grabbed.y);
    grabbed = null;
  };
  const leave = () => showTip(null);
  const wheel = (event: WheelEvent) => {
    if (pen.current === null) return;
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!sideways && !event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return; // the page scrolls
    event.preventDefault();
    if (sideways) pan(now.current.cycles, event.deltaX / (pen.current.width - LEFT));
    else zoom(now.current.cycles, 2 ** (-event.deltaY / 240), pen.current.at(Math.max(LEFT, event.offsetX)));
    showTip(null);
  };
  const key = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { cycles, chosen } = now.current;
    const { from, to } = view(cycles);
    const acts: Record<string, () => void> = {
      ArrowLeft: () => pan(cycles, -0.2),
      ArrowRight: () => pan(cycles, 0.2),
      "+": () => zoom(cycles, STEP, (from + to) / 2),
      "=": () => zoom(cycles, STEP, (from + to) / 2),
      "-": () => zoom(cycles, 1 / STEP, (from + to) / 2),
      "0": () => setView(cycles, 0, cycles),
      f: () => chosen !== null && fit(cycles, chosen),
    };
    const act = acts[event.key];
    if (act === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };
  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("wheel", wheel, { passive: false });
  canvas.addEventListener("keydown", key);
  return () => {
    canvas.removeEventListener("pointerdown", down);
    canvas.removeEventListener("pointermove", move);
    canvas.removeEventListener("pointerup", up);
    canvas.removeEventListener("pointerleave", leave);
    canvas.removeEventListener("wheel", wheel);
    canvas.removeEventListener("keydown", key);
  };
}

/** A value that changes with the theme, also for printing. */
function useTheme(): string {
  const read = () => getComputedStyle(document.documentElement).getPropertyValue("--paper");
  const [seen, set] = useState(read);
  useEffect(() => {
    const listener = () => set(read());
    const observer = new MutationObserver(listener);
    observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    const queries = [matchMedia("(prefers-color-scheme: dark)"), matchMedia("print")];
    for (const query of queries) query.addEventListener("change", listener);
    return () => {
      observer.disconnect();
      for (const query of queries) query.removeEventListener("change", listener);
    };
  }, []);
  return seen;
}

const PALE = new Set(["c-underfill", "c-fill", "c-host", "line", "line-strong"]);

/** The colour of a text on a filled box. */
export function onColour(pen: Pen, name: string): string {
  return PALE.has(name) ? "#17191c" : pen.colour("paper");
}

/** Cut a text to a width: its end is kept, names differ there; "" where nothing readable fits. */
export function fitted(c: CanvasRenderingContext2D, text: string, width: number): string {
  if (width < 22) return "";
  if (c.measureText(text).width <= width) return text;
  for (let n = text.length - 1; n >= 3; n--) {
    const short = `…${text.slice(text.length - n)}`;
    if (c.measureText(short).width <= width) return short;
  }
  return "";
}
