// Build onchip/web/page.js, page.css, app.js, app.css and LICENSES.txt from src/. The same sources and versions give the same bytes.
// `node build.mjs DIR` writes to another directory: the test that compares uses it.
import { build } from "esbuild";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.argv[2] ?? `${here}../onchip/web`;

const made = await build({
  absWorkingDir: here,
  entryPoints: { page: "src/main.tsx", app: "src/live/main.tsx" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome100", "firefox100", "safari15.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  banner: { js: "/*! onchip's report. With preact (MIT) and modules of d3 (ISC): see LICENSES.txt */" },
  charset: "utf8",
  metafile: true,
  logLevel: "warning",
});

const packages = new Set();
for (const input of Object.keys(made.metafile.inputs)) {
  const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (found) packages.add(found[1]);
}
const texts = [...packages].sort().map((name) => {
  const root = `${here}node_modules/${name}`;
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
  return `${name} ${version}\n\n${readFileSync(`${root}/LICENSE`, "utf8").trim()}\n`;
});
mkdirSync(out, { recursive: true });
writeFileSync(`${out}/LICENSES.txt`, texts.join(`\n${"-".repeat(80)}\n\n`));
