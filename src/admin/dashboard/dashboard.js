// The dashboard: asks for the status, follows what happens, and has the panels show both.
// A panel is a module with `showStatus`; nothing is asked of anybody but the edge that serves this page.

import { askForToken, lostLink, start as startApi, watch } from "./dashboard/api.js";
import * as config from "./dashboard/config.js";
import * as dialog from "./dashboard/dialog.js";
import * as drains from "./dashboard/drains.js";
import * as events from "./dashboard/events.js";
import * as explain from "./dashboard/explain.js";
import * as force from "./dashboard/force.js";
import * as lab from "./dashboard/lab.js";
import * as lag from "./dashboard/lag.js";
import * as map from "./dashboard/map.js";
import * as outage from "./dashboard/outage.js";
import { $, letGo } from "./dashboard/page.js";
import * as regions from "./dashboard/regions.js";
import * as said from "./dashboard/said.js";
import { asAnother, follow } from "./dashboard/stream.js";
import * as theme from "./dashboard/theme.js";
import * as trouble from "./dashboard/trouble.js";

const PANELS = [trouble, outage, regions, map, lab, explain, dialog, said, lag, events, config];

/** States come with events; this is for what has none, such as positions. */
const REFRESH_MS = 2000;
/** A large status comes more seldom: as if so many bytes of it took a second. */
const BYTES_PER_S = 256 << 10;
/** The map is asked for at least as often. */
const MAP_MS = 15_000;
const SOON_MS = 50;

let states = new Map();
let decided = null;
/** When the map was asked for last. */
let mapped = 0;
/** Of the last status. */
let bytes = 0;

/** Has everything that shows the status show this one. */
function showStatus(status) {
  $("node").textContent = status.node;
  const healthy = status.regions.filter((region) => region.state === "healthy").length;
  setText("summary", `${status.version} · ${status.ready ? "ready" : "not ready"} · ` +
    `${healthy} of ${status.regions.length} regions healthy · configuration ${status.config.generation}`);
  setText("geo", `Geography: ${status.geo}`);
  for (const panel of PANELS) panel.showStatus(status);
  tellChanges(status);
}

/** For those who hear the page. */
function tellChanges(status) {
  const now = new Map(status.regions.map((region) => [region.name, region.state]));
  const news = [...now].filter(([name, state]) => states.has(name) && states.get(name) !== state);
  if (news.length) setText("changes", news.map(([name, state]) => `${name} is ${state}.`).join(" "));
  states = now;
}

function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

let refreshing = null;
let again = false;

/** One refresh at a time; whatever asks meanwhile gets one more at the end. */
function refresh() {
  again = refreshing !== null;
  refreshing ??= (async () => {
    do {
      again = false;
      await refreshOnce();
    } while (again);
    refreshing = null;
  })();
  return refreshing;
}

async function refreshOnce() {
  try {
    const answer = await watch("api/v1/status");
    bytes = Number(answer.headers.get("content-length"));
    const status = await answer.json();
    await letGo();
    showStatus(status);
    // What may change where clients are sent.
    const services = ({ services }) => services.map(({ state, forced, share }) => [state, forced, share]);
    const facts = JSON.stringify([status.config, status.regions.map((region) => [Math.round(region.rtt_ms / 5), services(region)])]);
    // And what is measured of clients, of which the status does not tell.
    if (facts !== decided || Date.now() - mapped >= MAP_MS) {
      decided = facts;
      mapped = Date.now();
      await map.refresh();
    }
  } catch (error) {
    decided = null;
    setText("summary", `This is not up to date: ${error.message}`);
  }
}

let due = null;

/** Refreshes once for many events that come together, as a replay's do. */
function refreshSoon() {
  due ??= setTimeout(() => { due = null; refresh(); }, SOON_MS);
}

function heard(kind, news) {
  if (kind === "traffic") {
    regions.showTraffic(news);
    map.showTraffic(news);
  } else {
    events.add(news);
    refreshSoon();
  }
}

/** Asks again and again, as long as somebody looks. */
async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, Math.max(REFRESH_MS, (bytes * 1000) / BYTES_PER_S));
}

async function catchUp() {
  await refresh();
  await regions.learnProbes().catch(() => {});
}

async function start() {
  theme.start();
  for (const element of document.querySelectorAll("[data-scripted]")) element.hidden = false;
  startApi(() => { config.tokenGiven(); asAnother(); });
  $("token-button").addEventListener("click", () => askForToken().then((given) => given && catchUp()));
  explain.start();
  events.start();
  drains.start(refresh);
  force.start(refresh);
  said.start(refresh);
  config.start(refresh);
  await map.start().catch(() => {}); // Without the shapes there are dots.
  await catchUp();
  follow("api/v1/events?with=traffic", {
    opened: () => { setText("link", "live"); catchUp(); },
    lost: (why) => setText("link", lostLink(why)),
    heard: (kind, news) => letGo().then(() => heard(kind, news)),
  });
  setTimeout(keepFresh, REFRESH_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) catchUp(); });
}

start();
