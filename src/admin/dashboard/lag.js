// Replication lag: for each domain a table of regions that read by regions that write.
"use strict";

/** `120 ms, 3 behind`; a dash where nothing is lacking. */
function lagCell(lag) {
  if (!lag) return make("td", { class: "faint" }, "own");
  const usual = lag.usual_ms === null ? null : make("span", { class: "faint" }, ` usually ${lag.usual_ms} ms`);
  if (lag.positions === 0) return make("td", {}, "–", usual);
  const count = lag.positions === null ? "another epoch" : `${lag.positions} behind`;
  return make("td", {}, `${lag.ms} ms, ${count}`, usual);
}

function lagTable({ domain, regions }) {
  const writers = [...new Set(regions.flatMap((row) => Object.keys(row.behind)))].sort();
  const head = make("tr", {}, make("th", { scope: "col" }, "reads in"),
    ...writers.map((writer) => make("th", { scope: "col" }, `writes of ${writer}`)));
  const rows = regions.map((row) => make("tr", { "data-lag-of": row.region },
    make("th", { scope: "row" }, row.region, make("span", { class: "faint" }, ` heard ${row.heard_ms} ms ago`)),
    ...writers.map((writer) => lagCell(row.behind[writer]))));
  return make("table", {}, make("caption", {}, domain), make("thead", {}, head), make("tbody", {}, ...rows));
}

function showLag(domains) {
  const known = domains.filter(({ regions }) => regions.length);
  $("lag-section").hidden = known.length === 0;
  $("lag").replaceChildren(...known.map(lagTable));
}
