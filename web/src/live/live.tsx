// The app: a form at the left, the report of what it says at the right, priced anew at every change.

import { useEffect, useState } from "preact/hooks";
import { App } from "../app";
import { select, selection } from "../selection";
import type { Page } from "../types";
import { type Answers, ask, type Block, type Catalog, type Network, Refused, reportLink, type Run, type Schema, schema, upload } from "./ask";
import { ChipForm, Diagram } from "./chip";
import { Networks } from "./network";
import { Others, type Pin, Pins } from "./pins";

const WAIT_MS = 150; // after the last change
const FIRST: Run = { model: "@resnet50", chip: "edge-npu-16", overrides: {}, batch: 1, dtype: null };

interface Made {
  page: Page | null;
  block: Block | null;
  trouble: string;
  isBusy: boolean;
}

/** Price a run after its last change; an answer that comes after a later question is dropped. */
function usePriced(run: Run): Made {
  const [made, set] = useState<Made>({ page: null, block: null, trouble: "", isBusy: true });
  useEffect(() => {
    const stop = new AbortController();
    set((now) => ({ ...now, isBusy: true }));
    const timer = setTimeout(async () => {
      try {
        const block = await ask("chip", run, stop.signal);
        set((now) => ({ ...now, block }));
        const { page } = await ask("estimate", run, stop.signal);
        const isKnown = page.reports[0]?.silicon != null;
        if (selection().side === "program" ? isKnown : !isKnown) select({ side: isKnown ? "silicon" : "program" });
        set({ page, block, trouble: "", isBusy: false });
      } catch (error) {
        if (!stop.signal.aborted) set((now) => ({ ...now, trouble: text(error), isBusy: false }));
      }
    }, WAIT_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [JSON.stringify(run)]);
  return made;
}

function text(error: unknown): string {
  return error instanceof Refused ? error.failure.text : String(error);
}

export function Live({ catalog, form }: { catalog: Catalog; form: Schema }) {
  const [run, setRun] = useState<Run>(FIRST);
  const [network, setNetwork] = useState<Network | null>(null);
  const [pins, setPins] = useState<Pin[]>([]);
  const [others, setOthers] = useState<{ of: string; found: Answers["compare"] } | null>(null);
  const [work, setWork] = useState("");
  const [trouble, setTrouble] = useState("");
  const { page, block, trouble: refused, isBusy } = usePriced(run);
  const change = (part: Partial<Run>) => {
    setTrouble("");
    setRun((now) => ({ ...now, ...part }));
  };
  const during = async (what: string, job: () => Promise<void>) => {
    setWork(what);
    setTrouble("");
    try {
      await job();
    } catch (error) {
      setTrouble(text(error));
    }
    setWork("");
  };
  const send = (file: File) => during("upload", async () => {
    const found = await upload(file);
    setNetwork(found);
    change({ model: found.upload ?? "" });
  });
  const asked = JSON.stringify([run.model, run.batch]); // a comparison of other work is not shown
  const compare = () => during("compare", async () => setOthers({ of: asked, found: await ask("compare", { model: run.model, batch: run.batch }) }));
  const chooseChip = (chip: string) => change({ chip, overrides: {}, dtype: null });
  const report = page?.reports[0];
  const said = trouble || refused;
  return (
    <div class="live">
      <aside class="live-form" aria-label="What is priced">
        <h1 class="brand-line">onchip</h1>
        <Networks models={catalog.models} model={run.model} network={run.model.startsWith("@") ? null : network} isBusy={work === "upload"}
          choose={(model) => model !== "" && change({ model })} send={send} />
        <ChipPick catalog={catalog} run={run} choose={chooseChip} />
        {block && <Diagram block={block} />}
        <Options run={run} dtypes={block?.dtypes ?? []} own={block?.default ?? ""} change={change} />
        {block && <ChipForm schema={form} block={block} overrides={run.overrides} change={(key, value) => change({ overrides: changed(run.overrides, key, value) })} />}
        {Object.keys(run.overrides).length > 0 && <button type="button" onClick={() => change({ overrides: {} })}>Undo all changes of the chip</button>}
      </aside>
      <div class="live-page">
        <p class="live-state" role="status">{isBusy ? "pricing …" : work === "compare" ? "pricing the catalog …" : ""}</p>
        {said !== "" && <p class="trouble" role="alert">{said}</p>}
        {refused !== "" && report && <p class="live-old">What follows is the last run with an answer: {report.model.name} on {report.chip.name}, batch {report.batch}.</p>}
        <section class="live-tools" aria-label="This run">
          <button type="button" disabled={report === undefined || isBusy || refused !== ""} onClick={() => report && setPins((now) => [...now, { run, report }])}>Pin this run</button>
          <button type="button" disabled={work !== ""} onClick={compare}>Compare all chips</button>
          {refused === "" && <a class="button" href={reportLink(run)} target="_blank" rel="noopener">Open the full report</a>}
        </section>
        <Pins pins={pins} drop={(at) => setPins((now) => now.filter((_, i) => i !== at))} open={change} />
        {others?.of === asked && <Others found={others.found} choose={chooseChip} close={() => setOthers(null)} />}
        {page && <App page={page} isEmbedded />}
      </div>
    </div>
  );
}

function changed(overrides: Run["overrides"], key: string, value: string | null): Run["overrides"] {
  const { [key]: _, ...rest } = overrides;
  return value === null ? rest : { ...rest, [key]: value };
}

function ChipPick({ catalog, run, choose }: { catalog: Catalog; run: Run; choose: (chip: string) => void }) {
  const families = [...new Set(catalog.chips.map((chip) => chip.family))].sort();
  const entry = catalog.chips.find((chip) => chip.name === run.chip);
  return (
    <fieldset>
      <legend>Chip</legend>
      <label class="field wide" for="chip">
        <span>of the catalog</span>
        <select id="chip" value={run.chip} onChange={(event) => choose(event.currentTarget.value)}>
          {families.map((family) => (
            <optgroup key={family} label={family || "other"}>
              {catalog.chips.filter((chip) => chip.family === family).map((chip) => <option key={chip.name}>{chip.name}</option>)}
            </optgroup>
          ))}
        </select>
      </label>
      <p class="dim small">{entry?.description}; evidence: {entry?.evidence}</p>
    </fieldset>
  );
}

interface OptionProps {
  run: Run;
  dtypes: string[];
  own: string;
  change: (part: Partial<Run>) => void;
}

function Options({ run, dtypes, own, change }: OptionProps) {
  const step = Math.round(Math.log2(run.batch));
  return (
    <fieldset>
      <legend>Run</legend>
      <label class="field wide" for="batch">
        <span>batch <b>{run.batch}</b></span>
        <input id="batch" type="range" min="0" max="8" step="1" value={step} aria-valuetext={`${run.batch}`}
          onInput={(event) => change({ batch: 2 ** Number(event.currentTarget.value) })} />
      </label>
      <div class="choices" role="radiogroup" aria-label="dtype">
        {dtypes.map((dtype) => (
          <label key={dtype} class={(run.dtype ?? own) === dtype ? "choice on" : "choice"}>
            <input type="radio" name="dtype" value={dtype} checked={(run.dtype ?? own) === dtype} onChange={() => change({ dtype })} />{dtype}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export async function load(): Promise<{ catalog: Catalog; form: Schema }> {
  const [catalog, form] = await Promise.all([ask("catalog"), schema()]);
  return { catalog, form };
}
