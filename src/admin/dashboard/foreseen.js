// What the edge says to a dry run, for people: who would move, where to, and whether a guard would refuse it.

import { lasting, make } from "./page.js";

const COLUMNS = ["To", "IPv4 addresses", "IPv6 addresses", "DNS answers", "HTTP requests"];

/** The answer to `?dry_run=true`. */
export function foreseen({ region, refused, over_ms, measured_over_ms, services }) {
  const seconds = Math.round(measured_over_ms / 1000);
  const verdict = refused ? make("p", { class: "alarm" }, `A guard would refuse the drain of ${region}.`)
    : make("p", {}, `The drain of ${region} would be done${over_ms ? ` over ${lasting(over_ms)}` : ""}. Nothing is changed yet.`);
  return [verdict, ...services.map((service) => ofService(service, seconds))];
}

function ofService(told, seconds) {
  const { service, refused, min_regions, left, unread, clients } = told;
  const rows = destinations(told).map((to) => row(to ?? "nowhere", [
    percent(clientsTo(clients, to)?.ipv4_percent), percent(clientsTo(clients, to)?.ipv6_percent),
    about(told.dns, to), about(told.http, to),
  ]));
  const all = row("all that would move", [percent(clients.ipv4_percent), percent(clients.ipv6_percent),
    `${told.dns.move} of ${told.dns.answers}`, `${told.http.move} of ${told.http.requests}`]);
  const head = COLUMNS.map((name) => make("th", { scope: "col" }, name));
  const table = make("table", {}, make("caption", {}, `What would move of ${service}`),
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows, all));
  const isFew = left.length < min_regions;
  const failsOpen = !left.length && !unread.length && clients.to.some(({ region }) => region !== null);
  return make("section", { "aria-label": `What would happen to ${service}` },
    make("p", { class: refused ? "why" : "" }, `${service} would be left with ${left.join(", ") || "no region"}: ` +
      `${isFew || refused ? "too few" : "enough"} for its guards.min_regions, ${min_regions}.` +
      (unread.length ? ` Not counted: ${unread.join(", ")}, from which nothing is read now.` : "") +
      (isFew && !refused ? " It is none of the able ones: no guard forbids it." : "") +
      (failsOpen ? " Whoever moves goes to regions that are unhealthy, drained or leaving." : "") + staying(clients.stays)),
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `What would move of ${service}` }, table),
    make("p", { class: "faint" }, `Addresses: shares of ${clients.of}. Answers and requests: of the last ${seconds} s; whereto is an estimate.`));
}

const staying = ({ ipv4_percent, ipv6_percent }) => (ipv4_percent || ipv6_percent
  ? ` ${percent(ipv4_percent)} of IPv4 and ${percent(ipv6_percent)} of IPv6 stay: no other region is able to take them.` : "");

const row = (name, cells) => make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", {}, cell)));

/** Every region that somebody would go to; null: nowhere. */
const destinations = ({ clients, dns, http }) => [...new Set([...clients.to, ...dns.to, ...http.to].map(({ region }) => region))];

const clientsTo = (clients, region) => clients.to.find((to) => to.region === region);

const percent = (share) => (share === undefined ? "–" : `${share} %`);

function about(face, region) {
  const estimate = face.to.find((to) => to.region === region)?.estimate;
  return estimate === undefined ? "–" : `about ${estimate}`;
}
