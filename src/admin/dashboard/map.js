// The world: each country in the color of the region that DNS sends it to, and lines for the answers of the last seconds.

import { get, watched } from "./api.js";
import { about } from "./explain.js";
import { $, colorOf, draw, hostsOf, letGo, make, number, sharesIn, show, showEach } from "./page.js";

/** The unit of the shapes: fifths of a degree. */
const SCALE = 5;

/** How long a region's name is about, and how high, in that unit. */
const NAME = 230;
const LINE = 28;

/** How often stripes repeat, in that unit. */
const STRIPES = 40;

const names = new Intl.DisplayNames(["en"], { type: "region" });
const nameOf = (country) => names.of(country) ?? country;

let status = null;
let traffic = { flows: [], regions: [] };
let countries = [];
/** Why DNS does not answer so all the same. */
let notInDns = null;
let outlines = {};
/** By country the corners of its outline, as points of a sphere around the origin. */
let corners = new Map();

const regionNames = () => status.regions.map((region) => region.name);
const chosenName = () => $("map-name").value;
const isDrawn = ({ chances }) => chances?.length > 1;
/** The regions that may be first for a country's client. */
const firstOf = ({ chances, decision }) => (chances ? chances.map(({ region }) => region) : decision.slice(0, 1));
const whereto = ({ chances, decision }) => sharesIn(chances) ?? decision[0] ?? "nobody";
/** What is nearer to a pole than the map reaches stands at its edge. */
const at = ([latitude, longitude]) => [longitude * SCALE, -Math.max(-56, Math.min(83, latitude)) * SCALE];

export async function start() {
  $("map").addEventListener("click", clicked);
  $("map-name").addEventListener("change", refresh);
  $("map-details").addEventListener("toggle", showTable);
  outlines = await get("dashboard/world.json");
  corners = new Map(Object.entries(outlines).map(([country, outline]) => [country, cornersOf(outline)]));
}

export function showStatus(news) {
  status = news;
  const hosts = hostsOf(news.services);
  const chosen = chosenName();
  show($("map-name"), hosts, () => hosts.map((host) => make("option", {}, host)));
  if (hosts.includes(chosen)) $("map-name").value = chosen;
  showMarks();
}

export function showTraffic(news) {
  traffic = { flows: news.flows ?? [], regions: news.regions ?? [] };
  showFlows();
  showLegend();
  showTable();
}

/** Asks anew where countries are sent. */
export async function refresh() {
  if (!chosenName()) return;
  ({ countries, not_in_dns: notInDns } = await watched("api/v1/countries", { name: chosenName() }));
  await letGo();
  showLand();
  showFlows();
  showLegend();
  showTable();
}

function showLand() {
  const mixtures = new Map(countries.filter(isDrawn).map(({ chances }) => [sharesIn(chances), chances]));
  const patterns = [...mixtures.keys()];
  show($("map-patterns"), [...mixtures.values()], (all) => all.map((chances, at) => stripes(`stripes-${at}`, chances)));
  const facts = countries.map((entry) => {
    const { country, location, chances, decision } = entry;
    const stripes = isDrawn(entry) ? `url(#stripes-${patterns.indexOf(sharesIn(chances))})` : null;
    return [country, location, colorOf(regionNames(), decision[0]), whereto(entry), stripes];
  });
  show($("map-land"), facts, () => facts.map(([country, location, color, told, stripes]) => {
    const title = draw("title", {}, `${nameOf(country)}: ${told}`);
    const common = { class: `land ${stripes ? "drawn" : color}`, "data-country": country, fill: stripes };
    if (outlines[country]) return draw("path", { ...common, d: outlines[country] }, title);
    if (!location) return null;
    const [cx, cy] = at(location);
    return draw("circle", { ...common, cx, cy, r: 5 }, title);
  }));
}

/** Regions in stripes as wide as their shares. */
function stripes(id, chances) {
  let x = 0;
  const stripe = ({ region, share }) => {
    const width = share * STRIPES;
    x += width;
    return draw("rect", { class: `stripe ${colorOf(regionNames(), region)}`, x: x - width, width, height: STRIPES });
  };
  return draw("pattern", { id, width: STRIPES, height: STRIPES, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, ...chances.map(stripe));
}

function showFlows() {
  const places = new Map(countries.map(({ country, location }) => [country, location]));
  const regions = new Map((status?.regions ?? []).map(({ name, location }) => [name, location]));
  const most = Math.max(...traffic.flows.map((flow) => flow.per_s), 0.001);
  const lines = traffic.flows.flatMap(({ country, region, per_s }) => {
    const [from, to] = [places.get(country), regions.get(region)];
    return from && to ? [{ country, region, d: arc(at(from), at(to)), width: 2 + 10 * Math.sqrt(per_s / most), color: colorOf(regionNames(), region) }] : [];
  });
  show($("map-flows"), lines, () => lines.map(({ country, region, d, width, color }) =>
    draw("path", { class: `flow ${color}`, d, "stroke-width": width.toFixed(1), "data-flow": `${country} ${region}` })));
}

/** A line that bends upwards, the more the longer it is. */
function arc([x1, y1], [x2, y2]) {
  const lift = Math.hypot(x2 - x1, y2 - y1) / 5;
  return `M${x1.toFixed()} ${y1.toFixed()}Q${((x1 + x2) / 2).toFixed()} ${((y1 + y2) / 2 - lift).toFixed()} ${x2.toFixed()} ${y2.toFixed()}`;
}

function showMarks() {
  const regions = status.regions.filter((region) => region.location)
    .map(({ name, state, location }) => ({ name, state, location, color: colorOf(regionNames(), name) }));
  standApart(regions);
  const facts = { regions, edge: status.location, node: status.node };
  // The edge first: it must not hide a region's name.
  show($("map-marks"), facts, () => [facts.edge && edgeMark(facts), ...regions.map(regionMark)]);
}

/** Names of regions that are close to each other stand below one another. */
function standApart(regions) {
  const taken = [];
  for (const region of regions) {
    const [x, y] = at(region.location);
    region.line = 0;
    const isTaken = ([otherX, otherY]) => Math.abs(otherX - x) < NAME && Math.abs(otherY - y - region.line * LINE) < LINE;
    while (taken.some(isTaken)) region.line += 1;
    taken.push([x, y + region.line * LINE]);
  }
}

function regionMark({ name, state, location, color, line }) {
  const [x, y] = at(location);
  const is_down = state === "unhealthy";
  return draw("g", { class: `mark ${state} ${color}`, "data-mark": name, transform: `translate(${x.toFixed()} ${y.toFixed()})` },
    draw("circle", { r: 13 }),
    is_down ? draw("path", { class: "cross", d: "M-8-8L8 8M8-8L-8 8" }) : null,
    // Where the map ends soon, the name stands before its place.
    draw("text", x > 350 ? { x: -19, y: 9, dy: `${line}em`, "text-anchor": "end" } : { x: 19, y: 9, dy: `${line}em` }, name,
      draw("tspan", { class: "aside" }, state === "healthy" ? "" : `, ${state}`)));
}

function edgeMark({ edge, node }) {
  const [x, y] = at(edge);
  return draw("g", { class: "mark edge", transform: `translate(${x.toFixed()} ${y.toFixed()})` },
    draw("path", { d: "M0-15L15 0L0 15L-15 0z" }), draw("text", { class: "below", y: 42, "text-anchor": "middle" }, `${node} (this edge)`));
}

function showLegend() {
  if (!status) return;
  const counts = regionNames().map((name) => ({
    name, countries: countries.filter((entry) => firstOf(entry).includes(name)).length,
    share: traffic.regions.find((region) => region.name === name)?.dns_share ?? 0,
  }));
  const drawn = countries.some(isDrawn) ? "Stripes: each query is drawn anew, in these shares." : null;
  const otherwise = notInDns && `But ${notInDns}.`;
  show($("map-legend"), [counts, drawn, otherwise], () => [otherwise && make("strong", {}, otherwise), ...counts.map(({ name, countries, share }) => make("span", { class: "key" },
    make("span", { class: `swatch ${colorOf(regionNames(), name)}`, "aria-hidden": "true" }),
    `${name}: ${countries} countries, ${Math.round(share * 100)} % of DNS answers lately`)), drawn]);
}

function showTable() {
  if (!$("map-details").open) return;
  const rates = new Map();
  for (const { country, per_s } of traffic.flows) rates.set(country, (rates.get(country) ?? 0) + per_s);
  const rows = countries.map((entry) => ({ ...entry, name: nameOf(entry.country), rate: rates.get(entry.country) ?? 0 }));
  // By name, so that nothing moves under who reads.
  rows.sort((a, b) => a.name.localeCompare(b.name));
  showEach($("map-rows"), rows, ({ country }) => country, row);
}

function row({ country, name }) {
  const client = () => countries.find((entry) => entry.country === country)?.client;
  const explain = make("button", { type: "button", class: "plain", onclick: () => about(chosenName(), client()) }, name);
  const [first, then, rate] = [make("td"), make("td", { class: "faint" }), make("td")];
  const update = (entry) => {
    show(first, whereto(entry), (text) => text);
    show(then, entry.decision.filter((name) => !firstOf(entry).includes(name)).join(", "), (text) => text);
    show(rate, entry.rate, (value) => (value ? number(value) : ""));
  };
  return { root: make("tr", { "data-country": country }, make("th", { scope: "row" }, explain), first, then, rate), update };
}

/** Explains for the country that was clicked, below whatever is drawn on it, or at sea for the nearest one. */
function clicked({ clientX, clientY }) {
  const land = document.elementsFromPoint(clientX, clientY).find((element) => element.dataset.country);
  const country = land?.dataset.country ?? nearest(new DOMPoint(clientX, clientY));
  const found = countries.find((entry) => entry.country === country);
  if (found) about(chosenName(), found.client);
}

function nearest(point) {
  const { x, y } = point.matrixTransform($("map").getScreenCTM().inverse());
  const here = onSphere([x, y]);
  const closeness = ([there]) => here.reduce((sum, along, axis) => sum + along * there[axis], 0);
  const places = countries.flatMap(({ country, location }) =>
    (corners.get(country) ?? [location && onSphere(at(location))]).filter((place) => place).map((place) => [place, country]));
  return places.reduce((best, place) => (!best || closeness(place) > closeness(best) ? place : best), null)?.[1];
}

/** Each ring of an outline begins somewhere, and goes on by steps. */
const cornersOf = (outline) => outline.split("M").flatMap((ring) => {
  let [x, y] = [0, 0];
  const pairs = ring.matchAll(/(-?\d+) ?(-?\d+)/g);
  return [...pairs].map(([, dx, dy]) => onSphere([x += Number(dx), y += Number(dy)]));
});

/** A point of the map on the globe, which has no edge. */
function onSphere([x, y]) {
  const [longitude, latitude] = [x, -y].map((along) => along / SCALE * Math.PI / 180);
  return [Math.cos(latitude) * Math.cos(longitude), Math.cos(latitude) * Math.sin(longitude), Math.sin(latitude)];
}
