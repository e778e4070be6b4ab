// The viewer: one to four panes that show the same place of one patch. Switches, limits, keys and
// pointers are answered here; nothing goes back to the server. `viewer_layers.js` paints,
// `viewer_view.js` places, `viewer_controls.js` makes switches and keys, `viewer_hand.js` follows
// pointers, `viewer_save.js` writes into saved pictures; all six are one module.

const KEPT = "cellularity.viewer";
const NEAR = 9;  // CSS pixels around a point that count as on it
const SLIDE = "#f1eef0";

export default function (component) {
  const root = component.parentElement;
  const viewer = root.viewer ?? (root.viewer = makeViewer(root));
  viewer.update(JSON.parse(new TextDecoder().decode(component.data)));
  return () => viewer.leave();
}

function makeViewer(root) {
  const box = root.querySelector(".viewer");
  const grid = root.querySelector(".panes");
  const view = makeView();
  const see = { data: null, look: null, hidden: false };
  let panes = [], patch = null, serial = 0, waiting = null, controls = null;
  const tissue = { canvas: document.createElement("canvas"), of: null };

  // ---- what is drawn ----------------------------------------------------------

  // One scale for all panes, though the words below one may leave its picture less height.
  const scaled = () => view.scale(
    Math.min(...panes.map((pane) => pane.glass.clientWidth)), Math.min(...panes.map((pane) => pane.glass.clientHeight)));
  const isTelling = (pane) => Boolean(pane.sources.length || pane.nuclei || pane.overlay);
  const source = (pane) => pane.sources[pane.sources.length > 1 ? see.look.mapOf : 0];

  function repaint() {
    const { look, data } = see;
    for (const pane of panes) {
      const from = source(pane);
      pane.shares = from && (look.areas || look.heat)
        ? paintMap(pane.layer, from.map, data.classes, data.ramp, { ...look, cut: 255 * look.cut })
        : null;
      const blobs = look.blobs && from?.blobs, nuclei = look.nuclei && pane.nuclei;
      pane.drawn = {
        blobs: from?.blobs, nuclei: pane.nuclei,
        rings: picked(blobs, (i) => look.classes[blobs.label[i]] && blobs.response[i] > look.blobCut),
        dots: picked(nuclei, (i) => look.classes[nuclei.label[i]]),
      };
      pane.status.textContent = summary(pane);
    }
  }

  function summary(pane) {
    const { look, data } = see, { words } = data, said = [];
    if (!isTelling(pane)) return "";
    if (look.areas && pane.shares) {
      const shares = data.order.filter((k) => look.classes[k])
        .map((k) => `${data.classes[k].name} ${(100 * pane.shares[k]).toFixed(1)} %`);
      if (shares.length) said.push(`${words.above} ${look.cut.toFixed(2)}: ${shares.join(", ")}`);
    }
    if (look.heat && pane.shares) said.push(`${words.heatOf} ${data.classes[look.heatOf].name}`);
    if (look.blobs && pane.drawn.blobs) said.push(`${pane.drawn.rings.length} ${words.rings} ${look.blobCut.toFixed(2)}`);
    if (look.nuclei && pane.nuclei) said.push(`${pane.drawn.dots.length} ${words.dots}`);
    if (look.overlay && pane.overlay) said.push(pane.overlayName);
    return said.join(" · ") || words.none;
  }

  function draw() {
    const unit = window.devicePixelRatio || 1, scale = scaled();
    for (const pane of panes) {
      const { canvas } = pane, width = pane.glass.clientWidth, height = pane.glass.clientHeight;
      if (!width || !height) continue;
      const [w, h] = [Math.floor(width * unit), Math.floor(height * unit)];
      if (canvas.width !== w || canvas.height !== h) {
        [canvas.width, canvas.height] = [w, h];  // one for one on the screen's pixels, so that it is sharp
        [canvas.style.width, canvas.style.height] = [`${w / unit}px`, `${h / unit}px`];
      }
      const real = scale * unit;
      const [a, b, c, d] = view.turn, [x0, y0] = view.toScreen(0, 0, scale, width, height);
      const place = [real * a, real * c, real * b, real * d, x0 * unit, y0 * unit];
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.drawImage(ground(w, h, place, real), 0, 0);
      context.setTransform(...place);
      if (!see.hidden) over(context, pane, real, (x, y) => view.toScreen(x, y, real, w, h), unit);
      const [um, long] = view.bar(scale, see.data.mpp, width);
      pane.bar.style.width = `${long}px`;
      pane.long.textContent = um >= 1000 ? `${um / 1000} mm` : `${um} µm`;
      pane.glass.style.touchAction = view.zoom > 1.01 ? "none" : "pan-y";
    }
  }

  // The patch alone, as every pane of this size shows it. To make it smaller or larger well takes
  // long; so it is done once for all panes, and not again until the view changes.
  function ground(w, h, place, real) {
    const { canvas } = tissue, of = [w, h, ...place].join();
    if (tissue.of === of) return canvas;
    tissue.of = of;
    [canvas.width, canvas.height] = [w, h];
    const context = canvas.getContext("2d", { alpha: false });
    context.fillStyle = SLIDE;
    context.fillRect(0, 0, w, h);
    context.setTransform(...place);
    context.imageSmoothingQuality = "high";
    context.imageSmoothingEnabled = real < 8;  // closer than that, its own pixels
    context.drawImage(patch, 0, 0, ...view.size);
    return canvas;
  }

  // Everything over the patch, on a context whose unit is a pixel of the patch.
  function over(context, pane, scale, at, unit) {
    context.globalAlpha = see.look.opacity / 100;
    if (pane.overlay && see.look.overlay) {
      context.imageSmoothingEnabled = true;
      context.drawImage(pane.overlay, 0, 0, ...view.size);
    }
    if (pane.shares) {
      context.imageSmoothingEnabled = scale < 1;
      context.drawImage(pane.layer, 0, 0, ...view.size);
    }
    context.globalAlpha = 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    drawPoints(context, pane.drawn, see.data.classes, at, scale, unit);
  }

  // At most one drawing a frame, however fast a slider or a finger is.
  function redraw(paintToo = false) {
    if (waiting) { waiting.paintToo ||= paintToo; return; }
    waiting = { paintToo };
    requestAnimationFrame(() => {
      const { paintToo: anew } = waiting;
      waiting = null;
      if (!patch) return;
      if (anew) repaint();
      draw();
    });
  }

  // ---- pointers ---------------------------------------------------------------

  function point(pane) {
    hand(pane.canvas, pane.glass, {
      move(dx, dy) { view.move(dx, dy, scaled()); redraw(); },
      closer(by, dx, dy) { view.closer(by, dx, dy, scaled()); redraw(); },
      hover: (place) => hover(place && pane, place),
    });
  }

  // What is under the pointer, told in its pane; the same place is ringed in the others.
  function hover(on, place) {
    for (const pane of panes) {
      pane.tip.hidden = true;
      pane.ring.hidden = on === null || pane === on;
      pane.here.textContent = "";
      if (on === null) continue;
      const { clientWidth: width, clientHeight: height } = pane.glass;
      const scale = scaled(), [u, v] = view.toPatch(...place, scale);
      const [x, y] = [view.x + u, view.y + v];
      [pane.ring.style.left, pane.ring.style.top] = [`${width / 2 + place[0]}px`, `${height / 2 + place[1]}px`];
      pane.here.textContent = levels(pane, x, y);
      if (pane !== on || see.hidden) continue;
      const text = told(pane, x, y, scale);
      if (!text) continue;
      pane.tip.textContent = text;
      pane.tip.hidden = false;
      const { offsetWidth: wide, offsetHeight: high } = pane.tip;
      const [left, top] = [width / 2 + place[0], height / 2 + place[1]];
      pane.tip.style.left = `${left + 14 + wide > width ? Math.max(0, left - 14 - wide) : left + 14}px`;
      pane.tip.style.top = `${top + 14 + high > height ? Math.max(0, top - 14 - high) : top + 14}px`;
    }
  }

  function told(pane, x, y, scale) {
    const { classes, words } = see.data, { nuclei, blobs, dots, rings } = pane.drawn;
    const dot = nearest(nuclei, dots, x, y, () => NEAR / scale);
    if (dot !== null) return `${words.dot}: ${classes[nuclei.label[dot]].name}\n${words.probability} ${nuclei.probability[dot].toFixed(2)}`;
    const ring = nearest(blobs, rings, x, y, (i) => Math.max(blobs.radius[i], NEAR / scale));
    if (ring === null) return "";
    return `${words.ring}: ${classes[blobs.label[ring]].name}\n${words.response} ${blobs.response[ring].toFixed(2)}, ${words.value} ${blobs.value[ring].toFixed(2)}`;
  }

  function levels(pane, x, y) {
    const from = source(pane);
    if (!from) return "";
    const [, height, width] = from.map.shape;
    const column = Math.floor((x / view.size[0]) * width), row = Math.floor((y / view.size[1]) * height);
    if (row < 0 || column < 0 || row >= height || column >= width) return "";
    const at = row * width + column;
    const all = see.data.order.map((k) => `${see.data.classes[k].name} ${(from.map.levels[k * height * width + at] / 255).toFixed(2)}`);
    return `${see.data.words.here}: ${all.join(", ")}`;
  }

  // ---- what can be done ---------------------------------------------------------

  // Something else may be under the pointer now: what was told of it goes.
  function changed(paintToo) {
    hover(null);
    redraw(paintToo);
  }

  const does = {
    zoom(by) { view.closer(by, 0, 0, 1); changed(); },
    move(dx, dy) { view.move(dx, dy, scaled()); changed(); },
    whole() { view.whole(); changed(); },
    turn(matrix) { view.apply(matrix); changed(); },
    hide(hidden) { if (see.hidden !== hidden) { see.hidden = hidden; changed(); } },
    screen() { if (document.fullscreenElement) document.exitFullscreen(); else box.requestFullscreen(); },
    change(name, value) {
      see.look[name] = value;
      try { sessionStorage.setItem(KEPT, JSON.stringify(see.look)); } catch { /* a private window only forgets */ }
      controls.show();
      changed(name !== "opacity");
    },
    save,
  };

  // The whole patch of every pane that shows more than the patch, side by side, as PNG.
  function save() {
    const found = panes.filter(isTelling);
    const [width, height] = view.size, head = found.length > 1 ? 24 : 0;
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("2d"), { origin, words, ramp } = see.data, scales = [];
    if (see.look.heat && found.some((pane) => pane.shares)) {
      scales.push({ title: `${words.heatOf} ${see.data.classes[see.look.heatOf].name}`, colours: ramp, ends: ["0", "1"] });
    }
    if (see.look.overlay && found.some((pane) => pane.overlay)) {
      scales.push({ title: words.overlay, colours: ramp, ends: ["0 %", "100 %"] });
    }
    const drawn = found.map((pane) => `${pane.title ? `${pane.title}: ` : ""}${pane.status.textContent}`);
    drawn.push(`${words.opacity} ${see.look.opacity} %`);
    const lines = stripLines(context, [...drawn, ...origin.strip], width * found.length);
    [canvas.width, canvas.height] = [width * found.length, height + head + (1 + scales.length + lines.length) * STRIP_LINE];
    found.forEach((pane, k) => {
      if (head) {
        context.setTransform(1, 0, 0, 1, k * width, 0);
        context.fillStyle = "#ffffff";
        context.fillRect(0, 0, width, head);
        context.fillStyle = "#111111";
        context.font = "16px sans-serif";
        context.fillText(pane.title, 6, 17, width - 12);
      }
      context.setTransform(1, 0, 0, 1, k * width, head);
      context.drawImage(patch, 0, 0, width, height);
      over(context, pane, 1, (x, y) => [k * width + x, head + y], 1);
    });
    const coloured = found.some((pane) => (see.look.areas && pane.shares) || pane.drawn.rings.length || pane.drawn.dots.length);
    const classes = see.data.classes.filter((_, k) => coloured && see.look.classes[k]);
    drawKey(context, classes, view.bar(1, see.data.mpp, width), head + height, canvas.width);
    scales.forEach((scale, k) => drawScale(context, scale, head + height + (k + 1) * STRIP_LINE, canvas.width));
    drawStrip(context, lines, head + height + (scales.length + 1) * STRIP_LINE, canvas.width);
    canvas.toBlob(async (made) => {
      const blob = described(await made.arrayBuffer(), `${drawn.join("\n")}\n\n${origin.text}`);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = see.data.file_name;
      link.click();
      URL.revokeObjectURL(link.href);
    }, "image/png");
  }

  // ---- from the server ------------------------------------------------------------

  async function update(data) {
    if (data.token === see.data?.token) return;
    const mine = (serial += 1);
    const maps = await Promise.all(data.maps.map(unpacked));
    const image = await picture(data.patch);
    const overlays = await Promise.all(data.panes.map((pane) => (pane.overlay ? picture(pane.overlay) : null)));
    if (mine !== serial) return;
    const same = data.patch === see.data?.patch;
    see.data = data;
    see.hidden = false;
    see.look = { ...data.start, ...kept(data.start) };
    const most = Math.max(0, ...data.panes.map((pane) => pane.sources.length - 1));
    see.look.mapOf = Math.min(see.look.mapOf, most);
    patch = image;
    tissue.of = null;
    grid.replaceChildren();
    grid.dataset.count = data.panes.length;
    grid.setAttribute("aria-label", "Patch. Press K for the list of keys.");
    panes = data.panes.map((given, k) => build(given, maps, overlays[k]));
    if (!same) view.reset(data.size);
    controls = makeControls(root, see, does);
    controls.show();
    repaint();
    draw();
    box.dataset.shown = data.token;
  }

  function kept(start) {
    let found = null;
    try { found = JSON.parse(sessionStorage.getItem(KEPT)); } catch { found = null; }
    return Object.fromEntries(Object.entries(found ?? {}).filter(([name, value]) => typeof value === typeof start[name]));
  }

  function build(given, maps, overlay) {
    const figure = make(grid, "figure", "pane");
    make(figure, "h4", "", given.title);
    const glass = make(figure, "div", "glass");
    glass.style.aspectRatio = see.data.size.join("/");
    const canvas = make(glass, "canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", given.title || "H&E patch");
    const scale = make(glass, "div", "scale");
    const [bar, long] = [make(scale, "i"), make(scale, "span")];
    const [ring, tip] = [make(glass, "div", "ring"), make(glass, "div", "tip")];
    tip.setAttribute("role", "tooltip");
    ring.hidden = tip.hidden = true;
    const notes = make(figure, "div", "notes");
    notes.hidden = !see.data.panes.some(isTelling);
    notes.style.visibility = isTelling(given) ? "" : "hidden";  // so that all pictures are as high
    const [status, here] = ["viewer-status", "viewer-here"].map((name) => make(make(notes, "div", name), "span"));
    status.setAttribute("aria-live", "polite");
    const pane = {
      title: given.title, glass, canvas, bar, long, ring, tip, status, here,
      sources: given.sources.map((one) => ({ ...one, map: maps[one.map] })),
      nuclei: given.nuclei ?? null, overlay, overlayName: given.overlay_name,
      layer: document.createElement("canvas"), shares: null, drawn: { rings: [], dots: [] },
    };
    point(pane);
    resized.observe(glass);
    return pane;
  }

  // The page's own line is not in a full screen.
  box.onfullscreenchange = () => {
    root.querySelector(".use").textContent = document.fullscreenElement ? see.data.use : "";
  };
  const resized = new ResizeObserver(() => redraw());
  const keys = listen(box, does, () => controls);
  return {
    update,
    leave() {
      serial += 1;
      keys.leave();
      resized.disconnect();
      delete root.viewer;
    },
  };
}
