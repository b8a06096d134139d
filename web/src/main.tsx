// Read the JSON that stands in the page and draw it.

import { render } from "preact";
import { App } from "./app";
import { format } from "./format";
import { select, selection } from "./selection";
import "./theme.css";
import type { Page } from "./types";

function start(): void {
  const root = document.getElementById("onchip");
  const data = document.getElementById("onchip-page");
  if (root === null || data === null) return;
  const page = JSON.parse(data.textContent ?? "{}") as Page;
  if (page.reports[0]?.silicon) select({ side: "silicon" }); // as the text report: silicon leads where it is known
  root.textContent = "";
  render(<App page={page} />, root);
  // for scripts and tests: the data, the selection, and numbers as the page writes them
  Object.assign(globalThis, { onchip: { page, select, selection, format } });
}

performance.mark("onchip-begin");
start();
requestAnimationFrame(() => performance.measure("onchip", "onchip-begin"));
