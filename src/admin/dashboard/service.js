// A service within a region's card: how it is and why, and each of its origins with its probes.

import { clock, make, show, showEach, since, stateOf } from "./page.js";
import { probesOf, Strip } from "./strip.js";

/** What `showEach` keeps of a service. */
export function serviceBlock(region, name) {
  const [line, reason, reads, share, origins] = [make("p"), make("div"), make("div"), make("div"), make("div")];
  const root = make("section", { "aria-label": `${name} in ${region}` }, line, reason, reads, share, origins);
  const update = ({ service, why }) => {
    show(line, [service.state, service.health, service.forced, service.since], () => [`${name}: `, stateOf(service.state),
      service.forced && make("strong", { class: "forced" }, ` forced ${service.forced}`),
      make("span", { class: "faint" }, ` ${healthOf(service)}since ${since(service.since)}`)]);
    show(reason, why, (why) => why && make("p", { class: "why" }, why));
    show(reads, service.read_from, (isReadFrom) => (isReadFrom ? null : make("p", { class: "why" }, NOT_READ_FROM)));
    show(share, [service.state, service.share], () => shareOf(service));
    showEach(origins, service.origins, ({ url }) => url, ({ url }) => originBlock(region, name, url));
  };
  return { root, update };
}

const NOT_READ_FROM = "not read from while another region is left: it is behind or silent for longer than tokens live, "
  + "lacks what all had, or is new and not heard of yet";

/** Since when is told of the health, which a drain leaves as it is. */
const healthOf = ({ state, health }) => (state === "draining" ? `${health} ` : "");

/** How much of its clients a region takes while it leaves or comes back little by little; nobody while it is unhealthy. */
function shareOf({ name, state, share }) {
  if (share <= 0 || share >= 100 || state === "unhealthy") return null;
  const way = state === "draining" ? "leaving little by little" : "coming back little by little";
  return make("p", { class: "share" }, make("progress", { max: "100", value: share, "aria-label": `${name}: share of new clients` }),
    ` ${way}: takes ${share} % of new clients`);
}

function originBlock(region, service, url) {
  const [state, detail, strip] = [make("span"), make("span", { class: "faint" }), new Strip(url)];
  const root = make("div", { class: "origin" }, make("p", {}, state, ` ${url} `, detail), strip.root);
  const update = (origin) => {
    show(state, origin.state, stateOf);
    show(detail, detailOf(origin), (text) => text);
    strip.update(probesOf(region, service, url));
  };
  return { root, update };
}

function detailOf({ ejected, last_check: last }) {
  if (ejected) return `ejected until ${clock(ejected.until)}: ${ejected.detail}`;
  if (!last) return "not checked yet";
  return last.ok ? `${last.latency_ms} ms at ${clock(last.at)}` : `${last.detail}, ${clock(last.at)}`;
}
