// What every page needs beside htmx: a fresh CSRF token on each request, and menus that close.
"use strict";

const cookie = (name) =>
  document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";

// From the cookie and not from the page: it changes when somebody signs in again in another tab.
document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRFToken"] = cookie("csrftoken");
});

// What the site says of an outage goes to the top of the page; what a proxy says in its place would replace a part of it.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const isOutage = detail.xhr.status === 429 || detail.xhr.status >= 500;
  if (isOutage && detail.xhr.getResponseHeader("HX-Retarget") === "#message") detail.shouldSwap = true;
});

// A <details data-closes> is a menu: a click elsewhere or Escape closes it.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-closes][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details[data-closes][open]")) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
});

// A <time> is shown in the zone that the reader has chosen, else in the device's.
const timeZone = document.documentElement.dataset.timeZone || undefined;
const localTimes = (root) => {
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    time.dataset.local = "";
    const moment = new Date(time.dateTime);
    time.title = time.textContent;
    const style = { dateStyle: "medium", timeStyle: "short", timeZone };
    time.textContent = moment.toLocaleString(document.documentElement.lang, style);
  }
};
document.addEventListener("DOMContentLoaded", () => localTimes(document));
document.addEventListener("htmx:afterSwap", (event) => localTimes(event.target));

// The present tab in the middle of its bar, at once and without moving the page, as scrollIntoView might.
document.addEventListener("DOMContentLoaded", () => {
  const tab = document.querySelector("header nav [aria-current]");
  if (!tab) return;
  const middle = (one) => one.getBoundingClientRect().left + one.getBoundingClientRect().width / 2;
  const bar = tab.closest("nav");
  bar.scrollBy({ left: middle(tab) - middle(bar), behavior: "instant" });
});

// A form that is sent once: its button rests until the answer comes.
document.addEventListener("submit", (event) => {
  if (event.target.matches("form[data-once]")) {
    for (const button of event.target.querySelectorAll("button:not([type=button])")) {
      setTimeout(() => (button.disabled = true)); // after the button's own value was sent
    }
  }
});
window.addEventListener("pageshow", (event) => {
  // Back from the browser's cache: what rested works again.
  if (event.persisted) for (const button of document.querySelectorAll("form[data-once] button")) button.disabled = false;
});
