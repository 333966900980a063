// What the lab's own clients miss, straight at the regions and through this edge. Other edges have no lab:
// they say 404, and the section stays hidden.
"use strict";

(() => {
  const EVERY_MS = 1000;

  const missed = ({ stale, reads, marked }) => `${stale} of ${reads}` + (marked ? ` (${marked} of them marked)` : "");

  async function show() {
    const response = await fetch("api/v1/lab");
    if (!response.ok) return;
    const { naive, meridian } = (await response.json()).stale_reads;
    document.getElementById("lab").hidden = false;
    document.getElementById("stale-reads").textContent =
      `Stale reads: naive ${missed(naive)}, through Meridian ${missed(meridian)}`;
    setTimeout(() => show().catch(() => {}), EVERY_MS);
  }

  show().catch(() => {});
})();
