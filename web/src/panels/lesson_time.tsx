// Time below the array: what the trace started when, how many cells multiply in each cycle, and a cursor to move.

import { useMemo } from "preact/hooks";
import { busy, type Plan } from "../systolic";

export interface Phase {
  name: "load" | "rows" | "drain" | "wait";
  from: number;
  to: number;
  text: string;
}

/** The cycles from the first load to the last sum, cut where the trace starts something; they sum to the whole. */
export function phasesOf(plan: Plan): Phase[] {
  const { passes, cycles, rows, columns, isMoving } = plan.product;
  const tail = rows + columns - 2;
  const found: Phase[] = [];
  passes.forEach((pass, p) => {
    const end = passes[p + 1]?.load ?? Infinity;
    const next = Math.min(passes[p + 1]?.start ?? cycles - tail, cycles - tail);
    const from = found[found.length - 1]?.to ?? 0;
    if (pass.start > from) found.push({ name: "load", from, to: pass.start, text: isMoving ? "address" : "load" });
    const isAlone = end >= pass.start + tail && p + 1 < passes.length; // the next load waits for the last sum
    const stop = isAlone ? end - tail : next;
    found.push({ name: "rows", from: pass.start, to: stop, text: isMoving ? "steps" : "rows" });
    if (isAlone) found.push({ name: "drain", from: stop, to: end, text: "diagonal" });
  });
  const from = found[found.length - 1]?.to ?? 0;
  if (cycles > from) found.push({ name: "drain", from, to: cycles, text: "diagonal" });
  return found;
}

interface LanesProps {
  plan: Plan;
  cycle: number;
  go: (cycle: number) => void;
  width: number;
  isKnown: boolean;
}

export function Lanes({ plan, cycle, go, width, isKnown }: LanesProps) {
  const { cycles, rows } = plan.product;
  const counts = useMemo(() => busy(plan), [plan]);
  const phases = useMemo(() => phasesOf(plan), [plan]);
  const shown = isKnown ? cycles : Math.min(cycles, cycle + 1); // the end is no secret any more
  const inner = width - 8;
  const x = (t: number) => 4 + (t / (isKnown ? cycles : Math.max(cycles, 24))) * inner;
  const cells = rows * plan.wide;
  const [top, high] = [4, 46];
  return (
    <div class="lanes">
      <svg
        width={width}
        height={92}
        role="slider"
        tabIndex={0}
        aria-label="Cycle"
        aria-valuemin={0}
        aria-valuemax={isKnown ? cycles : cycle}
        aria-valuenow={cycle}
        onPointerDown={(event) => {
          if (!isKnown) return;
          const box = event.currentTarget.getBoundingClientRect();
          go(Math.floor(((event.clientX - box.left - 4) / inner) * cycles));
        }}
      >
        {counts.slice(0, shown).map(({ useful, empty }, t) => {
          const [a, b] = [(useful / cells) * high, (empty / cells) * high];
          const wide = Math.max(1, x(t + 1) - x(t) - 1);
          return (
            <g key={t} class={t === cycle ? "now" : ""}>
              <rect class="bar-empty" x={x(t)} y={top + high - a - b} width={wide} height={b} />
              <rect class="bar-useful" x={x(t)} y={top + high - a} width={wide} height={a} />
            </g>
          );
        })}
        <line class="base" x1={4} x2={width - 4} y1={top + high} y2={top + high} />
        {isKnown && phases.map((phase) => (
          <g key={`${phase.name}${phase.from}`} class={`phase ${phase.name}`}>
            <rect x={x(phase.from)} y={top + high + 5} width={Math.max(1, x(phase.to) - x(phase.from) - 1)} height={18} rx={3} />
            {x(phase.to) - x(phase.from) > 22 && (
              <text x={(x(phase.from) + x(phase.to)) / 2} y={top + high + 18} text-anchor="middle">
                {x(phase.to) - x(phase.from) > 66 ? `${phase.text} ${phase.to - phase.from}` : phase.to - phase.from}
              </text>
            )}
          </g>
        ))}
        {cycle < cycles && <line class="cursor" x1={(x(cycle) + x(cycle + 1)) / 2} x2={(x(cycle) + x(cycle + 1)) / 2} y1={0} y2={top + high + 24} />}
        <text class="dim" x={4} y={88}>cells that multiply, of {cells}, in each cycle</text>
      </svg>
    </div>
  );
}
