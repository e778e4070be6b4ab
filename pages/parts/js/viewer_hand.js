// Pointers on a picture: hold and move it, two fingers or the wheel to come closer. Places are
// CSS pixels from the middle of the glass.

const STILL = 5;  // CSS pixels a pointer may move and still have clicked

function make(parent, tag, className = "", text = "") {
  const part = document.createElement(tag);
  if (className) part.className = className;
  if (text) part.textContent = text;
  parent.append(part);
  return part;
}

// `does` has move(dx, dy), closer(by, dx, dy) and hover(place or null); if wanted click(place),
// and draws() with stroke(place, "down", "move" or "up"): while draws() holds, one pointer draws.
function hand(canvas, glass, does) {
  const down = new Map();
  let way = 0, drawing = false;
  const place = (event) => {
    const area = glass.getBoundingClientRect();
    return [event.clientX - area.left - area.width / 2, event.clientY - area.top - area.height / 2];
  };
  const middle = () => [0, 1].map((k) => [...down.values()].reduce((sum, at) => sum + at[k], 0) / down.size);
  const spread = () => { const [p, q] = [...down.values()]; return Math.hypot(p[0] - q[0], p[1] - q[1]); };
  canvas.onpointerdown = (event) => {
    if (event.button > 0 || down.size > 1) return;
    down.set(event.pointerId, place(event));
    try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that has gone already */ }
    way = down.size > 1 ? Infinity : 0;
    drawing = down.size === 1 && Boolean(does.draws?.());
    if (drawing) does.stroke(place(event), "down");
    else canvas.classList.add("held");
    does.hover(place(event));
  };
  canvas.onpointermove = (event) => {
    if (drawing && down.has(event.pointerId)) {
      does.stroke(place(event), "move");
    } else if (down.has(event.pointerId)) {
      const was = middle(), apart = down.size > 1 ? spread() : 0;
      down.set(event.pointerId, place(event));
      const now = middle();
      way += Math.hypot(now[0] - was[0], now[1] - was[1]);
      does.move(now[0] - was[0], now[1] - was[1]);
      if (apart > 0) does.closer(spread() / apart, ...now);
    }
    does.hover(place(event));
  };
  const up = (event) => {
    if (!down.delete(event.pointerId) || down.size) return;
    canvas.classList.remove("held");
    if (drawing) does.stroke(place(event), "up");
    else if (event.type === "pointerup" && way <= STILL) does.click?.(place(event));
    drawing = false;
  };
  canvas.onpointerup = canvas.onpointercancel = up;
  canvas.onpointerleave = () => does.hover(null);
  glass.addEventListener("wheel", (event) => {
    event.preventDefault();  // a pinch on a touch pad arrives here too, with ctrl and small steps
    const step = event.deltaMode === 1 ? 20 * event.deltaY : event.deltaY;
    does.closer(Math.exp(-Math.max(-120, Math.min(120, step)) * (event.ctrlKey ? 0.01 : 0.0015)), ...place(event));
  }, { passive: false });
}
