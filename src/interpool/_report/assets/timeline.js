// The workers' tracks: drawn, pointed at, and walked through with the keys.

class Timeline {
  constructor(canvas, axis, data, view, tip, said) {
    Object.assign(this, { canvas, axis, data, view, tip, said });
    this.tracks = data.tracks.map((_, row) => unpacked(data, row));
    this.tall = this.tracks.length <= 16 ? 28 : this.tracks.length <= 64 ? 18 : 12;
    this.chosen = null; // { row, i }: what the keys have chosen
    this.area = null; // two times, while a part is drawn up with the pointer
    this.instants = this.tracks.map(() => []);
    for (const it of data.instants) if (it.track >= 0) this.instants[it.track].push(it);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => tip.hide());
    canvas.addEventListener("dblclick", () => view.show(0, view.wall));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => tip.hide());
  }

  // --- Drawing -----------------------------------------------------------------------------------

  x(time) {
    return this.gutter + ((time - this.view.from) / this.view.width) * this.room;
  }

  time(x) {
    return this.view.from + ((x - this.gutter) / this.room) * this.view.width;
  }

  draw(width, gutter, colour) {
    Object.assign(this, { gutter, room: width - gutter, colour });
    const { view } = this;
    const height = this.tracks.length * this.tall + 2;
    const pen = prepared(this.canvas, width, height);
    const marks = ticks(view.from, view.to, this.room);
    this.drawAxis(width, marks);
    pen.fillStyle = colour.line;
    for (const time of marks) pen.fillRect(this.x(time), 0, 1, height);
    this.tracks.forEach((track, row) => this.drawTrack(pen, track, row));
    if (this.area) {
      const [a, b] = this.area.map((time) => this.x(time));
      pen.globalAlpha = 0.25;
      pen.fillStyle = colour.mark;
      pen.fillRect(Math.min(a, b), 0, Math.abs(b - a), height);
      pen.globalAlpha = 1;
    }
    this.canvas.dataset.from = view.from;
    this.canvas.dataset.to = view.to;
  }

  drawAxis(width, marks) {
    const pen = prepared(this.axis, width, 22);
    pen.fillStyle = this.colour.pale;
    pen.textAlign = "center";
    for (const time of marks) {
      const text = moment(time, this.view.width);
      const half = pen.measureText(text).width / 2;
      pen.fillText(text, Math.min(Math.max(this.x(time), this.gutter + half), width - half), 11);
    }
  }

  drawTrack(pen, track, row) {
    const { colour, gutter, tall } = this;
    const top = row * tall + 1;
    const height = tall - (tall > 14 ? 4 : 2);
    const isChosen = this.chosen?.row === row;
    pen.textAlign = "right";
    pen.fillStyle = isChosen ? colour.ink : colour.pale;
    const label = gutter < 100 ? track.name.replace("worker ", "") : track.name;
    pen.fillText(label, gutter - 8, top + height / 2, gutter - 10);
    pen.save();
    pen.beginPath();
    pen.rect(gutter, top, this.room, height + 1);
    pen.clip();
    pen.fillStyle = colour.shade;
    pen.fillRect(gutter, top, this.room, height);
    this.drawSpans(pen, track.spans, top, height, track.imports);
    const low = Math.max(4, Math.round(height * 0.36));
    this.drawSpans(pen, track.imports, top + height - low, low, null);
    for (const it of this.instants[row]) this.drawInstant(pen, it, top);
    pen.restore();
    if (isChosen) {
      const { spans } = track;
      const left = Math.max(gutter, this.x(spans.start[this.chosen.i]));
      const right = Math.min(gutter + this.room, this.x(spans.end[this.chosen.i]));
      pen.strokeStyle = colour.ink;
      pen.lineWidth = 2;
      if (right >= left) pen.strokeRect(left, top, Math.max(3, right - left), height);
    }
  }

  // What is narrower than a pixel shares its column with the others there, by how long each took.
  drawSpans(pen, spans, top, height, imports) {
    const { data, colour, view } = this;
    const fills = data.kinds.map((kind) => colour[kind]);
    const shares = new Float64Array(fills.length);
    let column = -1;
    const flush = () => {
      if (column < 0) return;
      let bottom = top + height;
      shares.forEach((share, kind) => {
        const part = Math.min(1, share) * height;
        if (part > 0) {
          pen.fillStyle = fills[kind];
          pen.fillRect(column, bottom - part, 1, part);
          bottom -= part;
        }
      });
      shares.fill(0);
      column = -1;
    };
    const { start, end, kind } = spans;
    for (let i = firstAfter(spans, view.from); i < start.length && start[i] < view.to; i += 1) {
      const left = this.x(start[i]);
      const right = this.x(end[i]);
      if (right - left >= 1) {
        flush();
        const from = Math.max(left, this.gutter - 2);
        const wide = Math.min(right, this.gutter + this.room + 2) - from;
        pen.fillStyle = fills[kind[i]];
        pen.fillRect(from, top, wide > 3 ? wide - 0.75 : wide, height);
        if (imports && wide > 48 && height > 14 && data.kinds[kind[i]] !== "idle") {
          // Above the imports in it, if there are any.
          const hasImports = imports.start[firstAfter(imports, start[i])] < end[i];
          this.drawName(pen, spans, i, from, wide, top + height * (hasImports ? 0.34 : 0.5));
        }
      } else {
        // The parts in two columns, if it lies across a border.
        const here = Math.floor(left);
        if (here !== column) flush();
        column = here;
        const inside = Math.min(right, here + 1) - left;
        shares[kind[i]] += inside;
        if (right > here + 1) {
          flush();
          column = here + 1;
          shares[kind[i]] = right - here - 1;
        }
      }
    }
    flush();
  }

  drawName(pen, spans, i, left, wide, middle) {
    if (spans.name[i] < 0) return;
    let text = this.data.names[spans.name[i]];
    const room = wide - 10;
    if (pen.measureText(text).width > room) {
      const fits = Math.floor((text.length * room) / pen.measureText(text).width) - 1;
      if (fits < 3) return;
      text = `${text.slice(0, fits)}…`;
    }
    pen.textAlign = "left";
    pen.fillStyle = "#10151a"; // on each of the colours, in both modes
    pen.fillText(text, left + 5, middle + 0.5);
  }

  drawInstant(pen, { time }, top) {
    const x = this.x(time);
    if (x < this.gutter - 5 || x > this.gutter + this.room + 5) return;
    pen.fillStyle = this.colour.ink;
    pen.beginPath();
    pen.moveTo(x - 5, top);
    pen.lineTo(x + 5, top);
    pen.lineTo(x, top + 8);
    pen.fill();
  }

  // --- The pointer -------------------------------------------------------------------------------

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  wheel(event) {
    const { view } = this;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
      event.preventDefault();
      view.move(((event.deltaX || event.deltaY) / this.room) * view.width);
      return;
    }
    if (event.deltaY > 0 && view.isWhole) return; // the page scrolls on
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    view.zoom(Math.exp(event.deltaY * lines * 0.002), this.time(this.place(event).x));
  }

  // Drawing up a part zooms into it; with Shift, what is seen moves along.
  press(event) {
    if (event.button !== 0 || event.pointerType === "touch") return;
    const { canvas, view } = this;
    const first = this.place(event).x;
    const { from, to } = view;
    const moves = event.shiftKey;
    canvas.setPointerCapture(event.pointerId);
    const follow = (moved) => {
      const now = this.place(moved).x;
      if (moves) {
        const by = ((first - now) / this.room) * (to - from);
        view.show(from + by, to + by);
      } else if (this.area || Math.abs(now - first) > 4) {
        const end = Math.min(Math.max(now, this.gutter), this.gutter + this.room);
        this.area = [this.time(Math.max(first, this.gutter)), this.time(end)];
        view.changed();
      }
    };
    const release = (last) => {
      canvas.removeEventListener("pointermove", follow);
      canvas.removeEventListener("pointerup", release);
      canvas.removeEventListener("pointercancel", release);
      if (this.area && last.type === "pointerup") {
        view.show(Math.min(...this.area), Math.max(...this.area));
      } else if (!moves && last.type === "pointerup") {
        this.choose(this.at(this.place(last)));
      }
      this.area = null;
      view.changed();
    };
    canvas.addEventListener("pointermove", follow);
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
  }

  // What there is at a point: of several in a pixel, the longest.
  at({ x, y }) {
    const row = Math.floor(y / this.tall);
    const track = this.tracks[row];
    if (!track || x < this.gutter) return null;
    const [from, to] = [this.time(x - 1.5), this.time(x + 1.5)];
    const isLow = (y % this.tall) / this.tall > 0.55;
    const found = (isLow && this.longest(track.imports, from, to, true))
      || this.longest(track.spans, from, to, false);
    return found && { row, track, ...found };
  }

  longest(spans, from, to, nested) {
    let best = null;
    let others = -1;
    // An import may go on although one that began later has ended: from the first one, then.
    for (let i = nested ? 0 : firstAfter(spans, from);
      i < spans.start.length && spans.start[i] <= to; i += 1) {
      if (spans.end[i] < from) continue;
      others += 1;
      const took = spans.end[i] - spans.start[i];
      const isBetter = best === null || (nested
        ? took <= spans.end[best] - spans.start[best]
        : took > spans.end[best] - spans.start[best]);
      if (isBetter) best = i;
    }
    return best === null ? null : { spans, i: best, others: nested ? 0 : others };
  }

  instantAt({ x, y }) {
    const row = Math.floor(y / this.tall);
    return this.instants[row]?.find((it) => Math.abs(this.x(it.time) - x) <= 5
      && y - row * this.tall < 10);
  }

  hover(event) {
    if (this.area) return;
    const point = this.place(event);
    const instant = this.instantAt(point);
    const found = this.at(point);
    if (instant) {
      const pairs = [...toldOf(instant.args), ["at", moment(instant.time, this.view.width)]];
      this.tip.show({ title: instant.name, pairs }, event.clientX, event.clientY);
    } else if (found) {
      this.tip.show(this.told(found), event.clientX, event.clientY);
    } else this.tip.hide();
  }

  told({ track, spans, i, others }) {
    const told = toldOfSpan(this.data, track, spans, i);
    if (others > 2) told.pairs.push(["", `and ${count(others, "other")} here: zoom in`]);
    return told;
  }

  // --- The keys ----------------------------------------------------------------------------------

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { view } = this;
    const quarter = view.width / 4;
    const here = this.chosen && this.tracks[this.chosen.row].spans.start[this.chosen.i];
    const actions = {
      "+": () => view.zoom(0.5, here ?? undefined),
      "=": () => view.zoom(0.5, here ?? undefined),
      "-": () => view.zoom(2, here ?? undefined),
      0: () => view.show(0, view.wall),
      ArrowLeft: () => (event.shiftKey ? view.move(-quarter) : this.step(-1)),
      ArrowRight: () => (event.shiftKey ? view.move(quarter) : this.step(1)),
      ArrowUp: () => this.climb(-1),
      ArrowDown: () => this.climb(1),
      Home: () => this.choose({ row: this.chosen?.row ?? 0, i: 0 }),
      End: () => this.step(Infinity),
      Enter: () => this.fit(),
      Escape: () => this.choose(null),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  // The next span that is something, as idle ones are there to be seen and no more.
  step(by) {
    if (!this.tracks.length) return;
    const row = this.chosen?.row ?? 0;
    const { spans } = this.tracks[row];
    const idle = this.data.kinds.indexOf("idle");
    const isInside = this.chosen || !Number.isFinite(by);
    let i = isInside ? (this.chosen?.i ?? 0) + by : firstAfter(spans, this.view.from);
    i = Math.min(Math.max(i, 0), spans.start.length - 1);
    const onwards = by > 0 && Number.isFinite(by) ? 1 : -1;
    while (spans.kind[i] === idle && spans.kind[i + onwards] !== undefined) i += onwards;
    this.choose({ row, i });
  }

  climb(by) {
    if (!this.tracks.length) return;
    const row = Math.min(Math.max((this.chosen?.row ?? -by) + by, 0), this.tracks.length - 1);
    const time = this.chosen
      ? this.tracks[this.chosen.row].spans.start[this.chosen.i] : this.view.from;
    const { spans } = this.tracks[row];
    this.choose({ row, i: Math.min(firstAfter(spans, time), spans.start.length - 1) });
  }

  fit() {
    if (!this.chosen) return;
    const { spans } = this.tracks[this.chosen.row];
    const [from, to] = [spans.start[this.chosen.i], spans.end[this.chosen.i]];
    this.view.show(from - (to - from) * 0.25, to + (to - from) * 0.25);
  }

  choose(found) {
    // Of imports, which lie in other spans, nothing is chosen; nor of workers that did nothing.
    const spans = found && this.tracks[found.row]?.spans;
    if (!spans || !(found.i in spans.start) || (found.spans && found.spans !== spans)) {
      this.chosen = null;
      this.tip.hide();
      this.view.changed();
      return;
    }
    const { row, i } = found;
    const track = this.tracks[row];
    this.chosen = { row, i };
    this.view.include(track.spans.start[i], track.spans.end[i]);
    const told = toldOfSpan(this.data, track, track.spans, i);
    const words = told.pairs.map((pair) => pair.join(" ")).join(", ");
    this.said.textContent = `${told.title}: ${words}`;
    const box = this.canvas.getBoundingClientRect();
    const x = Math.min(Math.max(this.x(track.spans.start[i]), this.gutter), box.width);
    this.tip.show(told, box.left + x, box.top + (row + 1) * this.tall - 14);
    this.view.changed();
  }

  // A task that a table names: the span that begins there, with room around it.
  jump(name, time) {
    // Workers that follow each other may have one name.
    const row = this.tracks.findIndex(({ name: other, spans }) => other === name
      && spans.end.length && spans.start[0] - 1 <= time && spans.end.at(-1) + 1 >= time);
    if (row < 0) {
      const box = this.canvas.getBoundingClientRect();
      this.tip.show({ title: `${name} is not among the workers drawn`, pairs: [] }, box.x, box.y);
      return;
    }
    const { spans } = this.tracks[row];
    const i = Math.min(firstAfter(spans, time + 0.2), spans.start.length - 1);
    this.chosen = { row, i };
    const took = spans.end[i] - spans.start[i];
    this.view.show(spans.start[i] - took, spans.end[i] + took);
    this.canvas.scrollIntoView({ block: "center" });
    this.canvas.focus({ preventScroll: true });
    this.choose({ row, i });
  }
}
