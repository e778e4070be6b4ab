// Body of a Bokeh CustomJS: the whole patch with what is drawn over it, as PNG.
const canvas = document.createElement("canvas");
[canvas.width, canvas.height] = patch;
const context = canvas.getContext("2d");
const picture_drawn = new Image();
picture_drawn.onload = () => {
  context.drawImage(picture_drawn, 0, 0, patch[0], patch[1]);
  const drawn = overlay.data.image[0];
  const [height, width] = drawn.shape;
  const layer = document.createElement("canvas");
  [layer.width, layer.height] = [width, height];
  const bytes = new Uint8ClampedArray(drawn.buffer, drawn.byteOffset, drawn.byteLength);
  layer.getContext("2d").putImageData(new ImageData(bytes, width, height), 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(layer, 0, 0, patch[0], patch[1]);
  const css = (label) => "#" + [0, 8, 16].map((b) => (colours[label] >> b & 255).toString(16).padStart(2, "0")).join("");
  const ring = (x, y, radius) => { context.beginPath(); context.arc(x + 0.5, y + 0.5, radius, 0, 2 * Math.PI); };
  context.lineWidth = 2;
  const b = blobs.data, n = nuclei.data;
  for (let i = 0; i < b.label.length; i++) {
    ring(b.x[i], b.y[i], b.radius[i]);
    context.strokeStyle = css(b.label[i]);
    context.stroke();
  }
  for (let i = 0; i < n.label.length; i++) {
    ring(n.x[i], n.y[i], 3.5);
    context.fillStyle = css(n.label[i]);
    context.strokeStyle = "#ffffff";
    context.lineWidth = 1;
    context.fill();
    context.stroke();
  }
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = file_name;
    link.click();
    URL.revokeObjectURL(link.href);
  }, "image/png");
};
picture_drawn.src = picture.data.url[0];
