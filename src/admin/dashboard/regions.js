// A card for each region: how it is and since when, why, what its probes say, and what it answers.

import { get } from "./api.js";
import { ask as askToDrain } from "./drains.js";
import { latestOf } from "./events.js";
import { ask as askToForce } from "./force.js";
import { $, clock, colorOf, make, number, show, since, stateOf } from "./page.js";
import { learn, lengthen, probesOf, strip } from "./strip.js";

const cards = new Map();
let status = null;
let traffic = null;

export function showStatus(news) {
  status = news;
  const names = news.regions.map((region) => region.name);
  show($("regions"), names, () => names.map((name) => card(name).root));
  for (const name of cards.keys()) if (!names.includes(name)) cards.delete(name);
  for (const region of news.regions) update(region, names);
}

export function showTraffic(news) {
  traffic = news;
  for (const pulse of news.regions ?? []) showPulse(pulse);
}

/** Asks for the probes that have been: at the start, and after the connection was lost. */
export async function learnProbes() {
  const names = status.regions.map((region) => region.name);
  await Promise.all(names.map(async (region) => learn(region, (await get("api/v1/probes", { region })).targets)));
  showStatus(status);
}

function card(name) {
  if (!cards.has(name)) {
    const part = (tag, attributes) => make(tag, attributes);
    const parts = {
      state: part("span", {}), facts: part("p", { class: "faint" }), services: part("div", {}),
      pulse: part("dl", { class: "pulse" }), swatch: part("span", { class: "swatch", "aria-hidden": "true" }),
    };
    const button = (word, ask) => make("button", { type: "button", onclick: () => ask(name), "aria-label": `${word} ${name} …` }, `${word} …`);
    const root = make("article", { class: "card", "data-region": name, "aria-label": name },
      make("h3", {}, make("span", {}, parts.swatch, name), parts.state),
      parts.facts, parts.pulse, parts.services, make("p", { class: "bar" }, button("Drain", askToDrain), button("Force", askToForce)));
    cards.set(name, { root, parts });
  }
  return cards.get(name);
}

function update(region, names) {
  const { root, parts } = card(region.name);
  root.className = `card ${region.state}`;
  parts.swatch.className = `swatch ${colorOf(names, region.name)}`;
  show(parts.state, region.state, stateOf);
  const round_trip = region.rtt_ms === null ? "" : ` · ${number(region.rtt_ms, " ms")} from here`;
  show(parts.facts, `${region.addresses.join(", ")}${round_trip}`, (text) => text);
  const services = region.services.map((service) => {
    for (const origin of service.origins) lengthen(region.name, service.name, origin);
    const probes = service.origins.map((origin) => probesOf(region.name, service.name, origin.url));
    return { region: region.name, service, probes, why: why(region.name, service) };
  });
  show(parts.services, services, (services) => services.map(serviceBlock));
  const pulse = traffic?.regions?.find((pulse) => pulse.name === region.name);
  if (pulse) showPulse(pulse);
}

/** Why a region is out for a service, as its card says; empty while it is not, or nobody said why. */
export function whyOf(region, service) {
  const here = status?.regions.find(({ name }) => name === region)?.services.find(({ name }) => name === service);
  const told = (here && why(region, here)) ?? "";
  return told.endsWith(" without a reason") ? "" : told;
}

/** Why a region is not well: what an operator, its traffic or its checks say, else what was told of it last. */
function why(region, service) {
  const isOfThis = (said) => said.region === region && (said.service ?? service.name) === service.name;
  if (service.forced) {
    // What is said of one service counts before what is said of all.
    const said = status.forced.filter(isOfThis).sort((a, b) => (a.service === null) - (b.service === null))[0];
    return said?.reason ?? `forced ${service.forced} without a reason`;
  }
  if (service.state === "healthy" || service.state === "unknown") return null;
  const drain = status.drains.find(isOfThis);
  if (service.state === "draining" && drain) return drain.reason ?? "drained without a reason";
  const ejected = service.origins.find((origin) => origin.ejected);
  const failing = service.origins.find((origin) => origin.last_check && !origin.last_check.ok);
  return ejected?.ejected.detail ?? failing?.last_check.detail ?? latestOf(region, service.name)?.message ?? null;
}

function serviceBlock({ region, service, probes, why }) {
  return make("section", { "aria-label": `${service.name} in ${region}` },
    make("p", {}, `${service.name}: `, stateOf(service.state), service.forced && make("strong", { class: "forced" }, ` forced ${service.forced}`),
      make("span", { class: "faint" }, ` since ${since(service.since)}`)),
    why && make("p", { class: "why" }, why),
    share(service),
    ...service.origins.map((origin, at) => originBlock(origin, probes[at])));
}

/** How much of its clients a region takes while it leaves or comes back little by little. */
function share({ name, state, share }) {
  if (share <= 0 || share >= 100) return null;
  const way = state === "draining" ? "leaving little by little" : "coming back little by little";
  return make("p", { class: "share" }, make("progress", { max: "100", value: share, "aria-label": `${name}: share of new clients` }),
    ` ${way}: takes ${share} % of new clients`);
}

function originBlock(origin, probes) {
  const last = origin.last_check;
  const detail = origin.ejected ? `ejected until ${clock(origin.ejected.until)}: ${origin.ejected.detail}`
    : !last ? "not checked yet"
    : last.ok ? `${last.latency_ms} ms at ${clock(last.at)}` : `${last.detail}, ${clock(last.at)}`;
  return make("div", { class: "origin" },
    make("p", {}, stateOf(origin.state), ` ${origin.url} `, make("span", { class: "faint" }, detail)),
    strip(origin.url, probes));
}

function showPulse(pulse) {
  const parts = cards.get(pulse.name)?.parts;
  if (!parts) return;
  const { p50, p95, p99 } = pulse.first_byte_ms;
  const facts = [
    ["DNS answers", `${number(pulse.dns_answers_per_s)}/s, ${Math.round(pulse.dns_share * 100)} %`],
    ["Requests", `${number(pulse.requests_per_s)}/s`],
    ["Errors", `${number(pulse.errors_per_s)}/s`],
    ["First byte: p50 · p95 · p99", p50 === null ? "–" : `${number(p50)} · ${number(p95)} · ${number(p99)} ms`],
  ];
  show(parts.pulse, facts, () => facts.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}
