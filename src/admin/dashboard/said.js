// What operators say of regions, drains and forced states, each with a button that undoes it.

import { change } from "./api.js";
import { tell } from "./dialog.js";
import { $, make, show, since } from "./page.js";

let changed = () => {};

export function start(whenChanged) {
  changed = whenChanged;
}

export function showStatus(status) {
  const drains = status.drains.map((drain) => ({ ...drain, kind: "drain", what: drained(drain, status) }));
  const forced = status.forced.map((forced) => ({ ...forced, kind: "forced state", what: `forced ${forced.state}` }));
  const all = [...drains, ...forced];
  show($("drains"), all, () => (all.length ? all.map(row) : empty()));
}

/** With what it still takes, while it leaves little by little. */
function drained({ region, service, over_ms }, status) {
  if (!over_ms) return "drained";
  const found = status.regions.find(({ name }) => name === region)?.services ?? [];
  const shares = found.filter(({ name }) => name === (service ?? name)).map(({ share }) => share);
  const most = Math.max(0, ...shares);
  return most ? `leaving little by little: takes ${most} % of new clients` : "drained: takes no new client";
}

const empty = () => make("tr", {}, make("td", { colspan: "7", class: "faint" }, "None."));

function row(said) {
  const { region, service, what, by, until } = said;
  const reason = [said.reason, by && `(${by})`].filter((part) => part).join(" ");
  const of = service ? `${region} for ${service}` : region;
  const undo = make("button", { type: "button", onclick: () => remove(said), "aria-label": `Undo the ${said.kind} of ${of}` }, "Undo");
  return make("tr", {}, make("th", { scope: "row" }, region), make("td", {}, service ?? "all"), make("td", {}, what),
    make("td", {}, since(said.since)), make("td", {}, until ? since(until) : "undone by hand"), make("td", {}, reason), make("td", {}, undo));
}

async function remove({ kind, region, service }) {
  const query = service ? `?${new URLSearchParams({ service })}` : "";
  const [at, done] = kind === "drain" ? ["drains", `${region} is back.`] : ["forced", `${region} is left to its probes again.`];
  try {
    const told = await change("DELETE", `api/v1/${at}/${encodeURIComponent(region)}${query}`);
    const [left, is] = kind === "drain" ? [told.still_drained, "drained"] : [told.still_forced, "forced"];
    const whom = left.map((other) => other ?? "all services").join(" and ");
    tell(whom ? `That ${kind} of ${region} is undone; it is still ${is} for ${whom}.` : done, told);
    // Its row goes, and the button with it.
    $("drains-table").focus();
  } catch (error) {
    tell(`The ${kind} of ${region} is not undone: ${error.message}`);
  }
  changed();
}
