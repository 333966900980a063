// A dialog that asks the edge to do something to a region: its fields are named as in the API.

import { $, make } from "./page.js";

let regions = [];

export function showStatus(status) {
  regions = status.regions;
}

const formOf = (dialog) => dialog.querySelector("form");

/** What Enter in a field does, as the form's submit button does; an answer goes when what it is to changes. */
export function start(dialog, submitted) {
  const form = formOf(dialog);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submitted();
  });
  form.addEventListener("input", () => answer(dialog));
  form.elements.cancel.addEventListener("click", () => dialog.close());
}

/** Opens it for a region, empty. */
export function open(dialog, region) {
  formOf(dialog).reset();
  dialog.dataset.of = region;
  dialog.querySelector(".of").textContent = region;
  answer(dialog);
  const services = regions.find(({ name }) => name === region)?.services ?? [];
  const options = services.map(({ name }) => make("option", {}, name));
  formOf(dialog).elements.service.replaceChildren(make("option", { value: "" }, "all services"), ...options);
  dialog.showModal();
}

/** What is filled in, as the API takes it. */
function given(dialog) {
  const filled = [...new FormData(formOf(dialog))].filter(([, value]) => value);
  return Object.fromEntries(filled.map(([name, value]) => [name, name === "force" ? true : value]));
}

/** Shows what the edge says to it, which is heard too. */
function answer(dialog, ...parts) {
  dialog.querySelector("[role=status]").replaceChildren(...parts);
}

const questionOf = (dialog) => JSON.stringify([dialog.open, dialog.dataset.of, given(dialog)]);

/**
 * Does it, unless a field is filled in wrongly. What `work` gives is shown in the dialog, as is a refusal, unless the
 * question is another meanwhile.
 */
export async function attempt(dialog, work) {
  if (!formOf(dialog).reportValidity()) return;
  const question = questionOf(dialog);
  const told = await work(dialog.dataset.of, given(dialog)).catch(refusal);
  if (told && questionOf(dialog) === question) answer(dialog, ...told);
}

function refusal({ message, body }) {
  const left = body?.left;
  const more = left ? [make("p", {}, `Left would be: ${left.join(", ") || "nobody"}.`)] : [];
  return [make("p", { class: "alarm" }, message), ...more];
}

/** Says beside the table what was done, and whether the edge could not save it. */
export function tell(text, { unsaved } = {}) {
  const lost = unsaved && make("strong", { class: "alarm" }, ` It would not outlive a restart of the edge: ${unsaved}`);
  $("drain-message").replaceChildren(text, ...(lost ? [lost] : []));
}
