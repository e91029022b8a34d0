// The items this tab holds: one on the screen, some ahead, none that another tab shows.

const AT_ONCE = 3; // requests for more: each answer may ask, so that a slow server does not slow the person down
const CLAIM_MS = 300; // after a reload the old page may hold its locks for a moment

/** A browser lock per lease: it ends with its tab, also when that crashes. Without locks every claim succeeds. */
class Claims {
  constructor() {
    this.free = new Map();
  }

  claim(lease, patience = 0) {
    if (!navigator.locks || this.free.has(lease)) return Promise.resolve(true);
    const how = patience ? { signal: AbortSignal.timeout(patience) } : { ifAvailable: true };
    return new Promise((answer) => {
      navigator.locks
        .request(`goldloop-lease-${lease}`, how, (lock) => {
          answer(Boolean(lock));
          return lock && new Promise((end) => this.free.set(lease, end));
        })
        .catch(() => answer(false));
    });
  }

  drop(lease) {
    this.free.get(lease)?.();
    this.free.delete(lease);
  }

  /** Leases that other tabs of this browser hold. */
  async others() {
    if (!navigator.locks) return [];
    const { held } = await navigator.locks.query();
    const all = held.map((lock) => lock.name).filter((name) => name.startsWith("goldloop-lease-"));
    return all.map((name) => name.slice("goldloop-lease-".length)).filter((lease) => !this.free.has(lease));
  }
}

/** An item as the server sent it, its HTML parsed once and kept inert until it is shown. */
export const makeItem = ({ html, ...rest }) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  return { ...rest, node: template.content.firstElementChild };
};

export class Buffer {
  constructor(server, outbox) {
    this.server = server;
    this.outbox = outbox;
    this.claims = new Claims();
    this.shown = null;
    this.ahead = [];
    this.answered = new Set(); // leases this page has answered: never shown again by a late reply
    this.asking = 0;
    this.isWanted = false;
  }

  /** Take what the page brought with it, less what another tab shows already. */
  async start(items) {
    const mine = await Promise.all(items.map((item) => this.claims.claim(item.lease, CLAIM_MS)));
    this.ahead = items.filter((item, place) => mine[place] && !this.#isDone(item.lease));
  }

  /** The next item, now on the screen; null where none is ahead. */
  advance() {
    this.shown = this.ahead.shift() ?? null;
    return this.shown;
  }

  finish(lease) {
    this.answered.add(lease);
    this.claims.drop(lease);
  }

  /** Nothing is held any more. */
  clear() {
    if (this.shown) this.claims.drop(this.shown.lease);
    this.shown = null;
    this.#drop(() => true);
  }

  /** Ask for more; returns the reply, or null where enough requests are under way and one of them will ask again. */
  async refill() {
    if (this.asking >= AT_ONCE) {
      this.isWanted = true;
      return null;
    }
    this.asking += 1;
    let reply;
    try {
      do {
        this.isWanted = false;
        reply = await this.#ask();
      } while (this.isWanted);
    } finally {
      this.asking -= 1;
    }
    return reply;
  }

  /** Hold on to it all; what was taken over before it was seen disappears. Says whether the one on the screen is held. */
  async renew() {
    const asked = this.#held();
    const onScreen = this.shown?.lease;
    if (!asked.length) return { isHeld: true };
    const reply = await this.server.post("renew", { lease: asked, shown: onScreen });
    if (!reply.ok) return { isHeld: true };
    const lost = asked.filter((lease) => !reply.body.held.includes(lease));
    this.#drop((item) => lost.includes(item.lease));
    return { isHeld: !lost.includes(onScreen) || this.#isDone(onScreen), progress: reply.body.progress };
  }

  async #ask() {
    const others = await this.claims.others();
    const sent = this.ahead.map((item) => item.lease);
    const have = this.#held();
    const done = [...new Set([...this.#unsent(), ...others])];
    const reply = await this.server.post("next", { done, have, shown: this.shown?.lease });
    if (!reply.ok) return reply;
    this.#drop((item) => sent.includes(item.lease) && !reply.body.held.includes(item.lease));
    for (const raw of reply.body.items) await this.#take(makeItem(raw));
    return reply;
  }

  async #take(item) {
    const isKnown = () => this.#held().includes(item.lease) || this.#isDone(item.lease);
    if (isKnown() || !(await this.claims.claim(item.lease))) return;
    if (!isKnown()) this.ahead.push(item); // another reply may have brought it meanwhile
  }

  #drop(isGone) {
    for (const item of this.ahead.filter(isGone)) this.claims.drop(item.lease);
    this.ahead = this.ahead.filter((item) => !isGone(item));
  }

  #held() {
    return [this.shown, ...this.ahead].filter(Boolean).map((item) => item.lease);
  }

  #unsent() {
    return this.outbox.list().map((record) => record.fields.lease);
  }

  #isDone(lease) {
    return this.answered.has(lease) || this.#unsent().includes(lease);
  }
}

