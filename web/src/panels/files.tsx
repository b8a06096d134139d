// R15: everything that the page knows, as files.

import { csv, download } from "../export";
import type { Panel } from "../panel";
import type { Selection } from "../selection";
import type { Page, Report } from "../types";
import { layers } from "./layers";

interface File {
  name: string;
  about: string;
  type: string;
  content: () => string;
}

function files(page: Page, selected: Selection): File[] {
  const report = page.reports[selected.report];
  const found: File[] = [];
  if (report !== undefined) {
    const stem = `${report.model.name}-${report.chip.name}`.replace(/[^\w.-]+/g, "-");
    const text = () => JSON.stringify({ ...report, timing: {} }, null, 1);
    found.push({ name: `${stem}.json`, about: "the report, as onchip estimate --json writes it", type: "application/json", content: text });
    const table = () => csv(layers.csv?.(report as Report, page, selected) ?? []);
    found.push({ name: `${stem}-layers.csv`, about: "one row per layer, SI units", type: "text/csv", content: table });
  }
  const chip = page.parts["chip"] as { name?: string; toml?: string } | undefined;
  if (chip?.toml) {
    const toml = chip.toml;
    found.push({ name: `${chip.name ?? "chip"}.toml`, about: "the chip: change a number and give it to --chip", type: "text/plain", content: () => toml });
  }
  const whole = () => JSON.stringify(page, null, 1);
  found.push({ name: "page.json", about: "all of this page; onchip report page.json draws it again", type: "application/json", content: whole });
  return found;
}

export const filesPanel: Panel<Page> = {
  name: "files",
  title: "Files",
  about: "This file is complete: it needs no network, and onchip report opens it again.",
  part: (page) => page,
  draw: (page, _page, selected) => (
    <ul class="files">
      {files(page, selected).map((file) => (
        <li key={file.name}>
          <button type="button" onClick={() => download(file.name, file.content(), file.type)}>{file.name}</button>
          <span class="dim">{file.about}</span>
        </li>
      ))}
    </ul>
  ),
};
