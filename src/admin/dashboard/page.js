// What every panel makes its elements with. Text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A press that lasts longer is no click; nor may the page stand still for one whose end goes elsewhere, as to a menu. */
const LONGEST_CLICK_MS = 5000;

let down = null;

document.addEventListener("pointerdown", (event) => {
  if (down || event.button !== 0) return;
  down = {};
  down.over = new Promise((resolve) => { down.end = resolve; });
  down.timer = setTimeout(release, LONGEST_CLICK_MS);
});

for (const end of ["pointerup", "pointercancel", "blur"]) {
  // What that clicks comes first.
  window.addEventListener(end, () => setTimeout(release));
}

function release() {
  if (!down) return;
  clearTimeout(down.timer);
  down.end();
  down = null;
}

/** Settles as soon as nothing is pressed: what moves from under the pointer meanwhile is not clicked, or another is. */
export const letGo = () => down?.over ?? Promise.resolve();

const shown = new WeakMap();

/** Fills an element anew if what it shows has changed: whoever reads or stands in it is not disturbed otherwise. */
export function show(element, facts, build) {
  const text = JSON.stringify(facts);
  if (shown.get(element) === text) return;
  shown.set(element, text);
  element.replaceChildren(...[build(facts)].flat().filter((child) => child !== null && child !== undefined));
}

const kept = new WeakMap();

/**
 * Has an element hold what `build` makes of each item, `{ root, update }`, in their order. What is there of an item stays
 * and is told the news: whoever reads or stands in it is not disturbed.
 */
export function showEach(element, items, keyOf, build) {
  const before = kept.get(element) ?? new Map();
  const now = new Map(items.map((item) => [keyOf(item), before.get(keyOf(item)) ?? build(item)]));
  kept.set(element, now);
  for (const [key, { root }] of before) if (!now.has(key)) root.remove();
  [...now.values()].forEach(({ root }, at) => {
    if (element.children[at] !== root) element.insertBefore(root, element.children[at] ?? null);
  });
  for (const item of items) now.get(keyOf(item)).update(item);
}

export const clock = (text) => (text ? new Date(text).toLocaleTimeString() : "–");

/** The time, with the day if that is not today. */
export function since(text) {
  if (!text) return "–";
  const at = new Date(text);
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}

/** A duration that is not 0, as the edge writes it: in the largest unit that leaves a whole number. */
export function lasting(ms) {
  const units = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "m"], [1000, "s"], [1, "ms"]];
  const [size, unit] = units.find(([size]) => ms % size === 0);
  return `${ms / size}${unit}`;
}

const SIGNS = { healthy: "●", degraded: "◐", draining: "◌", unhealthy: "✕", unknown: "?" };

/** A state, told by sign and word as well as by color. */
export function stateOf(state) {
  return make("span", { class: `state ${state}` }, make("span", { "aria-hidden": "true" }, `${SIGNS[state] ?? "?"} `), state);
}

const COLORS = 8;
const SHADES = 3;

/** The classes of a region's color: by its place in the configuration, eight colors in three shades. */
export const colorOf = (regions, name) => {
  const at = regions.indexOf(name);
  return at < 0 ? "nobody" : `c${at % COLORS} shade${Math.floor(at / COLORS) % SHADES}`;
};

/** Of each service a name that it answers for, and no other one does; a wildcard stands for any name below it. */
export function hostsOf(services) {
  const taken = new Set(services.flatMap(({ hosts }) => hosts));
  const below = (wildcard) => {
    let [label, number] = ["www", 1];
    while (taken.has(wildcard.replace("*", label))) label = `www${number += 1}`;
    return wildcard.replace("*", label);
  };
  return services.map(({ hosts }) => hosts.find((host) => !host.startsWith("*")) ?? below(hosts[0]));
}

/** What a browser keeps for this page; where it may not, until the page is left. */
const remembered = new Map();

export function recall(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch {
    return remembered.get(key) ?? null;
  }
}

/** Keeps it, or forgets it where it is null. */
export function keep(storage, key, value) {
  try {
    if (value === null) window[storage].removeItem(key);
    else window[storage].setItem(key, value);
  } catch {
    remembered.set(key, value);
  }
}

/** What a weighted draw comes to over many queries; null where nothing is drawn. */
export const sharesIn = (chances) =>
  chances?.length > 1 ? chances.map(({ region, share }) => `${region} ${number(share * 100, " %")}`).join(", ") : null;

export const number = (value, unit = "") =>
  value === null || value === undefined ? "–" : `${value >= 100 ? Math.round(value) : Number(value.toPrecision(3))}${unit}`;
