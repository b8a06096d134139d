// Start the app: ask what there is, then draw.

import { render } from "preact";
import { format } from "../format";
import "../theme.css";
import "./live.css";
import { Live, load } from "./live";

async function start(): Promise<void> {
  const root = document.getElementById("onchip-app");
  if (root === null) return;
  root.textContent = "";
  try {
    const { catalog, form } = await load();
    render(<Live catalog={catalog} form={form} />, root);
  } catch (error) {
    render(<p class="trouble" role="alert">{error instanceof Error ? error.message : String(error)}</p>, root);
  }
  Object.assign(globalThis, { onchip: { format } });
}

void start();
