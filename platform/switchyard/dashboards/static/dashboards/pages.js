// Small habits of every page: the theme button, the list of pages (a menu on small screens), selects that send their form, tables that follow a fault to its line.
(() => {
  "use strict";
  const root = document.documentElement;

  const isDark = () =>
    root.dataset.theme === "dark" || (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-switch]");
    if (!button) return;
    root.dataset.theme = isDark() ? "light" : "dark";
    document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
    document.dispatchEvent(new Event("switchyard:theme"));
  });

  // On a small screen the list of pages opens by its button; where it is taller than the window the present page is in sight.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-menu]");
    if (!button) return;
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
  });
  // Not by scrollIntoView: Chromium lets the keyboard begin there then, and nobody reaches "Skip to the content".
  const here = document.querySelector(".side [aria-current]");
  const side = here?.closest(".side");
  if (side) {
    const below = here.getBoundingClientRect().bottom - side.getBoundingClientRect().bottom;
    if (below > 0) side.scrollTop += below + 24;
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-send]")) event.target.form.requestSubmit();
  });

  // "line 7, column 12" puts the caret of the document's text box there.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-line]");
    const box = document.querySelector("textarea.code");
    if (!link || !box) return;
    event.preventDefault();
    const lines = box.value.split("\n");
    const start = lines.slice(0, link.dataset.line - 1).reduce((sum, line) => sum + line.length + 1, 0);
    box.focus();
    box.setSelectionRange(start + Number(link.dataset.column || 1) - 1, start + (lines[link.dataset.line - 1] || "").length);
    box.scrollTop = Math.max(0, (link.dataset.line - 4) * 19);
  });

  // A form that asks first says what it asks in data-confirm.
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });
})();
