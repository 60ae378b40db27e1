// The editor of policies: colours while somebody types, the server's verdict beside the text, suggestions to take, and a
// text that is never lost: it stays in this tab when the session ends, the connection breaks or somebody else has saved.
(() => {
  "use strict";
  const WAIT_MS = 350, MOST_COLOURED = 4000, LENS = 90;
  const form = document.getElementById("policy-form");
  const box = document.getElementById("document");
  if (!form || !box) return;
  const editor = document.getElementById("editor");
  const [gutter, colours] = [editor.querySelector(".gutter"), editor.querySelector(".colours")];
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const words = read("editor-words");
  const kinds = read("editor-tokens");
  const token = new RegExp(kinds.map(([name, pattern]) => `(?<${name}>${pattern})`).join("|"), "g");
  const key = `policy:${form.dataset.user}:${form.elements.scope.value}`;
  const given = box.value;
  let faults = [], checked = null, timer = 0, asking = null, saved = false;

  // --- colours -------------------------------------------------------------------------------------------------------
  const piecesOf = (line) => {
    const pieces = [];
    let end = 0;
    for (const match of line.matchAll(token)) {
      if (match.index > end) pieces.push([line.slice(end, match.index), ""]);
      pieces.push([match[0], `t-${Object.keys(match.groups).find((name) => match.groups[name] !== undefined)}`]);
      end = match.index + match[0].length;
    }
    pieces.push([line.slice(end), ""]);
    return pieces;
  };

  // Columns count code points; a fault reaches to the end of the word it begins at.
  const rangeOf = (line, column) => {
    const start = Math.min(Array.from(line).slice(0, column - 1).join("").length, Math.max(0, line.length - 1));
    const word = /^(?:["'][^"']*["']?|[\w.@-]+|\S)/.exec(line.slice(start));
    return [start, start + (word ? word[0].length : line.length - start)];
  };

  const span = (text, name) => {
    const node = document.createElement("span");
    if (name) node.className = name;
    node.textContent = text;
    return node;
  };

  const marked = (line, fault) => {
    const [from, to] = rangeOf(line, fault.column || 1);
    const nodes = [];
    let at = 0;
    for (const [text, name] of piecesOf(line)) {
      const cuts = [0, Math.max(0, Math.min(text.length, from - at)), Math.max(0, Math.min(text.length, to - at)), text.length];
      for (let i = 0; i < 3; i += 1) {
        const part = text.slice(cuts[i], cuts[i + 1]);
        if (part) nodes.push(span(part, i === 1 ? `${name} t-fault` : name));
      }
      at += text.length;
    }
    const message = fault.message.length > LENS ? `${fault.message.slice(0, LENS)}…` : fault.message;
    return [...nodes, span(message, "lens")];
  };

  const paint = () => {
    const lines = box.value.split("\n"), then = checked === null ? [] : checked.split("\n");
    const byLine = new Map();
    for (const fault of faults) {
      const stands = fault.line && lines[fault.line - 1] === then[fault.line - 1];
      if (stands && !byLine.has(fault.line)) byLine.set(fault.line, fault);
    }
    const text = document.createDocumentFragment(), numbers = document.createDocumentFragment();
    lines.forEach((line, i) => {
      const fault = byLine.get(i + 1), number = document.createElement("div");
      number.textContent = String(i + 1);
      if (fault) number.className = "fault";
      numbers.append(number);
      if (fault) text.append(...marked(line, fault));
      else if (lines.length > MOST_COLOURED) text.append(line);
      else text.append(...piecesOf(line).filter(([part]) => part).map(([part, name]) => (name ? span(part, name) : part)));
      text.append("\n");
    });
    colours.replaceChildren(text);
    gutter.replaceChildren(numbers);
  };

  // --- places --------------------------------------------------------------------------------------------------------
  const goTo = (line, column) => {
    const lines = box.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    const [from, to] = rangeOf(lines[line - 1] || "", column || 1);
    box.focus({ preventScroll: true });
    box.setSelectionRange(start + from, start + to);
    editor.scrollTop = Math.max(0, (line - 5) * 20);
    editor.scrollLeft = 0;
    editor.scrollIntoView({ block: "nearest" });
  };
  const lineOfCaret = () => box.value.slice(0, box.selectionStart).split("\n").length;
  const nextFault = () => {
    const here = lineOfCaret(), placed = faults.filter((fault) => fault.line).sort((a, b) => a.line - b.line);
    const next = placed.find((fault) => fault.line > here) || placed[0];
    if (next) goTo(next.line, next.column);
  };

  // Typed through the browser, so that undo knows it.
  const write = (start, end, text) => {
    box.focus({ preventScroll: true });
    box.setSelectionRange(start, end);
    if (!document.execCommand("insertText", false, text)) {
      box.setRangeText(text, start, end, "end");
      box.dispatchEvent(new Event("input"));
    }
  };
  const take = (suggestion) => {
    if (!suggestion || box.value !== checked) return;
    const points = Array.from(checked), units = (n) => points.slice(0, n).join("").length;
    write(units(suggestion.start), units(suggestion.end), suggestion.text);
    check();
  };
  const insert = (text, asBlock) => {
    let at = box.selectionStart;
    if (!asBlock) return write(at, box.selectionEnd, text);
    at = box.value.indexOf("\n", at) < 0 ? box.value.length : box.value.indexOf("\n", at) + 1;
    return write(at, at, at && box.value[at - 1] !== "\n" ? `\n${text}` : text);
  };

  // --- what the server says --------------------------------------------------------------------------------------------
  const state = (text, tone = "") => {
    const place = document.getElementById("editor-state");
    place.textContent = text;
    place.className = `small ${tone ? `badge ${tone}` : "muted"}`;
  };
  const ended = (answer) => answer.redirected && new URL(answer.url).pathname.startsWith("/login");
  const tellEnded = () => state(words.session_ended, "warn");
  const body = (more = {}) => {
    const data = new FormData(form);
    for (const [name, value] of Object.entries(more)) data.set(name, value);
    return data;
  };
  // Logging in again in another tab changes the form's token: fetch the new one once and repeat.
  const post = async (url, more, signal) => {
    const send = () => fetch(url, { method: "POST", body: body(more), signal, headers: { "X-Editor": "1" } });
    const answer = await send();
    if (answer.status !== 403) return answer;
    const fresh = await fetch(window.location.href, { signal });
    if (ended(fresh)) return fresh;
    const page = new DOMParser().parseFromString(await fresh.text(), "text/html");
    const found = page.querySelector("#policy-form [name=csrfmiddlewaretoken]");
    if (!found) return answer;
    form.elements.csrfmiddlewaretoken.value = found.value;
    return send();
  };

  const check = async () => {
    window.clearTimeout(timer);
    asking?.abort();
    asking = new AbortController();
    const text = box.value, mine = asking;
    try {
      const answer = await post(form.dataset.check, {}, mine.signal);
      if (ended(answer)) return tellEnded();
      if (!answer.ok) return state(words.not_checked, "warn");
      const said = await answer.json();
      if (box.value !== text) return undefined;
      [faults, checked] = [said.faults, text];
      document.getElementById("verdict").innerHTML = said.verdict;
      paint();
      return state(box.value === given ? "" : words.unsaved);
    } catch (error) {
      return error.name === "AbortError" ? undefined : state(words.no_connection, "warn");
    }
  };

  const save = async () => {
    state(words.saving);
    try {
      const answer = await post(window.location.href, {});
      if (ended(answer)) return tellEnded();
      if (answer.status === 201) {
        saved = true;
        sessionStorage.removeItem(key);
        window.location.assign((await answer.json()).location);
        return undefined;
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const [notices, base] = [page.getElementById("notices"), page.querySelector("#policy-form [name=base]")];
      if (!notices) return state(`${words.not_saved} (${answer.status})`, "bad");
      document.getElementById("notices").replaceWith(notices);
      if (base) form.elements.base.value = base.value;
      keep();
      state(words.not_saved, "bad");
      notices.scrollIntoView({ block: "center" });
      return check();
    } catch {
      return state(words.no_connection, "warn");
    }
  };

  // A trial or a threshold: the fields of its box and the text as it stands; the answer is a piece of the page.
  const ask = async (around) => {
    const asked = {}, place = around.querySelector(".answer");
    for (const field of around.querySelectorAll("[name]")) asked[field.name] = field.value;
    try {
      const answer = await post(around.dataset.ask, asked);
      if (ended(answer)) return tellEnded();
      if (answer.ok || answer.status === 400) place.innerHTML = await answer.text();
      else place.textContent = words.not_checked;
    } catch {
      state(words.no_connection, "warn");
    }
    return undefined;
  };

  // --- never lost --------------------------------------------------------------------------------------------------------
  const keep = () => {
    const kept = { text: box.value, note: form.elements.note.value, base: form.elements.base.value };
    try {
      if (box.value === given) sessionStorage.removeItem(key);
      else sessionStorage.setItem(key, JSON.stringify(kept));
    } catch {
      state(words.not_kept, "warn"); // the browser's store is full or closed
    }
  };
  const restore = () => {
    const kept = JSON.parse(sessionStorage.getItem(key) || "null");
    if (!kept || kept.text === box.value || document.querySelector("#notices .notice")) return;
    box.value = kept.text;
    form.elements.note.value = kept.note;
    if (kept.base) form.elements.base.value = kept.base;
    const notice = document.createElement("div"), drop = document.createElement("button");
    notice.className = "notice";
    notice.append(`${words.restored} `, drop);
    drop.type = "button";
    drop.textContent = words.discard;
    drop.addEventListener("click", () => {
      sessionStorage.removeItem(key);
      saved = true;
      window.location.reload();
    });
    document.getElementById("notices").append(notice);
  };

  // --- what happens -----------------------------------------------------------------------------------------------------
  box.addEventListener("input", () => {
    paint();
    keep();
    state(words.unsaved);
    window.clearTimeout(timer);
    timer = window.setTimeout(check, WAIT_MS);
  });
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "F8") {
      event.preventDefault();
      nextFault();
    } else if (event.key === "." && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      const here = lineOfCaret();
      take((faults.find((f) => f.line === here && f.suggestion) || faults.find((f) => f.suggestion))?.suggestion);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      const line = box.value.slice(0, box.selectionStart).split("\n").pop();
      event.preventDefault();
      write(box.selectionStart, box.selectionEnd, `\n${/^ */.exec(line)[0]}`);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    event.preventDefault();
    save();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
  document.addEventListener(
    "click",
    (event) => {
      const place = event.target.closest("[data-line]"), fix = event.target.closest(".fix"), add = event.target.closest(".insert");
      if (place) {
        event.preventDefault();
        event.stopPropagation();
        goTo(Number(place.dataset.line), Number(place.dataset.column || 1));
      } else if (fix) {
        take({ start: Number(fix.dataset.start), end: Number(fix.dataset.end), text: fix.dataset.text });
      } else if (add) {
        insert(add.dataset.insert, "block" in add.dataset);
      } else if (event.target.closest(".ask")) ask(event.target.closest(".ask-box"));
    },
    true,
  );
  document.getElementById("fact-filter")?.addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const group of document.querySelectorAll(".fact-group")) {
      let shown = 0;
      for (const item of group.querySelectorAll("[data-fact]")) {
        item.hidden = Boolean(wanted) && !item.dataset.fact.toLowerCase().includes(wanted);
        shown += item.hidden ? 0 : 1;
      }
      group.hidden = shown === 0;
      if (wanted) group.open = shown > 0;
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (!saved && box.value !== given) event.preventDefault();
  });

  editor.classList.add("on");
  restore();
  paint();
  check();
})();
