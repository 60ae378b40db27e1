// A job's page follows its job: the server tells when something moved, and the part that moves asks for itself again.
// Where server-sent events can't be had, it asks every two seconds.
(() => {
  "use strict";
  const LEAST_MS = 500, POLL_MS = 2000;
  const box = () => document.querySelector("#job[data-stream]");
  let source = null, poll = 0, last = 0, waiting = 0;

  const ask = () => {
    last = Date.now();
    waiting = 0;
    box()?.dispatchEvent(new Event("moved"));
  };
  const moved = () => {
    if (!waiting) waiting = window.setTimeout(ask, Math.max(0, last + LEAST_MS - Date.now()));
  };
  const stop = () => {
    source?.close();
    source = null;
    window.clearInterval(poll);
    poll = 0;
  };
  const startPolling = () => {
    if (!poll) poll = window.setInterval(() => (box() ? ask() : stop()), POLL_MS);
  };

  const start = () => {
    const stream = box()?.dataset.stream;
    if (!stream) return;
    startPolling(); // until the stream is open
    if (!("EventSource" in window)) return;
    source = new EventSource(stream);
    source.onopen = () => {
      window.clearInterval(poll);
      poll = 0;
    };
    source.onmessage = moved;
    source.addEventListener("end", () => {
      stop();
      ask();
    });
    source.onerror = startPolling; // it tries again by itself; until it succeeds the page asks
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
  window.addEventListener("pagehide", stop);
})();
