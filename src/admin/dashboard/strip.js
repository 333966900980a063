// The last probes of a target as a strip: a bar for each, its phases on top of one another. Arrow keys or a tap choose
// one, whose numbers are told below and to those who hear the page.

import { clock, draw, make, show } from "./page.js";

const MOST = 100;
const WIDTH = 3;
const HEIGHT = 36;
const PHASES = ["connect", "tls", "first_byte"];

/**
 * The probes that are known of targets, by region, service and URL, and how many there have been; filled by the API,
 * lengthened by what the status says.
 */
const known = new Map();

const keyOf = (region, service, url) => JSON.stringify([region, service, url]);

export function learn(region, targets) {
  for (const { service, url, checks, probes } of targets) known.set(keyOf(region, service, url), { checks, probes });
}

/** Takes in the last probe; whether others came before it that the page has not heard of. */
export function lengthen(region, service, { url, checks, last_check: last }) {
  const key = keyOf(region, service, url);
  const before = known.get(key);
  const isOld = checks < before?.checks && last?.at < before.probes.at(-1)?.at;
  if (!last || isOld || checks === before?.checks) return false;
  known.set(key, { checks, probes: [...(before?.probes ?? []), last].slice(-MOST) });
  return before !== undefined && checks !== before.checks + 1;
}

export const probesOf = (region, service, url) => known.get(keyOf(region, service, url))?.probes ?? [];

/** Where a key leads from a probe, of so many; none is chosen at first. */
const STEPS = {
  ArrowLeft: (at, count) => (at < 0 ? count : at) - 1,
  ArrowRight: (at) => at + 1,
  Home: () => 0,
  End: (_, count) => count - 1,
};
STEPS.ArrowDown = STEPS.ArrowLeft;
STEPS.ArrowUp = STEPS.ArrowRight;

export class Strip {
  #probes = [];
  /** When the chosen probe was: it moves while others come. */
  #chosen = null;

  constructor(url) {
    this.bars = draw("svg", {
      viewBox: `0 0 ${MOST * WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "slider", tabindex: "0",
      "aria-label": `The last probes of ${url}`, "aria-valuemin": "1",
      onkeydown: (event) => this.#pressed(event), onclick: (event) => this.#choose(this.#under(event)),
    });
    this.caption = make("figcaption");
    this.root = make("figure", { class: "strip" }, this.bars, this.caption);
  }

  update(probes) {
    this.#probes = probes;
    const slowest = Math.max(1, ...probes.map((probe) => probe.latency_ms ?? 0));
    const failed = probes.filter((probe) => !probe.ok).length;
    const at = this.#at();
    const text = at < 0 ? `${probes.length} probes, ${failed} failed, up to ${slowest.toFixed(1)} ms` : told(probes[at]);
    show(this.caption, text, (text) => text);
    const facts = { "aria-valuemax": Math.max(1, probes.length), "aria-valuenow": Math.max(1, at < 0 ? probes.length : at + 1), "aria-valuetext": text };
    for (const [name, value] of Object.entries(facts)) this.bars.setAttribute(name, value);
    show(this.bars, [probes, at], () => [...probes.map((probe, index) => bar(probe, this.#x(index), slowest)), at < 0 ? null : frame(this.#x(at))]);
  }

  #at() {
    return this.#probes.findIndex((probe) => probe.at === this.#chosen);
  }

  #x(index) {
    return (MOST - this.#probes.length + index) * WIDTH;
  }

  #under({ clientX }) {
    const { left, width } = this.bars.getBoundingClientRect();
    return Math.floor(((clientX - left) / width) * MOST) - (MOST - this.#probes.length);
  }

  #pressed(event) {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    this.#choose(step(this.#at(), this.#probes.length));
  }

  #choose(index) {
    const within = Math.min(Math.max(index, 0), this.#probes.length - 1);
    this.#chosen = this.#probes[within]?.at ?? null;
    this.update(this.#probes);
  }
}

const frame = (x) => draw("rect", { class: "chosen", x, y: 0.5, width: WIDTH, height: HEIGHT - 1 });

function bar(probe, x, slowest) {
  const group = draw("g", {}, draw("title", {}, told(probe)));
  if (!probe.ok) {
    group.append(draw("rect", { class: "failed", x, y: 0, width: WIDTH - 0.5, height: HEIGHT }));
    return group;
  }
  let y = HEIGHT;
  for (const phase of PHASES) {
    const height = (probe.phases_ms[phase] / slowest) * HEIGHT;
    y -= height;
    group.append(draw("rect", { class: phase, x, y, width: WIDTH - 0.5, height }));
  }
  return group;
}

function told(probe) {
  if (!probe.ok) return `${clock(probe.at)}: ${probe.detail}`;
  const { connect, tls, first_byte } = probe.phases_ms;
  return `${clock(probe.at)}: ${probe.latency_ms} ms (connect ${connect}, TLS ${tls}, first byte ${first_byte})`;
}
