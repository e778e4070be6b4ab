// Pictures of a slide: asked of the server a few at a time, kept while they are in use, drawn
// finer over coarser, so that something stands there while the finer one is on its way.

const HELD = 160;  // pictures kept; one of 512 x 512 takes a megabyte
const PATIENCE = 10000;  // milliseconds after which an answer is taken for lost
const PAUSE = 60;  // milliseconds without a movement before anything is asked

function makePictures(send, redraw) {
  const held = new Map(), maps = new Map();
  let data = null, serial = 0, asked = null, taken = null, timer = null, overview = null, tissue = null;

  // The coarsest pictures that are fine enough; undefined where low power is.
  function fitting(wanted) {
    return wanted >= data.pitch ? undefined : data.zooms.filter((zoom) => zoom <= wanted).pop() ?? data.zooms[0];
  }

  // The pictures that a view lacks, those in its middle first.
  function lacking(box, wanted) {
    const zoom = fitting(wanted);
    if (zoom === undefined) return [];
    const step = zoom * data.side, found = [];
    const last = (k) => Math.ceil(data.size[k] / step) - 1;
    const range = (from, to, k) => [Math.max(0, Math.floor(from / step)), Math.min(last(k), Math.floor(to / step))];
    const [left, right] = range(box[0], box[2], 0), [top, bottom] = range(box[1], box[3], 1);
    const [x, y] = [(box[0] + box[2]) / 2 / step - 0.5, (box[1] + box[3]) / 2 / step - 0.5];
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        const key = `${zoom}/${column}/${row}`;
        const known = held.get(key);
        if (known === undefined) found.push([Math.hypot(column - x, row - y), key]);
        else { held.delete(key); held.set(key, known); }  // used last
      }
    }
    return found.sort((a, b) => a[0] - b[0]).slice(0, data.most).map((one) => one[1]);
  }

  function ask(keys) {
    serial += 1;
    asked = { serial, at: Date.now() };
    send({ serial, keys });
    clearTimeout(timer);
    timer = setTimeout(redraw, PATIENCE + 50);  // asks again if there was no answer
  }

  return {
    // Called with every drawing: asks for what is lacking once the view rests.
    look(box, wanted) {
      if (!data || (asked && Date.now() - asked.at < PATIENCE)) return;
      asked = null;
      clearTimeout(timer);
      const first = overview ? [] : ["overview"];
      if (data.maps.length && !tissue) first.push("tissue");
      for (const { name } of data.maps) if (!maps.has(name)) first.push(`map ${name}`);
      if (first.length) { ask(first); return; }
      timer = setTimeout(() => {
        const keys = lacking(box, wanted);
        if (keys.length) ask(keys);
      }, PAUSE);
    },

    // `place(x, y)` gives device pixels of a point of the slide.
    paint(context, place, wanted) {
      if (overview) stretch(context, overview, place, 0, 0, ...data.size);
      const rank = (one) => Number(one[0].split("/")[0]), finest = fitting(wanted) ?? Infinity;
      const shown = [...held].filter((one) => one[1] && rank(one) >= finest).sort((a, b) => rank(b) - rank(a));
      for (const [key, image] of shown) {
        const [zoom, column, row] = key.split("/").map(Number), step = zoom * data.side;
        const [x, y] = [column * step, row * step];
        stretch(context, image, place, x, y, Math.min(step, data.size[0] - x), Math.min(step, data.size[1] - y));
      }
    },

    tissue: () => tissue,
    map: (name) => maps.get(name) ?? null,
    isReady: () => overview !== null,
    lacks: (box, wanted) => (overview ? lacking(box, wanted).length : 1),

    async update(given) {
      if (given.slide !== data?.slide) {
        held.forEach((image) => image?.close());
        held.clear();
        overview = tissue = asked = null;
      }
      if (given.token !== data?.token) { maps.clear(); asked = null; }
      data = given;
      const { reply } = given;
      if (!reply || reply.serial === taken) return;
      taken = reply.serial;  // also one that comes late: what it holds is right
      const pieces = await Promise.all(Object.entries(reply.found).map(async ([key, piece]) => {
        if (piece === null) return [key, null];
        return [key, key.startsWith("map ") ? levelsOf(await unpacked(piece)) : await picture(piece)];
      }));
      if (given.slide !== data?.slide || given.token !== data.token) return;
      for (const [key, piece] of pieces) {
        if (key === "overview") overview = piece;
        else if (key === "tissue") tissue = piece;
        else if (key.startsWith("map ")) maps.set(key.slice(4), piece);
        else held.set(key, piece);
      }
      for (const [key, image] of held) {
        if (held.size <= HELD) break;
        image?.close();
        held.delete(key);
      }
      if (reply.serial === asked?.serial) asked = null;
    },

    leave() { data = null; clearTimeout(timer); held.forEach((image) => image?.close()); held.clear(); },
  };
}

function levelsOf({ shape, levels }) {
  return { shape, levels: new Uint16Array(levels.buffer, 0, shape[0] * shape[1]) };
}

// On whole device pixels, so that no seam shows between two pictures.
function stretch(context, image, place, x, y, width, height) {
  const [left, top] = place(x, y).map(Math.round), [right, bottom] = place(x + width, y + height).map(Math.round);
  if (right < 0 || bottom < 0 || left > context.canvas.width || top > context.canvas.height) return;
  context.imageSmoothingEnabled = (right - left) / image.width < 6;
  context.drawImage(image, left, top, Math.max(1, right - left), Math.max(1, bottom - top));
}

// How much of a colour of the ramp is laid over the tissue, 0 to 255: little where there is
// little to show, so that the tissue stays visible there; all of it from a quarter of the scale.
const strength = (level) => Math.min(255, 4 * level);

// A map over the tissue: colours of the ramp tile by tile, grey where a tile is not fit.
function paintLevels(canvas, map, about, data, tissue) {
  const [rows, columns] = map.shape, small = document.createElement("canvas");
  [small.width, small.height] = [columns, rows];
  const image = small.getContext("2d").createImageData(columns, rows), drawn = new Uint32Array(image.data.buffer);
  const colours = data.ramp.map((colour, level) => paint(colour, strength(level)));
  for (const [column, row] of data.unfit) drawn[row * columns + column] = paint("#808080", 255);
  for (let i = 0; i < map.levels.length; i++) {
    if (map.levels[i] === data.nothing) continue;
    drawn[i] = colours[Math.min(255, Math.round((255 * map.levels[i] * about.step) / about.most))];
  }
  small.getContext("2d").putImageData(image, 0, 0);
  [canvas.width, canvas.height] = [tissue.width, tissue.height];
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const edge = (all, k, size) => Math.round((all[k] / all[all.length - 1]) * size);
  for (let row = 0; row < rows; row++) {
    const [top, bottom] = [row, row + 1].map((k) => edge(data.edges.y, k, canvas.height));
    for (const [left, right] of columns > 1 ? [[0, columns - 1], [columns - 1, columns]] : [[0, 1]]) {
      const [x0, x1] = [left, right].map((k) => edge(data.edges.x, k, canvas.width));
      context.drawImage(small, left, row, right - left, 1, x0, top, x1 - x0, bottom - top);
    }
  }
  context.globalCompositeOperation = "destination-in";
  context.imageSmoothingEnabled = true;
  context.drawImage(tissue, 0, 0);
  context.globalCompositeOperation = "source-over";
}

// Number of the column or row that holds a place; -1 outside.
function slot(edges, at) {
  if (at < 0 || at >= edges[edges.length - 1]) return -1;
  let low = 0, high = edges.length - 1;
  while (high - low > 1) {
    const mid = (low + high) >> 1;
    if (edges[mid] <= at) low = mid; else high = mid;
  }
  return low;
}
