// Talks to the server: form bodies out, JSON back, always with the CSRF token of this moment.

const TIMEOUT_MS = 20_000;

// From the cookie and not from the page: signing in again, in any tab, changes it.
const token = () =>
  document.cookie.split("; ").find((pair) => pair.startsWith("csrftoken="))?.slice("csrftoken=".length) ?? "";

const read = async (response) => {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // An answer without JSON comes from something in between: its status says enough.
  }
  return { status: response.status, ok: response.ok, body, kind: body.error?.kind ?? "", words: body.error?.message ?? "" };
};

export class Server {
  /** `urls` by name; `person` is who this page belongs to: the server refuses it in anybody else's session. */
  constructor(urls, person) {
    this.urls = urls;
    this.person = person;
    this.heard = () => {}; // called with the version of the labels that a reply names
  }

  /** A reply with a status, whatever it is; throws only where no answer came at all. */
  async post(name, fields, options = {}) {
    const reply = await this.#send(name, fields, options);
    if (reply.status !== 403 || reply.kind !== "stale") return reply;
    await this.get("work"); // brings a fresh token where the cookie is gone
    return this.#send(name, fields, options);
  }

  async get(name) {
    const options = { headers: { Accept: "application/json" }, credentials: "same-origin", cache: "no-store" };
    return this.#told(await read(await fetch(this.urls[name], { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) })));
  }

  #told(reply) {
    if (reply.ok && reply.body.schema !== undefined) this.heard(String(reply.body.schema));
    return reply;
  }

  async #send(name, fields, more) {
    const body = new URLSearchParams({ person: this.person });
    for (const [field, value] of Object.entries(fields)) {
      for (const one of [value].flat()) if (one !== null && one !== undefined && one !== false) body.append(field, one);
    }
    const headers = { Accept: "application/json", "X-CSRFToken": token() };
    const options = { method: "POST", headers, body, credentials: "same-origin", redirect: "error", ...more };
    return this.#told(await read(await fetch(this.urls[name], { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) })));
  }
}

/** A random key made once per answer, so that sending it twice stores it once. Works without https too. */
export const newKey = () => {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
};
