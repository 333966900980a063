// Which configuration is in force, what the last reload changed, and why one was refused, with the line.

import { change } from "./api.js";
import { $, make, show, since } from "./page.js";

export function start(whenChanged) {
  $("reload").addEventListener("click", () => reload(whenChanged));
}

export function showStatus({ config }) {
  const { error } = config;
  $("config-error").hidden = !error;
  show($("config-error"), error, (error) => error && [make("strong", {}, "The last reload was refused and nothing changed."), problem(error)]);
  show($("config-state"), config.generation + config.loaded_at, () => `Generation ${config.generation}, in force since ${since(config.loaded_at)}.`);
  const changes = config.changes ?? [];
  show($("config-changes"), changes, () => (changes.length ? changes.map((line) => make("li", {}, line))
    : make("li", {}, config.generation === 1 ? "The first since the start." : "The last reload changed nothing.")));
}

function problem({ file, line, column, message, source }) {
  const place = file ? `${file}:${line}:${column}: ` : "";
  const quote = source ? `\n${String(line).padStart(5)} | ${source}\n      | ${" ".repeat(Math.max(0, column - 1))}^` : "";
  return make("pre", {}, `${place}${message}${quote}`);
}

async function reload(whenChanged) {
  try {
    const { generation, changes } = await change("POST", "api/v1/reload");
    $("reload-message").replaceChildren(make("p", {}, `Configuration ${generation} is in force: ${changes.join("; ") || "nothing changed"}.`));
  } catch (error) {
    const problems = error.body?.problems ?? [];
    $("reload-message").replaceChildren(make("p", { class: "alarm" }, error.message), ...problems.map(problem));
  }
  whenChanged();
}
