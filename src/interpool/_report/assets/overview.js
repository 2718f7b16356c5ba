// How many workers did what over the whole run, and how many tasks waited; it moves the view, too.

const STACKED = ["run", "transfer", "import", "start", "idle"];
const OVERVIEW_HEIGHT = 96;

class Overview {
  constructor(canvas, data, view, tip, gutter) {
    Object.assign(this, { canvas, data, view, tip, gutter });
    this.highest = Math.max(1, ...data.busy.run.map((_, i) =>
      STACKED.reduce((sum, kind) => sum + data.busy[kind][i], 0)));
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => tip.hide());
  }

  draw(width, colour) {
    const { data, gutter, view } = this;
    const pen = prepared(this.canvas, width, OVERVIEW_HEIGHT);
    const room = width - gutter;
    const buckets = data.busy.run.length;
    const height = OVERVIEW_HEIGHT - 8;
    const bottom = OVERVIEW_HEIGHT - 2;
    const base = new Array(buckets).fill(0);
    pen.fillStyle = colour.shade;
    pen.fillRect(gutter, bottom - height, room, height);
    for (const kind of STACKED) {
      pen.fillStyle = colour[kind];
      pen.beginPath();
      for (let i = 0; i < buckets; i += 1) {
        const left = gutter + (i * room) / buckets;
        const tall = (data.busy[kind][i] / this.highest) * height;
        // A little wider, so that no gap is seen between two.
        pen.rect(left, bottom - base[i] - tall, room / buckets + 0.4, tall);
        base[i] += tall;
      }
      pen.fill();
    }
    this.line(pen, data.waiting, colour.ink, room, height, bottom);
    pen.fillStyle = colour.pale;
    pen.textAlign = "right";
    const full = Math.round(this.highest);
    pen.fillText(count(full, "worker"), gutter - 8, bottom - height + 7, gutter - 10);
    pen.fillText("0", gutter - 8, bottom - 7);
    if (!view.isWhole) this.frame(pen, colour, room);
  }

  line(pen, values, colour, room, height, bottom) {
    const most = Math.max(...values, 0);
    if (!most) return;
    pen.strokeStyle = colour;
    pen.lineWidth = 1.25;
    pen.beginPath();
    values.forEach((value, i) => {
      const x = this.gutter + ((i + 0.5) * room) / values.length;
      pen.lineTo(x, bottom - (value / most) * (height - 4));
    });
    pen.stroke();
  }

  frame(pen, colour, room) {
    const left = this.gutter + (this.view.from / this.view.wall) * room;
    const wide = Math.max(3, (this.view.width / this.view.wall) * room);
    pen.globalAlpha = 0.6;
    pen.fillStyle = colour.surface;
    pen.fillRect(this.gutter, 0, left - this.gutter, OVERVIEW_HEIGHT);
    pen.fillRect(left + wide, 0, this.gutter + room - left - wide, OVERVIEW_HEIGHT);
    pen.globalAlpha = 1;
    pen.strokeStyle = colour.mark;
    pen.lineWidth = 2;
    pen.strokeRect(left, 1, wide, OVERVIEW_HEIGHT - 2);
  }

  time(event) {
    const box = this.canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - this.gutter) / (box.width - this.gutter);
    return Math.min(Math.max(share, 0), 1) * this.view.wall;
  }

  // Where a part is seen, it moves along; else a part is chosen.
  press(event) {
    if (event.button !== 0) return;
    const { canvas, view } = this;
    const first = this.time(event);
    const moves = !view.isWhole;
    const follow = (moved) => {
      const now = this.time(moved);
      if (moves) view.show(now - view.width / 2, now + view.width / 2);
      else if (Math.abs(now - first) > view.wall / 200) {
        view.show(Math.min(first, now), Math.max(first, now));
      }
    };
    if (moves) follow(event);
    canvas.setPointerCapture(event.pointerId);
    canvas.addEventListener(moves ? "pointermove" : "pointerup", follow);
    const release = () => {
      canvas.removeEventListener("pointermove", follow);
      canvas.removeEventListener("pointerup", follow);
    };
    canvas.addEventListener("pointerup", release, { once: true });
    canvas.addEventListener("pointercancel", release, { once: true });
  }

  hover(event) {
    const { data, view } = this;
    const time = this.time(event);
    const buckets = data.busy.run.length;
    const i = Math.min(buckets - 1, Math.floor((time / view.wall) * buckets));
    const pairs = STACKED.filter((kind) => data.busy[kind][i] > 0)
      .map((kind) => [KIND_WORDS[kind], `${digits(data.busy[kind][i])} workers`]);
    if (data.waiting.length) pairs.push(["waiting", count(data.waiting[i], "task")]);
    if (data.memory.length) pairs.push(["memory", `${digits(data.memory[i])} MiB`]);
    this.tip.show({ title: moment(time, view.wall), pairs }, event.clientX, event.clientY);
  }
}
