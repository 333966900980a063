// What is wrong with the edge itself, such as a drain that is not saved or a log that cannot be written.

import { $, make, show } from "./page.js";

export function showStatus({ trouble = [] }) {
  $("trouble").hidden = !trouble.length;
  show($("trouble"), trouble, () => trouble.map((line) => make("p", {}, line)));
}
