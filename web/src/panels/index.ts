// The panels in the order of the page. A new one: a file of its own here, and a line in this list.

import type { Panel } from "../panel";
import { actions } from "./actions";
import { assumptions } from "./assumptions";
import { compare } from "./compare";
import { energy } from "./energy";
import { filesPanel } from "./files";
import { graph } from "./graph";
import { knobs } from "./knobs";
import { layers } from "./layers";
import { lesson } from "./lesson";
import { mapping } from "./mapping";
import { memoryMap } from "./memory_map";
import { numerics } from "./numerics";
import { pictures } from "./pictures";
import { roofline } from "./roofline";
import { summary } from "./summary";
import { timeline } from "./timeline";
import { waterfall } from "./waterfall";

// each panel has data of its own type; the page only hands it through
export const panels: readonly Panel<any>[] = [
  compare,
  summary,
  lesson,
  waterfall,
  actions,
  layers,
  roofline,
  mapping,
  timeline,
  memoryMap,
  energy,
  knobs,
  graph,
  numerics,
  pictures,
  assumptions,
  filesPanel,
];
