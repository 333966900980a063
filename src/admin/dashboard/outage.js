// Services for which no region is able: who answers all the same, and what would help.

import { $, make, show } from "./page.js";

export function showStatus(status) {
  const lost = status.services.filter(({ none_able }) => none_able).map(({ name, none_able }) => ({ name, none_able, drained: drained(status, name) }));
  $("outage").hidden = !lost.length;
  show($("outage"), lost, () => lost.map(line));
}

/** Regions that would be able, were they not drained. */
function drained({ regions }, service) {
  const waits = ({ services }) => services.some(({ name, state }) => name === service && state === "draining");
  return regions.filter(waits).map(({ name }) => name);
}

function line({ name, none_able, drained }) {
  const what = none_able === "fails_open"
    ? "clients are sent to regions that are unhealthy all the same, and to drained ones only after those."
    : "its clients get no answer (SERVFAIL, 503).";
  const help = drained.length ? ` ${drained.join(", ")}: healthy and drained; undo the drain, and clients are sent there.` : "";
  return make("p", {}, make("strong", {}, `No region is able for ${name}: `), what + help);
}
