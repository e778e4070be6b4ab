// What is drawn over a patch: unpacked once, painted anew when a switch or a limit changes.
// No word a user reads is in here: words come with the data, so that a patch shown by itself
// brings nothing of a model to the browser.

async function unpacked({ shape, bytes }) {
  const packed = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return { shape, levels: new Uint8Array(await new Response(stream).arrayBuffer()) };
}

async function picture(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return createImageBitmap(image);
}

// "#RRGGBB" as 0xAABBGGRR: the bytes R, G, B, A in the order a canvas has them.
function paint(colour, alpha) {
  const rgb = parseInt(colour.slice(1), 16);
  return ((alpha << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

// What is strongest of the shown classes at each pixel, as 256 * class + level, and how many
// pixels have each of these; kept with the map until other classes are shown.
function strongest(map, shown) {
  const key = shown.join();
  if (map.strongest?.key === key) return map.strongest;
  const [channels, height, width] = map.shape, size = height * width, { levels } = map;
  const at = new Uint16Array(size), counts = new Uint32Array(256 * channels);
  for (const k of shown) {
    const from = k * size, name = 256 * k;
    for (let i = 0; i < size; i++) {
      const level = levels[from + i];
      if (level > (at[i] & 255)) at[i] = name + level;
    }
  }
  for (let i = 0; i < size; i++) counts[at[i]]++;
  return (map.strongest = { key, at, counts });
}

// Areas above the heat map, at full strength; opacity is given when the picture is drawn.
// `cut` and the levels of a map are 0 to 255. Returns the share of each class.
// Colours are looked up, never chosen pixel by pixel: a slider must be answered at once.
function paintMap(canvas, map, classes, ramp, look) {
  const [channels, height, width] = map.shape;
  const size = height * width, { levels } = map;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const drawn = new Uint32Array(image.data.buffer);
  const covered = new Array(channels).fill(0);
  if (look.heat) {
    // Clear where there is nothing, so that the tissue stays visible.
    const heat = Uint32Array.from(ramp, (colour, level) => paint(colour, Math.min(255, 2 * level)));
    const from = look.heatOf * size;
    for (let i = 0; i < size; i++) drawn[i] = heat[levels[from + i]];
  }
  if (look.areas) {
    const { at, counts } = strongest(map, [...classes.keys()].filter((k) => look.classes[k]));
    const colours = new Uint32Array(256 * channels);  // 0 where the level is not above the limit
    classes.forEach(({ colour }, k) => {
      for (let level = Math.floor(look.cut) + 1; level < 256; level++) {
        colours[256 * k + level] = paint(colour, 255);
        covered[k] += counts[256 * k + level];
      }
    });
    for (let i = 0; i < size; i++) drawn[i] = colours[at[i]] || drawn[i];
  }
  context.putImageData(image, 0, 0);
  return covered.map((count) => count / size);
}

// Indices of the points that are to be drawn.
function picked(points, keep) {
  const found = [];
  if (points) for (let i = 0; i < points.x.length; i++) if (keep(i)) found.push(i);
  return found;
}

// Points and circles; `at` gives their place on the context, `scale` its pixels per pixel of the patch.
function drawPoints(context, layer, classes, at, scale, unit) {
  const put = (disc, x, y) => context.drawImage(disc, Math.round(x - disc.width / 2), Math.round(y - disc.height / 2));
  for (const i of layer.rings) {
    const [x, y] = at(layer.blobs.x[i] + 0.5, layer.blobs.y[i] + 0.5);
    const { colour } = classes[layer.blobs.label[i]], radius = layer.blobs.radius[i] * scale;
    if (radius < STAMPED * unit) put(stamp(radius, 2 * unit, colour), x, y);
    else ring(context, x, y, radius, 2 * unit, colour);
  }
  const radius = Math.max(2.5 * unit, Math.min(7 * unit, 3.5 * scale));
  const dots = classes.map(({ colour }) => stamp(radius, 1.2 * unit, "#ffffff", colour));
  for (const i of layer.dots) {
    const [x, y] = at(layer.nuclei.x[i] + 0.5, layer.nuclei.y[i] + 0.5);
    put(dots[layer.nuclei.label[i]], x, y);
  }
}

function ring(context, x, y, radius, width, line, fill = null) {
  context.lineWidth = width;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) { context.fillStyle = fill; context.fill(); }
  context.strokeStyle = line;
  context.stroke();
}

// A circle to be copied: there are thousands, and to draw each costs ten times as much. The
// radius is in halves of a pixel and small, so there are few of them to keep.
const STAMPED = 32;
const stamps = new Map();

function stamp(radius, width, line, fill = null) {
  const half = Math.round(2 * radius) / 2, key = [half, width, line, fill].join();
  let made = stamps.get(key);
  if (!made) {
    made = document.createElement("canvas");
    made.width = made.height = 2 * Math.ceil(half + width);
    ring(made.getContext("2d"), made.width / 2, made.width / 2, half, width, line, fill);
    stamps.set(key, made);
  }
  return made;
}

// What lies under a point of the patch (pixels, 0 at the patch's edge); null where nothing does.
function nearest(points, rows, x, y, within) {
  let best = null, least = Infinity;
  for (const i of rows) {
    const far = Math.hypot(points.x[i] + 0.5 - x, points.y[i] + 0.5 - y);
    if (far <= within(i) && far < least) [best, least] = [i, far];
  }
  return best;
}
