// What the lab's own clients miss, straight at the regions and through this edge. Other edges have no lab: they say
// 404, and the section stays hidden.

import { get } from "./api.js";
import { $ } from "./page.js";

let isLab = true;

const missed = ({ stale, reads, marked }) => `${stale} of ${reads}${marked ? ` (${marked} of them marked)` : ""}`;

export async function showStatus() {
  if (!isLab) return;
  try {
    const { naive, meridian } = (await get("api/v1/lab")).stale_reads;
    $("lab").hidden = false;
    $("stale-reads").textContent = `Stale reads: naive ${missed(naive)}, through Meridian ${missed(meridian)}`;
  } catch (error) {
    isLab = error.status !== 404;
  }
}
