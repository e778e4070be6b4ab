// Body of a Bokeh CustomJS: what the maps hold under the pointer, in words.
const maps = store.data[methods[controls.map_of === undefined ? 0 : controls.map_of.active]][0];
const [, height, width] = maps.shape;
const column = Math.floor((cb_obj.x + 0.5) / patch[0] * width);
const row = Math.floor((cb_obj.y + 0.5) / patch[1] * height);
if (row < 0 || column < 0 || row >= height || column >= width) {
  here.text = "";
} else {
  const at = row * width + column;
  const words = [2, 1, 0].map((k) => names[k] + " " + (maps[k * height * width + at] / 255).toFixed(2));
  here.text = "Activation here: " + words.join(", ");
}
