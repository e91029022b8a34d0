// What is on the screen: the item, its form, the line below it. Knows the page, decides nothing.

const find = (id) => document.getElementById(id);
const LAST_KEPT = 20; // refused answers listed at most

export class View {
  constructor() {
    this.root = find("labeling");
    this.form = find("answer");
    this.words = find("words").dataset;
    this.buttons = [...this.form.querySelectorAll("#labels .choice")];
    this.reasons = [...this.form.querySelectorAll(".skip-reasons .choice")];
    this.hasFilter = Boolean(find("filter"));
    for (const part of this.root.querySelectorAll("[data-needs-script]")) part.hidden = false;
  }

  /** The item now on the screen: as the server sent it with the page. */
  firstItem() {
    const node = find("item");
    return node && { lease: node.dataset.lease, node, draft: this.values() };
  }

  itemsAhead() {
    return [...this.root.querySelectorAll("template[data-ahead]")].map((template) => {
      const node = template.content.firstElementChild;
      template.remove();
      return { lease: node.dataset.lease, node, draft: JSON.parse(template.dataset.draft) };
    });
  }

  /** Swap the item (or an empty state) in, with what its form holds. Focus stays where keys work. */
  show(node, values) {
    const old = find("item") ?? find("empty");
    const hadFocus = old?.contains(document.activeElement) || this.form.contains(document.activeElement);
    if (old !== node) old?.replaceWith(node);
    this.form.hidden = node.id !== "item";
    this.fill(values ?? {});
    this.closeSkip();
    this.clearFilter();
    if (hadFocus) node.focus({ preventScroll: true });
    window.scrollTo({ top: 0 });
  }

  fill({ label = null, skip = null, is_flagged = false, comment = "" }) {
    this.form.elements.is_flagged.checked = is_flagged;
    this.form.elements.comment.value = comment;
    find("commenting").open = Boolean(comment);
    this.choose(label, skip);
  }

  /** What the form says now, choice included. */
  values() {
    const pressed = this.form.querySelector(".choice[aria-pressed=true]");
    const chosen = { label: null, skip: null };
    if (pressed) chosen[pressed.name] = pressed.name === "label" ? Number(pressed.value) : pressed.value;
    return { ...chosen, is_flagged: this.form.elements.is_flagged.checked, comment: this.form.elements.comment.value };
  }

  choose(label, skip = null) {
    for (const button of this.buttons) button.setAttribute("aria-pressed", Number(button.value) === label && label !== null);
    for (const button of this.reasons) button.setAttribute("aria-pressed", button.value === skip);
    this.explain(this.buttons[label ?? -1] ?? this.form.querySelector("#skip"));
    const confirm = find("confirm");
    confirm.hidden = label === null && skip === null;
    if (!confirm.hidden) confirm.querySelector("span").textContent = this.say("confirm", { label: this.name({ label, skip }) });
  }

  /** What a label means, below the labels, while it is pointed at. */
  explain(button) {
    const definition = button?.name === "label" && find(`label-note-${button.value}`)?.querySelector("dd");
    if (button) find("label-note").textContent = definition ? definition.textContent : "";
    if (button) find("label-note").hidden = !definition;
  }

  /** The words for an answer: its label's name, or why it was skipped. */
  name({ label, skip }) {
    if (label === null) return this.say("skipped", { reason: this.#reason(skip) });
    return this.buttons[label]?.querySelector(".choice-name").textContent ?? "";
  }

  #reason(skip) {
    return this.reasons.find((one) => one.value === skip)?.querySelector(".choice-name").textContent ?? "";
  }

  /** The button that a digit stands for: a reason while the reasons are open, else a label. */
  keyed(digit) {
    const among = find("skip").open ? this.reasons : this.buttons;
    return among.find((button) => button.dataset.key === digit) ?? null;
  }

  openSkip() {
    find("skip").open = true;
    this.reasons[0].focus();
  }

  closeSkip() {
    const skip = find("skip");
    if (!skip.open) return false;
    const hadFocus = skip.contains(document.activeElement);
    skip.open = false;
    if (hadFocus) this.focusItem();
    return true;
  }

  openComment() {
    find("commenting").open = true;
    this.form.elements.comment.focus();
  }

  toggleFlag() {
    const box = this.form.elements.is_flagged;
    box.checked = !box.checked;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  }

  focusItem() {
    (find("item") ?? find("empty"))?.focus({ preventScroll: true });
  }

  open(id) {
    find(id).showModal();
  }

  // ---- the filter of a long list: hides, never sorts

  filterLabels() {
    const words = find("filter").value.trim().toLocaleLowerCase();
    for (const button of this.buttons) {
      button.hidden = !button.querySelector(".choice-name").textContent.toLocaleLowerCase().includes(words);
    }
    const fitting = this.visible();
    for (const button of this.buttons) button.toggleAttribute("data-first", Boolean(words) && button === fitting[0]);
    const isNone = fitting.length === 0;
    find("filter-count").textContent = !words ? "" : this.say(isNone ? "noMatch" : "matches", { n: fitting.length });
    find("filter-count").classList.toggle("sr-only", !isNone); // a list can be seen; an empty place needs words
  }

  clearFilter() {
    if (!this.hasFilter) return;
    const isOn = find("filter").value !== "";
    find("filter").value = "";
    if (isOn) this.filterLabels();
  }

  visible() {
    return this.buttons.filter((button) => !button.hidden);
  }

  /** Move the focus through the visible labels; past the first one back into the filter. */
  step(by) {
    const all = this.visible();
    const place = all.indexOf(document.activeElement) + by;
    const target = place < 0 ? find("filter") : all[Math.min(place, all.length - 1)];
    target?.focus();
    target?.scrollIntoView({ block: "nearest" });
  }

  // ---- lines around the item

  progress({ n_answered_today, n_left, n_done, n_in_round }) {
    const bar = find("progress");
    bar.querySelector("progress").max = Math.max(n_in_round, 1);
    bar.querySelector("progress").value = n_done;
    bar.querySelector("progress").hidden = n_in_round === 0;
    const words = n_in_round === 0 ? "progressNoRound" : "progress";
    bar.querySelector("span").textContent = this.say(words, { today: n_answered_today, left: n_left });
  }

  announce(name, values) {
    find("announcer").textContent = this.say(name, values);
  }

  /** Looking back at this answer, told by its words; nothing: at no answer. The line under the item would speak of another one. */
  viewing(given, answer) {
    find("viewing").hidden = !given;
    find("last").hidden = Boolean(given) || !find("last").hasChildNodes();
    if (!given) return;
    const isSkip = given.skip !== null;
    const words = isSkip ? this.say("viewingSkipped", { reason: this.#reason(given.skip) }) : this.say("viewing", { answer });
    find("viewing").querySelector("p").textContent = words;
    find("announcer").textContent = words;
  }

  /** The line under the item: what became of an answer, and, of the last one, what can be done with it. */
  last(record, isLast) {
    const line = find("last");
    line.hidden = !record || !find("viewing").hidden;
    if (!record) return line.replaceChildren();
    const words = document.createElement("span");
    const name = document.createElement("strong");
    name.dir = "auto";
    name.textContent = record.words;
    words.append(`${this.say(record.state)} · `, name);
    const acts = isLast ? [["back", "change", "U"]] : [];
    line.dataset.state = record.state;
    line.replaceChildren(words, ...acts.map(([act, name, key]) => this.#act(act, this.say(name), key)));
  }

  #act(command, words, key) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "last-act";
    button.dataset.command = command;
    const cap = document.createElement("kbd");
    cap.className = "keycap";
    cap.setAttribute("aria-hidden", "true");
    cap.textContent = key;
    button.append(words, cap);
    return button;
  }

  /** HTML that the server rendered, under the item, and which item it speaks of; nothing: away with it. */
  below(html, title) {
    const panel = find("reasons");
    panel.innerHTML = html ?? "";
    panel.hidden = !html;
    if (!html || !title) return;
    const heading = panel.querySelector("h3") ?? document.createElement("h3");
    heading.className = "font-semibold";
    heading.textContent = title;
    if (!heading.isConnected) panel.prepend(heading);
  }

  notice(words, link) {
    this.#line(find("notice"), words, link);
  }

  get isNoticing() {
    return !find("notice").hidden;
  }

  unsaved(words, link) {
    this.#line(find("unsaved"), words, link);
  }

  #line(line, words, link) {
    line.hidden = !words;
    if (line.dataset.words === words) return; // a live region speaks only when something changed
    line.dataset.words = words;
    line.replaceChildren(words);
    if (!link) return;
    const act = document.createElement(link.href ? "a" : "button");
    act.className = "btn btn-sm";
    act.textContent = link.words;
    if (link.href) act.href = link.href;
    else Object.assign(act, { type: "button" }).dataset.command = link.command;
    line.append(" ", act);
  }

  refused(records) {
    const list = find("refused").querySelector("ul");
    find("refused").hidden = records.length === 0;
    list.replaceChildren(...records.slice(-LAST_KEPT).map((record) => this.#refusedLine(record)));
  }

  #refusedLine(record) {
    const line = document.createElement("li");
    const name = document.createElement("strong");
    name.textContent = record.words;
    name.dir = "auto";
    const dismiss = this.#act("dismiss", this.say("dismiss"), "");
    dismiss.querySelector("kbd").remove();
    dismiss.dataset.key = record.key;
    const moment = new Date(record.at).toLocaleTimeString(document.documentElement.lang, { timeStyle: "short" });
    line.append(`${moment} · `, name, ` · ${record.reason} `, dismiss);
    return line;
  }

  /** A translated sentence with its {places} filled. */
  say(name, values = {}) {
    return (this.words[name] ?? "").replace(/\{(\w+)\}/g, (all, place) => values[place] ?? all);
  }
}
