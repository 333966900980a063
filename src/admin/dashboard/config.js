// Which configuration is in force, what the last reload changed, and why one was refused, with the line.

import { change } from "./api.js";
import { $, make, show, since } from "./page.js";

/** Whether what stands beside the button was refused to a token. */
let denied = false;

/** The configuration that was in force when what stands beside the button was said. */
let saidOf = null;
let generation = null;

export function start(whenChanged) {
  $("reload").addEventListener("click", () => reload().then(whenChanged));
}

export function showStatus({ config }) {
  const { error } = config;
  generation = config.generation;
  if (generation > saidOf) say();
  $("config-error").hidden = !error;
  show($("config-error"), error, (error) => error && [make("strong", {}, "The last reload was refused and nothing changed."), problem(error)]);
  show($("config-state"), config.generation + config.loaded_at, () => `Generation ${config.generation}, in force since ${since(config.loaded_at)}.`);
  const changes = config.changes ?? [];
  show($("config-changes"), [config.generation, changes], () => (changes.length ? changes.map((line) => make("li", {}, line))
    : make("li", {}, config.generation === 1 ? "The first since the start." : "The last reload changed nothing.")));
}

function problem({ file, line, column, message, source }) {
  const place = file ? `${file}:${line}:${column}: ` : "";
  const quote = source ? `\n${String(line).padStart(5)} | ${source}\n      | ${" ".repeat(Math.max(0, column - 1))}^` : "";
  return make("pre", { tabindex: "0" }, `${place}${message}${quote}`);
}

/** Another token was given: what the one before was refused says nothing of it. */
export function tokenGiven() {
  if (denied) say();
}

function say(...parts) {
  denied = false;
  $("reload-message").replaceChildren(...parts);
  saidOf = generation;
}

async function reload() {
  try {
    const reloaded = await change("POST", "api/v1/reload");
    generation = reloaded.generation;
    say(make("p", {}, `Configuration ${generation} is in force: ${reloaded.changes.join("; ") || "nothing changed"}.`));
  } catch (error) {
    say(make("p", { class: "alarm" }, error.message), ...(error.body?.problems ?? []).map(problem));
    denied = [401, 403].includes(error.status);
  }
}
