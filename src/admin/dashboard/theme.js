// Light or dark: as the system has it, or as it was chosen here.

import { $, keep, recall } from "./page.js";

const KEY = "meridian-theme";

function wear(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

export function start() {
  const chosen = recall("localStorage", KEY) ?? "";
  wear(chosen);
  $("theme").value = chosen;
  $("theme").addEventListener("change", () => {
    keep("localStorage", KEY, $("theme").value);
    wear($("theme").value);
  });
}
