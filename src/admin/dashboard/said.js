// What operators say of regions, drains and forced states, each with a button that undoes it.

import { change } from "./api.js";
import { tell } from "./dialog.js";
import { $, make, show, showEach, since } from "./page.js";

let changed = () => {};

export function start(whenChanged) {
  changed = whenChanged;
}

export function showStatus(status) {
  const drains = status.drains.map((drain) => ({ ...drain, kind: "drain", what: drained(drain, status) }));
  const forced = status.forced.map((forced) => ({ ...forced, kind: "forced state", what: `forced ${forced.state}` }));
  const all = [...drains, ...forced];
  showEach($("drains"), all.length ? all : [null], keyOf, (said) => (said ? row(said) : empty()));
}

const keyOf = (said) => said && JSON.stringify([said.kind, said.region, said.service]);

/** With what it still takes, while it leaves little by little. */
function drained({ region, service, over_ms }, status) {
  if (!over_ms) return "drained";
  const found = status.regions.find(({ name }) => name === region)?.services ?? [];
  const shares = found.filter(({ name, state }) => name === (service ?? name) && state !== "unhealthy").map(({ share }) => share);
  const most = Math.max(0, ...shares);
  return most ? `leaving little by little: takes ${most} % of new clients` : "drained: takes no new client";
}

const empty = () => ({ root: make("tr", {}, make("td", { colspan: "7", class: "faint" }, "None.")), update: () => {} });

/** The button stays as it is while what is told beside it changes: somebody may be about to press it. */
function row(said) {
  const { kind, region, service } = said;
  const of = service ? `${region} for ${service}` : region;
  const undo = make("button", { type: "button", onclick: () => remove(said), "aria-label": `Undo the ${kind} of ${of}` }, "Undo");
  const told = ["what", "since", "until", "reason"].map((name) => [name, make("td")]);
  const update = (news) => {
    const texts = textsOf(news);
    for (const [name, cell] of told) show(cell, texts[name], (text) => text);
  };
  const root = make("tr", {}, make("th", { scope: "row" }, region), make("td", {}, service ?? "all services"), ...told.map(([, cell]) => cell), make("td", {}, undo));
  return { root, update };
}

const textsOf = ({ what, by, reason, since: from, until }) => ({
  what, since: since(from), until: until ? since(until) : "undone by hand",
  reason: [reason, by && `by ${by}`].filter((part) => part).join(", "),
});

async function remove({ kind, region, service }) {
  const query = service ? `?${new URLSearchParams({ service })}` : "";
  const [at, done] = kind === "drain" ? ["drains", `${region} is not drained any more.`] : ["forced", `${region} is left to its probes again.`];
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
