// R5: the layer table: bars of causes in the row, sorted, filtered by text and cause, folded along the names' dots.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { format } from "../format";
import type { Panel } from "../panel";
import { type Key, leaf, passes, type Row, sorted, tree } from "../rows";
import { place, select, type Selection, setOrder, shown, toggle } from "../selection";
import type { Page, Report } from "../types";
import { CauseBar, causeText, Swatch } from "../ui";
import { BOUND_CAUSES, CAUSES } from "../words";

const ROW = 30; // px: as .layer-row in theme.css
const WINDOW = 420; // rows above which only those in view are in the document
const PRINTED = 60; // rows of a long table on paper

interface Column {
  key: Key;
  title: string;
  className: string;
  cell: (row: Row, report: Report) => preact.ComponentChild;
}

const longest = (report: Report) => Math.max(...report.layers.map((layer) => layer.latency_s.value), 1e-15);

const COLUMNS: Column[] = [
  { key: "index", title: "#", className: "num c-index", cell: (row) => (row.layer ? row.index : "") },
  { key: "name", title: "layer", className: "c-name", cell: (row) => row.label },
  { key: "time", title: "time", className: "num c-time", cell: (row) => <Value value={row.seconds} unit="s" name="time" /> },
  {
    key: "time", title: "by cause", className: "c-bar",
    cell: (row, report) => <CauseBar parts={row.parts} whole={row.seconds} share={Math.min(1, row.seconds / longest(report))} />,
  },
  {
    key: "time", title: "share", className: "num c-share",
    cell: (row, report) => <Value value={report.latency_s.value ? row.seconds / report.latency_s.value : 0} unit="%" name="share" />,
  },
  {
    key: "bound", title: "bound", className: "c-bound",
    cell: (row) => row.layer && <><Swatch cause={BOUND_CAUSES[row.layer.bound] ?? "useful"} /> {row.layer.bound}</>,
  },
  {
    key: "util", title: "util", className: "num c-util",
    cell: (row) => row.layer && row.layer.macs > 0
      ? <span class="util"><span class="track"><i style={{ width: `${row.layer.utilization * 100}%` }} /></span><Value value={row.layer.utilization} unit="%" name="util" /></span>
      : row.layer ? "–" : "",
  },
  { key: "macs", title: "MAC", className: "num c-macs", cell: (row) => (row.macs ? <Value value={row.macs} unit="MAC" name="macs" /> : "–") },
  { key: "dram", title: "DRAM", className: "num c-dram", cell: (row) => (row.dram ? <Value value={row.dram} unit="B" name="dram" /> : "–") },
  { key: "energy", title: "energy", className: "num c-energy", cell: (row) => (row.energy === null ? "–" : <Value value={row.energy} unit="J" name="energy" />) },
];

function Value({ value, unit, name }: { value: number; unit: string; name: string }) {
  return <span data-value={value} data-unit={unit} data-name={`row-${name}`}>{format(value, unit)}</span>;
}

function usePrinting(): boolean {
  const [printing, set] = useState(false);
  useEffect(() => {
    const media = matchMedia("print");
    const listen = () => set(media.matches);
    media.addEventListener("change", listen);
    return () => media.removeEventListener("change", listen);
  }, []);
  return printing;
}

function Table({ report, page, selected }: { report: Report; page: Page; selected: Selection }) {
  const [sort, setSort] = useState<{ key: Key; down: boolean }>({ key: "index", down: false });
  const [isTree, setTree] = useState(false);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const hasModules = useMemo(() => report.layers.some((layer) => /[./]/.test(layer.name)), [report]);
  const key = selected.cause !== null && sort.key === "index" ? { key: "time" as Key, down: true } : sort;
  const rows = useMemo(() => {
    if (isTree) return tree(report, (layer) => passes(layer, selected), open);
    const kept: Row[] = [];
    report.layers.forEach((layer, i) => passes(layer, selected) && kept.push(leaf(layer, i)));
    return sorted(kept, key.key, key.down, selected.cause);
  }, [report, isTree, open, selected.text, selected.cause, key.key, key.down]);
  useLayoutEffect(() => setOrder(rows.filter((row) => row.layer !== null).map((row) => row.name)), [rows]);
  const fold = (path: string) => {
    const next = new Set(open);
    if (!next.delete(path)) next.add(path);
    setOpen(next);
  };
  const why = page.told[selected.report]?.why[report.kind] ?? [];
  return (
    <>
      <Tools report={report} selected={selected} hasModules={hasModules} isTree={isTree} setTree={setTree} n={rows.length} />
      <Rows
        report={report} rows={rows} selected={selected} sort={key} isTree={isTree} open={open} fold={fold} why={why}
        onSort={(next) => setSort({ key: next, down: sort.key === next ? !sort.down : next !== "name" && next !== "index" })}
      />
    </>
  );
}

interface ToolProps {
  report: Report;
  selected: Selection;
  hasModules: boolean;
  isTree: boolean;
  setTree: (on: boolean) => void;
  n: number;
}

function Tools({ report, selected, hasModules, isTree, setTree, n }: ToolProps) {
  const causes = report.waterfall.filter(({ seconds }) => seconds > 0).map(({ part }) => part);
  const isFiltered = selected.text !== "" || selected.cause !== null;
  return (
    <div class="tools">
      <input
        id="layer-filter" type="search" placeholder="filter layers" aria-label="Filter layers by name or kind" value={selected.text}
        onInput={(event) => select({ text: event.currentTarget.value })}
      />
      <label class="pick">
        lost to
        <select value={selected.cause ?? ""} onChange={(event) => select({ cause: event.currentTarget.value || null })}>
          <option value="">any cause</option>
          {causes.map((cause) => <option key={cause} value={cause}>{causeText(cause)}</option>)}
        </select>
      </label>
      {hasModules && (
        <label class="pick"><input type="checkbox" checked={isTree} onChange={(event) => setTree(event.currentTarget.checked)} /> by module</label>
      )}
      {isFiltered && <button type="button" class="quiet" onClick={() => select({ text: "", cause: null })}>show all</button>}
      <span class="dim count" aria-live="polite">{isFiltered && !isTree ? `${n} of ${report.layers.length} layers` : `${report.layers.length} layers`}</span>
    </div>
  );
}

interface RowsProps {
  report: Report;
  rows: Row[];
  selected: Selection;
  sort: { key: Key; down: boolean };
  isTree: boolean;
  open: ReadonlySet<string>;
  fold: (path: string) => void;
  why: string[];
  onSort: (key: Key) => void;
}

/** The table itself: above WINDOW rows, only those in view and some around them are in the document. */
function Rows({ report, rows, selected, sort, isTree, open, fold, why, onSort }: RowsProps) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const printing = usePrinting();
  const isLong = rows.length > WINDOW;
  const view = box.current?.clientHeight ?? 640;
  const first = isLong && !printing ? Math.max(0, Math.floor(top / ROW) - 12) : 0;
  const last = printing ? Math.min(rows.length, PRINTED) : isLong ? Math.min(rows.length, first + Math.ceil(view / ROW) + 24) : rows.length;
  const chosen = place(report, selected.layer);
  const at = rows.findIndex((row) => row.layer !== null && row.index === chosen);
  useEffect(() => {
    const element = box.current;
    if (element === null || at < 0) return;
    const [begin, end] = [at * ROW, at * ROW + 2 * ROW];
    if (begin < element.scrollTop) element.scrollTop = begin;
    else if (end > element.scrollTop + element.clientHeight) element.scrollTop = end - element.clientHeight;
  }, [at]);
  return (
    <div class="table-box" ref={box} onScroll={(event) => isLong && setTop(event.currentTarget.scrollTop)} tabIndex={0} role="region" aria-label="Layer table">
      <table class="layers" aria-rowcount={rows.length + 1}>
        <thead>
          <tr>
            {COLUMNS.map((column, i) => <Head key={i} column={column} sort={sort} isTree={isTree} onSort={onSort} />)}
            <th scope="col" class="c-why">why</th>
          </tr>
        </thead>
        <tbody>
          {first > 0 && <tr aria-hidden="true"><td colSpan={COLUMNS.length + 1} style={{ height: `${first * ROW}px`, padding: 0 }} /></tr>}
          {rows.slice(first, last).map((row, i) => (
            <Line key={`${row.path ?? row.index}:${row.depth}`} at={first + i} row={row} report={report} isChosen={row.layer !== null && row.index === chosen}
              open={open} fold={fold} why={row.layer ? (why[row.index] ?? "") : ""} />
          ))}
          {!printing && last < rows.length && <tr aria-hidden="true"><td colSpan={COLUMNS.length + 1} style={{ height: `${(rows.length - last) * ROW}px`, padding: 0 }} /></tr>}
        </tbody>
      </table>
      {printing && last < rows.length && <p class="dim">… {rows.length - last} more layers; the file on screen has all of them</p>}
      {rows.length === 0 && <p class="dim empty">no layer matches</p>}
    </div>
  );
}

function Head({ column, sort, isTree, onSort }: { column: Column; sort: { key: Key; down: boolean }; isTree: boolean; onSort: (key: Key) => void }) {
  const on = sort.key === column.key && !isTree && column.title !== "by cause" && column.title !== "share";
  const aria = on ? { "aria-sort": sort.down ? ("descending" as const) : ("ascending" as const) } : {};
  return (
    <th scope="col" class={column.className} {...aria}>
      {column.title === "by cause" || isTree ? column.title : (
        <button type="button" onClick={() => onSort(column.key)}>{column.title}{on && <span aria-hidden="true">{sort.down ? " ↓" : " ↑"}</span>}</button>
      )}
    </th>
  );
}

interface LineProps {
  at: number;
  row: Row;
  report: Report;
  isChosen: boolean;
  open: ReadonlySet<string>;
  fold: (path: string) => void;
  why: string;
}

function Line({ at, row, report, isChosen, open, fold, why }: LineProps) {
  const isModule = row.path !== null;
  const isOpen = isModule && open.has(row.path ?? "");
  const press = () => (isModule ? fold(row.path ?? "") : toggle(row.name));
  return (
    <tr class={`layer-row${isChosen ? " chosen" : ""}${isModule ? " module" : ""}`} aria-rowindex={at + 2} onClick={press}>
      {COLUMNS.map((column, i) =>
        column.key === "name" ? (
          <th key={i} scope="row" class={column.className} style={{ paddingLeft: `${8 + row.depth * 16}px` }} title={row.name}>
            <button type="button" class="row-name" aria-pressed={isModule ? undefined : isChosen} aria-expanded={isModule ? isOpen : undefined}
              onClick={(event) => { event.stopPropagation(); press(); }}>
              {isModule && <span class="fold" aria-hidden="true">{isOpen ? "▾" : "▸"}</span>}
              <span>{row.label}</span>{isModule && <small> {row.count} layers</small>}
            </button>
          </th>
        ) : (
          <td key={i} class={column.className}>{column.cell(row, report)}</td>
        ),
      )}
      <td class="c-why" title={why}>{why}</td>
    </tr>
  );
}

export const layers: Panel<Report> = {
  name: "layers",
  title: "Layers",
  about: "One row for each kernel: a fused group of nodes. Select one, and every panel shows it.",
  part: (page) => page.reports[0] ?? null,
  draw: (_part, page, selected) => {
    const report = shown(page, selected);
    return report === null ? null : <Table report={report} page={page} selected={selected} />;
  },
  csv: (_part, page, selected) => {
    const report = shown(page, selected);
    const causes = Object.keys(CAUSES);
    const heads = ["layer", "kind", "seconds", "share", "bound", "utilization", "macs", "dram_bytes", "local_peak_bytes", "cores", "energy_j", ...causes.map((c) => `${c}_s`), "how"];
    const body = (report?.layers ?? []).map((layer) => {
      const parts = new Map(layer.waterfall.map(({ part, seconds }) => [part, seconds]));
      return [
        layer.name, layer.kind, layer.latency_s.value, layer.share, layer.bound, layer.utilization, layer.macs, layer.dram_bytes,
        layer.local_peak_bytes, layer.cores, layer.energy_j?.value, ...causes.map((cause) => parts.get(cause) ?? 0), layer.how,
      ];
    });
    return [heads, ...body];
  },
};
