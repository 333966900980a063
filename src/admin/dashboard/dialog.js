// A dialog that asks the edge to do something to a region: its fields are named as in the API.

import { $, make } from "./page.js";

let services = [];

export function showStatus(status) {
  services = status.services.map((service) => service.name);
}

const formOf = (dialog) => dialog.querySelector("form");

/** Opens it for a region, empty. */
export function open(dialog, region) {
  formOf(dialog).reset();
  dialog.dataset.of = region;
  dialog.querySelector(".of").textContent = region;
  answer(dialog);
  const options = services.map((service) => make("option", {}, service));
  formOf(dialog).elements.service.replaceChildren(make("option", { value: "" }, "all"), ...options);
  dialog.showModal();
}

/** What is filled in, as the API takes it. */
export function given(dialog) {
  const filled = [...new FormData(formOf(dialog))].filter(([, value]) => value);
  return Object.fromEntries(filled.map(([name, value]) => [name, name === "force" ? true : value]));
}

/** Shows what the edge says to it, which is heard too. */
export function answer(dialog, ...parts) {
  dialog.querySelector("[role=status]").replaceChildren(...parts);
}

/** Does it, unless a field is filled in wrongly; a refusal is shown in the dialog. */
export async function attempt(dialog, work) {
  if (!formOf(dialog).reportValidity()) return;
  try {
    await work(dialog.dataset.of, given(dialog));
  } catch (error) {
    const left = error.body?.left;
    const more = left ? [make("p", {}, `Left would be: ${left.join(", ") || "nobody"}.`)] : [];
    answer(dialog, make("p", { class: "alarm" }, error.message), ...more);
  }
}

/** Says beside the table what was done, and whether the edge could not save it. */
export function tell(text, { unsaved } = {}) {
  const lost = unsaved && make("strong", { class: "alarm" }, ` It would not outlive a restart of the edge: ${unsaved}`);
  $("drain-message").replaceChildren(text, ...(lost ? [lost] : []));
}
