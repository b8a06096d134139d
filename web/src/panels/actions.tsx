// R3: what to do next: changes that were run again, by what they gained. A bar is the verified gain, a ring the predicted.

import { scaleLinear } from "d3-scale";
import { change, format } from "../format";
import type { Panel } from "../panel";
import { Command, tip, useWidth } from "../ui";

export interface Action {
  text: string;
  command: string;
  effort: string;
  risk: string;
  settings: Record<string, string>;
  predicted: { time: number | null };
  verified: {
    time: number;
    energy: number | null;
    seconds: number;
    joules: number | null;
    how: "simulated" | "estimated" | "forecast";
    program: number | null;
  };
}

interface Actions {
  base: { seconds: number; joules: number | null };
  tried: number;
  least_gain: number;
  actions: Action[];
}

const ROW = 30;
const HOW: Record<string, string> = {
  simulated: "planned again, and every event of the changed program played",
  estimated: "planned again, cycles of the changed program estimated (exact, too long to play)",
  forecast: "forecast again for the vendor's program",
};

const percent = (share: number): string => `${Number((share * 100).toPrecision(3))} %`;

function told(action: Action): string {
  const own = action.verified.program;
  return `${HOW[action.verified.how]}${own === null ? "" : `; our own program, played, gains ${change(own)}`}`;
}

function Chart({ part }: { part: Actions }) {
  const [ref, width] = useWidth();
  const left = Math.min(300, Math.max(130, width * 0.34));
  const right = 64;
  const most = Math.max(...part.actions.map(({ verified, predicted }) => Math.max(-verified.time, -(predicted.time ?? 0))), 0.05);
  const x = scaleLinear([0, most], [left, width - right]).nice(4);
  const height = part.actions.length * ROW + 22;
  return (
    <div ref={ref}>
      <svg data-drawing width={width} height={height} role="img" aria-label="Less time per inference: verified and predicted">
        {x.ticks(width < 520 ? 2 : 4).map((t) => (
          <g key={t} class="tick">
            <line x1={x(t)} x2={x(t)} y1={0} y2={height - 20} />
            <text x={x(t)} y={height - 6} text-anchor="middle">{t === 0 ? "0" : `−${Math.round(t * 100)} %`}</text>
          </g>
        ))}
        {part.actions.map((action, i) => (
          <Bar key={action.command} action={action} y={i * ROW} x={(share) => Math.min(x(share), width - 4)} left={left} />
        ))}
      </svg>
    </div>
  );
}

function Bar({ action, y, x, left }: { action: Action; y: number; x: (share: number) => number; left: number }) {
  const { verified, predicted } = action;
  const end = x(-verified.time);
  const ring = predicted.time === null ? null : x(Math.max(0, -predicted.time));
  const label = action.text.length * 7.6 > left ? `${action.text.slice(0, Math.floor(left / 7.6) - 2)}…` : action.text;
  const content = () => (
    <>
      <b>{action.text}</b>
      <p>{change(verified.time)} time verified, {change(predicted.time)} predicted</p>
      <p>{told(action)}</p>
    </>
  );
  return (
    <g transform={`translate(0 ${y})`} {...tip(content)}>
      <text x={left - 10} y={19} text-anchor="end">{label}</text>
      <rect x={left} y={7} width={Math.max(1.5, end - left)} height={ROW - 14} rx={1.5} class={`act-bar act-${verified.how}`} />
      {ring !== null && <circle cx={ring} cy={ROW / 2} r={4.5} class="act-ring" />}
      <text x={Math.max(end, ring ?? 0) + 9} y={19} class="num" data-value={verified.time} data-name="action-time">{change(verified.time)}</text>
    </g>
  );
}

function Row({ action, base, at }: { action: Action; base: Actions["base"]; at: number }) {
  const { verified, predicted } = action;
  return (
    <li class="act">
      <div class="act-what">
        <span class="act-at" aria-hidden="true">{at}</span>
        <b>{action.text}</b>
        <span class={`act-how act-${verified.how}`} title={told(action)}>{verified.how}</span>
      </div>
      <dl class="act-numbers">
        <div><dt>per inference</dt><dd>{format(base.seconds, "s")} → <span data-value={verified.seconds} data-unit="s" data-name="action-seconds">{format(verified.seconds, "s")}</span></dd></div>
        <div><dt>verified</dt><dd><b>{change(verified.time)}</b></dd></div>
        <div><dt>predicted</dt><dd>{change(predicted.time)}</dd></div>
        {verified.program !== null && <div><dt>our program</dt><dd title="our own program on this chip, planned again and played">{change(verified.program)}</dd></div>}
        <div><dt>energy</dt><dd class={verified.energy !== null && verified.energy > 0.0005 ? "act-worse" : ""}>{change(verified.energy)}</dd></div>
        <div><dt>effort</dt><dd>{action.effort}</dd></div>
        <div><dt>values</dt><dd>{action.risk.startsWith("values") ? "change: check the accuracy" : "stay the same"}{action.risk !== "" && !action.risk.startsWith("values") && `; ${action.risk}`}</dd></div>
      </dl>
      <Command text={action.command} />
    </li>
  );
}

function draw(part: Actions) {
  const left = part.tried - part.actions.length;
  if (part.actions.length === 0) {
    return <p>{part.tried} changes were run again, and none saves {percent(part.least_gain)} of the time.</p>;
  }
  return (
    <>
      <Chart part={part} />
      <p class="dim act-key">
        {["simulated", "estimated", "forecast"].filter((how) => part.actions.some((a) => a.verified.how === how)).map((how) => (
          <span key={how} title={HOW[how]}><i class={`act-dot act-${how}`} aria-hidden="true" /> verified, {how}</span>
        ))}
        <span><i class="act-circle" aria-hidden="true" /> predicted from the causes alone</span>
      </p>
      <ol class="acts">
        {part.actions.map((action, i) => <Row key={action.command} action={action} base={part.base} at={i + 1} />)}
      </ol>
      {left > 0 && <p class="dim">{left} more {left === 1 ? "change was" : "changes were"} run again and left out: less than {percent(part.least_gain)} of the time, or the better of two kept.</p>}
    </>
  );
}

export const actions: Panel<Actions> = {
  name: "actions",
  title: "What to change",
  short: "Actions",
  about: "Each change was made and run again, best first. The command gives the same number.",
  draw,
  csv: (part) => [
    ["action", "command", "predicted_time", "verified_time", "verified_energy", "seconds", "joules", "how", "own_program", "effort", "risk"],
    ...part.actions.map((a) => [
      a.text, a.command, a.predicted.time, a.verified.time, a.verified.energy, a.verified.seconds, a.verified.joules, a.verified.how,
      a.verified.program, a.effort, a.risk,
    ]),
  ],
};
