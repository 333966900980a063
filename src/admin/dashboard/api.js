// The one way to the admin API. The token is asked for when the edge wants one, and kept in this tab alone.

import { $, keep, recall } from "./page.js";

const KEY = "meridian-token";

export class Refused extends Error {
  constructor(status, body) {
    super(body.error ?? `status ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** Whose eyes this tab sees with. */
export const bearer = () => recall("sessionStorage", KEY);

/** How long the edge may say nothing before and within an answer: to what the page asks by itself, and to what somebody asks. */
const WATCHED_MS = 5000;
const ASKED_MS = 180_000;

/** As `fetch`, which gives up once nothing has been heard for so long: what hangs does not end by itself. */
async function fetchWithin(silenceMs, path, { signal, ...options }) {
  const silent = new AbortController();
  let timer = null;
  const listen = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silent.abort(new Error(`nothing heard for ${silenceMs / 1000} s`)), silenceMs);
  };
  listen();
  try {
    const signals = [silent.signal, signal].filter((signal) => signal);
    const response = await fetch(path, { ...options, signal: AbortSignal.any(signals) });
    const heard = new TransformStream({
      transform: (chunk, controller) => { listen(); controller.enqueue(chunk); },
      flush: () => clearTimeout(timer),
    });
    return new Response(response.body?.pipeThrough(heard), response);
  } catch (error) {
    clearTimeout(timer);
    throw error;
  }
}

/** As `fetch`, with the token; an answer that is none throws. A token that is refused is forgotten. */
async function ask(path, { silenceMs = ASKED_MS, ...options } = {}) {
  const token = bearer();
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const response = await fetchWithin(silenceMs, path, { ...options, headers });
  if (response.ok) return response;
  if (response.status === 401 && token && bearer() === token) keep("sessionStorage", KEY, null);
  throw new Refused(response.status, await response.json().catch(() => ({})));
}

/** Asks; if the edge wants a token, or another, that is asked for once. */
async function askOrLogIn(path, options) {
  try {
    return await ask(path, options);
  } catch (error) {
    if (error.status !== 401 || !(await askForToken(error.message))) throw error;
    return ask(path, options);
  }
}

const NOT_ASKED = "not live until a token is given";

/** While the edge wants a token that nobody has given: settles when one is. */
let pause = null;
let whilePaused = new AbortController();

/**
 * Asks for what the page follows by itself. Once the edge wants a token, or another, nothing more of that is asked
 * until somebody gives one: wrong ones count as guesses, and lock out all who come from here.
 */
export async function watch(path, options = {}) {
  for (;;) {
    await pause?.over;
    const token = bearer();
    try {
      const signals = [whilePaused.signal, options.signal].filter((signal) => signal);
      return await ask(path, { ...options, signal: AbortSignal.any(signals), silenceMs: WATCHED_MS });
    } catch (error) {
      if (error.status !== 401) throw error;
      // Meanwhile another may have been given.
      if ([null, token].includes(bearer())) stop(error.message);
    }
  }
}

/** What the page says of its link to the edge once that is lost. */
export const lostLink = (why) => (pause ? NOT_ASKED : `not live: ${why}; trying again`);

function stop(why) {
  if (pause) return;
  pause = {};
  pause.over = new Promise((resolve) => { pause.end = resolve; });
  whilePaused.abort(new Error("the edge wants a token"));
  whilePaused = new AbortController();
  $("summary").textContent = `Nothing is asked of the edge until it is given a token: ${why}`;
  $("link").textContent = NOT_ASKED;
  askForToken(why);
}

const withQuery = (path, question) => {
  const given = Object.entries(question).flatMap(([name, value]) => [value].flat().map((value) => [name, value]));
  const query = new URLSearchParams(given.filter(([, value]) => value));
  return query.size ? `${path}?${query}` : path;
};

/** What somebody at the page asks for. A list is given as a parameter for each of its values. */
export const get = async (path, question = {}) => (await askOrLogIn(withQuery(path, question))).json();

/** What the page asks for by itself. */
export const watched = async (path, question = {}) => (await watch(withQuery(path, question))).json();

/** Changes something. */
export async function change(method, path, body) {
  const options = body ? { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : { method };
  return (await askOrLogIn(path, options)).json();
}

let whenGiven = () => {};

/** `given` is called when somebody gives a token. */
export function start(given) {
  whenGiven = given;
  const dialog = $("token-dialog");
  dialog.querySelector("[type=button]").addEventListener("click", () => dialog.close("cancel"));
}

let asking = null;

/** Whether one was given. Who is asked already is not asked again. */
export function askForToken(why = "") {
  asking ??= askOnce(why).finally(() => { asking = null; });
  return asking;
}

function askOnce(why) {
  const dialog = $("token-dialog");
  const { token } = dialog.querySelector("form").elements;
  dialog.querySelector("[role=alert]").textContent = why && `The edge says: ${why}`;
  token.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" && token.value !== "";
      if (given) use(token.value);
      token.value = "";
      resolve(given);
    }, { once: true });
  });
}

function use(token) {
  keep("sessionStorage", KEY, token);
  whenGiven();
  pause?.end();
  pause = null;
}
