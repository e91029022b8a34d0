// Deciding disputes by keyboard: the same keys as on the annotating screen. Without it the form works alone.
import { listen } from "./label/keys.js";

const form = document.getElementById("decision");
const reason = document.getElementById("reason");
const filter = document.getElementById("filter");

for (const one of document.querySelectorAll("[data-needs-script]")) one.hidden = false;

const choose = (radio) => {
  if (!radio) return false;
  radio.checked = true;
  radio.scrollIntoView({ block: "nearest" });
  reason.focus();
  return true;
};
const follow = (command) => {
  const link = document.querySelector(`a[data-command="${command}"]`);
  if (link) location.assign(link.href);
  return Boolean(link);
};
const open = (id) => {
  document.getElementById(id).showModal();
  return true;
};
const focus = (field) => {
  field?.focus();
  return Boolean(field);
};

const acts = {
  digit: ({ digit }) => choose(form?.querySelector(`[data-key="${digit}"]`)),
  skip: () => choose(form?.querySelector("[data-none]")),
  comment: () => focus(reason),
  filter: () => focus(filter),
  confirm: () => {
    form?.requestSubmit(); // what is missing is asked for by the browser
    return Boolean(form);
  },
  back: () => follow("back"),
  forward: () => follow("forward"),
  guidelines: () => open("guidelines"),
  keys: () => open("keys"),
};
listen((command, detail, event) => {
  // Arrows move between radio buttons.
  if (event.code.startsWith("Arrow") && event.target.matches?.("input[type=radio]")) return false;
  return acts[command]?.(detail) ?? false;
});

for (const opener of document.querySelectorAll("[data-command=guidelines], [data-command=keys]")) {
  opener.addEventListener("click", (event) => {
    event.preventDefault();
    open(opener.dataset.command);
  });
}
for (const field of [reason, filter]) {
  field?.addEventListener("keydown", (event) => {
    if (event.key === "Escape") field.blur();
  });
}

// Many labels: what is typed hides those that do not hold it.
const choices = () => [...(form?.querySelectorAll(".choice:not([hidden]) [type=radio]") ?? [])];
filter?.addEventListener("input", () => {
  const wanted = filter.value.trim().toLocaleLowerCase();
  for (const choice of form.querySelectorAll(".choice")) {
    choice.hidden = !choice.textContent.toLocaleLowerCase().includes(wanted);
  }
});
filter?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // the form is not complete yet
  choose(choices()[0]);
});
