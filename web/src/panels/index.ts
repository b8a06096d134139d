// The panels in the order of the page. A new one: a file of its own here, and a line in this list.

import type { Panel } from "../panel";
import { assumptions } from "./assumptions";
import { filesPanel } from "./files";
import { layers } from "./layers";
import { roofline } from "./roofline";
import { summary } from "./summary";
import { waterfall } from "./waterfall";

// each panel has data of its own type; the page only hands it through
export const panels: readonly Panel<any>[] = [summary, waterfall, layers, roofline, assumptions, filesPanel];
