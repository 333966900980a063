// A card for each region: how it is and since when, why, what its probes say, and what it answers.

import { watched } from "./api.js";
import { ask as askToDrain } from "./drains.js";
import { isOfHealth, latestOf, ranBackwards } from "./events.js";
import { ask as askToForce } from "./force.js";
import { $, colorOf, make, number, show, showEach, stateOf } from "./page.js";
import { serviceBlock } from "./service.js";
import { learn, lengthen } from "./strip.js";

/** Services of all regions together that are shown unasked; of more, a card shows its own when it is unfolded. */
const MOST_UNASKED = 60;

/** Names of services that are not healthy, in the line that stands for them all. */
const MOST_NAMES = 10;

const cards = new Map();
let status = null;
let traffic = null;

export function showStatus(news) {
  status = news;
  const names = news.regions.map((region) => region.name);
  const isFolded = news.regions.reduce((sum, { services }) => sum + services.length, 0) > MOST_UNASKED;
  showEach($("regions"), news.regions, ({ name }) => name, ({ name }) => ({
    root: card(name).root, update: (region) => update(region, names, isFolded),
  }));
  for (const name of cards.keys()) if (!names.includes(name)) cards.delete(name);
}

export function showTraffic(news) {
  traffic = news;
  for (const pulse of news.regions ?? []) showPulse(pulse);
}

/** Asks for the probes that have been: at the start, and after the connection was lost. */
export async function learnProbes() {
  const shown = status.regions.filter(({ name }) => cards.get(name).parts.fold.open);
  await Promise.all(shown.map(({ name }) => learnProbesOf(name)));
  showStatus(status);
}

async function learnProbesOf(region) {
  learn(region, (await watched("api/v1/probes", { region })).targets);
}

function card(name) {
  if (!cards.has(name)) {
    const services = make("div");
    const summary = make("summary");
    const parts = {
      state: make("span"), facts: make("p", { class: "faint" }), services, summary,
      fold: make("details", { class: "fold", ontoggle: () => unfolded(name) }, summary, services),
      pulse: make("dl", { class: "pulse" }), swatch: make("span", { class: "swatch", "aria-hidden": "true" }),
    };
    const button = (word, ask) => make("button", { type: "button", onclick: () => ask(name), "aria-label": `${word} ${name} …` }, `${word} …`);
    const root = make("article", { class: "card", "data-region": name, "aria-label": name },
      make("h3", {}, make("span", {}, parts.swatch, name), parts.state),
      parts.facts, parts.pulse, parts.fold, make("p", { class: "bar" }, button("Drain", askToDrain), button("Force", askToForce)));
    cards.set(name, { root, parts });
  }
  return cards.get(name);
}

/** Somebody wants to see a card's services. */
async function unfolded(name) {
  const { fold, summary } = cards.get(name)?.parts ?? {};
  if (fold?.open && !summary.hidden) await learnAndShow(name);
}

async function learnAndShow(name) {
  await learnProbesOf(name).catch(() => {});
  const region = status.regions.find((region) => region.name === name);
  if (region) showServices(region);
}

function update(region, names, isFolded) {
  const { root, parts } = card(region.name);
  root.className = `card ${region.state}`;
  parts.swatch.className = `swatch ${colorOf(names, region.name)}`;
  show(parts.state, region.state, stateOf);
  const round_trip = region.rtt_ms === null ? "" : ` · ${number(region.rtt_ms, " ms")} from here`;
  show(parts.facts, `${region.addresses.join(", ")}${round_trip}`, (text) => text);
  const missed = region.services.flatMap((service) => service.origins.filter((origin) => lengthen(region.name, service.name, origin)));
  fold(parts, isFolded);
  show(parts.summary, summed(region.services), (text) => text);
  if (parts.fold.open) showServices(region);
  if (parts.fold.open && missed.length) learnAndShow(region.name);
  const pulse = traffic?.regions?.find((pulse) => pulse.name === region.name);
  if (pulse) showPulse(pulse);
}

/** Where all services are shown there is nothing to unfold. */
function fold({ fold, summary }, isFolded) {
  if (summary.hidden === !isFolded) return;
  summary.hidden = !isFolded;
  fold.open = !isFolded;
}

function summed(services) {
  const unwell = services.filter(({ state }) => state !== "healthy").map(({ name, state }) => `${name} ${state}`);
  const more = unwell.length > MOST_NAMES ? ` and ${unwell.length - MOST_NAMES} more` : "";
  return `${services.length} services${unwell.length ? `: ${unwell.slice(0, MOST_NAMES).join(", ")}${more}` : ", all healthy"}`;
}

function showServices(region) {
  const services = region.services.map((service) => ({ service, why: why(region.name, service) }));
  showEach(cards.get(region.name).parts.services, services, ({ service }) => service.name, ({ service }) => serviceBlock(region.name, service.name));
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
  const backwards = service.state === "degraded" ? latestOf(region, service.name, ranBackwards) : null;
  return ejected?.ejected.detail ?? failing?.last_check.detail ?? (backwards ?? latestOf(region, service.name, isOfHealth))?.message ?? null;
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
