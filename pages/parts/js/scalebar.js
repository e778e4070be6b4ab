// Body of a Bokeh CustomJS: a bar of a round length in um, at the lower left,
// never longer than a third of the view. Run when the view changes.
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];
const left = x_range.start, wide = x_range.end - x_range.start;
const bottom = y_range.start, high = y_range.end - y_range.start;
const fits = STEPS.filter((um) => um / mpp <= wide / 3);
const um = fits.length ? fits[fits.length - 1] : STEPS[0];
const x0 = left + 0.035 * wide, x1 = x0 + um / mpp, y = bottom + 0.04 * high;
bar.data = {
  x0: [x0], x1: [x1], y: [y], middle: [(x0 + x1) / 2], text: [um >= 1000 ? um / 1000 + " mm" : um + " µm"],
};
