// R14: what the numbers rest on: provenance, assumptions, and how far such numbers were from measured silicon.

import { format } from "../format";
import type { Panel } from "../panel";
import { type Selection, shown } from "../selection";
import type { Page, Report } from "../types";
import { Dot } from "../ui";
import { EVIDENCE, PROVENANCE } from "../words";

interface BandRow {
  level: string;
  of: string;
  workload: string;
  low: number;
  high: number;
  n: number;
  n_judged: number;
  left_out: number;
}

interface Validation {
  chip: string;
  used: BandRow | null;
  bands: BandRow[];
}

function Bands({ validation }: { validation: Validation }) {
  if (validation.bands.length === 0) {
    return <p>No measurement of this chip, of its family or of this kind of work is published: the times have no band.</p>;
  }
  const isUsed = (row: BandRow) => validation.used !== null && JSON.stringify(row) === JSON.stringify(validation.used);
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Measured over predicted time">
      <table class="plain">
        <caption>Measured time over predicted time, on published measurements</caption>
        <thead>
          <tr><th scope="col">rows of</th><th scope="col">workload</th><th scope="col" class="num">rows</th><th scope="col" class="num">measured / predicted</th><th scope="col" class="num">held when left out</th></tr>
        </thead>
        <tbody>
          {validation.bands.map((row) => (
            <tr key={`${row.level}${row.of}${row.workload}`} class={isUsed(row) ? "chosen" : ""}>
              <th scope="row">{row.level}{row.of && row.level !== "same chip" && ` (${row.of})`}{isUsed(row) && <em> this report's band</em>}</th>
              <td>{row.workload}</td>
              <td class="num">{row.n}</td>
              <td class="num">{format(row.low)} to {format(row.high)}</td>
              <td class="num">{format(row.left_out, "%")} of {row.n_judged}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function draw(page: Page, selected: Selection) {
  const report: Report | null = shown(page, selected);
  if (report === null) return null;
  const validation = page.parts["validation"] as Validation | undefined;
  const whole = page.reports[selected.report];
  const texts = [...new Set([...(whole?.assumptions ?? []), ...(whole?.silicon?.assumptions ?? [])])];
  return (
    <div class="columns">
      <div>
        <h3>Evidence</h3>
        <p><b>{report.chip.evidence}</b>: {EVIDENCE[report.chip.evidence]}</p>
        {validation && <Bands validation={validation} />}
        <h3>Where numbers come from</h3>
        <ul class="marks">
          {Object.entries(PROVENANCE).map(([name, text]) => <li key={name}><Dot provenance={name} /> <b>{name}</b> {text}</li>)}
        </ul>
      </div>
      <div>
        <h3>Assumptions</h3>
        <ul class="assumptions">{texts.map((text) => <li key={text}>{text}</li>)}</ul>
        <dl class="hashes">
          <dt>model</dt><dd><code>{report.model.hash}</code></dd>
          <dt>chip</dt><dd><code>{report.chip.hash}</code></dd>
          {whole?.program_hash && <><dt>program</dt><dd><code>{whole.program_hash}</code></dd></>}
          <dt>tool</dt><dd>{report.tool}</dd>
        </dl>
      </div>
    </div>
  );
}

export const assumptions: Panel<Report> = {
  name: "assumptions",
  title: "Assumptions and evidence",
  short: "Evidence",
  part: (page) => page.reports[0] ?? null,
  draw: (_part, page, selected) => draw(page, selected),
  csv: (_part, page, selected) => {
    const whole = page.reports[selected.report];
    return [["assumption"], ...[...(whole?.assumptions ?? []), ...(whole?.silicon?.assumptions ?? [])].map((text) => [text])];
  },
};
