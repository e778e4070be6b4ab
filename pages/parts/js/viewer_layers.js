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

// Areas above the heat map, at full strength; opacity is given when the picture is drawn.
// `cut` and the levels of a map are 0 to 255. Returns the share of each class.
function paintMap(canvas, map, classes, ramp, look) {
  const [channels, height, width] = map.shape;
  const size = height * width, levels = map.levels;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const drawn = new Uint32Array(image.data.buffer);
  const covered = new Array(channels).fill(0);
  if (look.heat) {
    // Clear where there is nothing, so that the tissue stays visible.
    const heat = ramp.map((colour, level) => paint(colour, Math.min(255, 2 * level)));
    const from = look.heatOf * size;
    for (let i = 0; i < size; i++) drawn[i] = heat[levels[from + i]];
  }
  if (look.areas) {
    const shown = [...classes.keys()].filter((k) => look.classes[k]);
    const paints = classes.map((c) => paint(c.colour, 255));
    for (let i = 0; i < size; i++) {
      let strongest = look.cut, winner = -1;
      for (const k of shown) {
        const level = levels[k * size + i];
        if (level > strongest) { strongest = level; winner = k; }
      }
      if (winner >= 0) { drawn[i] = paints[winner]; covered[winner]++; }
    }
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
  context.lineWidth = 2 * unit;
  for (const i of layer.rings) {
    const [x, y] = at(layer.blobs.x[i] + 0.5, layer.blobs.y[i] + 0.5);
    context.beginPath();
    context.arc(x, y, layer.blobs.radius[i] * scale, 0, 2 * Math.PI);
    context.strokeStyle = classes[layer.blobs.label[i]].colour;
    context.stroke();
  }
  const radius = Math.max(2.5 * unit, Math.min(7 * unit, 3.5 * scale));
  context.lineWidth = 1.2 * unit;
  context.strokeStyle = "#ffffff";
  for (const i of layer.dots) {
    const [x, y] = at(layer.nuclei.x[i] + 0.5, layer.nuclei.y[i] + 0.5);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = classes[layer.nuclei.label[i]].colour;
    context.fill();
    context.stroke();
  }
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
