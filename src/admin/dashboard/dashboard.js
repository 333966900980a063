// The dashboard: asks for the status, follows the events, and shows both. No framework, no requests
// to anywhere but the admin API that serves this page.
"use strict";

const REFRESH_MS = 2000;
const SOON_MS = 100;
const MOST_EVENTS = 200;

// One address of a well-known network per country: whom the decision table asks about.
const SAMPLES = [
  ["United States", "18.9.22.69"], ["Brazil", "200.160.2.3"], ["Netherlands", "193.0.6.139"],
  ["Germany", "141.1.1.1"], ["South Africa", "196.4.160.4"], ["India", "203.197.0.1"],
  ["Japan", "203.178.141.194"], ["Australia", "139.130.4.5"],
];

const $ = (id) => document.getElementById(id);

/** Makes an element; text is always text, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

async function call(path, options = {}) {
  const token = $("token").value;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  return body;
}

const clock = (text) => (text ? new Date(text).toLocaleTimeString() : "–");

function stateOf(state) {
  return make("span", { class: `state ${state}` }, state);
}

function originLine(origin) {
  const last = origin.last_check;
  const ejected = origin.ejected;
  const detail = ejected ? `ejected until ${clock(ejected.until)}: ${ejected.detail}`
    : !last ? "not checked yet"
    : last.ok ? `${last.latency_ms} ms at ${clock(last.at)}` : `${last.detail}, ${clock(last.at)}`;
  return make("li", {}, stateOf(origin.state), ` ${origin.url} `, make("span", { class: "faint" }, detail));
}

function serviceBlock(service) {
  const applied = Object.entries(service.applied).map(([region, position]) => `${region}=${position}`).join(", ");
  return make("div", {},
    make("p", {}, `${service.name}: `, stateOf(service.state),
      make("span", { class: "faint" }, ` since ${clock(service.since)}`)),
    make("ul", {}, ...service.origins.map(originLine)),
    applied ? make("p", { class: "faint" }, `applied ${applied}`,
      service.lag_ms === null ? "" : `, lag ${service.lag_ms} ms`) : null);
}

function regionCard(region, drained) {
  const button = drained
    ? make("button", { type: "button", onclick: () => change("DELETE", region.name) }, "Undo drain")
    : make("button", { type: "button", onclick: () => change("PUT", region.name) }, "Drain");
  button.setAttribute("aria-label", `${button.textContent} ${region.name}`);
  return make("article", { class: `card ${region.state}`, "data-region": region.name },
    make("h3", {}, make("span", {}, region.name), stateOf(region.state)),
    make("p", { class: "faint" }, region.addresses.join(", "),
      region.rtt_ms === null ? "" : ` · ${region.rtt_ms} ms from here`),
    ...region.services.map(serviceBlock),
    make("p", {}, button));
}

async function change(method, region, service = null) {
  const query = service ? `?${new URLSearchParams({ service })}` : "";
  try {
    await call(`api/v1/drains/${encodeURIComponent(region)}${query}`, { method });
    $("drain-message").textContent = method === "PUT" ? `${region} is drained` : `${region} is back`;
  } catch (error) {
    $("drain-message").textContent = String(error.message);
  }
  await refresh();
}

function drainRow(drain) {
  return make("tr", {}, make("td", {}, drain.region), make("td", {}, drain.service ?? "all"),
    make("td", {}, clock(drain.since)), make("td", {}, drain.until ? clock(drain.until) : "undone by hand"),
    make("td", {}, drain.reason ?? ""),
    make("td", {}, make("button", { type: "button", onclick: () => change("DELETE", drain.region, drain.service) }, "Undo")));
}

let services = [];

function showStatus(status) {
  $("node").textContent = status.node;
  const healthy = status.regions.filter((region) => region.state === "healthy").length;
  $("summary").textContent = `${status.version} · ${status.ready ? "ready" : "not ready"} · ` +
    `${healthy} of ${status.regions.length} regions healthy · configuration ${status.config.generation}`;
  const error = status.config.error;
  $("config-error").hidden = !error;
  if (error) {
    $("config-error").textContent = "The last reload was refused and nothing changed:\n" +
      (error.file ? `${error.file}:${error.line}:${error.column}: ` : "") + error.message;
  }
  const drained = new Set(status.drains.filter((drain) => !drain.service).map((drain) => drain.region));
  $("regions").replaceChildren(...status.regions.map((region) => regionCard(region, drained.has(region.name))));
  $("drains").replaceChildren(...status.drains.map(drainRow));
  showLag(status.lag);
  $("geo").textContent = `Geography: ${status.geo}`;
  services = status.services;
  const name = document.forms.explain.elements.name;
  if (!name.value && services.length) name.value = hostOf(services[0]);
}

/** A name that the service answers for; a wildcard stands for any name below it. */
const hostOf = (service) => service.hosts[0].replace(/^\*/, "www");

async function showDecisions() {
  $("decisions-head").replaceChildren(make("tr", {}, make("th", {}, "Client"),
    ...services.map((service) => make("th", {}, `${service.name} (${service.policy})`))));
  const rows = await Promise.all(SAMPLES.map(async ([country, client]) => {
    const cells = await Promise.all(services.map(async (service) => {
      const name = hostOf(service);
      const { decision } = await explainCall({ name, client, type: "A" });
      const ask = () => { fill(name, client); explain(); };
      return make("td", {}, make("button", { type: "button", onclick: ask }, decision[0] ?? "nobody"),
        make("span", { class: "faint" }, ` ${decision.slice(1).join(", ")}`));
    }));
    return make("tr", {}, make("th", { scope: "row" }, country, make("span", { class: "faint" }, ` ${client}`)), ...cells);
  }));
  $("decisions").replaceChildren(...rows);
}

const explainCall = (question) => call(`api/v1/explain?${new URLSearchParams(question)}`);

function fill(name, client) {
  const { elements } = document.forms.explain;
  elements.name.value = name;
  elements.client.value = client;
}

async function explain() {
  const { name, client, as } = document.forms.explain.elements;
  const [key, value] = as.value.split("=");
  try {
    const found = await explainCall({ name: name.value, client: client.value, [key]: value });
    const steps = found.steps.map((step) => make("tr", { class: step.kept ? "kept" : "dropped" },
      make("td", {}, step.region), make("td", {}, step.rule), make("td", {}, step.reason)));
    $("explanation").replaceChildren(
      make("p", {}, make("strong", {}, found.decision.join(", ") || "nobody"),
        ` (${found.face}, ${found.verdict}) for ${found.client.country ?? "a client of unknown place"}; ` +
        `everybody in ${found.client.scope} is ranked alike`),
      make("table", {}, make("tbody", {}, ...steps)));
  } catch (error) {
    $("explanation").replaceChildren(make("p", { class: "alarm" }, String(error.message)));
  }
}

function showEvent(event) {
  const line = make("li", {}, make("time", { datetime: event.at }, clock(event.at)),
    make("span", { class: "faint" }, `${event.kind} `), event.message);
  $("events").prepend(line);
  while ($("events").childElementCount > MOST_EVENTS) $("events").lastElementChild.remove();
}

let refreshing = false;
let refreshAgain = false;

/** One refresh at a time; whatever asks meanwhile gets one more at the end. */
async function refresh() {
  if (refreshing) {
    refreshAgain = true;
    return;
  }
  refreshing = true;
  try {
    showStatus(await call("api/v1/status"));
    await showDecisions();
  } catch (error) {
    $("summary").textContent = `This cannot be shown: ${error.message}`;
  }
  refreshing = false;
  if (refreshAgain) {
    refreshAgain = false;
    await refresh();
  }
}

let soon = null;

/** Refreshes once for many events that come together, as a replay's do. */
function refreshSoon() {
  soon ??= setTimeout(() => { soon = null; refresh(); }, SOON_MS);
}

function followEvents() {
  const source = new EventSource("api/v1/events?since=0");
  for (const kind of ["health", "reload", "drain", "position"]) {
    source.addEventListener(kind, (message) => {
      showEvent(JSON.parse(message.data));
      refreshSoon();
    });
  }
}

document.forms.explain.addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
refresh();
setInterval(refresh, REFRESH_MS);
followEvents();
