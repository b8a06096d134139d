// R1: the verdict, what to try first, and the key numbers with band and provenance.

import type { ComponentChild } from "preact";
import { change, format } from "../format";
import type { Panel } from "../panel";
import { select, type Selection, shown } from "../selection";
import type { Page, Quantity, Report } from "../types";
import { Band, bandText, Big, Command, Num, Origin } from "../ui";
import { EVIDENCE } from "../words";

interface FirstAction {
  text: string;
  command: string;
  risk: string;
  verified: { time: number; energy: number | null };
}

function Tile(props: { label: string; children: ComponentChild; q?: Quantity | null; note?: ComponentChild }) {
  const { label, children, q, note } = props;
  return (
    <div class="tile">
      <dt>{label}</dt>
      <dd>
        {children}
        {q && (
          <span class="tile-band">
            <Band q={q} /> {bandText(q)}
          </span>
        )}
        {note && <span class="tile-note">{note}</span>}
        {q && <Origin q={q} />}
      </dd>
    </div>
  );
}

function Tiles({ report }: { report: Report }) {
  const { latency_s: latency, throughput_per_s: rate, energy_j: energy, power_w: power, memory, chip } = report;
  return (
    <dl class="tiles">
      <Tile label={report.batch > 1 ? `latency of a batch of ${report.batch}` : "latency"} q={latency}>
        <Big value={latency.value} unit="s" name="latency" />
      </Tile>
      <Tile label="throughput" q={rate}>
        <Big value={rate.value} unit="1/s" name="throughput" />
      </Tile>
      <Tile label={report.batch > 1 ? "energy of a batch" : "energy"} q={energy}
        note={energy === null ? "the chip's energy table cannot price this dtype" : undefined}>
        <Big value={energy?.value} unit="J" name="energy" />
      </Tile>
      <Tile label="power" q={power}>
        <Big value={power?.value} unit="W" name="power" />
      </Tile>
      <Tile label="MAC utilisation" q={report.utilization}
        note={<>of <Num value={chip.peak_ops_per_s} unit="op/s" /> peak</>}>
        <Big value={report.utilization.value} unit="%" name="utilization" />
      </Tile>
      {report.kind === "program" && (
        <Tile label="local memory" note={
          <>of <Num value={memory.local_bytes} unit="B" /> a core{memory.layer && <>, in <b>{memory.layer}</b></>}</>
        }>
          <Big value={memory.local_peak_bytes} unit="B" name="memory" />
        </Tile>
      )}
      <Tile label="DRAM traffic" note={<>at <Num value={chip.dram_bytes_per_s} unit="B/s" /></>}>
        <Big value={memory.dram_traffic_bytes} unit="B" name="dram" />
      </Tile>
      {report.bit_exact !== null && (
        <Tile label="bit-exact" note={report.bit_exact ? "every output equals the integer reference" : "outputs differ"}>
          <span class="big">{report.bit_exact ? "yes" : "NO"}</span>
        </Tile>
      )}
    </dl>
  );
}

function First({ page }: { page: Page }) {
  const part = page.parts["actions"] as { actions?: FirstAction[] } | undefined;
  const first = part?.actions?.[0];
  if (first !== undefined) {
    return (
      <p class="first">
        <b>Try first</b>
        <span>
          {first.text}: {change(first.verified.time)} time
          {first.verified.energy !== null && `, ${change(first.verified.energy)} energy`}
          {first.risk && <em> ({first.risk})</em>}
        </span>
        <Command text={first.command} />
      </p>
    );
  }
  return null;
}

function draw(report: Report, page: Page, selected: Selection) {
  const whole = page.reports[selected.report];
  const both = whole !== undefined && whole.silicon !== null;
  const chip = report.chip;
  return (
    <>
      {page.parts["compare"] !== undefined && <h2>{report.model.name} on {chip.name}</h2>}
      <p class="verdict">{page.told[selected.report]?.verdict}</p>
      {selected.report === 0 && <First page={page} />}
      {both && (
        <div class="sides" role="group" aria-label="Whose program">
          <button type="button" aria-pressed={selected.side === "silicon"} onClick={() => select({ side: "silicon" })}>
            on silicon <small>the vendor's program, expected</small>
          </button>
          <button type="button" aria-pressed={selected.side === "program"} onClick={() => select({ side: "program" })}>
            our program <small>exact on a machine with this chip's numbers</small>
          </button>
        </div>
      )}
      <Tiles report={report} />
      <ul class="facts">
        <li><b>{report.model.name}</b> <Num value={report.model.macs} unit="MAC" />, <Num value={report.model.parameters} unit="parameters" /> parameters, {report.layers.length} kernels, batch {report.batch}</li>
        <li><b>{chip.name}</b> {chip.cores > 1 ? `${chip.cores} cores, ` : ""}<Num value={chip.clock_hz} unit="Hz" />, {report.dtype} <Num value={chip.peak_ops_per_s} unit="op/s" />, <span title={EVIDENCE[chip.evidence]}>evidence: {chip.evidence}</span></li>
        {report.kind === "program" && <li>{format(report.cycles, "cycles")}</li>}
        <li>{whole?.tool}</li>
      </ul>
    </>
  );
}

export const summary: Panel<Report> = {
  name: "summary",
  title: "Summary",
  part: (page) => page.reports[0] ?? null,
  draw: (_part, page, selected) => {
    const report = shown(page, selected);
    return report === null ? null : draw(report, page, selected);
  },
};
