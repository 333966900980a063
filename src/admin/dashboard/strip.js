// The last probes of a target as a strip: a bar for each, its phases on top of one another.

import { clock, draw, make } from "./page.js";

const MOST = 100;
const WIDTH = 3;
const HEIGHT = 36;
const PHASES = ["connect", "tls", "first_byte"];

/** The probes that are known of targets, by region, service and URL; filled by the API, lengthened by what the status says. */
const known = new Map();

const keyOf = (region, service, url) => JSON.stringify([region, service, url]);

export function learn(region, targets) {
  for (const { service, url, probes } of targets) known.set(keyOf(region, service, url), probes);
}

export function lengthen(region, service, origin) {
  const key = keyOf(region, service, origin.url);
  const probes = known.get(key) ?? [];
  const last = origin.last_check;
  if (last && probes.at(-1)?.at !== last.at && !(probes.at(-1)?.at > last.at)) {
    known.set(key, [...probes, last].slice(-MOST));
  }
}

export const probesOf = (region, service, url) => known.get(keyOf(region, service, url)) ?? [];

export function strip(url, probes) {
  const slowest = Math.max(1, ...probes.map((probe) => probe.latency_ms ?? 0));
  const failed = probes.filter((probe) => !probe.ok).length;
  const said = `The last ${probes.length} probes of ${url}: ${failed} failed, the slowest answer took ${slowest.toFixed(1)} ms`;
  const bars = probes.map((probe, at) => bar(probe, (MOST - probes.length + at) * WIDTH, slowest));
  return make("figure", { class: "strip" },
    draw("svg", { viewBox: `0 0 ${MOST * WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": said }, ...bars),
    make("figcaption", {}, `${probes.length} probes, ${failed} failed, up to ${slowest.toFixed(1)} ms`));
}

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
