// Which key means what, by its place on the keyboard: the same on AZERTY and on the number pad.

const COMMANDS = {
  Enter: "confirm",
  NumpadEnter: "confirm",
  KeyS: "skip",
  KeyF: "flag",
  KeyC: "comment",
  KeyU: "back",
  Backspace: "back",
  ArrowLeft: "back",
  ArrowRight: "forward",
  Escape: "leave",
  KeyR: "reveal",
  KeyW: "why",
  KeyG: "guidelines",
};

const TYPING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
const PRESSABLE = "button, a[href], summary, input";

/** Letters follow the layout where it has one (U is U on Dvorak); digits and the rest follow the place. */
const commandOf = (event) => {
  if (event.key === "?") return "keys";
  if (event.key === "/" || event.code === "NumpadDivide") return "filter";
  const letter = /^[a-z]$/i.test(event.key) ? `Key${event.key.toUpperCase()}` : "";
  return COMMANDS[letter || event.code];
};

const digitOf = (event) => /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1];

/** Nothing here is for us: a shortcut of the browser, a half-written character, a held key, a field, a dialog. */
const isForeign = (event) =>
  event.defaultPrevented || event.isComposing || event.keyCode === 229 || event.ctrlKey || event.metaKey ||
  event.altKey || event.getModifierState("AltGraph") || event.target.closest?.(TYPING) ||
  document.querySelector("dialog[open]");

/** Calls `act(command, detail)`; a digit is "digit" with its character and whether it only chooses. */
export const listen = (act) => {
  document.addEventListener("keydown", (event) => {
    if (isForeign(event)) return;
    const digit = digitOf(event);
    const command = digit ? "digit" : commandOf(event);
    if (!command) return;
    if (command === "confirm" && event.target.closest?.(PRESSABLE)) {
      if (event.repeat) event.preventDefault(); // a held key presses its button once
      return;
    }
    // Of a held key the first press counts; the rest neither acts nor scrolls.
    if (event.repeat || act(command, { digit, only: event.shiftKey }, event)) event.preventDefault();
  });
};
