// The words of the lesson: three things to watch, and where the cycles come from.

import { format } from "../format";
import { busy, frame, IDLE, leaving, type Plan } from "../systolic";
import type { Choice, LessonPart } from "./lesson";
import { type Phase, phasesOf } from "./lesson_time";

interface Watch {
  text: string;
  cycle: number;
}

export function Steps({ plan, go }: { plan: Plan; go: (cycle: number) => void }) {
  const steps = plan.product.isMoving ? moving(plan) : stationary(plan);
  return (
    <div class="watch">
      <h3>What to watch</h3>
      <ol>
        {steps.map(({ text, cycle }) => (
          <li key={text}>
            {text} <button type="button" class="quiet" onClick={() => go(cycle)}>cycle {cycle}</button>
          </li>
        ))}
      </ol>
    </div>
  );
}

function stationary(plan: Plan): Watch[] {
  const { passes, rows } = plan.product;
  const first = passes[0]?.start ?? 0;
  const found = [
    { text: "Weights come first. They move down from the top, the bottom row's in front, and then stay where they are.", cycle: Math.max(0, first - 1) },
    { text: "A row of A enters askew: its second value one cycle later, one row lower. So each value meets the sum that comes down from above.", cycle: first + Math.min(2, rows - 1) },
    { text: "A finished sum leaves at the bottom. The last one is in the far corner, and the diagonal has to get there first.", cycle: first + rows - 1 },
  ];
  const second = passes[1];
  if (second !== undefined) {
    const isHidden = second.load < first + plan.product.m;
    const text = isHidden
      ? "The next weights are on their way already: a second register in each cell takes them in behind the rows."
      : "This array has one set of weights: the next load waits until the last sum has left.";
    found.push({ text, cycle: second.load + (isHidden ? 2 : 0) });
  }
  return found;
}

function moving(plan: Plan): Watch[] {
  const { passes, k, rows } = plan.product;
  const first = passes[0]?.start ?? 0;
  return [
    { text: "No weights are loaded: A comes from the left and B from above, both askew, so that partners meet.", cycle: first + 1 },
    { text: "The sum stays. A cell adds one product a cycle, K of them, whatever K is.", cycle: first + Math.min(k, rows) - 1 },
    { text: "A sum that has its K products leaves at once. Cells farther from the corner begin later and end later.", cycle: first + k },
  ];
}

interface WhyProps {
  plan: Plan;
  go: (cycle: number) => void;
  way: string;
  clock: number;
}

export function Why({ plan, go, way, clock }: WhyProps) {
  const { product } = plan;
  const phases = phasesOf(plan);
  const useful = product.m * product.k * product.n;
  const room = product.rows * plan.wide * product.cycles;
  const did = busy(plan).reduce((sum, { useful: n }) => sum + n, 0);
  return (
    <div class="why">
      <h3>Where they come from</h3>
      <p class="formula">{formula(plan, way)}</p>
      <p class="terms">
        {phases.map((phase, i) => (
          <span key={phase.from}>
            {i > 0 && " + "}
            <button type="button" class={`term ${phase.name}`} title={told(phase)} onClick={() => go(phase.from)} data-cycles={phase.to - phase.from}>{phase.to - phase.from}</button>
          </span>
        ))}
        <span> = <b>{product.cycles}</b></span>
      </p>
      <ul class="legend">
        {[...new Set(phases.map((phase) => phase.name))].map((name) => (
          <li key={name}><i class={`swatch term ${name}`} aria-hidden="true" /> {MEANING[name]?.(plan) ?? name}</li>
        ))}
      </ul>
      <p class="dim">
        {did === useful ? "" : `${did} products, `}{useful} useful of {room} that {product.rows} x {plan.wide} cells could do in {product.cycles} cycles: {format(useful / room, "%")}.
        At {format(clock, "Hz")} that is {format(product.cycles / clock, "s")}.
      </p>
    </div>
  );
}

const MEANING: Record<string, (plan: Plan) => string> = {
  load: (plan) => (plan.product.isMoving ? "one cycle to hand over B's address" : "weights move in: one row of cells a cycle, R of them"),
  rows: (plan) =>
    plan.product.isMoving ? "K steps for each block of R x C sums" : "rows of A enter, one a cycle: M, or as long as the next load takes",
  drain: () => "the diagonal: R − 1 cells down and C − 1 across, until the last value reaches the far corner",
};

function told(phase: Phase): string {
  return `cycles ${phase.from} to ${phase.to - 1}`;
}

/** The closed form for ports that keep up; the terms below it are from the trace. */
function formula(plan: Plan, way: string) {
  const { k, n, m, rows, columns } = plan.product;
  const folds = Math.ceil(k / rows) * Math.ceil(n / plan.wide);
  const drain = <span class="term drain">R + C − 2</span>;
  if (plan.product.isMoving) {
    const blocks = Math.ceil(m / rows) * Math.ceil(n / plan.wide);
    return <>1 + <span class="term rows">{blocks > 1 ? "⌈M/R⌉·⌈N/C⌉·K" : "K"}</span> + {drain}</>;
  }
  const load = <span class="term load">R</span>;
  if (folds === 1) return <>{load} + <span class="term rows">M</span> + {drain}</>;
  const passes = "⌈K/R⌉·⌈N/C⌉";
  if (way === "weight_stationary_serial") return <>{passes} x ({load} + <span class="term rows">M</span> + {drain})</>;
  return <>{load} + <span class="term rows">({passes} − 1)·max(M, R) + M</span> + {drain} <small class="dim">R = {rows}, C = {columns}</small></>;
}

/** One sentence about a cycle. */
export function narrate(plan: Plan, cycle: number): string {
  const { product, wide } = plan;
  if (cycle >= product.cycles) return `Every sum is in the accumulator after ${product.cycles} cycles.`;
  const cells = frame(plan, cycle).flat().filter((cell) => cell.item !== IDLE);
  const done = leaving(plan, cycle);
  const told: string[] = [];
  const loading = plan.loads.findIndex((times) => cycle >= (times[0] ?? Infinity) && cycle <= (times[times.length - 1] ?? -1));
  const row = plan.loads[loading]?.filter((time) => time <= cycle).length ?? 0;
  if (loading >= 0) told.push(`${row} of ${product.rows} rows of ${loading > 0 ? "the next " : ""}weights have entered`);
  else if (product.isMoving && cells.length === 0) told.push("The address of B is handed over");
  const entered = plan.rows.get(cycle);
  if (entered !== undefined) told.push(product.isMoving ? `step ${entered[1] % product.k} of ${product.k} enters` : `row ${entered[1]} of A enters`);
  if (cells.length > 0) told.push(`${cells.length} of ${product.rows * wide} cells multiply`);
  if (done.length === 1 && done[0] !== undefined) told.push(`the sum of row ${done[0].i}, column ${done[0].j} leaves`);
  if (done.length > 1) told.push(`${done.length} sums leave`);
  const text = told.join("; ");
  return text === "" ? "Nothing enters, nothing leaves." : `${text[0]?.toUpperCase()}${text.slice(1)}.`;
}

/** The product to try next: larger than the array, then without the second register, then with sums that stay. */
export function nextOf(part: LessonPart, choice: Choice, known: readonly string[]): { choice: Choice; text: string } | null {
  const { m, k, n } = choice;
  const [twiceK, twiceN] = [2 * part.array.rows, 2 * part.array.columns * part.array.units];
  const small = { m, k: part.array.rows, n: part.array.columns * part.array.units };
  const list: { choice: Choice; text: string }[] = [
    { choice: { way: "weight_stationary", ...small }, text: `a product that fills the array: K = ${small.k}, N = ${small.n}` },
    { choice: { way: "weight_stationary", m, k: twiceK, n: twiceN }, text: `a product larger than the array: K = ${twiceK}, N = ${twiceN}` },
    { choice: { way: "weight_stationary_serial", m, k: twiceK, n: twiceN }, text: "the same with one set of weights in the cells" },
    { choice: { way: "output_stationary", m, k: twiceK, n: twiceN }, text: "the same with sums that stay" },
  ];
  const isKnown = (one: Choice) => known.includes(`${one.way},${one.m},${one.k},${one.n}`);
  const isSame = (one: Choice) => one.way === choice.way && one.k === k && one.n === n;
  return list.find((one) => !isKnown(one.choice) && !isSame(one.choice)) ?? null;
}
