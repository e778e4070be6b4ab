// The reader's desk: one patch, one pad. Keys are answered here; only a commit
// goes to the server. What is not committed yet is kept in this browser, so that a
// closed tab or a crash goes on where it was.

const STEP = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10 };
const PAN = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const LOST = "Not confirmed as saved. Press Enter again.";
const WHOLE = "A score is a whole number from 0 to 100; correct what is typed.";
const LENGTHS_UM = [5, 10, 20, 25, 50, 100, 200, 250, 500, 1000];

export default function (component) {
  const root = component.parentElement;
  const desk = root.desk ?? (root.desk = makeDesk(root));
  desk.update(component);
  return () => desk.leave();
}

function makeDesk(root) {
  const find = (name) => root.querySelector(`.${name}`);
  const [glass, image, box, slide] = [find("glass"), root.querySelector("img"), find("box"), find("slide")];
  let send = () => {};
  let data = null;
  let state = null;
  const view = { zoom: 1, x: 0, y: 0 };

  // ---- what is scored -------------------------------------------------------

  const draftKey = (token) => `cellularity.draft.${token}`;

  function begin(refused) {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(draftKey(data.token))); } catch { kept = null; }
    state = {
      value: data.start ?? null, confidence: null, reason: null, asking: false,
      paused: false, seconds: 0, ...(kept ?? {}), sending: false,
    };
    state.running = null;
    if (refused) note(data.error, true);
    else if (kept?.sending) note(LOST, true);
    else note(data.saved);
    image.onload = () => { whole(); clock(true); root.host?.setAttribute("data-shown", data.token); };
    image.src = data.image;
    find("cover").hidden = true;
    box.value = state.value ?? "";
  }

  // A score stays here until the server says that it has it: no token ever comes back.
  function keep() {
    if (data.mode === "feedback") return;
    try {
      const { value, confidence, reason, sending } = state;
      const draft = { value, confidence, reason, sending, seconds: spent() };
      localStorage.setItem(draftKey(data.token), JSON.stringify(draft));
    } catch { /* a browser without storage only forgets an unfinished score */ }
  }

  function forget(token) {
    try { localStorage.removeItem(draftKey(token)); } catch { /* nothing was kept */ }
  }

  // The commit was refused or came to nothing; the score stands, and the keys answer.
  function resume(why) {
    state.sending = false;
    clock(true);
    keep();
    note(why, true);
  }

  function clock(run) {
    const now = performance.now();
    if (state.running !== null) state.seconds += (now - state.running) / 1000;
    state.running = run && !state.paused && !state.sending && !document.hidden ? now : null;
  }

  const spent = () =>
    state.seconds + (state.running === null ? 0 : (performance.now() - state.running) / 1000);

  const idle = () => state && !state.paused && !state.sending;

  function score(value) {
    if (!idle() || data.mode === "feedback") return;
    state.value = Math.max(0, Math.min(100, Math.round(value)));
    state.reason = null;
    state.asking = false;
    note("");
    keep();
    draw();
  }

  // What the box cannot be read as is no score, and not the digits before it either.
  function typed() {
    if (!idle() || data.mode === "feedback") return;
    if (box.value !== "" && box.checkValidity()) return score(Number(box.value));
    state.value = null;
    state.reason = null;
    state.asking = false;
    note(box.checkValidity() ? "" : WHOLE, true);
    keep();
    draw();
  }

  function sure(level) {
    if (!idle() || data.mode === "feedback") return;
    state.confidence = level;
    keep();
    draw();
  }

  function because(reason) {
    state.reason = reason;
    state.value = null;
    state.asking = false;
    note("Press Enter to record that this patch cannot be scored.");
    keep();
    draw();
  }

  function pause() {
    if (!state || state.sending) return;
    state.paused = !state.paused;
    clock(true);
    find("cover").hidden = !state.paused;
    keep();
    draw();
  }

  function commit() {
    if (!idle()) return;
    if (data.mode !== "feedback" && !box.checkValidity()) {
      note(WHOLE, true);
      return;
    }
    if (data.mode !== "feedback" && state.value === null && state.reason === null) {
      note("Give a score first: 0 to 9 for tens, arrows for single percents, or N.", true);
      return;
    }
    clock(false);
    state.sending = true;
    keep();
    note("Saving…");
    draw();
    send("commit", {
      token: data.token, assignment: data.assignment, phase: data.phase, mode: data.mode,
      value: state.value, reason: state.reason, confidence: state.confidence,
      seconds: Math.round(state.seconds * 100) / 100,
    });
  }

  // ---- what is seen ---------------------------------------------------------

  function note(text, bad = false) {
    find("note").textContent = text;
    find("note").classList.toggle("bad", bad);
  }

  function place() {
    image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
    const target = 120 / view.zoom;
    const um = LENGTHS_UM.filter((u) => u / data.mpp <= target).pop() ?? LENGTHS_UM[0];
    find("bar").style.width = `${(um / data.mpp) * view.zoom}px`;
    find("length").textContent = `${um} µm`;
  }

  function whole() {
    const [w, h] = [glass.clientWidth, glass.clientHeight];
    view.zoom = Math.min(w / image.naturalWidth, h / image.naturalHeight) || 1;
    view.x = (w - image.naturalWidth * view.zoom) / 2;
    view.y = (h - image.naturalHeight * view.zoom) / 2;
    place();
  }

  function zoom(by, x = glass.clientWidth / 2, y = glass.clientHeight / 2) {
    const next = Math.max(0.2, Math.min(12, view.zoom * by));
    view.x = x - ((x - view.x) * next) / view.zoom;
    view.y = y - ((y - view.y) * next) / view.zoom;
    view.zoom = next;
    place();
  }

  function beside() {
    const area = find("beside");
    area.replaceChildren();
    if (!data.beside?.length) return;
    const table = document.createElement("table");
    for (const [name, text] of data.beside) {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = text;
    }
    area.append(table);
  }

  function draw() {
    const feedback = data.mode === "feedback";
    find("where").textContent = data.where;
    root.querySelector("progress").value = data.total ? data.done / data.total : 0;
    find("question").textContent = data.question;
    beside();
    const shown = state.reason !== null ? "not scored" : state.value === null ? "–" : `${state.value} %`;
    find("value").textContent = shown;
    find("value").style.fontSize = state.reason !== null ? "1.4rem" : "";
    slide.value = state.value ?? 0;
    slide.classList.toggle("unset", state.value === null);
    if (root.activeElement !== box) box.value = state.value ?? "";
    for (const part of [slide, box, find("cannot"), find("commit"), find("pause")]) {
      part.disabled = state.sending || (state.paused && part !== find("pause"));
    }
    for (const name of ["value", "slide", "typed", "sure", "cannot", "pause"]) {
      find(name).style.display = feedback ? "none" : "";
    }
    find("does").textContent = feedback ? "Next case" : state.sending ? "Saving…" : "Commit";
    find("sure").replaceChildren("Confidence ");
    for (let level = 1; level <= 5; level += 1) {
      const dot = document.createElement("button");
      dot.type = "button";
      dot.textContent = level;
      dot.setAttribute("role", "radio");
      dot.setAttribute("aria-checked", String(state.confidence === level));
      dot.onclick = () => sure(level);
      find("sure").append(dot);
    }
    const reasons = find("reasons");
    reasons.hidden = !state.asking;
    reasons.replaceChildren("Why can it not be scored? Press its number.");
    data.reasons.forEach((reason, k) => {
      const choice = document.createElement("button");
      choice.type = "button";
      choice.textContent = `${k + 1}  ${reason}`;
      choice.onclick = () => because(reason);
      reasons.append(choice);
    });
  }

  // ---- keys, mouse, touch ---------------------------------------------------

  function onKey(event) {
    if (!state || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    const typing = target === box;
    if (!typing && target?.matches?.("input:not([type=range]), textarea, select, [contenteditable=true]")) return;
    // A menu or a dialog of the app that has the focus keeps its own keys.
    if (target?.closest?.("[role=dialog], [role=listbox], [data-baseweb=popover]")) return;
    const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
    const inDesk = target?.getRootNode?.() === root;
    if (key === "Enter" && !inDesk && target?.matches?.("button, a, summary")) return;
    const act = action(key, event, typing);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat || key in STEP) act();
  }

  function action(key, event, typing) {
    if (key === "Enter") return commit;
    if (key === "Escape") return typing ? () => box.blur() : state.asking ? () => { state.asking = false; draw(); } : null;
    if (typing) return null;
    if (key === "K") return () => { find("keys").open = !find("keys").open; };
    if (key === "P") return pause;
    if (key === "+" || key === "=") return () => zoom(1.25);
    if (key === "-" || key === "_") return () => zoom(0.8);
    if (key === "W") return whole;
    if (event.shiftKey && key in PAN) {
      return () => { view.x += 60 * PAN[key][0]; view.y += 60 * PAN[key][1]; place(); };
    }
    if (!idle()) return null;
    if (/^[0-9]$/.test(key)) {
      if (state.asking) {
        const reason = data.reasons[Number(key) - 1];
        return reason ? () => because(reason) : null;
      }
      return () => score(10 * Number(key));
    }
    if (key in STEP) return () => score((state.value ?? 0) + STEP[key]);
    if (key === "Home") return () => score(0);
    if (key === "End") return () => score(100);
    if (key === "F") return () => sure(((state.confidence ?? 0) % 5) + 1);
    if (key === "N" && data.mode !== "feedback") return () => { state.asking = !state.asking; draw(); };
    return null;
  }

  const onHide = () => { if (state) { clock(true); keep(); } };
  let drag = null;
  glass.onpointerdown = (event) => {
    drag = [event.clientX - view.x, event.clientY - view.y];
    glass.setPointerCapture(event.pointerId);
  };
  glass.onpointermove = (event) => {
    if (!drag) return;
    view.x = event.clientX - drag[0];
    view.y = event.clientY - drag[1];
    place();
  };
  glass.onpointerup = () => { drag = null; };
  glass.addEventListener("wheel", (event) => {
    event.preventDefault();
    const area = glass.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - area.left, event.clientY - area.top);
  }, { passive: false });
  slide.oninput = () => score(Number(slide.value));
  box.oninput = typed;
  find("commit").onclick = commit;
  find("pause").onclick = pause;
  find("cannot").onclick = () => { if (idle()) { state.asking = !state.asking; draw(); } };
  document.addEventListener("keydown", onKey, true);
  document.addEventListener("visibilitychange", onHide);
  window.addEventListener("pagehide", onHide);
  const resized = new ResizeObserver(() => { if (data && image.complete) whole(); });
  resized.observe(glass);

  return {
    update(component) {
      send = component.setTriggerValue;
      const next = component.data;
      const fresh = next.token !== data?.token;
      const refused = data !== null && next.error !== "" && next.attempt !== data.attempt;
      if (fresh && data !== null) keep();  // another study or reader: this read goes on later
      data = next;
      forget(data.kept);
      if (fresh) begin(refused);
      else if (refused) resume(data.error);
      else if (state.sending) resume(data.mode === "feedback" ? "Press Enter again." : LOST);
      draw();
    },
    leave() {
      if (state) keep();
      document.removeEventListener("keydown", onKey, true);
      document.removeEventListener("visibilitychange", onHide);
      window.removeEventListener("pagehide", onHide);
      resized.disconnect();
      delete root.desk;
    },
  };
}
