// What outlives the page, one record per key: two tabs never overwrite each other's records.

/** localStorage, or a page-long substitute where the browser gives none (it may also be full). */
export class Store {
  constructor(prefix) {
    this.prefix = prefix;
    this.spare = new Map();
  }

  put(name, record) {
    const text = JSON.stringify(record);
    try {
      localStorage.setItem(this.prefix + name, text);
    } catch {
      this.spare.set(name, text);
    }
  }

  remove(name) {
    this.spare.delete(name);
    try {
      localStorage.removeItem(this.prefix + name);
    } catch {
      // Nothing is stored where nothing can be stored.
    }
  }

  /** All records, oldest first. */
  list() {
    return [...this.#texts()].map(parse).filter(Boolean).sort((a, b) => a.at - b.at || (a.key < b.key ? -1 : 1));
  }

  *#texts() {
    yield* this.spare.values();
    try {
      const names = Object.keys(localStorage).filter((name) => name.startsWith(this.prefix));
      for (const name of names) yield localStorage.getItem(name);
    } catch {
      // See above.
    }
  }
}

const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null; // not ours, or cut off by a crash
  }
};

/** In which order questions were answered: answers may arrive in another one. The last ten, for all tabs. */
export class Order {
  constructor(name) {
    this.name = `goldloop.order.${name}`;
    this.leases = [];
  }

  add(lease) {
    this.leases = [...this.#read().filter((one) => one !== lease), lease].slice(-10);
    try {
      localStorage.setItem(this.name, JSON.stringify(this.leases));
    } catch {
      // This page still knows.
    }
  }

  /** Newest first; what is not known stays behind, in the order it came. */
  sort(items) {
    const leases = this.#read();
    return items.toSorted((a, b) => leases.indexOf(b.lease) - leases.indexOf(a.lease));
  }

  #read() {
    try {
      return parse(localStorage.getItem(this.name)) ?? this.leases;
    } catch {
      return this.leases;
    }
  }
}
