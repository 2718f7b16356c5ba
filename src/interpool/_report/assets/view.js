// Which part of the run is seen. Whoever shows it is told of each change, once a frame.

class View {
  constructor(wall) {
    this.wall = Math.max(wall, 1);
    this.from = 0;
    this.to = this.wall;
    this.onChange = [];
    this.isDue = false;
  }

  get width() {
    return this.to - this.from;
  }

  get isWhole() {
    return this.from <= 0 && this.to >= this.wall;
  }

  show(from, to) {
    const least = Math.min(this.wall, 5); // microseconds: nothing is shorter
    const width = Math.min(this.wall, Math.max(to - from, least));
    const start = Math.min(Math.max(from - (width - (to - from)) / 2, 0), this.wall - width);
    this.from = start;
    this.to = start + width;
    this.changed();
  }

  zoom(factor, at = (this.from + this.to) / 2) {
    const width = Math.min(this.wall, Math.max(this.width * factor, 5));
    const share = (at - this.from) / this.width;
    this.show(at - share * width, at + (1 - share) * width);
  }

  move(by) {
    const start = Math.min(Math.max(this.from + by, 0), this.wall - this.width);
    this.show(start, start + this.width);
  }

  // Have a time within what is seen, as little as can be moved for it.
  include(from, to) {
    if (from < this.from || to - from > this.width) this.move(from - this.from - this.width * 0.1);
    else if (to > this.to) this.move(to - this.to + this.width * 0.1);
  }

  changed() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      for (const tell of this.onChange) tell();
    });
  }
}

// A canvas as sharp as the screen, and what draws on it in CSS pixels.
function prepared(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";
  pen.textBaseline = "middle";
  return pen;
}

// Times for marks on an axis: 1, 2 or 5 of some unit apart, no closer than 90 pixels.
function ticks(from, to, pixels) {
  const least = ((to - from) / Math.max(pixels, 1)) * 90;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((it) => it * power).find((it) => it >= least) ?? power * 10;
  const found = [];
  for (let i = Math.ceil(from / step); i * step <= to && found.length < 100; i += 1) {
    found.push(i * step);
  }
  return found;
}
