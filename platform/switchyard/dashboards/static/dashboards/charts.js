// Draws every [data-figure]: the figure comes from json_script, colours of text and grid from the page's tokens.
(() => {
  "use strict";
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const axis = (given) => ({
    ...given,
    gridcolor: token("--grid"),
    zerolinecolor: token("--line-strong"),
    linecolor: token("--line"),
    title: { standoff: 10, ...(given.title || {}), font: { size: 12, color: token("--muted") } },
  });

  const dressed = (layout) => {
    const out = {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: token("--sans"), size: 12, color: token("--ink") },
      hoverlabel: { bgcolor: token("--card"), bordercolor: token("--line-strong"), font: { color: token("--ink") }, align: "left" },
    };
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) out[name] = axis(layout[name]);
    return out;
  };

  const draw = (place) => {
    const source = document.getElementById(place.dataset.figure);
    if (!source || !window.Plotly) return;
    const figure = JSON.parse(source.textContent);
    window.Plotly.react(place, figure.data, dressed(figure.layout), { displayModeBar: false, responsive: true }).then(() => {
      place.dataset.drawn = "yes";
    });
  };

  const drawAll = (root) => (root.querySelectorAll ? root : document).querySelectorAll("[data-figure]").forEach(draw);

  document.addEventListener("DOMContentLoaded", () => drawAll(document));
  document.addEventListener("htmx:afterSettle", (event) => drawAll(event.target));
  document.addEventListener("switchyard:theme", () => drawAll(document));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
})();
