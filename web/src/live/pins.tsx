// Runs that were kept to compare, and the whole catalog beside them.

import { change, format } from "../format";
import type { Report } from "../types";
import type { Answers, Run } from "./ask";

export interface Pin {
  run: Run;
  report: Report;
}

export function expected(report: Report): Report {
  return report.silicon ?? report;
}

export function Pins({ pins, drop, open }: { pins: Pin[]; drop: (at: number) => void; open: (run: Run) => void }) {
  if (pins.length === 0) return null;
  const first = expected(pins[0]?.report as Report).latency_s.value / (pins[0]?.report.batch ?? 1);
  return (
    <section class="pins" aria-label="Pinned runs">
      <h2>Pinned runs</h2>
      <div class="table-box">
        <table class="layers">
          <thead><tr><th>network</th><th>chip</th><th>dtype</th><th class="num">batch</th><th class="num">inference</th><th class="num">to the first</th><th class="num">energy</th><th>bound</th><th /></tr></thead>
          <tbody>
            {pins.map(({ run, report }, at) => {
              const one = expected(report);
              const seconds = one.latency_s.value / report.batch;
              return (
                <tr key={at}>
                  <th scope="row"><button type="button" class="row-name" onClick={() => open(run)}>{report.model.name}</button></th>
                  <td>{report.chip.name}</td>
                  <td>{report.dtype}</td>
                  <td class="num">{report.batch}</td>
                  <td class="num" data-value={seconds}>{format(seconds, "s")}</td>
                  <td class="num">{change(seconds / first - 1)}</td>
                  <td class="num">{one.energy_j ? format(one.energy_j.value / report.batch, "J") : "–"}</td>
                  <td>{one.bound}</td>
                  <td class="num"><button type="button" class="quiet" aria-label={`Remove ${report.model.name} on ${report.chip.name}`} onClick={() => drop(at)}>×</button></td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

interface OthersProps {
  found: Answers["compare"];
  choose: (chip: string) => void;
  close: () => void;
}

export function Others({ found, choose, close }: OthersProps) {
  const slowest = Math.log(found.rows[found.rows.length - 1]?.latency_s ?? 1);
  const fastest = Math.log(found.rows[0]?.latency_s ?? 1);
  const width = (seconds: number) => 4 + (96 * (Math.log(seconds) - fastest)) / Math.max(slowest - fastest, 1e-9);
  return (
    <section class="pins" aria-label="All chips">
      <h2>All chips, fastest first <button type="button" class="quiet" onClick={close}>close</button></h2>
      <div class="table-box">
        <table class="layers">
          <thead><tr><th>chip</th><th>dtype</th><th class="num">time</th><th>on a logarithmic scale</th><th class="num">band</th><th class="num">energy</th><th>bound</th></tr></thead>
          <tbody>
            {found.rows.map((row) => (
              <tr key={row.chip} class="layer-row" onClick={() => choose(row.chip)}>
                <th scope="row"><button type="button" class="row-name" onClick={() => choose(row.chip)}>{row.chip}</button></th>
                <td>{row.dtype}</td>
                <td class="num" data-value={row.latency_s}>{format(row.latency_s, "s")}</td>
                <td class="c-bar"><span class="cause-bar"><i style={{ width: `${width(row.latency_s)}%`, background: "var(--accent)" }} /></span></td>
                <td class="num">{row.band}</td>
                <td class="num">{row.energy_j === null ? "–" : format(row.energy_j, "J")}</td>
                <td>{row.bound}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {found.refused.length > 0 && (
        <details><summary>{found.refused.length} chips do not take it</summary>
          <ul class="small">{found.refused.map((one) => <li key={one.chip}><b>{one.chip}</b> {one.reason}</li>)}</ul>
        </details>
      )}
    </section>
  );
}
