// What the windows of one browser share: a single stream, which one of them reads to all. Over HTTP/1.1 a browser has six
// connections to an edge for all its pages, and a stream takes one.

/** Whoever leads says something at least every 5 s, as the edge does. */
const SILENCE_MS = 10_000;

export const SILENT = new Error(`nothing heard of the window that follows for all for ${SILENCE_MS / 1000} s`);

const STOLEN = new Error("another window follows for all");

/** A place on the line of that name. Whoever is first leads, and after it whoever waits longest. */
class Line {
  leads = false;
  /** Aborted when another takes the lead by force. */
  stolen = new AbortController();
  #channel;
  #waiting = new AbortController();
  #left = Promise.withResolvers();
  #said = [];
  #wake = () => {};

  constructor(name, byForce) {
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    const lead = () => {
      this.leads = true;
      this.#hear({ leads: true });
      return this.#left.promise;
    };
    const how = byForce ? { steal: true } : { signal: this.#waiting.signal };
    navigator.locks.request(name, how, lead).catch(() => {
      this.leads = false;
      this.stolen.abort(STOLEN);
    });
  }

  #hear(message) {
    this.#said.push(message);
    this.#wake();
  }

  tell(message) {
    this.#channel.postMessage(message);
  }

  /** What the others say, and that the lead is had; throws when nothing is said for long, or when `signal` is aborted. */
  async next(signal) {
    if (!this.#said.length) {
      const { promise, resolve, reject } = Promise.withResolvers();
      this.#wake = resolve;
      const given = () => reject(signal.reason);
      const timer = setTimeout(() => reject(SILENT), SILENCE_MS);
      signal.addEventListener("abort", given);
      if (signal.aborted) given();
      await promise.finally(() => {
        clearTimeout(timer);
        signal.removeEventListener("abort", given);
      });
    }
    return this.#said.shift();
  }

  leave() {
    this.#channel.close();
    this.#waiting.abort();
    this.#left.resolve();
  }
}

/** Where a page may not share: every window leads, and nobody listens. */
const alone = () => ({ leads: true, stolen: new AbortController(), tell: () => {}, leave: () => {} });

/**
 * Joins those who follow `path` as the bearer of the same token. Whoever got no word from the one who leads takes the
 * lead by force. Browsers have locks and digests for pages over TLS and from this machine alone.
 */
export async function join(path, token, byForce) {
  if (!navigator.locks || !crypto.subtle) return alone();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify([path, token])));
  return new Line(`meridian ${new Uint8Array(digest).join(".")}`, byForce);
}
