// The chip as a drawing and as a form: sections and fields come from the JSON Schema of chip files, values from the chip.

import { format } from "../format";
import type { Block, Overrides, Property, Schema } from "./ask";

const WIDTH = 320;

/** Cores with array and lanes, under them the memories from near to far; what is changed is drawn anew. */
export function Diagram({ block }: { block: Block }) {
  const levels = block.memories.slice(1);
  const height = 150 + 46 * levels.length;
  const label = `${block.name}: ${block.cores} cores with ${block.array}, ${levels.map((m) => m.name).join(", ")}`;
  return (
    <svg class="diagram" data-drawing viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={label}>
      {[2, 1, 0].filter((i) => i < block.cores).map((i) => (
        <rect key={i} class="core" x={8 + 6 * i} y={8 + 6 * i} width={WIDTH - 28} height="128" rx="6" />
      ))}
      <text x="22" y="30" class="strong">{block.cores === 1 ? "one core" : `${block.cores} cores`}</text>
      <text x={WIDTH - 32} y="30" class="dim" text-anchor="end">{format(block.clock_hz, "Hz")}</text>
      <Box x={22} y={40} width={130} title={block.array} text={format(block.peak_ops_per_s, "op/s")} kind="matrix" />
      <Box x={160} y={40} width={126} title={`${block.lanes} lanes`} text="vector unit" kind="vector" />
      <Box x={22} y={88} width={264} title={format((block.memories[0]?.size_bytes ?? 0) / block.cores, "B")} text="local memory of a core" kind="memory" />
      {levels.map((level, i) => (
        <g key={level.name}>
          <line class="wire" x1={WIDTH / 2} x2={WIDTH / 2} y1={(i === 0 ? 136 : 156 + 46 * (i - 1) + 38)} y2={156 + 46 * i} />
          <Box x={8} y={156 + 46 * i} width={WIDTH - 28} title={`${format(level.size_bytes, "B")} ${level.name}`} text={format(level.bytes_per_s, "B/s")} kind="memory" />
        </g>
      ))}
    </svg>
  );
}

function Box({ x, y, width, title, text, kind }: { x: number; y: number; width: number; title: string; text: string; kind: string }) {
  return (
    <g>
      <rect class={`box box-${kind}`} x={x} y={y} width={width} height="38" rx="4" />
      <text x={x + 10} y={y + 17} class="strong">{title}</text>
      <text x={x + 10} y={y + 31} class="dim">{text}</text>
    </g>
  );
}

interface FormProps {
  schema: Schema;
  block: Block;
  overrides: Overrides;
  change: (key: string, value: string | null) => void;
}

const SECTIONS = ["clock", "cores", "matrix", "vector", "local", "shared", "dram", "launch", "sync", "overlap", "achieved", "energy"];

/** A field for each number that the chip file has, by section; an emptied field is the catalog's value again. */
export function ChipForm({ schema, block, overrides, change }: FormProps) {
  const keys = Object.keys(block.values);
  return (
    <div class="chip-form">
      {SECTIONS.map((section) => {
        const own = keys.filter((key) => key.startsWith(`${section}.`));
        const changed = own.filter((key) => key in overrides).length;
        if (own.length === 0) return null;
        return (
          <details key={section}>
            <summary>{section}{changed > 0 && <small> {changed} changed</small>}</summary>
            {own.map((key) => <Field key={key} name={key} about={propertyOf(schema, key)} value={block.values[key] ?? ""} given={overrides[key]} change={change} />)}
          </details>
        );
      })}
    </div>
  );
}

interface FieldProps {
  name: string;
  about: Property | null;
  value: string;
  given: string | undefined;
  change: (key: string, value: string | null) => void;
}

function Field({ name, about, value, given, change }: FieldProps) {
  const id = `chip-${name.replace(/\W/g, "-")}`;
  const set = (event: Event) => {
    const text = (event.currentTarget as HTMLInputElement | HTMLSelectElement).value.trim();
    change(name, text === "" || text === value ? null : text);
  };
  const unit = (about?.description ?? about?.anyOf?.find((one) => one.description)?.description ?? "").replace("a number with a unit of ", "in ");
  return (
    <label class={given === undefined ? "field" : "field changed"} for={id} title={unit}>
      <span>{name.slice(name.indexOf(".") + 1)}</span>
      {about?.enum === undefined ? (
        <input id={id} type="text" value={given ?? value} spellcheck={false} onChange={set} />
      ) : (
        <select id={id} value={given ?? value} onChange={set}>{about.enum.map((one) => <option key={one}>{one}</option>)}</select>
      )}
    </label>
  );
}

/** Follow a dotted key through the schema; null where the schema has a table of free names. */
function propertyOf(schema: Schema, key: string): Property | null {
  let at: Property | null = { $ref: "#/$defs/Chip" };
  for (const word of key.split(".")) {
    if (/^\d+$/.test(word)) continue;
    const name: string = (at?.$ref ?? at?.anyOf?.find((one) => one.$ref)?.$ref ?? "").replace("#/$defs/", "");
    at = schema.$defs[name]?.properties?.[word] ?? null;
  }
  return at;
}
