// Why a client is sent where it is: the decision step by step, as DNS makes it and as HTTP does.

import { get } from "./api.js";
import { $, hostsOf, make, sharesIn } from "./page.js";
import { whyOf } from "./regions.js";

const form = () => document.forms.explain;

export function start() {
  form().addEventListener("submit", (event) => {
    event.preventDefault();
    explain();
  });
}

export function showStatus(status) {
  const { name } = form().elements;
  if (!name.value && status.services.length) [name.value] = hostsOf(status.services);
}

/** Explains for a client as if it had been typed, and shows it: whoever asks by the map is far from the answer. */
export async function about(name, client) {
  form().elements.name.value = name;
  form().elements.client.value = client;
  await explain();
  $("explain-title").scrollIntoView();
}

/** Counts what was asked: an answer to an older question may come later than one to the last. */
let asked = 0;

async function explain() {
  asked += 1;
  const turn = asked;
  const { name, client, type, method, path, header, token } = form().elements;
  const question = { name: name.value.trim(), client: client.value.trim() };
  const both = await Promise.allSettled([
    get("api/v1/explain", { ...question, type: type.value }),
    get("api/v1/explain", { ...question, method: method.value, path: path.value.trim(), header: fieldsIn(header.value), token: token.value.trim() }),
  ]);
  if (turn !== asked) return;
  const titles = [`DNS ${type.value}`, `HTTP ${method.value}`];
  $("explanation").replaceChildren(place(both, question), make("div", { class: "pair" }, ...both.map((told, at) => decision(titles[at], told))));
}

/** A field for each line that is not empty. */
const fieldsIn = (text) => text.split("\n").map((line) => line.trim()).filter((line) => line);

function place(both, { name, client }) {
  const found = both.find((told) => told.status === "fulfilled")?.value;
  if (!found) return make("p", {}, `${client} asks for ${name}.`);
  const { country, scope } = found.client;
  return make("p", {}, `${client} asks for ${name}: ${country ? `a client in ${country}` : "a client of unknown place"}. ` +
    `Everybody in ${scope} is ranked alike.`);
}

/** The reason of a step; of a region that is out also why it is. */
function reasonOf({ kept, rule, region, reason }, service) {
  const why = !kept && ["health", "forced", "drain"].includes(rule) && whyOf(region, service);
  return why ? `${reason}: ${why}` : reason;
}

function decision(title, { value, reason }) {
  const heading = make("h3", {}, title);
  if (!value) return make("section", {}, heading, make("p", { class: "alarm" }, reason.message));
  const answer = make("p", { class: "decision" }, make("strong", {}, value.decision[0] ?? "nobody"),
    value.decision.length > 1 ? `, then ${value.decision.slice(1).join(", ")}` : "",
    ` (${value.verdict}${value.face === "dns" ? `, for ${value.ttl} s` : ""})`);
  const shares = sharesIn(value.chances);
  const drawn = shares && make("p", {}, `Each ${value.face === "dns" ? "query" : "request"} is drawn anew: ${shares}. This is one draw.`);
  const rows = value.steps.map((step) => make("tr", { class: step.kept ? "kept" : "dropped" },
    make("th", { scope: "row" }, step.region), make("td", {}, step.rule), make("td", {}, step.kept ? "kept" : "dropped"), make("td", {}, reasonOf(step, value.service))));
  const head = ["Region", "Rule", "Result", "Reason"].map((name) => make("th", { scope: "col" }, name));
  const otherwise = value.not_in_dns && make("p", { class: "alarm" }, `But ${value.not_in_dns}.`);
  return make("section", {}, heading, answer, otherwise, drawn,
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Steps of ${title}` },
      make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))));
}
