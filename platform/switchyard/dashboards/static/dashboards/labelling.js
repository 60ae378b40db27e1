// Number keys press the suggested labels; not while somebody types or a modifier is held.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input, select, textarea")) return;
  const button = document.querySelector(`#label-form button[data-key="${CSS.escape(event.key)}"]`);
  if (button) button.click();
});
