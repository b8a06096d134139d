// The page around the panels: head, navigation, the selected layer, keys, light and dark.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { format } from "./format";
import { type Panel, partOf, Section } from "./panel";
import { panels } from "./panels/index";
import { move, select, selectedLayer, selection, shown, useSelection } from "./selection";
import type { Page } from "./types";
import { CauseBar, Tip } from "./ui";

type Theme = "light" | "dark" | null;

const KEYS: [string, string][] = [
  ["↑ ↓", "the layer before or after, once one is selected"],
  ["j k", "the same, from nothing selected too"],
  ["/", "filter the layers"],
  ["s", "our program, or the one on silicon"],
  ["t", "light or dark"],
  ["Esc", "select nothing, filter nothing"],
  ["?", "these keys"],
];

/** `isEmbedded`: other things stand before it on the page, so it has no link that skips to itself. */
export function App({ page, isEmbedded = false }: { page: Page; isEmbedded?: boolean }) {
  const [theme, setTheme] = useState<Theme>(null);
  const [help, setHelp] = useState(false);
  const drawn = panels.map((panel) => ({ panel, part: partOf(panel, page) })).filter(({ part }) => part !== null);
  useEffect(() => {
    if (theme === null) delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
  }, [theme]);
  const flip = () => setTheme((now) => (isDark(now) ? "light" : "dark"));
  useKeys(page, { flip, help: () => setHelp((on) => !on), close: () => setHelp(false) });
  return (
    <>
      {!isEmbedded && <a class="skip" href="#main">skip to the report</a>}
      <header class="top">
        <div class="brand"><Mark /> <span>onchip</span></div>
        <Nav panels={drawn.map(({ panel }) => panel)} />
        <div class="top-tools">
          <button type="button" class="quiet" onClick={flip} aria-label="Light or dark">{isDark(theme) ? "light" : "dark"}</button>
          <button type="button" class="quiet" onClick={() => setHelp(true)} aria-label="Keys">?</button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <Title page={page} />
        {drawn.map(({ panel, part }) => <Section key={panel.name} panel={panel} part={part} page={page} />)}
      </main>
      <Chosen page={page} />
      <Tip />
      {help && <Help close={() => setHelp(false)} />}
    </>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" class="mark">
      <rect x="4" y="4" width="12" height="12" rx="2" />
      <path d="M7 1v3M10 1v3M13 1v3M7 16v3M10 16v3M13 16v3M1 7h3M1 10h3M1 13h3M16 7h3M16 10h3M16 13h3" />
    </svg>
  );
}

function Title({ page }: { page: Page }) {
  const selected = useSelection();
  const report = page.reports[selected.report];
  const compared = page.parts["compare"] as { verdict?: string } | undefined;
  if (report === undefined || compared !== undefined) {
    return (
      <>
        <h1>{page.title}</h1>
        {compared?.verdict && <p class="verdict">{compared.verdict}</p>}
      </>
    );
  }
  return (
    <h1>
      {report.model.name} <span>on</span> {report.chip.name}
      <small>{report.dtype}{report.batch > 1 ? `, batch ${report.batch}` : ""}</small>
    </h1>
  );
}

function isDark(theme: Theme): boolean {
  return theme === "dark" || (theme === null && matchMedia("(prefers-color-scheme: dark)").matches);
}

type Named = Pick<Panel, "name" | "title" | "short">;

/** Links to the panels; the one in view is marked. */
function Nav({ panels: shownPanels }: { panels: readonly Named[] }) {
  const [at, setAt] = useState(shownPanels[0]?.name ?? "");
  useEffect(() => {
    const follow = () => {
      let found = shownPanels[0]?.name ?? "";
      for (const panel of shownPanels) {
        const box = document.getElementById(panel.name)?.getBoundingClientRect();
        if (box !== undefined && box.top < 160) found = panel.name;
      }
      setAt(found);
    };
    addEventListener("scroll", follow, { passive: true });
    return () => removeEventListener("scroll", follow);
  }, [shownPanels.length]);
  return (
    <nav aria-label="Panels">
      {shownPanels.map((panel) => (
        <a key={panel.name} href={`#${panel.name}`} aria-current={at === panel.name ? "true" : undefined}>{panel.short ?? panel.title}</a>
      ))}
    </nav>
  );
}

interface Actions {
  flip: () => void;
  help: () => void;
  close: () => void;
}

function useKeys(page: Page, actions: Actions): void {
  const now = useRef(actions);
  now.current = actions;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const isText = target.matches("input[type=search],input[type=text],input[type=number],textarea,select");
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") {
        now.current.close();
        select({ layer: null, cause: null, text: "" });
        if (isText) target.blur();
        return;
      }
      if (isText || event.defaultPrevented || target.closest("[data-keys]") !== null) return;
      if (onKey(event.key, page, now.current)) event.preventDefault();
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, [page]);
}

/** Do what a key says; false where it says nothing. */
function onKey(key: string, page: Page, actions: Actions): boolean {
  const hasLayer = selection().layer !== null;
  if (key === "j" || (key === "ArrowDown" && hasLayer)) move(1);
  else if (key === "k" || (key === "ArrowUp" && hasLayer)) move(-1);
  else if (key === "?") actions.help();
  else if (key === "t") actions.flip();
  else if (key === "s" && page.reports[selection().report]?.silicon) {
    select({ side: selection().side === "silicon" ? "program" : "silicon" });
  } else if (key === "/") document.getElementById("layer-filter")?.focus();
  else return false;
  return true;
}

/** The selected layer at the foot of the page, with its numbers. */
function Chosen({ page }: { page: Page }) {
  const selected = useSelection();
  const layer = selectedLayer(page, selected);
  const report = shown(page, selected);
  if (selected.layer === null || report === null) return null;
  if (layer === null) {
    return (
      <aside class="selected" aria-label="Selected layer">
        <span><code>{selected.layer}</code> is no layer of {report.kind === "silicon" ? "the vendor's program" : "our program"}</span>
        <button type="button" class="quiet" onClick={() => select({ layer: null })}>close</button>
      </aside>
    );
  }
  return (
    <aside class="selected" aria-label="Selected layer">
      <button type="button" class="quiet" onClick={() => move(-1)} aria-label="Layer before">↑</button>
      <button type="button" class="quiet" onClick={() => move(1)} aria-label="Layer after">↓</button>
      <code title={layer.nodes.join(", ")}>{layer.name}</code>
      <CauseBar parts={layer.waterfall} whole={layer.latency_s.value} />
      <Fact name="time">{format(layer.latency_s.value, "s")}</Fact>
      <Fact name="share">{format(layer.share, "%")}</Fact>
      <Fact name="bound">{layer.bound}</Fact>
      <Fact name="util">{layer.macs > 0 ? format(layer.utilization, "%") : "–"}</Fact>
      <Fact name="DRAM">{format(layer.dram_bytes, "B")}</Fact>
      <button type="button" class="quiet" onClick={() => select({ layer: null })}>close</button>
    </aside>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return <span class="fact"><small>{name}</small> {children}</span>;
}

function Help({ close }: { close: () => void }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => box.current?.showModal(), []);
  return (
    <dialog ref={box} onClose={close} aria-label="Keys" onClick={(event) => event.target === box.current && box.current?.close()}>
      <h2>Keys</h2>
      <dl class="keys">
        {KEYS.map(([key, text]) => (
          <div key={key}><dt><kbd>{key}</kbd></dt><dd>{text}</dd></div>
        ))}
      </dl>
      <button type="button" onClick={() => box.current?.close()}>close</button>
    </dialog>
  );
}
