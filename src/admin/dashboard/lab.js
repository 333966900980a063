// What the lab's own clients miss, straight at the regions and through this edge; an edge says whether it is a lab's.

import { watched } from "./api.js";
import { $ } from "./page.js";

const missed = ({ stale, reads, marked }) => `${stale} of ${reads}${marked ? ` (${marked} of them marked)` : ""}`;

export async function showStatus({ lab }) {
  $("lab").hidden = !lab;
  if (!lab) return;
  const told = await watched("api/v1/lab").catch(() => null);
  if (!told) return; // It is told with the next status.
  const { naive, meridian } = told.stale_reads;
  $("stale-reads").textContent = `Stale reads: naive ${missed(naive)}, through Meridian ${missed(meridian)}`;
  $("lab-faults").textContent = told.faults.map(({ region, fault }) => `${region}: ${fault}`).join(" · ");
}
