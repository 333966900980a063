// The one way to the admin API. The token is asked for when the edge wants one, and kept in this tab alone.

import { $ } from "./page.js";

const KEY = "meridian-token";

export class Refused extends Error {
  constructor(status, body) {
    super(body.error ?? `status ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** As `fetch`, with the token; an answer that is none throws. */
export async function ask(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(path, { ...options, headers });
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  return response;
}

export async function get(path, question = {}) {
  const query = new URLSearchParams(Object.entries(question).filter(([, value]) => value));
  return (await ask(query.size ? `${path}?${query}` : path)).json();
}

/** Changes something; asks for the token if there is none, or another. */
export async function change(method, path, body) {
  const options = body ? { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : { method };
  try {
    return await (await ask(path, options)).json();
  } catch (error) {
    if (error.status !== 401 || !(await askForToken())) throw error;
    return (await ask(path, options)).json();
  }
}

/** Whether one was given. */
export function askForToken() {
  const dialog = $("token-dialog");
  const { token } = dialog.querySelector("form").elements;
  token.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" && token.value !== "";
      if (given) sessionStorage.setItem(KEY, token.value);
      token.value = "";
      resolve(given);
    }, { once: true });
  });
}
