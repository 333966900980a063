// Who has applied what of whom, and how far each is behind: a matrix for each data store.

import { $, make, show } from "./page.js";

export function showStatus(status) {
  const matrices = (status.lag ?? appliedOf(status)).filter(({ regions }) => regions.length);
  $("lag-section").hidden = matrices.length === 0;
  show($("lag"), matrices, () => matrices.map(table));
}

/** What regions have applied, where the status has no lag between each two of them. */
function appliedOf(status) {
  return status.services.map(({ name }) => ({
    domain: name,
    regions: status.regions.flatMap((region) => {
      const service = region.services.find((service) => service.name === name);
      const has = service && (service.lag_ms !== null || Object.keys(service.applied).length);
      return has ? [{ region: region.name, applied: service.applied, lag_ms: service.lag_ms }] : [];
    }),
  }));
}

function table({ domain, regions }) {
  const writers = [...new Set(regions.flatMap((row) => Object.keys(row.behind ?? row.applied)))].sort();
  const head = make("tr", {}, make("th", { scope: "col" }, "reads in"),
    ...writers.map((writer) => make("th", { scope: "col" }, `writes of ${writer}`)));
  const rows = regions.map((row) => make("tr", { "data-lag-of": row.region },
    make("th", { scope: "row" }, row.region, make("span", { class: "faint" }, heard(row))),
    ...writers.map((writer) => (row.behind ? behind(row.behind[writer]) : make("td", {}, row.applied[writer] ?? "nothing")))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Replication of ${domain}` },
    make("table", {}, make("caption", {}, domain), make("thead", {}, head), make("tbody", {}, ...rows)));
}

function heard({ heard_ms, lag_ms }) {
  if (heard_ms !== undefined) return ` heard ${heard_ms} ms ago`;
  return lag_ms === null ? "" : ` ${lag_ms} ms behind`;
}

/** `120 ms, 3 behind`; a dash where nothing is lacking. */
function behind(lag) {
  if (!lag) return make("td", { class: "faint" }, "own");
  const usual = lag.usual_ms === null ? null : make("span", { class: "faint" }, ` usually ${lag.usual_ms} ms`);
  if (lag.positions === 0) return make("td", {}, "–", usual);
  const count = lag.positions === null ? "another epoch" : `${lag.positions} behind`;
  return make("td", {}, `${lag.ms} ms, ${count}`, usual);
}
