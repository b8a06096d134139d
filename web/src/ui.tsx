// Small pieces that panels share: numbers with their origin, bars, commands to copy, tips under the pointer.

import type { ComponentChild, ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { band, DASH, format, split } from "./format";
import type { Part, Quantity } from "./types";
import { CAUSES, colour, FIDELITY, PROVENANCE } from "./words";

/** A number as text that carries its exact value: tests and scripts read `data-value`. */
export function Num({ value, unit = "", name }: { value: number | null | undefined; unit?: string; name?: string }) {
  return (
    <span class="num" data-value={value ?? ""} data-unit={unit} data-name={name}>
      {format(value, unit)}
    </span>
  );
}

/** A number with a smaller unit behind it. */
export function Big({ value, unit = "", name }: { value: number | null | undefined; unit?: string; name?: string }) {
  const [digits, symbol] = split(value, unit);
  return (
    <span class="big" data-value={value ?? ""} data-unit={unit} data-name={name}>
      {digits}
      {symbol && <small> {symbol}</small>}
    </span>
  );
}

const SHAPES: Record<string, ComponentChild> = {
  measured: <circle cx="6" cy="6" r="4.5" class="solid" />,
  calibrated: (
    <>
      <circle cx="6" cy="6" r="4.5" class="hollow" />
      <path d="M6 1.5a4.5 4.5 0 0 1 0 9z" class="solid" />
    </>
  ),
  analytic: <circle cx="6" cy="6" r="4" class="hollow" />,
  datasheet: <rect x="2" y="2" width="8" height="8" class="solid" />,
  assumed: <path d="M6 1.5 11 10.5H1z" class="hollow" />,
};

export function Dot({ provenance }: { provenance: string }) {
  return (
    <svg class="dot" viewBox="0 0 12 12" width="10" height="10" aria-hidden="true">
      {SHAPES[provenance]}
    </svg>
  );
}

/** Where a number comes from: a mark, provenance and fidelity in words. */
export function Origin({ q }: { q: Quantity }) {
  return (
    <span class="origin" title={`${PROVENANCE[q.provenance]}; ${FIDELITY[q.fidelity]}`}>
      <Dot provenance={q.provenance} /> {q.provenance}, {q.fidelity}
    </span>
  );
}

/** The band of a quantity as a line from low to high with the value on it. */
export function Band({ q }: { q: Quantity }) {
  if (q.low === null || q.high === null || q.high <= q.low) return null;
  const at = ((q.value - q.low) / (q.high - q.low)) * 100;
  return (
    <span class="band-line" title={`${format(q.low, q.unit)} to ${format(q.high, q.unit)}`} aria-hidden="true">
      <i style={{ left: `${at}%` }} />
    </span>
  );
}

export function bandText(q: Quantity | null): string {
  return q === null || band(q) === DASH ? "no band yet" : band(q);
}

/** A bar whose pieces are causes; its length is `share` of the cell. */
export function CauseBar({ parts, whole, share = 1 }: { parts: Part[]; whole: number; share?: number }) {
  return (
    <span class="cause-bar" aria-hidden="true">
      {parts.map(({ part, seconds }) =>
        seconds > 0 && whole > 0 ? (
          <i key={part} style={{ width: `${(seconds / whole) * share * 100}%`, background: colour(part) }} />
        ) : null,
      )}
    </span>
  );
}

export function Swatch({ cause }: { cause: string }) {
  return <i class="swatch" style={{ background: colour(cause) }} aria-hidden="true" />;
}

export function causeText(cause: string): string {
  return CAUSES[cause]?.short ?? cause;
}

/** A command line with a button that copies it. */
export function Command({ text }: { text: string }) {
  const [done, set] = useState(false);
  const copy = async () => {
    set(await toClipboard(text));
    setTimeout(() => set(false), 1500);
  };
  return (
    <span class="command">
      <code tabIndex={0}>{text}</code>
      <button type="button" class="quiet" onClick={() => void copy()} aria-label={`Copy the command ${text}`}>
        {done ? "copied" : "copy"}
      </button>
    </span>
  );
}

async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea"); // file: pages have no clipboard in some browsers
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** Return a ref and the width of its element, at least 240. */
export function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const ref = useRef<HTMLDivElement>(null);
  const [width, set] = useState(760);
  useEffect(() => {
    const element = ref.current;
    if (element === null) return;
    const measure = () => set(Math.max(240, Math.round(element.clientWidth)));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

interface TipState {
  x: number;
  y: number;
  content: ComponentChildren;
}
let setTip: (state: TipState | null) => void = () => undefined;

/** Handlers for an element with a tip: spread them onto it. */
export function tip(content: () => ComponentChildren) {
  return {
    onPointerEnter: (event: PointerEvent) => setTip({ x: event.clientX, y: event.clientY, content: content() }),
    onPointerMove: (event: PointerEvent) => setTip({ x: event.clientX, y: event.clientY, content: content() }),
    onPointerLeave: () => setTip(null),
  };
}

/** Show a tip at a place, or none: for canvases, which have no elements. */
export function showTip(state: TipState | null): void {
  setTip(state);
}

export function Tip() {
  const [state, set] = useState<TipState | null>(null);
  useEffect(() => {
    setTip = set;
  }, []);
  if (state === null) return null;
  const left = Math.min(state.x + 14, window.innerWidth - 280);
  const above = state.y > window.innerHeight - 180;
  const style = above
    ? { left: `${Math.max(8, left)}px`, bottom: `${window.innerHeight - state.y + 14}px` }
    : { left: `${Math.max(8, left)}px`, top: `${state.y + 14}px` };
  return (
    <div class="tip" style={style} role="presentation">
      {state.content}
    </div>
  );
}

/** Let Enter and Space press what is no button element (a shape of a drawing). */
export function pressable(press: () => void) {
  return {
    role: "button" as const,
    tabIndex: 0,
    onClick: press,
    onKeyDown: (event: KeyboardEvent) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      press();
    },
  };
}
