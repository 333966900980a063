// Server-Sent Events, read by hand: `EventSource` cannot show a token.

import { bearer, watch } from "./api.js";
import { SILENT, join } from "./line.js";

const AGAIN_MS = 1000;

/** The comment that the edge sends once all that it had kept is told. */
const NOW = "now";

/** Aborted when the page is hidden, and when another token is given. */
let looking = new AbortController();

document.addEventListener("visibilitychange", () => {
  if (document.hidden) looking.abort(new Error("nobody looks"));
  else looking = new AbortController();
});

/** Begins anew, as the bearer of another token. */
export function asAnother() {
  if (document.hidden) return;
  looking.abort(new Error("another token is given"));
  looking = new AbortController();
}

/** Settles as soon as somebody looks. */
const somebodyLooks = () => new Promise((resolve) => {
  const look = () => {
    if (document.hidden) return;
    document.removeEventListener("visibilitychange", look);
    resolve();
  };
  document.addEventListener("visibilitychange", look);
  look();
});

/**
 * Follows for good, while somebody looks, over one stream for all windows of the browser. Whatever ends it, silence too,
 * the next begins after the last event that was seen.
 */
export async function follow(path, { opened, lost, heard }) {
  let last = null;
  let byForce = false;
  const take = ({ id, kind, data }) => {
    if (!data) return;
    last = id ?? last;
    heard(kind, JSON.parse(data));
  };
  for (;;) {
    await somebodyLooks();
    // Of before the line is joined: another token may be given meanwhile, and has a line of its own.
    const { signal: given } = looking;
    const line = await join(path, bearer(), byForce);
    const signal = AbortSignal.any([given, line.stolen.signal]);
    try {
      for (;;) {
        await read(path, { last, line, signal, opened, take });
        await listen({ line, signal, lost, take });
      }
    } catch (error) {
      // Who is just not to go on leaves it to the others.
      if (line.leads && !signal.aborted) line.tell({ lost: error.message });
      lost(error.message);
      byForce = error === SILENT;
    }
    line.leave();
    if (!signal.aborted) await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
  }
}

/** Catches up with the edge; whoever leads goes on from there, and tells the others what comes. */
async function read(path, { last, line, signal, opened, take }) {
  const headers = last === null ? {} : { "Last-Event-ID": last };
  const response = await watch(path, { headers, cache: "no-store", signal });
  let isNow = false;
  for await (const event of eventsOf(response.body)) {
    take(event);
    if (isNow) line.tell({ event });
    else if (event.comment === NOW) {
      isNow = true;
      opened();
      if (!line.leads) return;
      line.tell({ opened: true });
    }
  }
  throw new Error("the edge has ended it");
}

/** Hears what another window reads, until there may be more than that: another leads, or this one. */
async function listen({ line, signal, lost, take }) {
  for (;;) {
    const said = await line.next(signal);
    if (said.leads || said.opened) return;
    if (said.lost) lost(said.lost);
    else take(said.event);
  }
}

/** The blocks of a stream as they come, which an empty line ends: events, and comments. Who stops reading hangs up. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const blocks = (text + next.value).split("\n\n");
      text = blocks.pop();
      yield* blocks.map(eventOf);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function eventOf(block) {
  const field = (name) => block.split("\n").find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
  return { id: field("id"), kind: field("event"), data: field("data"), comment: field("") };
}
