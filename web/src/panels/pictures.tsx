// Pictures of one run: feature maps and attention weights, and how far the narrow numbers are from the float network.

import { useEffect, useRef, useState } from "preact/hooks";
import { format } from "../format";
import type { Panel } from "../panel";
import { type Selection, toggle } from "../selection";
import { showTip } from "../ui";
import "../pictures.css";

interface Wrong {
  high: number;
  data: string;
}

export interface Maps {
  name: string;
  op: string;
  shape: [number, number, number];
  size: [number, number];
  channels: number[];
  low: number;
  high: number;
  data: string;
  error: Wrong | null;
}

export interface Weights {
  name: string;
  layer: string;
  shape: [number, number, number];
  size: [number, number];
  heads: number[];
  high: number;
  data: string;
  error: Wrong | null;
}

export interface PicturesPart {
  maps: Maps[];
  n_maps: number;
  attention: Weights[];
}

export function bytesOf(data: string): Uint8Array {
  return Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
}

// cividis (Nuñez 2018), made for colour-blind readers, at nine places: dark is low
const CIVIDIS = [[0, 32, 76], [0, 48, 110], [56, 69, 109], [86, 90, 110], [113, 111, 117], [140, 134, 119], [170, 157, 112], [203, 182, 96], [255, 233, 69]];

export function colourOf(byte: number): [number, number, number] {
  const at = (byte / 255) * (CIVIDIS.length - 1);
  const low = Math.min(CIVIDIS.length - 2, Math.floor(at));
  const [a, b] = [CIVIDIS[low] ?? [0, 0, 0], CIVIDIS[low + 1] ?? [0, 0, 0]];
  return [0, 1, 2].map((i) => Math.round((a[i] ?? 0) + (at - low) * ((b[i] ?? 0) - (a[i] ?? 0)))) as [number, number, number];
}

interface SheetProps {
  data: string;
  size: [number, number];
  labels: string[];
  low: number;
  high: number;
  label: string;
}

/** Small pictures side by side on one canvas. */
function Sheet({ data, size, labels, low, high, label }: SheetProps) {
  const ref = useRef<HTMLCanvasElement>(null);
  const [rows, columns] = size;
  const scale = Math.max(1, Math.min(14, Math.floor((labels.length > 8 ? 56 : 88) / Math.max(rows, columns))));
  const [wide, tall, gap] = [columns * scale, rows * scale, 6];
  const across = Math.max(1, Math.min(labels.length, 8, Math.floor(510 / (wide + gap))));
  const down = Math.ceil(labels.length / across);
  const bytes = bytesOf(data);
  useEffect(() => {
    const context = ref.current?.getContext("2d");
    if (context === null || context === undefined) return;
    context.clearRect(0, 0, across * (wide + gap), down * (tall + gap));
    for (let n = 0; n < labels.length; n++) {
      const [x0, y0] = [(n % across) * (wide + gap), Math.floor(n / across) * (tall + gap)];
      for (let i = 0; i < rows * columns; i++) {
        const [r, g, b] = colourOf(bytes[n * rows * columns + i] ?? 0);
        context.fillStyle = `rgb(${r} ${g} ${b})`;
        context.fillRect(x0 + (i % columns) * scale, y0 + Math.floor(i / columns) * scale, scale, scale);
      }
    }
  }, [data]);
  const point = (event: PointerEvent) => {
    const canvas = event.currentTarget as HTMLCanvasElement;
    const box = canvas.getBoundingClientRect();
    const [x, y] = [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
    const n = Math.floor(y / (tall + gap)) * across + Math.floor(x / (wide + gap));
    const [column, row] = [Math.floor((x % (wide + gap)) / scale), Math.floor((y % (tall + gap)) / scale)];
    const byte = bytes[n * rows * columns + row * columns + column];
    const isIn = n < labels.length && column < columns && row < rows && byte !== undefined;
    showTip(isIn ? { x: event.clientX, y: event.clientY, content: `${labels[n]}: ${format(low + (byte / 255) * (high - low))}` } : null);
  };
  return (
    <canvas ref={ref} data-drawing class="sheet" width={across * (wide + gap) - gap} height={down * (tall + gap) - gap} role="img" aria-label={label} onPointerMove={point} onPointerLeave={() => showTip(null)} />
  );
}

function Scale({ low, high }: { low: number; high: number }) {
  const stops = CIVIDIS.map(([r, g, b]) => `rgb(${r} ${g} ${b})`).join(", ");
  return (
    <span class="scale">
      {format(low)} <i style={{ background: `linear-gradient(90deg, ${stops})` }} aria-hidden="true" /> {format(high)}
    </span>
  );
}

function Pictures({ part, selected }: { part: PicturesPart; selected: Selection }) {
  const [isError, setError] = useState(false);
  const hasError = [...part.maps, ...part.attention].some((one) => one.error !== null);
  return (
    <>
      {hasError && (
        <div class="sides picture-sides" role="group" aria-label="What the pictures show">
          <button type="button" aria-pressed={!isError} onClick={() => setError(false)}>values</button>
          <button type="button" aria-pressed={isError} onClick={() => setError(true)}>distance to the float network</button>
        </div>
      )}
      {part.attention.length > 0 && <h3>Attention: how much each query (row) takes of each key (column)</h3>}
      <div class="gallery">
        {part.attention.map((one) => {
          const [heads, queries, keys] = one.shape;
          const shown = isError ? one.error : { high: one.high, data: one.data };
          if (shown === null) return null;
          return (
            <figure key={one.name} class={selected.layer === one.layer ? "chosen" : ""}>
              <figcaption><button type="button" class="row-name" aria-pressed={selected.layer === one.layer} onClick={() => toggle(one.layer)}>{one.name}</button> <span class="dim">{heads} head{heads > 1 ? "s" : ""}, {queries} x {keys}</span> <Scale low={0} high={shown.high} /></figcaption>
              <Sheet data={shown.data} size={one.size} labels={one.heads.map((head) => `head ${head}`)} low={0} high={shown.high} label={`Attention weights of ${one.name}`} />
            </figure>
          );
        })}
      </div>
      {part.maps.length > 0 && <h3>Feature maps{part.maps.length < part.n_maps ? `, ${part.maps.length} of ${part.n_maps} layers` : ""}: the channels that vary most</h3>}
      <div class="gallery">
        {part.maps.map((one) => {
          const [rows, columns, channels] = one.shape;
          const [low, shown] = isError ? [0, one.error] : [one.low, { high: one.high, data: one.data }];
          if (shown === null) return null;
          return (
            <figure key={one.name} class={selected.layer === one.name ? "chosen" : ""}>
              <figcaption><button type="button" class="row-name" aria-pressed={selected.layer === one.name} onClick={() => toggle(one.name)}>{one.name}</button> <span class="dim">{rows} x {columns}, {one.channels.length} of {channels} channels</span> <Scale low={low} high={shown.high} /></figcaption>
              <Sheet data={shown.data} size={one.size} labels={one.channels.map((channel) => `channel ${channel}`)} low={low} high={shown.high} label={`Feature maps of ${one.name}`} />
            </figure>
          );
        })}
      </div>
    </>
  );
}

export const pictures: Panel<PicturesPart> = {
  name: "pictures",
  title: "What the network sees",
  short: "Pictures",
  about: "Values inside of this run, for the first input of the batch, as the chip computes them.",
  draw: (part, _page, selected) => <Pictures part={part} selected={selected} />,
};
