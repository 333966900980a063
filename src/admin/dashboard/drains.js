// The drains in force, and the dialog that makes one: with what would happen, before it does.

import { change } from "./api.js";
import { $, clock, make, show } from "./page.js";

let services = [];
let region = null;
let changed = () => {};

const dialog = () => $("drain-dialog");
const form = () => dialog().querySelector("form");

export function start(whenChanged) {
  changed = whenChanged;
  $("drain-try").addEventListener("click", preview);
  $("drain-do").addEventListener("click", drain);
}

export function showStatus(status) {
  services = status.services.map((service) => service.name);
  show($("drains"), status.drains, (drains) => (drains.length ? drains.map(row) : empty()));
}

const empty = () => make("tr", {}, make("td", { colspan: "6", class: "faint" }, "None."));

function row(drain) {
  const undo = make("button", {
    type: "button", onclick: () => undrain(drain), "aria-label": `Undo the drain of ${drain.region}`,
  }, "Undo");
  return make("tr", {}, make("th", { scope: "row" }, drain.region), make("td", {}, drain.service ?? "all"),
    make("td", {}, clock(drain.since)), make("td", {}, drain.until ? clock(drain.until) : "undone by hand"),
    make("td", {}, drain.reason ?? ""), make("td", {}, undo));
}

/** Opens the dialog for a region. */
export function ask(name) {
  region = name;
  form().reset();
  $("drain-region").textContent = name;
  $("drain-preview").replaceChildren();
  const options = services.map((service) => make("option", {}, service));
  form().elements.service.replaceChildren(make("option", { value: "" }, "all"), ...options);
  dialog().showModal();
}

const path = (name) => `api/v1/drains/${encodeURIComponent(name)}`;

function wanted() {
  const { service, for: lasts, reason, force } = form().elements;
  const given = { service: service.value, for: lasts.value, reason: reason.value };
  const body = Object.fromEntries(Object.entries(given).filter(([, value]) => value));
  return force.checked ? { ...body, force: true } : body;
}

async function preview() {
  await inDialog(async () => {
    const answer = await change("PUT", `${path(region)}?dry_run=true`, wanted());
    $("drain-preview").replaceChildren(make("p", {}, "Nothing is changed yet. This would happen:"), outline(answer));
  });
}

async function drain() {
  await inDialog(async () => {
    await change("PUT", path(region), wanted());
    dialog().close();
    tell(`${region} is drained.`);
  });
}

async function inDialog(work) {
  if (!form().reportValidity()) return;
  try {
    await work();
  } catch (error) {
    const left = error.body?.left;
    const more = left && `Left would be: ${left.join(", ") || "nobody"}.`;
    $("drain-preview").replaceChildren(make("p", { class: "alarm" }, error.message), more ? make("p", {}, more) : "");
  }
  changed();
}

async function undrain(drain) {
  const query = drain.service ? `?${new URLSearchParams({ service: drain.service })}` : "";
  try {
    await change("DELETE", path(drain.region) + query);
    tell(`${drain.region} is back.`);
  } catch (error) {
    tell(`${drain.region} is still drained: ${error.message}`);
  }
  changed();
}

function tell(text) {
  $("drain-message").textContent = text;
}

/** An answer as nested lists, whatever it holds. */
function outline(value) {
  if (value === null || typeof value !== "object") return document.createTextNode(String(value ?? "–"));
  const entries = Object.entries(value).map(([key, inner]) =>
    make("li", {}, Array.isArray(value) ? null : `${key.replaceAll("_", " ")}: `, outline(inner)));
  return entries.length ? make("ul", {}, ...entries) : document.createTextNode("none");
}
