// The lesson: a small product in a systolic array, cycle by cycle. First guess its cycles, then see where they come from.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { format } from "../format";
import type { Panel } from "../panel";
import { busy, frame, type Pass, type Plan, planOf, type Product, type Rate, resultsAt } from "../systolic";
import { useWidth } from "../ui";
import { Lanes, phasesOf } from "./lesson_time";
import { Stage } from "./lesson_stage";
import { narrate, nextOf, Steps, Why } from "./lesson_words";
import "../lesson.css";

type Start = [number, number, number, number]; // load, start, k_begin, n_begin

interface Way {
  read: Rate;
  weight_read: Rate;
  runs: [number, Start[]][];
}

export interface LessonPart {
  chip: { name: string; hash: string; clock_hz: number };
  dtype: string;
  array: { rows: number; columns: number; units: number; bytes: number };
  first: { way: string; size: [number, number, number] };
  sizes: [number[], number[], number[]];
  a: number[][];
  b: number[][];
  ways: Record<string, Way>;
}

export const WAYS: Record<string, string> = {
  weight_stationary: "weights stay, the next ones load behind the rows",
  weight_stationary_serial: "weights stay, loaded between passes",
  output_stationary: "sums stay, both operands move",
};

export interface Choice {
  way: string;
  m: number;
  k: number;
  n: number;
}

export function productOf(part: LessonPart, choice: Choice): Product {
  const way = part.ways[choice.way];
  const [ms, ks, ns] = part.sizes;
  const at = (ms.indexOf(choice.m) * ks.length + ks.indexOf(choice.k)) * ns.length + ns.indexOf(choice.n);
  const run = way?.runs[at];
  if (way === undefined || run === undefined) throw new Error(`no run of ${JSON.stringify(choice)}`);
  const isMoving = choice.way === "output_stationary";
  const { rows, columns, units, bytes } = part.array;
  const passes: Pass[] = run[1].map(([load, start, kBegin, nBegin]) => ({
    load,
    start,
    kBegin,
    nBegin,
    k: isMoving ? choice.k : Math.min(rows, choice.k - kBegin),
    n: isMoving ? choice.n : Math.min(columns * units, choice.n - nBegin),
  }));
  const { m, k, n } = choice;
  return { isMoving, rows, columns, units, bytes, read: way.read, weightRead: way.weight_read, m, k, n, cycles: run[0], passes, a: part.a, b: part.b };
}

function Lesson({ part }: { part: LessonPart }) {
  const [m, k, n] = part.first.size;
  const [choice, setChoice] = useState<Choice>({ way: part.first.way, m, k, n });
  const [known, setKnown] = useState<Record<string, number | null>>({}); // what was guessed, null: only looked up
  const key = `${choice.way},${choice.m},${choice.k},${choice.n}`;
  const plan = useMemo(() => planOf(productOf(part, choice)), [part, key]);
  const play = usePlay(plan.product.cycles, key);
  const isKnown = key in known;
  const reveal = (guess: number | null) => setKnown({ ...known, [key]: guess });
  useEffect(() => {
    if (play.cycle >= plan.product.cycles && !isKnown) reveal(null);
  }, [play.cycle]);
  return (
    <div class="lesson" data-keys>
      <Choices part={part} choice={choice} set={setChoice} />
      <div class="lesson-columns">
        <Theatre plan={plan} play={play} isKnown={isKnown} />
        <div class="lesson-side">
          <Guess key={key} plan={plan} guess={known[key]} isKnown={isKnown} reveal={reveal} />
          {isKnown && <Why plan={plan} go={play.go} way={choice.way} clock={part.chip.clock_hz} />}
          {isKnown && <Next next={nextOf(part, choice, Object.keys(known))} set={setChoice} />}
          <Steps plan={plan} go={play.go} />
        </div>
      </div>
    </div>
  );
}

// --- the clock --------------------------------------------------------------------------------------------------------
interface Play {
  cycle: number; // 0 .. cycles: at `cycles` everything is done
  isRunning: boolean;
  speed: number;
  /** milliseconds that a move may take: 0 for jumps */
  step: number;
  go: (cycle: number) => void;
  toggle: () => void;
  setSpeed: (speed: number) => void;
}

const SPEEDS = [0.5, 1, 2, 4, 8];

function usePlay(cycles: number, key: string): Play {
  const [cycle, setCycle] = useState(0);
  const [isRunning, setRunning] = useState(false);
  const [speed, setSpeed] = useState(1);
  const [step, setStep] = useState(0);
  const now = useRef(0);
  now.current = cycle;
  const isStill = useReduced();
  const go = (to: number) => {
    const next = Math.max(0, Math.min(cycles, to));
    setStep(Math.abs(next - now.current) === 1 && !isStill ? Math.min(600, 800 / speed) : 0);
    setCycle(next);
  };
  useEffect(() => {
    setRunning(false);
    setStep(0);
    setCycle(0);
  }, [key]);
  useEffect(() => {
    if (!isRunning) return;
    const timer = setInterval(() => {
      if (now.current >= cycles) setRunning(false);
      else go(now.current + 1);
    }, 1000 / speed);
    return () => clearInterval(timer);
  }, [isRunning, speed, cycles]);
  const toggle = () => {
    if (!isRunning) go(now.current >= cycles ? 0 : now.current + 1);
    setRunning(!isRunning);
  };
  return { cycle, isRunning, speed, step, go: (to) => (setRunning(false), go(to)), toggle, setSpeed };
}

function useReduced(): boolean {
  const [found, set] = useState(() => matchMedia("(prefers-reduced-motion: reduce)").matches);
  useEffect(() => {
    const query = matchMedia("(prefers-reduced-motion: reduce)");
    const listen = () => set(query.matches);
    query.addEventListener("change", listen);
    return () => query.removeEventListener("change", listen);
  }, []);
  return found;
}

// --- what is shown ----------------------------------------------------------------------------------------------------
function Choices({ part, choice, set }: { part: LessonPart; choice: Choice; set: (choice: Choice) => void }) {
  const axes = [["m", "M", "rows of A"], ["k", "K", "inputs"], ["n", "N", "columns of B"]] as const;
  return (
    <div class="tools lesson-choices">
      <label class="pick">
        dataflow
        <select value={choice.way} data-name="way" onChange={(event) => set({ ...choice, way: event.currentTarget.value })}>
          {Object.keys(part.ways).map((way) => <option key={way} value={way}>{WAYS[way] ?? way}</option>)}
        </select>
      </label>
      {axes.map(([name, letter, about], i) => (
        <label class="pick" key={name} title={about}>
          {letter}
          <select value={choice[name]} data-name={name} onChange={(event) => set({ ...choice, [name]: Number(event.currentTarget.value) })}>
            {(part.sizes[i] ?? []).map((size) => <option key={size} value={size}>{size}</option>)}
          </select>
        </label>
      ))}
      <span class="dim count">{part.array.rows} x {part.array.columns}{part.array.units > 1 ? ` x ${part.array.units}` : ""} cells of {part.chip.name}, {part.dtype}</span>
    </div>
  );
}

function Theatre({ plan, play, isKnown }: { plan: Plan; play: Play; isKnown: boolean }) {
  const [ref, width] = useWidth();
  const { cycles } = plan.product;
  const last = play.cycle >= cycles;
  const onKey = (event: KeyboardEvent) => {
    const moves: Record<string, () => void> = {
      ArrowRight: () => play.go(play.cycle + 1),
      ArrowLeft: () => play.go(play.cycle - 1),
      Home: () => play.go(0),
      End: () => play.go(isKnown ? cycles : play.cycle),
      " ": play.toggle,
    };
    if ((event.target as HTMLElement).matches("button,select,input") && event.key === " ") return;
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    move();
  };
  return (
    <div class="theatre" ref={ref} tabIndex={0} role="group" aria-label="The animation: arrow keys step, space plays" onKeyDown={onKey}>
      <Stage plan={plan} cycle={play.cycle} room={width} step={play.step} />
      <p class="told">{narrate(plan, play.cycle)}</p>
      <div class="transport">
        <button type="button" onClick={() => play.go(0)} disabled={play.cycle === 0} title="To the first cycle (Home)">first</button>
        <button type="button" onClick={() => play.go(play.cycle - 1)} disabled={play.cycle === 0} title="One cycle back (left arrow)"><span aria-hidden="true">◀ </span>back</button>
        <button type="button" class="primary" onClick={play.toggle}>{play.isRunning ? "pause" : last ? "play again" : <><span aria-hidden="true">▶ </span>play</>}</button>
        <button type="button" onClick={() => play.go(play.cycle + 1)} disabled={last} title="One cycle on (right arrow)">step<span aria-hidden="true"> ▶</span></button>
        <label class="pick">
          speed
          <select value={play.speed} onChange={(event) => play.setSpeed(Number(event.currentTarget.value))}>
            {SPEEDS.map((speed) => <option key={speed} value={speed}>{speed} / s</option>)}
          </select>
        </label>
        <output class="clock" data-cycle={play.cycle} aria-live={play.isRunning ? "off" : "polite"}>
          {last ? <>done after <b>{cycles}</b> cycles</> : <>cycle <b>{play.cycle}</b>{isKnown ? ` of ${cycles}` : ""}</>}
        </output>
      </div>
      <Lanes plan={plan} cycle={play.cycle} go={play.go} width={width} isKnown={isKnown} />
    </div>
  );
}

interface GuessProps {
  plan: Plan;
  guess: number | null | undefined;
  isKnown: boolean;
  reveal: (guess: number | null) => void;
}

function Guess({ plan, guess, isKnown, reveal }: GuessProps) {
  const { m, k, n, rows, columns, units, cycles } = plan.product;
  const [text, setText] = useState("");
  const number = Number(text);
  const isNumber = /^\d{1,5}$/.test(text.trim());
  const off = typeof guess === "number" ? guess - cycles : 0;
  const said = off === 0 ? "Exactly right." : `You said ${guess}: ${Math.abs(off)} too ${off > 0 ? "many" : "few"}.`;
  return (
    <form
      class="guess"
      onSubmit={(event) => {
        event.preventDefault();
        if (isNumber) reveal(number);
      }}
    >
      <h3>How many cycles?</h3>
      <p>A is {m} x {k}, B is {k} x {n}, the array has {rows} x {columns * units} cells. Count until the last sum has left the array.</p>
      {isKnown ? (
        <p class="answer" role="status">
          <b data-name="answer" data-value={cycles}>{cycles} cycles</b>{typeof guess === "number" && <span class={off === 0 ? "right" : "off"}> {said}</span>}
        </p>
      ) : (
        <p class="guess-row">
          <input type="text" inputMode="numeric" value={text} aria-label="Your guess in cycles" placeholder="your guess" onInput={(event) => setText(event.currentTarget.value)} />
          <button type="submit" class="primary" disabled={!isNumber}>check</button>
          <button type="button" class="quiet" onClick={() => reveal(null)}>show me</button>
        </p>
      )}
    </form>
  );
}

function Next({ next, set }: { next: { choice: Choice; text: string } | null; set: (choice: Choice) => void }) {
  if (next === null) return null;
  return (
    <p class="next">
      <button type="button" onClick={() => set(next.choice)}>Next: {next.text}</button>
    </p>
  );
}

// for scripts and tests: everything that is drawn, as numbers
Object.assign(globalThis, {
  onchipLesson: {
    play: (part: LessonPart, choice: Choice) => {
      const plan = planOf(productOf(part, choice));
      const frames = Array.from({ length: plan.product.cycles }, (_, t) => frame(plan, t));
      return { cycles: plan.product.cycles, frames, result: resultsAt(plan, plan.product.cycles), busy: busy(plan), phases: phasesOf(plan) };
    },
  },
});

export const lesson: Panel<LessonPart> = {
  name: "lesson",
  title: "A systolic array, cycle by cycle",
  short: "Lesson",
  about: (part) =>
    `Each cell multiplies, adds, and hands on what it has to its neighbours, nothing else. The starts are those of a simulated program on ${part.chip.name} (${format(part.chip.clock_hz, "Hz")}).`,
  draw: (part) => <Lesson part={part} />,
  csv: (part) => [
    ["way", "m", "k", "n", "cycles"],
    ...Object.entries(part.ways).flatMap(([name, way]) => {
      const [ms, ks, ns] = part.sizes;
      const sizes = ms.flatMap((m) => ks.flatMap((k) => ns.map((n) => [m, k, n])));
      return sizes.map((size, i) => [name, ...size, way.runs[i]?.[0] ?? 0]);
    }),
  ],
};
