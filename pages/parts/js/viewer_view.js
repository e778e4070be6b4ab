// Where the patch is seen from: one view for all panes. `turn` is the matrix [a, b, c, d] of
// quarter turns and mirrors (screen = turn * patch); `x`, `y` the point of the patch in the middle;
// `zoom` is 1 where the whole patch just fits, `most` how close it may come.

const STEPS_UM = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];

function makeView() {
  const view = {
    most: 24, size: [1, 1], x: 0, y: 0, zoom: 1, turn: [1, 0, 0, 1],

    whole() { [view.x, view.y, view.zoom] = [view.size[0] / 2, view.size[1] / 2, 1]; },

    reset(size) { view.size = size; view.turn = [1, 0, 0, 1]; view.whole(); },

    // CSS pixels per pixel of the patch in a pane of this size.
    scale(width, height) {
      const [w, h] = view.turn[0] === 0 ? [view.size[1], view.size[0]] : view.size;
      return view.zoom * Math.min(width / w, height / h);
    },

    // Screen -> patch is the inverse of `turn`, which is its transpose.
    toPatch(dx, dy, scale) {
      const [a, b, c, d] = view.turn;
      return [(a * dx + c * dy) / scale, (b * dx + d * dy) / scale];
    },

    toScreen(x, y, scale, width, height) {
      const [a, b, c, d] = view.turn, u = x - view.x, v = y - view.y;
      return [width / 2 + scale * (a * u + b * v), height / 2 + scale * (c * u + d * v)];
    },

    move(dx, dy, scale) {
      const [u, v] = view.toPatch(dx, dy, scale);
      view.x = Math.min(view.size[0], Math.max(0, view.x - u));
      view.y = Math.min(view.size[1], Math.max(0, view.y - v));
    },

    // (dx, dy) is the point that stays where it is, from the middle of the pane.
    closer(by, dx, dy, scale) {
      const zoom = Math.min(view.most, Math.max(0.5, view.zoom * by)), real = zoom / view.zoom;
      const [u, v] = view.toPatch(dx, dy, scale);
      [view.x, view.y] = [view.x + u * (1 - 1 / real), view.y + v * (1 - 1 / real)];
      view.zoom = zoom;
      view.move(0, 0, 1);
    },

    // What is on screen is turned or mirrored as a sheet of paper is: by [a, b, c, d].
    apply([a, b, c, d]) {
      const [e, f, g, h] = view.turn;
      view.turn = [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
    },

    // A bar of a round length, never longer than a third of the pane: [um, CSS pixels].
    bar(scale, mpp, width) {
      const fits = STEPS_UM.filter((um) => (um / mpp) * scale <= width / 3);
      const um = fits.length ? fits[fits.length - 1] : STEPS_UM[0];
      return [um, (um / mpp) * scale];
    },
  };
  return view;
}
