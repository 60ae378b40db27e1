// A version's page: slider, steps and number of the rollout say the same.
(() => {
  "use strict";
  for (const bar of document.querySelectorAll("[data-steps]")) {
    const [number, slider] = [bar.querySelector("input[type=number]"), bar.querySelector("input[type=range]")];
    slider.addEventListener("input", () => {
      number.value = slider.value;
    });
    number.addEventListener("input", () => {
      slider.value = number.value;
    });
    bar.addEventListener("click", (event) => {
      const step = event.target.closest("[data-percent]");
      if (!step) return;
      number.value = step.dataset.percent;
      slider.value = step.dataset.percent;
    });
  }
})();
