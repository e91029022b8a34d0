// Answers on their way: kept in the browser until the server has said what became of each.
import { Store } from "./store.js";

const WAITS_MS = [1_000, 2_000, 4_000, 8_000, 15_000];
const AT_ONCE = 4; // answers under way together, where the server is so far that more than these wait:
const FEW = 2;
const SLOW_MS = 1_000; // an answer that travels for longer than this is shown as not saved

// Statuses that say nothing about the answer itself: it is sent again.
const isPassing = (status) => status >= 500 || status === 408 || status === 425 || status === 429;

/** Who is out for as long as nobody lets them in again: nothing can be answered here. */
export const isOut = (halt) => halt === "removed" || halt === "demoted";

/** Why nobody can answer from this page until somebody acts; no name: they can. */
export const haltOf = ({ status, kind }) => {
  if (status === 401) return "signed_out";
  if (kind === "not_found") return "removed"; // a project that is no longer theirs does not exist for them
  if (kind === "denied") return "demoted"; // still in the project, and no longer to answer
  return kind === "other_person" ? kind : "";
};

/** First in, first out, from one tab at a time; events: "change", "settled" (detail: record, reply). */
export class Outbox extends EventTarget {
  constructor(server, name) {
    super();
    this.server = server;
    this.name = `goldloop-outbox-${name}`;
    this.waiting = new Store(`goldloop.answer.${name}.`);
    this.refused = new Store(`goldloop.refused.${name}.`);
    this.halted = ""; // see haltOf: nothing is sent until somebody acts
    this.trouble = ""; // in the server's words, why nothing can be stored now; what waits is sent again
    this.failures = 0;
    this.isSending = false;
    this.isStuck = false;
    this.last = 0;
    this.wake = () => {}; // somebody has something new to send
    this.#listen();
  }

  add(action, key, fields, words) {
    // Later than everything before it, whatever the clock does.
    this.last = Math.max(Date.now(), this.last + 1, ...this.list().map((record) => record.at + 1));
    const record = { action, key, fields: { ...fields, key }, words, at: this.last };
    this.waiting.put(key, record);
    setTimeout(() => this.#changed(), SLOW_MS + 50); // so that a slow answer is seen to be slow
    this.#changed();
    this.flush();
    return record;
  }

  list() {
    return this.waiting.list();
  }

  /** How many answers are not saved for so long, or with so little hope, that people should know. */
  slow() {
    const records = this.list();
    const isHopeless = this.failures > 0 || this.halted || !navigator.onLine;
    return isHopeless || records.some((record) => Date.now() - record.at > SLOW_MS) ? records.length : 0;
  }

  /** Once nothing waits any more, or after so many milliseconds. */
  async settled(patience) {
    const end = Date.now() + patience;
    while (this.list().length && Date.now() < end) await new Promise((done) => setTimeout(done, 20));
  }

  dismiss(key) {
    this.refused.remove(key);
    this.#changed();
  }

  /** Send what waits. Safe to call at any time. */
  async flush() {
    if (this.isSending) return this.wake();
    this.isSending = true;
    clearTimeout(this.timer);
    try {
      await this.#alone(() => this.#drain());
    } finally {
      this.isSending = false;
      if (this.list().length) this.#later();
      this.#changed();
    }
  }

  /** One after the other; several at once for a far server, where only what concerns one question stays in order. */
  async #drain() {
    const busy = new Map(); // lease: what is under way
    this.isStuck = false;
    for (;;) {
      const waiting = this.list();
      const next = waiting.find((record) => !busy.has(record.fields.lease));
      if (next && busy.size < (waiting.length > FEW ? AT_ONCE : 1) && !this.isStuck) {
        const { lease } = next.fields;
        busy.set(lease, this.#deliver(next).finally(() => busy.delete(lease)));
      } else if (busy.size) {
        await Promise.race([...busy.values(), new Promise((wake) => (this.wake = wake))]);
      } else {
        break;
      }
    }
    this.failures = this.isStuck ? this.failures + 1 : 0;
  }

  async #deliver(record) {
    try {
      if (!this.#settle(record, await this.server.post(record.action, record.fields))) this.isStuck = true;
    } catch {
      this.trouble = "";
      this.isStuck = true; // no network: the same key goes out again
    }
  }

  /** What the reply means for this answer; false: stop sending for now. */
  #settle(record, reply) {
    this.halted = haltOf(reply);
    this.trouble = reply.status >= 500 ? reply.words : "";
    if (this.halted || isPassing(reply.status) || reply.kind === "stale") return false;
    if (!reply.ok) this.refused.put(record.key, { ...record, kind: reply.kind, reason: reply.words });
    this.waiting.remove(record.key);
    this.#tell(record, reply);
    this.channel?.postMessage({ record, reply });
    return true;
  }

  #later() {
    const wait = this.failures ? WAITS_MS[Math.min(this.failures, WAITS_MS.length) - 1] : 0;
    this.timer = setTimeout(() => this.flush(), wait);
  }

  // One tab sends at a time, so that a change never overtakes its answer. Without locks the keys still prevent doubles.
  #alone(work) {
    return navigator.locks ? navigator.locks.request(this.name, work) : work();
  }

  #listen() {
    const again = () => document.visibilityState === "visible" && this.list().length && this.flush();
    window.addEventListener("online", again);
    window.addEventListener("offline", () => this.#changed());
    window.addEventListener("storage", () => this.#changed());
    document.addEventListener("visibilitychange", again);
    window.addEventListener("focus", again); // somebody may have signed in again in another window
    if (!window.BroadcastChannel) return;
    this.channel = new BroadcastChannel(this.name);
    this.channel.addEventListener("message", ({ data }) => this.#tell(data.record, data.reply));
  }

  #tell(record, reply) {
    this.dispatchEvent(new CustomEvent("settled", { detail: { record, reply } }));
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
