// A file that cannot be taken is refused before it is sent; the server refuses it as well.
"use strict";

const chosen = document.querySelector("input[type=file][data-most-bytes]");
const judge = () => {
  const [file] = chosen.files;
  const isTooLarge = file && file.size > Number(chosen.dataset.mostBytes);
  const isEmpty = file && file.size === 0;
  chosen.setCustomValidity(isTooLarge ? chosen.dataset.tooLarge : isEmpty ? chosen.dataset.isEmpty : "");
  if (isTooLarge || isEmpty) chosen.reportValidity();
};
chosen?.addEventListener("change", judge);
window.addEventListener("pageshow", () => chosen && judge()); // back: the browser may still hold the file
