// The dialog that has a region count as up or down, whatever its probes say.

import { change } from "./api.js";
import { attempt, open, start as startDialog, tell } from "./dialog.js";
import { $ } from "./page.js";

const dialog = () => $("force-dialog");

export function start(whenChanged) {
  startDialog(dialog(), () => attempt(dialog(), force).then(whenChanged));
}

export const ask = (region) => open(dialog(), region);

async function force(region, wanted) {
  const changed = await change("PUT", `api/v1/forced/${encodeURIComponent(region)}`, wanted);
  dialog().close();
  tell(`${region} is forced ${wanted.state}.`, changed);
}
