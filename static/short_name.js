// The short name follows the name until somebody writes one of their own. The server makes the same where it is empty.
"use strict";

const [name, slug] = ["id_name", "id_slug"].map((id) => document.getElementById(id));
const shortOf = (text) =>
  text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().replace(/[^a-z0-9\s_-]/g, "").trim()
    .replace(/[\s_-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60);
let isOwn = slug.value !== "" && slug.value !== shortOf(name.value);
slug.addEventListener("input", () => (isOwn = slug.value !== ""));
name.addEventListener("input", () => {
  if (!isOwn) slug.value = shortOf(name.value);
});
