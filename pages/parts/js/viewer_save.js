// What a saved picture says of where it comes from: a strip below it, and words within the file.

const STRIP_FONT = "12px sans-serif", STRIP_LINE = 16, STRIP_EDGE = 6, SCALE = 64;

// Parts of the strip, as many to a line as fit beside each other.
function stripLines(context, parts, width) {
  context.font = STRIP_FONT;
  const lines = [];
  for (const part of parts) {
    const longer = lines.length ? `${lines[lines.length - 1]} · ${part}` : part;
    const fits = lines.length && context.measureText(longer).width <= width - 2 * STRIP_EDGE;
    if (fits) lines[lines.length - 1] = longer;
    else lines.push(part);
  }
  return lines;
}

function drawStrip(context, lines, top, width) {
  context.setTransform(1, 0, 0, 1, 0, top);
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, lines.length * STRIP_LINE);
  context.fillStyle = "#111111";
  context.font = STRIP_FONT;
  lines.forEach((line, k) => context.fillText(line, STRIP_EDGE, (k + 0.75) * STRIP_LINE, width - 2 * STRIP_EDGE));
}

// How long a length is, and which colour is which class.
function drawKey(context, classes, [um, long], top, width) {
  context.setTransform(1, 0, 0, 1, 0, top);
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, STRIP_LINE);
  context.font = STRIP_FONT;
  context.fillStyle = "#111111";
  context.fillRect(STRIP_EDGE, 7, long, 3);
  let left = Math.round(STRIP_EDGE + long + 4);
  const write = (text) => {
    context.fillStyle = "#111111";
    context.fillText(text, left, 12);
    left = Math.round(left + context.measureText(text).width + 14);
  };
  write(um >= 1000 ? `${um / 1000} mm` : `${um} µm`);
  for (const { title, colour } of classes) {
    context.fillStyle = colour;
    context.fillRect(left, 3, 10, 10);
    left += 14;
    write(title);
  }
}

// What the colours of a map stand for, on a line of its own.
function drawScale(context, { title, colours, ends: [low, high] }, top, width) {
  context.setTransform(1, 0, 0, 1, 0, top);
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, width, STRIP_LINE);
  context.font = STRIP_FONT;
  const before = `${title}: ${low}`, left = Math.round(STRIP_EDGE + context.measureText(before).width + 4);
  context.fillStyle = "#111111";
  context.fillText(before, STRIP_EDGE, 12);
  context.fillText(high, left + SCALE + 4, 12);
  for (let k = 0; k < SCALE; k += 1) {
    context.fillStyle = colours[Math.round((k * (colours.length - 1)) / (SCALE - 1))];
    context.fillRect(left + k, 3, 1, 10);
  }
}

// The PNG with `text` as its description: a chunk iTXt behind the header (PNG 3rd edition, 11.3.3).
function described(png, text) {
  const body = new TextEncoder().encode(`iTXtDescription\0\0\0\0\0${text}`);
  const chunk = new DataView(new ArrayBuffer(body.length + 8));
  chunk.setUint32(0, body.length - 4);
  new Uint8Array(chunk.buffer).set(body, 4);
  chunk.setUint32(body.length + 4, crc32(body));
  const behind = 33;  // signature and header
  return new Blob([png.slice(0, behind), chunk.buffer, png.slice(behind)], { type: "image/png" });
}

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
