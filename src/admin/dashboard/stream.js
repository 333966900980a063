// Server-Sent Events, read by hand: `EventSource` cannot show a token.

import { watch } from "./api.js";

const AGAIN_MS = 1000;

/** Follows for good. Whatever ends a stream, the next begins after the last event that was seen. */
export async function follow(path, { opened, lost, heard }) {
  let last = null;
  for (;;) {
    try {
      const headers = last === null ? {} : { "Last-Event-ID": last };
      const response = await watch(path, { headers, cache: "no-store" });
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
