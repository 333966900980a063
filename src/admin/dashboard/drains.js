// The dialog that drains a region: with what would happen, before it does.

import { change } from "./api.js";
import { attempt, open, start as startDialog, tell } from "./dialog.js";
import { foreseen } from "./foreseen.js";
import { $, lasting } from "./page.js";

const dialog = () => $("drain-dialog");
const path = (region) => `api/v1/drains/${encodeURIComponent(region)}`;

/** Enter looks ahead: it changes nothing. */
export function start(whenChanged) {
  startDialog(dialog(), () => attempt(dialog(), preview));
  $("drain-do").addEventListener("click", () => attempt(dialog(), drain).then(whenChanged));
}

export const ask = (region) => open(dialog(), region);

async function preview(region, wanted) {
  return foreseen(await change("PUT", `${path(region)}?dry_run=true`, wanted));
}

async function drain(region, wanted) {
  const changed = await change("PUT", path(region), wanted);
  dialog().close();
  tell(changed.over_ms ? `${region} is drained over ${lasting(changed.over_ms)}.` : `${region} is drained.`, changed);
}
