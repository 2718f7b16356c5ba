// The page, put together.

async function begin() {
  const byId = (id) => document.getElementById(id);
  const data = await decoded(byId("data"));
  const view = new View(data.wall);
  const tip = new Tip(byId("tip"));
  const timeline = new Timeline(byId("tracks"), byId("axis"), data, view, tip, byId("said"));
  const frame = byId("drawing");
  const gutter = () => (frame.clientWidth < 600 ? 64 : 132);
  const overview = new Overview(byId("overview"), data, view, tip, gutter());
  const draw = () => {
    const width = frame.clientWidth;
    const colour = colours();
    overview.gutter = gutter();
    overview.draw(width, colour);
    timeline.draw(width, gutter(), colour);
    byId("window").textContent = view.isWhole ? `All of ${duration(view.wall)}`
      : `${moment(view.from, view.width)} to ${moment(view.to, view.width)}: ${duration(view.width)}`;
  };
  view.onChange.push(draw);
  new ResizeObserver(() => view.changed()).observe(frame);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view.changed());
  byId("zoom-in").addEventListener("click", () => view.zoom(0.5));
  byId("zoom-out").addEventListener("click", () => view.zoom(2));
  byId("zoom-all").addEventListener("click", () => view.show(0, view.wall));
  for (const button of document.querySelectorAll("button[data-start]")) {
    button.addEventListener("click", () =>
      timeline.jump(button.dataset.worker, Number(button.dataset.start)));
  }
  draw();
  document.documentElement.dataset.ready = "yes";
}

begin().catch((error) => {
  document.getElementById("window").textContent = `The timeline cannot be drawn: ${error}`;
  throw error;
});
