// Server-Sent Events, read by hand: `EventSource` cannot show a token.

import { watch } from "./api.js";

const AGAIN_MS = 1000;

/** Aborted when the page is hidden: a browser has six connections to an edge for all its pages, and a stream takes one. */
let looking = new AbortController();

document.addEventListener("visibilitychange", () => {
  if (document.hidden) looking.abort(new Error("nobody looks"));
  else looking = new AbortController();
});

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
 * Follows for good, while somebody looks. Whatever ends a stream, silence too, the next begins after the last event that
 * was seen.
 */
export async function follow(path, { opened, lost, heard }) {
  let last = null;
  for (;;) {
    await somebodyLooks();
    try {
      const headers = last === null ? {} : { "Last-Event-ID": last };
      const response = await watch(path, { headers, cache: "no-store", signal: looking.signal });
      opened();
      for await (const event of eventsOf(response.body)) {
        last = event.id ?? last;
        heard(event.kind, JSON.parse(event.data));
      }
      lost("the edge has ended it");
    } catch (error) {
      lost(error.message);
    }
    await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
  }
}

/** The events of a stream as they come: blocks of lines that an empty one ends. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    const blocks = (text + next.value).split("\n\n");
    text = blocks.pop();
    yield* blocks.map(eventOf).filter((event) => event.data);
  }
}

function eventOf(block) {
  const field = (name) => block.split("\n").find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
  return { id: field("id"), kind: field("event"), data: field("data") };
}
