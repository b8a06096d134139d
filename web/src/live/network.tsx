// Which network: a name of the zoo, or a file that is dropped or chosen.

import { useEffect, useState } from "preact/hooks";
import { format } from "../format";
import type { Network } from "./ask";

interface Props {
  models: string[];
  model: string;
  network: Network | null;
  isBusy: boolean;
  choose: (model: string) => void;
  send: (file: File) => void;
}

export function Networks({ models, model, network, isBusy, choose, send }: Props) {
  const [over, setOver] = useState(false);
  const take = (files: FileList | null | undefined) => {
    const file = files?.[0];
    if (file !== undefined && !isBusy) send(file);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer?.files);
  };
  const hover = (event: DragEvent) => {
    event.preventDefault();
    setOver(true);
  };
  useEffect(() => {
    const leave = (event: DragEvent) => setOver(event.relatedTarget !== null && over);
    addEventListener("drop", drop); // anywhere: beside the form a browser would open the file in place of the app
    addEventListener("dragover", hover);
    addEventListener("dragleave", leave);
    return () => {
      removeEventListener("drop", drop);
      removeEventListener("dragover", hover);
      removeEventListener("dragleave", leave);
    };
  });
  return (
    <fieldset class={over ? "drop over" : "drop"}>
      <legend>Network</legend>
      <label class="field wide" for="model">
        <span>of the zoo</span>
        <select id="model" value={model.startsWith("@") ? model : ""} onChange={(event) => choose(event.currentTarget.value)}>
          {!model.startsWith("@") && <option value="">{network?.name ?? "your file"}</option>}
          {models.map((one) => <option key={one} value={one}>{one.slice(1)}</option>)}
        </select>
      </label>
      <label class="file-drop" for="file">
        <input id="file" type="file" accept=".onnx,.tflite,.npz,.csv" disabled={isBusy} onChange={(event) => {
          take(event.currentTarget.files);
          event.currentTarget.value = ""; // so that the same file, mended, can be chosen again
        }} />
        <span>{isBusy ? "reading …" : "or drop an .onnx, .tflite, .npz or SCALE-Sim .csv here"}</span>
      </label>
      {network && (
        <p class="dim small">
          {network.name}: {network.nodes} nodes, {format(network.parameters)} parameters{network.macs === null ? "" : `, ${format(network.macs, "MAC")}`}
        </p>
      )}
    </fieldset>
  );
}
