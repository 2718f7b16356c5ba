// Figures in words, and small pieces of the page.

function digits(value) {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value.toFixed(value >= 10 ? 1 : 2).replace(/\.?0+$/, "");
}

// Microseconds, in the unit that people read.
function duration(microseconds) {
  if (microseconds >= 7.2e9) return `${digits(microseconds / 3.6e9)} h`;
  if (microseconds >= 1.2e8) return `${digits(microseconds / 6e7)} min`;
  if (microseconds >= 1e6) return `${digits(microseconds / 1e6)} s`;
  if (microseconds >= 1e3) return `${digits(microseconds / 1e3)} ms`;
  return `${digits(microseconds)} µs`;
}

// A moment, with as many digits as tell it from others in a view of this width.
function moment(microseconds, width) {
  if (microseconds === 0) return "0";
  const [unit, name] = width >= 1.2e8 ? [6e7, "min"] : width >= 2e6 ? [1e6, "s"] : [1e3, "ms"];
  const places = Math.max(0, Math.min(6, Math.ceil(-Math.log10(width / unit / 100))));
  const value = (microseconds / unit).toFixed(places);
  return `${value.includes(".") ? value.replace(/\.?0+$/, "") : value} ${name}`;
}

function size(nbytes) {
  if (nbytes >= 1e9) return `${digits(nbytes / 1e9)} GB`;
  if (nbytes >= 1e6) return `${digits(nbytes / 1e6)} MB`;
  if (nbytes >= 1e3) return `${digits(nbytes / 1e3)} kB`;
  return `${nbytes} bytes`;
}

function count(number, one) {
  return `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;
}

// Whatever is told of tasks is text: it never becomes markup.
function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = (name) => style.getPropertyValue(`--${name}`).trim();
  const found = {};
  for (const name of ["start", "import", "transfer", "run", "idle", "failed", "ink", "pale", "line",
    "surface", "mark", "shade"]) found[name] = named(name);
  return found;
}
