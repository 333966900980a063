// What happened, newest first, as much of it as is asked for.

import { $, letGo, make, show, showEach, since } from "./page.js";

const MOST = 500;
/** Of events that every edge has; others are added as they come. */
let kinds = ["health", "drain", "forced", "reload", "position", "state", "audit"];

/** Newest first. */
let events = [];

const filter = () => document.forms["events-filter"].elements;

export function start() {
  options("kind", kinds);
  document.forms["events-filter"].addEventListener("change", list);
  document.forms["events-filter"].addEventListener("submit", (event) => event.preventDefault());
}

/** By region, the services that it is of. */
let servicesOf = new Map();

export function showStatus(status) {
  servicesOf = new Map(status.regions.map(({ name, services }) => [name, services.map((service) => service.name)]));
  options("region", status.regions.map((region) => region.name));
  options("service", status.services.map((service) => service.name));
}

function options(name, values) {
  const select = filter()[name];
  const chosen = select.value;
  // What a reload has taken away while it was asked for is still asked for: what was told of it is here.
  const offered = chosen && !values.includes(chosen) ? [...values, chosen] : values;
  show(select, offered, () => [make("option", { value: "" }, `all ${name}s`), ...offered.map((value) => make("option", {}, value))]);
  select.value = chosen;
}

/** Takes an event in; ids begin anew with another process, whose events are all there is then. */
export function add(event) {
  if (events.length && event.id <= events[0].id) {
    if (events.some((known) => known.id === event.id && known.at === event.at)) return;
    events = [];
  }
  events = [event, ...events].slice(0, MOST);
  if (!kinds.includes(event.kind)) options("kind", kinds = [...kinds, event.kind]);
  listSoon();
}

let due = null;

/** Once for many events that come together, as a replay's do. */
function listSoon() {
  due ??= setTimeout(() => { due = null; letGo().then(list); }, 50);
}

/** What was last told of a region of a service, of some kind. */
export const latestOf = (region, service, isWanted) =>
  events.find((event) => event.region === region && (event.service === service || event.service === null) && isWanted(event));

export const isOfHealth = ({ kind }) => kind === "health";
export const ranBackwards = ({ kind, message }) => kind === "position" && message.includes(" ran backwards");

const isWanted = (value, name) => ["", value].includes(filter()[name].value);

/** What is told of all services of a region concerns each of them. */
const isOfService = ({ service, region }) =>
  service === null && region !== null ? ["", ...(servicesOf.get(region) ?? [])].includes(filter().service.value) : isWanted(service, "service");

function list() {
  const matching = events.filter((event) => isWanted(event.kind, "kind") && isWanted(event.region, "region") && isOfService(event));
  showEach($("events"), matching, ({ id, at }) => `${id} ${at}`, line);
}

function line({ at, kind, message }) {
  const time = make("time", { datetime: at });
  const root = make("li", {}, time, " ", make("span", { class: "kind" }, kind), " ", message);
  return { root, update: () => show(time, since(at), (text) => text) };
}
