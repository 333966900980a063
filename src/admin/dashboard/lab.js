// What the lab's own clients miss, straight at the regions and through this edge. Other edges have no lab: they say
// 404, and the section stays hidden.

import { get } from "./api.js";
import { $ } from "./page.js";

let isLab = true;

const missed = ({ stale, reads, marked }) => `${stale} of ${reads}${marked ? ` (${marked} of them marked)` : ""}`;

export async function showStatus() {
  if (!isLab) return;
  try {
    const { stale_reads: { naive, meridian }, faults } = await get("api/v1/lab");
    $("lab").hidden = false;
    $("stale-reads").textContent = `Stale reads: naive ${missed(naive)}, through Meridian ${missed(meridian)}`;
    $("lab-faults").textContent = faults.map(({ region, fault }) => `${region}: ${fault}`).join(" · ");
  } catch (error) {
    isLab = error.status !== 404;
  }
}
