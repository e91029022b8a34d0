// <button data-copies="id of a field" data-done="words">: puts the field's value on the clipboard.
"use strict";

for (const button of document.querySelectorAll("button[data-copies]")) {
  const field = document.getElementById(button.dataset.copies);
  button.hidden = !navigator.clipboard; // not over plain http: the field is selected there, Ctrl+C does the rest
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    button.textContent = button.dataset.done;
    document.getElementById("announcer").textContent = button.dataset.done;
  });
  field.addEventListener("focus", () => field.select());
  field.select();
}
