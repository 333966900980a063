// Light or dark: as the system has it, or as it was chosen here.

import { $ } from "./page.js";

const KEY = "meridian-theme";

function wear(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

export function start() {
  const chosen = localStorage.getItem(KEY) ?? "";
  wear(chosen);
  $("theme").value = chosen;
  $("theme").addEventListener("change", () => {
    localStorage.setItem(KEY, $("theme").value);
    wear($("theme").value);
  });
}
