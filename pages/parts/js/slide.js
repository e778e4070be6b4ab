// A slide: deep zoom, a map over it, the tumour bed. Zoom, map and opacity are answered here;
// `slide_picture.js` asks for pictures, `viewer_*.js` places, follows pointers and keys; one module.

const KEPT = "cellularity.slide";
const SLACK = 1.4;  // by how much a picture may be stretched before a finer one is asked for
const APART = 6;  // CSS pixels between points of an outline drawn by hand
const BARE = "#f1eef0";

export default function (component) {
  const root = component.parentElement;
  const slide = root.slide ?? (root.slide = makeSlide(root));
  slide.update(component.data, component.setTriggerValue);
  return () => slide.leave();
}

function makeSlide(root) {
  const [box, tools, shows, list, panes, glass, canvas, tip, status] = [".viewer", ".tools", ".shows", ".keys", ".panes", ".glass", "canvas", ".tip", ".viewer-status"]
    .map((name) => root.querySelector(name));
  const [bar, long] = ["i", "span"].map((name) => root.querySelector(`.scale ${name}`));
  const view = makeView(), layer = document.createElement("canvas");
  const look = { map: "", opacity: 50 };
  const pictures = makePictures((need) => send("need", need), () => redraw());
  const here = location.pathname;
  let send = () => {}, leaves = false, data = null, painted = "", waiting = false, hidden = false, draft = null, gone = null, controls = null;

  const scaled = () => view.scale(glass.clientWidth, glass.clientHeight);
  const about = () => data.maps.find((one) => one.name === look.map);
  const spot = ([dx, dy]) => {
    const [u, v] = view.toPatch(dx, dy, scaled());
    return [view.x + u, view.y + v];
  };
  const within = ([x, y]) => [Math.min(data.size[0], Math.max(0, x)), Math.min(data.size[1], Math.max(0, y))];

  // ---- what is drawn ----------------------------------------------------------

  function draw() {
    const unit = window.devicePixelRatio || 1, width = glass.clientWidth, height = glass.clientHeight;
    if (!width || !height) return;
    const [w, h] = [Math.floor(width * unit), Math.floor(height * unit)];
    if (canvas.width !== w || canvas.height !== h) {
      [canvas.width, canvas.height] = [w, h];
      [canvas.style.width, canvas.style.height] = [`${w / unit}px`, `${h / unit}px`];
    }
    view.most = Math.max(4, (4 * view.zoom) / scaled());  // four pixels of the screen for one of the slide
    const scale = scaled(), context = canvas.getContext("2d");
    const place = (x, y) => view.toScreen(x, y, scale * unit, w, h);
    context.fillStyle = BARE;
    context.fillRect(0, 0, w, h);
    context.imageSmoothingQuality = "high";
    const [left, top] = spot([-width / 2, -height / 2]), [right, bottom] = spot([width / 2, height / 2]);
    const wanted = SLACK / (scale * unit);
    pictures.paint(context, place, wanted);
    const one = about(), map = one && pictures.map(one.name);
    if (map && pictures.tissue() && !hidden) {
      const name = `${data.token} ${one.name}`;
      if (painted !== name) { paintLevels(layer, map, one, data, pictures.tissue()); painted = name; }
      context.globalAlpha = look.opacity / 100;
      stretch(context, layer, place, 0, 0, ...data.size);
      context.globalAlpha = 1;
    }
    for (const ring of data.state.bed) outline(context, ring, place, unit, true);
    if (draft) outline(context, draft, place, unit, false);
    if (data.state.tile) frame(context, data.state.tile, place, unit);
    pictures.look([left, top, right, bottom], wanted);
    const [um, length] = view.bar(scale, data.mpp, width);
    bar.style.width = `${length}px`;
    long.textContent = um >= 1000 ? `${um / 1000} mm` : `${um} µm`;
    canvas.classList.toggle("draws", draft !== null);
    glass.style.touchAction = draft || view.zoom > 1.01 ? "none" : "pan-y";
    box.dataset.shown = pictures.isReady() ? data.token : "";
    box.dataset.lacking = pictures.lacks([left, top, right, bottom], wanted);
    box.dataset.zoom = view.zoom.toFixed(3);
    box.dataset.centre = `${Math.round(view.x)},${Math.round(view.y)}`;
  }

  // Black beneath yellow, to be seen on any tissue.
  function outline(context, ring, place, unit, closed) {
    context.beginPath();
    ring.forEach(([x, y], k) => context[k ? "lineTo" : "moveTo"](...place(x, y)));
    if (closed) context.closePath();
    for (const [colour, wide] of [["#000000", 5], ["#ffe14d", 2.5]]) {
      [context.strokeStyle, context.lineWidth] = [colour, wide * unit];
      context.stroke();
    }
    if (closed) return;
    for (const [x, y] of ring) {
      const [u, v] = place(x, y);
      context.fillRect(u - 3 * unit, v - 3 * unit, 6 * unit, 6 * unit);
    }
  }

  function frame(context, [x, y, width, height], place, unit) {
    const [left, top] = place(x, y), [right, bottom] = place(x + width, y + height);
    for (const [colour, wide] of [["#ffffff", 5], ["#111111", 2]]) {
      [context.strokeStyle, context.lineWidth] = [colour, wide * unit];
      context.strokeRect(left, top, right - left, bottom - top);
    }
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; if (data) draw(); });
  }

  // ---- pointers ---------------------------------------------------------------

  function hover(place) {
    tip.hidden = true;
    if (!place || draft || !data) return;
    const text = told(spot(place));
    if (!text) return;
    tip.textContent = text;
    tip.hidden = false;
    const { clientWidth: width, clientHeight: height } = glass, { offsetWidth: wide, offsetHeight: high } = tip;
    const [left, top] = [width / 2 + place[0], height / 2 + place[1]];
    tip.style.left = `${left + 14 + wide > width ? Math.max(0, left - 14 - wide) : left + 14}px`;
    tip.style.top = `${top + 14 + high > height ? Math.max(0, top - 14 - high) : top + 14}px`;
  }

  // What the map says of a place.
  function told([x, y]) {
    const one = about(), map = one && pictures.map(one.name);
    const column = slot(data.edges.x, x), row = slot(data.edges.y, y);
    if (!map || hidden || column < 0 || row < 0) return "";
    const level = map.levels[row * map.shape[1] + column], { words } = data;
    if (level !== data.nothing) return `${one.title}: ${Math.round(level * one.step)} ${one.unit}`;
    return data.unfit.some(([c, r]) => c === column && r === row) ? words.unfit : words.nothing;
  }

  let began = 0;
  hand(canvas, glass, {
    move(dx, dy) { view.move(dx, dy, scaled()); redraw(); },
    closer(by, dx, dy) { view.closer(by, dx, dy, scaled()); redraw(); },
    hover,
    click(place) {
      const [x, y] = spot(place);
      if (data.state.mayLook && slot(data.edges.x, x) >= 0 && slot(data.edges.y, y) >= 0) send("place", [[x, y]]);
    },
    draws: () => draft !== null,
    stroke(place, phase) {
      const at = within(spot(place)), last = draft[draft.length - 1];
      if (phase === "down") began = draft.length;
      if (!last || Math.hypot(at[0] - last[0], at[1] - last[1]) * scaled() >= APART) draft.push(at);
      if (phase === "up" && draft.length - began > 10) close();  // drawn in one go
      redraw();
    },
  });
  canvas.ondblclick = () => { if (draft) close(); };
  panes.onkeydown = (event) => {
    if (!draft || event.target !== panes || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter") close();
    else { draft.push(within([view.x, view.y])); redraw(); }
  };

  function begin() {
    draft = [];
    panes.focus();
    controls.show();
    redraw();
  }

  function close() {
    if (draft.length < 3) { status.textContent = data.words.few; return; }
    send("outline", draft);
    giveUp();
  }

  function giveUp() {
    draft = null;
    controls.show();
    redraw();
  }

  // ---- switches and keys ----------------------------------------------------------

  const does = {
    hide(on) { if (hidden !== on) { hidden = on; redraw(); } },
    screen() { if (document.fullscreenElement) document.exitFullscreen(); else box.requestFullscreen(); },
  };

  function change(name, value) {
    look[name] = value;
    try { sessionStorage.setItem(KEPT, JSON.stringify(look)); } catch { /* a private window only forgets */ }
    controls.show();
    redraw();
  }

  function zoom(by) { view.closer(by, 0, 0, 1); redraw(); }
  function whole() { view.whole(); redraw(); }

  function build() {
    const { words } = data, refresh = [];
    const button = (parent, name, text, title, run) => {
      const made = make(parent, "button", `slide-${name}`, text);
      made.type = "button";
      made.title = title;
      if (text.length < 3) made.setAttribute("aria-label", title);
      made.onclick = run;
      return made;
    };
    tools.replaceChildren();
    shows.replaceChildren();
    button(tools, "closer", "+", "Closer (+)", () => zoom(CLOSER));
    button(tools, "further", "−", "Further (−)", () => zoom(1 / CLOSER));
    button(tools, "whole", "Whole", "Whole slide (0 or W)", whole);
    const pen = data.state.mayDraw ? [
      button(tools, "draw", words.draw, words.draw, begin),
      button(tools, "finish", words.finish, `${words.finish} (Enter)`, close),
      button(tools, "cancel", words.cancel, `${words.cancel} (Esc)`, giveUp),
    ] : [];
    refresh.push(() => pen.forEach((one, k) => { one.hidden = (k === 0) === (draft !== null); }));
    make(tools, "span", "spring");
    if (document.fullscreenEnabled) button(tools, "screen", "Full screen", "Full screen (F)", does.screen);
    const opener = button(tools, "help", "Keys", "List of keys (K)", () => help());
    if (data.maps.length) {
      const choice = make(make(shows, "label", "", words.map), "select", "slide-map");
      make(choice, "option", "", words.off).value = "";
      let group = null;
      for (const one of data.maps) {
        if (group?.label !== one.group) { group = make(choice, "optgroup"); group.label = one.group; }
        make(group, "option", "", one.title).value = one.name;
      }
      choice.onchange = () => change("map", choice.value);
      const amount = make(shows, "label"), title = make(amount, "span", "", `${words.opacity} `), output = make(title, "output");
      const input = make(amount, "input", "slide-opacity");
      Object.assign(input, { type: "range", min: 5, max: 100, step: 5 });
      input.setAttribute("aria-label", words.opacity);
      input.oninput = () => change("opacity", Number(input.value));
      const legend = make(shows, "div", "legend"), low = make(legend, "span"), ramp = make(legend, "i", "ramp"), high = make(legend, "span");
      const stops = data.ramp.map((colour, level) => colour + strength(level).toString(16).padStart(2, "0"));
      ramp.style.background = `linear-gradient(to right, ${stops.filter((_, k) => k % 17 === 0).join(", ")}) ${BARE}`;
      if (data.unfit.length) { make(legend, "i", "grey"); make(legend, "span", "", words.unfit); }
      refresh.push(() => {
        const one = about();
        choice.value = look.map;
        input.value = look.opacity;
        output.textContent = `${look.opacity} %`;
        amount.hidden = legend.hidden = !one;
        if (one) [low.textContent, high.textContent] = [`0 ${one.unit}`, `${Math.round(one.most)} ${one.unit}`];
      });
    }
    refresh.push(() => {
      const text = data.reply?.fault ?? (draft ? words.drawing : data.state.mayLook ? words.look : "");
      if (status.textContent !== text) status.textContent = text;
    });
    const opacity = (by) => () => change("opacity", Math.min(100, Math.max(5, look.opacity + by)));
    const next = () => { const names = data.maps.map((one) => one.name); change("map", names[(names.indexOf(look.map) + 1) % names.length]); };
    const move = (dx, dy) => () => { view.move(dx, dy, scaled()); redraw(); };
    const keys = [
      ["← → ↑ ↓", "Move", { arrowleft: move(STEP, 0), arrowright: move(-STEP, 0), arrowup: move(0, STEP), arrowdown: move(0, -STEP) }],
      ["+ −", "Closer, further", { "+": () => zoom(CLOSER), "=": () => zoom(CLOSER), "-": () => zoom(1 / CLOSER), "−": () => zoom(1 / CLOSER) }],
      ["0 W", "Whole slide", { 0: whole, w: whole }],
    ];
    if (data.maps.length) {
      keys.push(["M", "Next map", { m: next }], ["O Shift+O", `${words.opacity}: up, down`, { o: opacity(5), "shift+o": opacity(-5) }]);
      keys.push(["V", "Held: the slide alone", { v: () => does.hide(true) }]);
    }
    if (data.state.mayDraw) keys.push(["D", words.draw, { d: begin }]);
    if (document.fullscreenEnabled) keys.push(["F", "Full screen on or off", { f: does.screen }]);
    keys.push(["K", "This list", { k: () => help(), escape: () => { if (draft) giveUp(); help(false); } }]);
    list.replaceChildren();
    button(list, "close", "Close", "Close (K or Esc)", () => { help(false); opener.focus(); }).classList.add("viewer-close");
    make(list, "p", "", "Keys work while the pointer is over the slide or it has the focus.");
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
    help(false);
    controls = {
      show() { for (const one of refresh) one(); },
      run: Object.assign({}, ...keys.map((key) => key[2])),
      isOpen: () => draft !== null || !list.hidden,
    };
  }

  // ---- from the server ------------------------------------------------------------

  async function update(given, trigger) {
    send = (name, value) => { if (!leaves && location.pathname === here) trigger(name, value); };
    const was = data;
    data = given;
    if (was?.slide !== data.slide) { view.reset(data.size); draft = null; }
    if (was?.token !== data.token || was?.state.mayDraw !== data.state.mayDraw) {
      let kept = null;
      try { kept = JSON.parse(sessionStorage.getItem(KEPT)); } catch { kept = null; }
      Object.assign(look, data.start);
      if (typeof kept?.opacity === "number") look.opacity = kept.opacity;
      if (data.maps.some((one) => one.name === kept?.map) || kept?.map === "") look.map = kept.map;
      build();
    }
    const { goto, tile } = data.state;
    if (tile && gone !== null && goto !== gone) {
      [view.x, view.y] = [tile[0] + tile[2] / 2, tile[1] + tile[3] / 2];
      view.zoom = Math.max(view.zoom, Math.min(...data.size.map((side, k) => side / (6 * tile[2 + k]))));
    }
    gone = goto;
    controls.show();
    await pictures.update(given);
    redraw();
  }

  // A link was followed: what is sent until the other page comes would reach that page, and empty it.
  function follows(event) {
    const link = event.composedPath().find((one) => one.tagName === "A" && one.href);
    if (!link || link.target === "_blank" || link.hasAttribute("download") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    leaves ||= link.origin === location.origin && link.pathname !== here;
  }
  document.addEventListener("click", follows, true);

  box.onfullscreenchange = () => {
    root.querySelector(".use").textContent = document.fullscreenElement ? data.use : "";
  };
  const resized = new ResizeObserver(() => redraw());
  resized.observe(glass);
  const keys = listen(box, does, () => controls);
  return {
    update,
    leave() {
      data = null;  // a drawing that still waits does nothing
      keys.leave();
      resized.disconnect();
      document.removeEventListener("click", follows, true);
      pictures.leave();
      delete root.slide;
    },
  };
}
