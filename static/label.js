// The annotating screen: a key swaps the next item in at once, the answer travels behind.
import { Buffer, makeItem } from "./label/buffer.js";
import { listen } from "./label/keys.js";
import { Outbox, haltOf, isOut } from "./label/outbox.js";
import { Server, newKey } from "./label/server.js";
import { Order } from "./label/store.js";
import { View } from "./label/view.js";

const SEEN_MS = 100; // an item must have been on the screen for so long before a key answers it
const REPEATED_CLICK_MS = 350; // the second click of a double click belongs to the item before
const DRAFT_MS = 500;
const HEARTBEAT_MS = 60_000;
const IDLE_MS = 5 * 60_000;
const RETRY_MS = 3_000;
const SETTLE_MS = 3_000;
const AWAY_MS = 60_000;
const DEPTH = 10; // answers that can be gone back to
const EXCERPT = 60; // characters that tell which item is meant
const RENEWED = "goldloop.labels-changed"; // in sessionStorage: this page was loaded anew for other labels

const view = new View();
const urls = Object.fromEntries(
  Object.entries(view.root.dataset)
    .filter(([name]) => name.startsWith("url"))
    .map(([name, url]) => [name.slice(3).toLowerCase(), url]),
);
const server = new Server(urls, view.root.dataset.person);
const outbox = new Outbox(server, view.root.dataset.name);
const buffer = new Buffer(server, outbox);
const order = new Order(view.root.dataset.name);

const past = []; // my answers, newest first: {lease, node, answer, words, state, isStored}
let told = null; // the answer that the line under the item speaks of
let isShut = false; // no longer in this project
let isRenewing = false; // the labels were changed: this page is being loaded anew
let place = 0; // 0: the item to answer; n: my n-th last answer
let current = null; // the item to answer, with what its form holds while I look back
let progress = readProgress();
let isReady = false; // painted, and seen for a moment
let shownAt = 0;
let seconds = { spent: 0, since: 0 };
let activeAt = Date.now();
let againTimer;
let draftTimer;

// ---- showing

/** The next item at once from the buffer; where none is there, whatever the server says comes in its place. */
function showNext() {
  const item = buffer.advance();
  current = item;
  place = 0;
  view.viewing(null);
  view.notice("");
  if (item) {
    display(item.node, item.draft);
    view.announce("announce", { left: progress.n_left });
  } else if (!document.getElementById("empty")) {
    display(waitingPanel(), {});
  }
}

function display(node, values) {
  isReady = false;
  delete view.root.dataset.ready;
  view.show(node, values);
  shownAt = performance.now();
  seconds = { spent: 0, since: document.visibilityState === "visible" ? shownAt : 0 };
  afterPaint(() => {
    if (!node.isConnected) return;
    isReady = true;
    view.root.dataset.ready = node.dataset.lease ?? "";
  });
}

/** Once the frame with the change is on the screen, and a moment later: a key before that meant the item before. */
function afterPaint(work) {
  requestAnimationFrame(() => setTimeout(work, SEEN_MS));
}

function waitingPanel(words = "waiting") {
  const panel = document.createElement("section");
  panel.id = "empty";
  panel.className = "panel empty-state";
  panel.tabIndex = -1;
  panel.textContent = view.say(words);
  return panel;
}

// ---- other labels

/** Keys mean what is on the screen: where the labels were changed, page and buffer are loaded anew before they do not. */
server.heard = async (schema) => {
  if (schema === view.root.dataset.schema || isRenewing) return;
  if (place > 0 || document.activeElement === view.form.elements.comment) return; // words in hand; a later reply says it again
  isRenewing = true;
  isReady = false;
  buffer.clear();
  if (draftTimer && place === 0 && current) await saveDraft(current.lease);
  forgetDraft();
  await outbox.settled(SETTLE_MS); // else the new page might hold a question whose answer is arriving
  try {
    sessionStorage.setItem(RENEWED, "1");
  } catch {
    // The labels that are seen say it.
  }
  location.reload();
};

function tellRenewed() {
  try {
    if (sessionStorage.getItem(RENEWED)) view.notice(view.say("labelsChanged"));
    sessionStorage.removeItem(RENEWED);
  } catch {
    // See above.
  }
}

// ---- answering

function answer({ label = null, skip = null }) {
  if (!isReady || isRenewing) return;
  const given = { ...view.values(), label, skip };
  if (place > 0) return changeAnswer(given);
  if (!current) return;
  const item = current;
  forgetDraft();
  const record = { ...item, answer: given, words: view.name(given), key: newKey(), state: "saving" };
  send("submit", record, { seconds: spentSeconds() });
  order.add(item.lease);
  past.unshift(record);
  past.length = Math.min(past.length, DEPTH);
  buffer.finish(item.lease);
  count(given);
  view.below(null);
  showNext();
  tellOf(record);
  refill();
}

function changeAnswer(given) {
  const record = past[place - 1];
  Object.assign(record, { answer: given, words: view.name(given), key: newKey(), state: "saving", isChange: true });
  send("change", record, {});
  view.below(null);
  leave();
  tellOf(record);
}

function tellOf(record) {
  told = record;
  view.last(record, record === past[0]);
}

/** Into the outbox: from here on the answer survives whatever happens to this page. */
function send(action, { lease, answer: given, key, words }, more) {
  const { schema } = view.root.dataset;
  const fields = { lease, schema, label: given.label, skip: given.skip, comment: given.comment, ...more };
  outbox.add(action, key, { ...fields, is_flagged: given.is_flagged ? "1" : null }, words);
}

function spentSeconds() {
  const running = seconds.since ? performance.now() - seconds.since : 0;
  return ((seconds.spent + running) / 1000).toFixed(2);
}

function count({ label }) {
  const today = progress.n_answered_today + (label === null ? 0 : 1);
  const left = Math.max(progress.n_left - 1, 0);
  setProgress({ ...progress, n_answered_today: today, n_left: left, n_done: progress.n_in_round - left });
}

function setProgress(now) {
  progress = now;
  view.progress(now);
}

/** The server's count, less what it has not heard of yet. */
function correctProgress(now) {
  if (!now) return;
  const n = outbox.list().filter((record) => record.action === "submit").length;
  setProgress({ ...now, n_answered_today: now.n_answered_today + n, n_left: Math.max(now.n_left - n, 0) });
}

function readProgress() {
  return JSON.parse(view.root.dataset.progress);
}

// ---- what became of an answer

const UNCOUNTED = {
  round_closed: "uncountedRoundClosed",
  withdrawn: "uncountedWithdrawn",
  labels_changed: "uncountedLabelsChanged",
  taken: "uncountedTaken",
};

outbox.addEventListener("settled", ({ detail: { record, reply } }) => {
  const mine = past.find((one) => one.key === record.key);
  if (mine) {
    mine.isStored = reply.ok;
    mine.state = !reply.ok ? "refused" : reply.body.is_counted === false ? "uncounted" : mine.isChange ? "changed" : "saved";
    if (mine === told) tellOf(mine);
  }
  if (reply.ok && reply.body.is_counted === false) {
    outbox.refused.put(record.key, { ...record, reason: view.say(UNCOUNTED[reply.body.why] ?? "uncountedTaken") });
  }
  if (!current && !outbox.list().length) refill(); // what looked empty may have waited for this answer
});

outbox.addEventListener("change", () => {
  const n = outbox.slow();
  view.refused(outbox.refused.list());
  if (!n) return view.unsaved("");
  const words = view.say(n === 1 ? "unsavedOne" : "unsavedMany", { n });
  if (isOut(outbox.halted)) {
    shut(outbox.halted);
    return view.unsaved(`${words} ${view.say("removedKept")}`);
  }
  if (outbox.halted) view.notice(""); // it said the same
  if (outbox.halted === "signed_out") {
    return view.unsaved(`${words} ${view.say("signedOut")}`, { href: view.words.signInUrl, words: view.say("signIn") });
  }
  if (outbox.halted) return view.unsaved(`${words} ${view.say("otherPerson")}`);
  if (!navigator.onLine) return view.unsaved(`${words} ${view.say("offline")}`);
  view.unsaved(outbox.trouble ? `${words} ${outbox.trouble} ${view.say("sentAgain")}` : words);
});

window.addEventListener("beforeunload", (event) => {
  if (outbox.slow() && !isRenewing) event.preventDefault(); // what waits is kept in this browser
});

// ---- getting more

async function refill() {
  clearTimeout(againTimer);
  let reply;
  try {
    reply = await buffer.refill();
  } catch {
    return again(RETRY_MS, current ? "" : "notReached");
  }
  if (!reply || isRenewing) return; // another call of this function sees to it
  if (!reply.ok) return stopped(reply);
  isShut = false;
  correctProgress(reply.body.progress);
  if (current) return;
  if (buffer.ahead.length) {
    view.notice("");
    showNext();
    seen();
  } else if (reply.body.empty && !outbox.list().length) {
    showEmpty(reply.body.empty);
  } else {
    again(RETRY_MS);
  }
}

function showEmpty(html) {
  const { node } = makeItem({ html });
  view.notice("");
  if (node.dataset.kind === "no_round") forgetPast();
  const old = document.getElementById("empty");
  if (place === 0 && old?.dataset.kind !== node.dataset.kind) {
    display(node, {});
    view.announce("announceEmpty");
  }
  again(Number(node.dataset.againSeconds) * 1000);
}

function again(wait, words) {
  if (words) view.notice(view.say(words));
  againTimer = setTimeout(refill, wait);
}

function stopped(reply) {
  const halt = haltOf(reply);
  if (isOut(halt)) {
    shut(halt);
    return again(AWAY_MS); // they may be let in again
  }
  if (current) return; // the outbox says it; until then there is something to look at
  if (halt && halt === outbox.halted && outbox.slow()) return view.notice(""); // said with what is not saved
  if (halt === "signed_out") {
    return view.notice(view.say("signedOut"), { href: view.words.signInUrl, words: view.say("signIn") });
  }
  if (halt) return view.notice(view.say("otherPerson"));
  again(RETRY_MS * 2, reply.words ? undefined : "notReached");
  if (reply.words) view.notice(reply.words);
}

/** Out of this project or no longer to answer: nothing to change either. What was not sent stays in the browser. */
function shut(halt) {
  if (isShut) return;
  isShut = true;
  forgetDraft();
  buffer.clear();
  current = null;
  place = 0;
  view.viewing(null);
  view.below(null);
  view.notice("");
  forgetPast();
  display(waitingPanel(halt), {});
  view.announce(halt);
}

/** These answers can no longer be changed. */
function forgetPast() {
  if (place > 0) leave();
  past.length = 0;
  tellOf(null);
}

/** Tell the server what is on the screen where no other request does. */
async function seen() {
  try {
    correctProgress((await buffer.renew()).progress);
  } catch {
    // The next heartbeat says it.
  }
}

async function heartbeat() {
  if (document.visibilityState !== "visible" || Date.now() - activeAt > IDLE_MS) return;
  try {
    const { isHeld, progress: now } = await buffer.renew();
    correctProgress(now);
    if (!isHeld && place === 0) view.notice(view.say("late"), { command: "next", words: view.say("nextItem") });
  } catch {
    // Without a network there is nothing to renew; the answers wait in the outbox.
  }
}

/** Somebody is here. After a pause the first move asks at once what is still held. */
function active() {
  const pause = Date.now() - activeAt;
  activeAt = Date.now();
  if (pause > HEARTBEAT_MS) heartbeat();
}

function giveUpCurrent() {
  if (current) buffer.finish(current.lease);
  view.notice("");
  showNext();
  refill();
}

// ---- looking back

async function goTo(target) {
  if (isShut) return;
  if (target > past.length && past.length < DEPTH) await loadPast();
  else if (place === 0) loadPast({ isQuiet: true }); // their round may have been closed: said a moment later
  if (target > past.length) {
    if (!past.length && !view.isNoticing) view.notice(view.say("noEarlier"));
    return;
  }
  if (target <= 0) return leave();
  if (place === 0 && current) current.draft = view.values();
  place = target;
  const record = past[place - 1];
  view.below(null);
  view.notice("");
  display(record.node, record.answer);
  view.viewing(record.answer, record.words);
}

function leave() {
  if (place === 0) return;
  place = 0;
  view.viewing(null);
  view.below(null);
  view.notice("");
  if (current) return display(current.node, current.draft);
  display(waitingPanel(), {});
  refill();
}

/** Answers from before this page was loaded; those that are still on their way are not among them yet. */
async function loadPast({ isQuiet = false } = {}) {
  try {
    const reply = await server.get("history");
    if (!reply.ok) return;
    if (!reply.body.is_open) {
      forgetPast();
      return view.notice(view.say("roundClosed"));
    }
    const known = new Set(past.map((record) => record.lease));
    for (const item of order.sort(reply.body.items.map(makeItem))) {
      if (known.has(item.lease) || past.length >= DEPTH) continue;
      past.push({ ...item, state: "saved", isStored: true });
    }
  } catch {
    if (!isQuiet) view.notice(view.say("notReached"));
  }
}

/** What was answered last, or is looked at: the one that "why" and "reveal" speak of. The server says when they open. */
async function tell(action) {
  if (isShut) return;
  if (!past.length) await loadPast();
  const meant = () => past[Math.max(place - 1, 0)];
  const record = meant();
  if (!record) return view.isNoticing || view.notice(view.say("noEarlier"));
  try {
    const reply = await server.post(action, { lease: record.lease });
    if (record !== meant()) return; // another item's turn by now
    const text = record.node.querySelector(".item-text").textContent;
    const excerpt = text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text;
    if (reply.ok) view.below(reply.body.html, place === 0 && view.say(`${action}Last`, { text: excerpt }));
    else view.notice(reply.words);
  } catch {
    view.notice(view.say("notReached"));
  }
}

// ---- drafts

function forgetDraft() {
  clearTimeout(draftTimer);
  draftTimer = undefined;
}

function keepDraft() {
  forgetDraft();
  if (place > 0 || !current) return;
  const { lease } = current;
  draftTimer = setTimeout(() => saveDraft(lease), DRAFT_MS);
}

async function saveDraft(lease) {
  draftTimer = undefined;
  const { label, is_flagged, comment } = view.values();
  try {
    const fields = { lease, schema: view.root.dataset.schema, label, comment, is_flagged: is_flagged ? "1" : null };
    await server.post("draft", fields, { keepalive: true });
  } catch {
    // It is still in the form, and goes out with the answer.
  }
}

// ---- keys and clicks

const COMMANDS = {
  digit({ digit, only }) {
    const button = view.keyed(digit);
    if (!button) return false;
    if (isReady) press(button, only);
    return true;
  },
  confirm() {
    const { label, skip } = view.values();
    if (label === null && skip === null) return false;
    answer({ label, skip });
    return true;
  },
  skip: () => canAnswer() && (view.openSkip(), true),
  flag: () => canAnswer() && (view.toggleFlag(), true),
  comment: () => canAnswer() && (view.openComment(), true),
  filter: () => view.hasFilter && canAnswer() && (document.getElementById("filter").focus(), true),
  back: () => (goTo(place + 1), true),
  forward: () => place > 0 && (goTo(place - 1), true),
  leave: () => view.closeSkip() || (place > 0 && (leave(), true)),
  why: () => (tell("why"), true),
  reveal: () => (tell("reveal"), true),
  guidelines: () => (view.open("guidelines"), true),
  keys: () => (view.open("keys"), true),
  next: () => (giveUpCurrent(), true),
};

const canAnswer = () => !view.form.hidden;

/** Choose the button's answer and send it, or only choose it. */
function press(button, only) {
  const chosen = button.name === "label" ? { label: Number(button.value) } : { skip: button.value };
  if (!only) return answer(chosen);
  view.choose(chosen.label ?? null, chosen.skip ?? null);
  keepDraft();
}

listen((command, detail) => {
  active();
  return COMMANDS[command](detail);
});

view.form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter?.matches(".choice")) press(event.submitter, false);
});

// The second click of a double click would answer the item that has just come.
view.form.addEventListener(
  "click",
  (event) => {
    const isRepeated = event.detail > 1 && performance.now() - shownAt < REPEATED_CLICK_MS;
    if (isRepeated && event.target.closest(".choice")) event.preventDefault();
  },
  true,
);

document.addEventListener("click", (event) => {
  active();
  const button = event.target.closest("[data-command]");
  if (!button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (button.dataset.command === "dismiss") outbox.dismiss(button.dataset.key);
  else COMMANDS[button.dataset.command]({});
});
document.getElementById("confirm").addEventListener("click", () => COMMANDS.confirm());
view.form.elements.comment.addEventListener("input", keepDraft);
view.form.elements.is_flagged.addEventListener("change", keepDraft);
view.form.elements.comment.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing) return;
  event.preventDefault();
  view.focusItem();
});

for (const kind of ["pointerover", "focusin"]) {
  view.form.addEventListener(kind, (event) => view.explain(event.target.closest(".choice[name=label]")));
}

if (view.hasFilter) {
  const filter = document.getElementById("filter");
  filter.addEventListener("input", () => view.filterLabels());
  filter.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") {
      view.clearFilter();
      view.focusItem();
    } else if (event.key === "Enter" && !event.repeat) {
      const [first] = view.visible();
      if (first) press(first, event.shiftKey);
    } else if (event.key !== "Enter" && event.key !== "ArrowDown") {
      return;
    }
    if (event.key === "ArrowDown") view.step(1);
    event.preventDefault();
  });
  document.getElementById("labels").addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    view.step(by);
  });
}

document.addEventListener("visibilitychange", () => {
  const isVisible = document.visibilityState === "visible";
  const now = performance.now();
  if (seconds.since) seconds.spent += now - seconds.since;
  seconds.since = isVisible ? now : 0;
  if (!isVisible && draftTimer && place === 0) saveDraft(current.lease);
  if (!isVisible) return;
  active();
  if (!current) refill();
});
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
for (const kind of ["pointermove", "scroll"]) document.addEventListener(kind, active, { passive: true });
window.addEventListener("online", () => refill());
window.addEventListener("focus", () => current || refill()); // signed in again in another window
setInterval(heartbeat, HEARTBEAT_MS);

// ---- start

async function start() {
  const isLookingBack = new URLSearchParams(location.search).has("change");
  if (isLookingBack) history.replaceState(null, "", urls.work);
  const items = [isLookingBack ? null : view.firstItem(), ...view.itemsAhead()].filter(Boolean);
  await buffer.start(items);
  view.refused(outbox.refused.list());
  if (buffer.ahead.length) {
    showNext();
    seen();
  } else {
    display(waitingPanel(), {});
  }
  tellRenewed();
  outbox.flush(); // what an earlier page could not send
  refill();
}

start();
