// What a panel is, and the frame that every panel gets: title, one line of explanation, copy as SVG, PNG or CSV.

import type { ComponentChild } from "preact";
import { useRef } from "preact/hooks";
import { type Cell, csv, download, savePng, svgText } from "./export";
import { type Selection, useSelection } from "./selection";
import type { Page } from "./types";

export interface Panel<P = never> {
  /** anchor on the page, and the key of its data in page.parts */
  name: string;
  title: string;
  /** short title in the navigation, where `title` is long */
  short?: string;
  /** one sentence under the title: how to read it */
  about?: string | ((part: P, page: Page) => string);
  /** its data; default: page.parts[name]. null: the panel is not drawn */
  part?: (page: Page) => P | null;
  /** the body; hooks are allowed, it is called as a component */
  draw: (part: P, page: Page, selection: Selection) => ComponentChild;
  /** rows of the CSV, the first one the heads */
  csv?: (part: P, page: Page, selection: Selection) => Cell[][];
}

export function partOf<P>(panel: Panel<P>, page: Page): P | null {
  if (panel.part !== undefined) return panel.part(page);
  return (page.parts[panel.name] as P | undefined) ?? null;
}

export function Section<P>({ panel, part, page }: { panel: Panel<P>; part: P; page: Page }) {
  const selected = useSelection();
  const body = useRef<HTMLDivElement>(null);
  const file = `${page.title.replace(/[^\w.-]+/g, "-")}-${panel.name}`;
  const drawing = (): SVGSVGElement | HTMLCanvasElement | null =>
    body.current?.querySelector<SVGSVGElement | HTMLCanvasElement>("svg[data-drawing],canvas[data-drawing]") ?? null;
  const asSvg = () => {
    const found = drawing();
    if (found instanceof SVGSVGElement) download(`${file}.svg`, svgText(found), "image/svg+xml");
  };
  const asPng = () => {
    const found = drawing();
    if (found !== null) void savePng(`${file}.png`, found);
  };
  const asCsv = () => panel.csv && download(`${file}.csv`, csv(panel.csv(part, page, selected)), "text/csv");
  const about = typeof panel.about === "function" ? panel.about(part, page) : panel.about;
  return (
    <section id={panel.name} class={`panel panel-${panel.name}`} aria-labelledby={`${panel.name}-title`}>
      <header class="panel-head">
        <div>
          <h2 id={`${panel.name}-title`}>{panel.title}</h2>
          {about && <p class="about">{about}</p>}
        </div>
        <Copies title={panel.title} svg={asSvg} png={asPng} csv={panel.csv && asCsv} body={body} />
      </header>
      <div class="panel-body" ref={body}>
        <Body panel={panel} part={part} page={page} selection={selected} />
      </div>
    </section>
  );
}

function Body<P>(props: { panel: Panel<P>; part: P; page: Page; selection: Selection }) {
  return <>{props.panel.draw(props.part, props.page, props.selection)}</>;
}

interface CopyProps {
  title: string;
  svg: () => void;
  png: () => void;
  csv: (() => void) | undefined;
  body: { current: HTMLDivElement | null };
}

/** The buttons; CSS hides SVG and PNG in panels whose body has no drawing of that kind. */
function Copies({ title, svg, png, csv: table }: CopyProps) {
  return (
    <div class="copies" role="group" aria-label={`Copy ${title}`}>
      <button type="button" class="quiet copy-svg" onClick={svg} title="Save this drawing as SVG">SVG</button>
      <button type="button" class="quiet copy-png" onClick={png} title="Save this drawing as PNG">PNG</button>
      {table && <button type="button" class="quiet copy-csv" onClick={table} title="Save these numbers as CSV">CSV</button>}
    </div>
  );
}
