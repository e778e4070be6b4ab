// Body of one Bokeh CustomJS, run once at the start and at every change of a
// control. `args` are named in viewer.py, controls in viewer_controls.py. Nothing goes back to the server.
const KEY = "cellularity.viewer";
const REMEMBERED = ["shown", "classes0", "classes1", "classes2", "cut", "opacity", "blob_cut", "heat_of", "map_of"];

function value_of(control) {
  return control.active !== undefined ? control.active : control.value;
}

function restore() {
  let kept = {};
  try { kept = JSON.parse(window.sessionStorage.getItem(KEY)) || {}; } catch { kept = {}; }
  for (const name of REMEMBERED) {
    const control = controls[name];
    if (control === undefined || kept[name] === undefined) continue;
    if (control.active !== undefined) control.active = kept[name];
    else control.value = kept[name];
  }
}

function remember() {
  const kept = {};
  for (const name of REMEMBERED) {
    if (controls[name] !== undefined) kept[name] = value_of(controls[name]);
  }
  try { window.sessionStorage.setItem(KEY, JSON.stringify(kept)); } catch { /* private window */ }
}

if (starting) restore();
else remember();

const on = {
  areas: controls.shown.active.includes(0),
  heat: controls.shown.active.includes(1),
  blobs: controls.shown.active.includes(2),
  nuclei: controls.shown.active.includes(3),
};
const wanted = [0, 1, 2].map((k) => controls["classes" + k].active);
const method = methods[controls.map_of === undefined ? 0 : controls.map_of.active];
const opacity = controls.opacity.value / 100;

controls.cut.visible = on.areas;
controls.opacity.visible = on.areas || on.heat;
controls.blob_cut.visible = on.blobs;
heat_box.visible = on.heat;
if (controls.map_of !== undefined) controls.map_of.visible = on.areas || on.heat || on.blobs;

// Areas and heat map: one picture, areas above.
const maps = store.data[method][0];
const [, height, width] = maps.shape;
const size = height * width;
const drawn = new Uint32Array(size);
if (on.areas || on.heat) {
  const cut = controls.cut.value * 255;
  const alpha = Math.round(opacity * 255) << 24;
  const paint = colours.map((c) => alpha | c);
  const heat_from = controls.heat_of.active * size;
  for (let i = 0; i < size; i++) {
    let colour = 0;
    if (on.heat) {
      // Clear where there is nothing, so that the tissue stays visible.
      const level = maps[heat_from + i];
      colour = Math.round(opacity * Math.min(255, 2 * level)) << 24 | ramp[level];
    }
    if (on.areas) {
      let strongest = cut;
      for (let k = 0; k < 3; k++) {
        const p = maps[k * size + i];
        if (wanted[k] && p > strongest) { strongest = p; colour = paint[k]; }
      }
    }
    drawn[i] = colour;
  }
}
const { ndarray } = Bokeh.require("core/util/ndarray");
overlay.data = { ...overlay.data, image: [ndarray(drawn.buffer, { dtype: "uint32", shape: [height, width] })] };

// Points: the rows of `all` that pass, with every column.
function pick(all, target, keep) {
  const names = Object.keys(all);
  const picked = Object.fromEntries(names.map((name) => [name, []]));
  const count = all.label.length;
  for (let i = 0; i < count; i++) {
    if (keep(i)) for (const name of names) picked[name].push(all[name][i]);
  }
  target.data = picked;
  return picked.label.length;
}
const blob_cut = controls.blob_cut.value;
const found = all_blobs.data[method + ".label"] === undefined ? null : Object.fromEntries(
  Object.keys(all_blobs.data)
    .filter((name) => name.startsWith(method + "."))
    .map((name) => [name.slice(method.length + 1), all_blobs.data[name][0]]));
let rings = 0;
if (found !== null) {
  rings = pick(found, blobs, (i) => on.blobs && wanted[found.label[i]] && found.response[i] > blob_cut);
}
const cells = all_nuclei.data;
const dots = pick(cells, nuclei, (i) => on.nuclei && wanted[cells.label[i]]);

let covered = [0, 0, 0];
if (on.areas) {
  const index = new Map(colours.map((c, k) => [c & 0xffffff, k]));
  for (let i = 0; i < size; i++) {
    const k = index.get(drawn[i] & 0xffffff);
    if (k !== undefined && drawn[i] !== 0) covered[k]++;
  }
}
const words = [];
if (on.areas) {
  const shares = [2, 1, 0].filter((k) => wanted[k]).map((k) => names[k] + " " + (100 * covered[k] / size).toFixed(1) + " %");
  if (shares.length) words.push("Area above " + controls.cut.value.toFixed(2) + ": " + shares.join(", "));
}
if (on.blobs) words.push(rings + " blobs above " + blob_cut.toFixed(2));
if (on.nuclei) words.push(dots + " nuclei");
status.text = words.length ? words.join(" · ") : "Nothing is drawn over the patch.";
