// Buttons, switches, sliders and keys of the viewer. Each key stands in one list, from which the
// list on screen is made too. Streamlit keeps `?`, C and R for itself, and pages use N and P.

const STEP = 60;  // CSS pixels by which an arrow moves
const CLOSER = 1.3;
const RIGHT = [0, -1, 1, 0], LEFT = [0, 1, -1, 0], ACROSS = [-1, 0, 0, 1], DOWN = [1, 0, 0, -1];

function makeControls(root, see, does) {
  const [tools, shows, list] = ["tools", "shows", "keys"].map((name) => root.querySelector(`.${name}`));
  const { data } = see, { words } = data, refresh = [];
  const has = {
    map: data.panes.some((pane) => pane.sources.length),
    blobs: data.panes.some((pane) => pane.sources.some((one) => one.blobs)),
    nuclei: data.panes.some((pane) => pane.nuclei),
    overlay: data.panes.some((pane) => pane.overlay),
  };
  has.any = has.map || has.nuclei || has.overlay;
  const most = data.panes.reduce((best, pane) => (pane.sources.length > best.length ? pane.sources : best), []);
  const change = (name, value) => does.change(name, value);
  const limit = ([low, high], value) => Math.min(high, Math.max(low, Math.round(100 * value) / 100));

  function button(parent, name, text, title, run) {
    const made = make(parent, "button", `viewer-${name}`, text);
    made.type = "button";
    made.title = title;
    if (text.length < 3) made.setAttribute("aria-label", title);
    if (run) made.onclick = run;
    return made;
  }

  function group(label, name) {
    const made = make(shows, "div", `group viewer-${name}`);
    made.setAttribute("role", "group");
    made.setAttribute("aria-label", label);
    return made;
  }

  function toggle(parent, name, text, title, is, set) {
    const made = button(parent, name, text, title, () => set(!is()));
    refresh.push(() => made.setAttribute("aria-pressed", String(is())));
    return made;
  }

  function slider(name, field, text, [low, high, step], visible) {
    const made = make(sliders, "label", `viewer-${name}`);
    const title = make(made, "span", "", `${text} `);
    const shown = make(title, "output");
    const input = make(made, "input");
    Object.assign(input, { type: "range", min: low, max: high, step });
    input.setAttribute("aria-label", text);
    input.oninput = () => change(field, Number(input.value));
    refresh.push(() => {
      made.hidden = !visible();
      input.value = see.look[field];
      shown.textContent = step < 1 ? see.look[field].toFixed(2) : `${see.look[field]} %`;
    });
  }

  // ---- what is on screen --------------------------------------------------------

  tools.replaceChildren();
  button(tools, "closer", "+", "Closer (+)", () => does.zoom(CLOSER));
  button(tools, "further", "−", "Further (−)", () => does.zoom(1 / CLOSER));
  button(tools, "fit", "Whole", "Whole patch (0 or W)", does.whole);
  button(tools, "turn", "Turn", "Turn by 90° to the right (E)", () => does.turn(RIGHT));
  button(tools, "mirror", "Mirror ↔", "Mirror left and right (X)", () => does.turn(ACROSS));
  button(tools, "flip", "Mirror ↕", "Mirror top and bottom (Y)", () => does.turn(DOWN));
  if (has.any) {
    const held = button(tools, "hide", "Hold to hide", "The tissue alone, as long as this or V is held");
    held.onpointerdown = () => does.hide(true);
    held.onpointerup = held.onpointerleave = held.onpointercancel = held.onblur = () => does.hide(false);
    held.onkeydown = (event) => { if (event.key === " " || event.key === "Enter") does.hide(true); };
    held.onkeyup = () => does.hide(false);
  }
  make(tools, "span", "spring");
  if (document.fullscreenEnabled) button(tools, "screen", "Full screen", "Full screen (F)", does.screen);
  if (has.any) button(tools, "save", words.save, words.save, does.save);
  const opener = button(tools, "help", "Keys", "List of keys (K)", () => help());
  opener.setAttribute("aria-expanded", "false");

  shows.replaceChildren();
  const layers = [["areas", "A", has.map], ["heat", "H", has.map], ["blobs", "B", has.blobs], ["nuclei", "U", has.nuclei], ["overlay", "S", has.overlay]]
    .filter((layer) => layer[2]);
  if (has.any) {
    const box = group(words.shown, "shown");
    for (const [name, key] of layers) {
      toggle(box, name, words[name], `${words[name]} (${key})`, () => see.look[name], (on) => change(name, on));
    }
  }
  const setClass = (k, on) => change("classes", see.look.classes.map((was, j) => (j === k ? on : was)));
  if (has.map || has.nuclei) {
    const box = group(words.classes, "classes");
    data.order.forEach((k, place) => {
      const { name, label, colour } = data.classes[k];
      const chip = toggle(box, `class-${name}`, label, `${label} (${place + 1})`, () => see.look.classes[k], (on) => setClass(k, on));
      chip.classList.add("chip");
      chip.style.setProperty("--colour", colour);
    });
  }
  const sliders = make(shows, "div", "group sliders");
  if (has.map) slider("cut", "cut", words.cut, [...data.cuts.cut, 0.01], () => see.look.areas);
  if (has.map || has.overlay) {
    slider("opacity", "opacity", words.opacity, [5, 100, 5], () => see.look.areas || see.look.heat || (has.overlay && see.look.overlay));
  }
  if (has.blobs) slider("blob-cut", "blobCut", words.blobCut, [...data.cuts.blobCut, 0.01], () => see.look.blobs);
  if (has.map) {
    const box = group(words.heatOf, "heat-of");
    make(box, "span", "", words.heatOf);
    const scale = make(box, "span", "", "0");
    const ramp = make(scale, "i", "ramp");
    ramp.style.background = `linear-gradient(to right, ${data.ramp.filter((_, k) => k % 51 === 0).join(", ")})`;
    scale.append("1");
    for (const k of data.order) toggle(box, `heat-of-${k}`, data.classes[k].title, data.classes[k].title, () => see.look.heatOf === k, () => change("heatOf", k));
    refresh.push(() => { box.hidden = !see.look.heat; });
  }
  if (most.length > 1) {
    const box = group(words.mapOf, "map-of");
    most.forEach((one, k) => toggle(box, `map-of-${k}`, one.name, `${one.name} (D)`, () => see.look.mapOf === k, () => change("mapOf", k)));
    refresh.push(() => { box.hidden = !(see.look.areas || see.look.heat || see.look.blobs); });
  }
  const settings = [...sliders.children];
  make(sliders, "span", "only", words.drawing);
  refresh.push(() => { sliders.hidden = settings.every((one) => one.hidden); });

  // ---- keys -----------------------------------------------------------------------

  const step = (field, range, by) => change(field, limit(range, see.look[field] + by));
  const { cuts } = data;
  const keys = [
    ["← → ↑ ↓", "Move", { arrowleft: () => does.move(STEP, 0), arrowright: () => does.move(-STEP, 0), arrowup: () => does.move(0, STEP), arrowdown: () => does.move(0, -STEP) }],
    ["+ −", "Closer, further", { "+": () => does.zoom(CLOSER), "=": () => does.zoom(CLOSER), "-": () => does.zoom(1 / CLOSER), "−": () => does.zoom(1 / CLOSER), _: () => does.zoom(1 / CLOSER) }],
    ["0 W", "Whole patch", { 0: does.whole, w: does.whole }],
    ["E Q", "Turn by 90° to the right, to the left", { e: () => does.turn(RIGHT), q: () => does.turn(LEFT) }],
    ["X Y", "Mirror left and right, top and bottom", { x: () => does.turn(ACROSS), y: () => does.turn(DOWN) }],
    ...layers.map(([name, key]) => [key, `${words[name]} on or off`, { [key.toLowerCase()]: () => change(name, !see.look[name]) }]),
  ];
  if (has.any) keys.push(["V", "Held: the tissue alone", { v: () => does.hide(true) }]);
  if (has.map || has.nuclei) {
    const numbers = data.order.map((_, place) => place + 1);
    keys.push([numbers.join(" "), `${words.classKeys}: ${data.order.map((k) => data.classes[k].name).join(", ")}`,
      Object.fromEntries(data.order.map((k, place) => [numbers[place], () => setClass(k, !see.look.classes[k])]))]);
  }
  if (has.map || has.overlay) {
    const opacity = (by) => () => step("opacity", [5, 100], by);
    keys.push(["O Shift+O", `${words.opacity}: up, down`, { o: opacity(5), "shift+o": opacity(-5) }]);
  }
  if (has.map) {
    const cut = (by) => () => step("cut", cuts.cut, by);
    keys.push(["T Shift+T", words.cutKeys, { t: cut(0.02), "shift+t": cut(-0.02) }]);
    keys.push(["G", words.heatKeys, { g: () => change("heatOf", data.order[(data.order.indexOf(see.look.heatOf) + 1) % data.order.length]) }]);
  }
  if (has.blobs) {
    const cut = (by) => () => step("blobCut", cuts.blobCut, by);
    keys.push(["L Shift+L", words.blobKeys, { l: cut(0.02), "shift+l": cut(-0.02) }]);
  }
  if (most.length > 1) keys.push(["D", words.mapKeys, { d: () => change("mapOf", (see.look.mapOf + 1) % most.length) }]);
  if (document.fullscreenEnabled) keys.push(["F", "Full screen on or off", { f: does.screen }]);
  keys.push(["K", "This list", { k: () => help(), escape: () => help(false) }]);

  list.replaceChildren();
  button(list, "close", "Close", "Close (K or Esc)", () => { help(false); opener.focus(); });
  make(list, "p", "", "Keys work while the pointer is over the viewer or it has the focus.");
  const rows = make(list, "dl");
  for (const [names, text] of keys) {
    const name = make(rows, "dt");
    for (const key of names.split(" ")) { make(name, "kbd", "", key); name.append(" "); }
    make(rows, "dd", "", text);
  }
  function help(open = list.hidden) {
    list.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
  }

  return {
    show() { for (const one of refresh) one(); },
    run: Object.assign({}, ...keys.map((key) => key[2])),
    isOpen: () => !list.hidden,
  };
}

// Keys count while the viewer has the focus or the pointer, and never while somebody types.
function listen(box, does, controls) {
  const typed = "input:not([type=range]):not([type=checkbox]):not([type=radio]):not([type=button]), textarea, select, [contenteditable=true]";
  function onKey(event) {
    if (!controls() || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    const mine = event.composedPath().includes(box);
    if (!mine && !box.matches(":hover")) return;
    if (target?.matches?.(typed) || target?.closest?.("[role=dialog], [role=listbox], [data-baseweb=popover]")) return;
    const name = event.key.toLowerCase();
    if (name.startsWith("arrow") && target?.matches?.("input, [role=slider], [role=radio], [role=tab], [role=grid], canvas[tabindex]")) return;
    const key = event.shiftKey && /^[a-z]$/.test(name) ? `shift+${name}` : name;
    if (key === "escape" && !controls().isOpen()) return;
    const run = controls().run[key];
    if (!run) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat || name.startsWith("arrow") || "+-=_otl".includes(name)) run();
  }
  const onUp = (event) => { if (event.key.toLowerCase() === "v") does.hide(false); };
  const onBlur = () => does.hide(false);
  document.addEventListener("keydown", onKey, true);
  document.addEventListener("keyup", onUp, true);
  window.addEventListener("blur", onBlur);
  return {
    leave() {
      document.removeEventListener("keydown", onKey, true);
      document.removeEventListener("keyup", onUp, true);
      window.removeEventListener("blur", onBlur);
    },
  };
}
