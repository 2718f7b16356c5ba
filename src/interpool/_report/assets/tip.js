// What is told of a span, an instant or a moment, beside the pointer or what the keys have chosen.

const LABELS = {
  function: "function",
  arguments: "arguments",
  items: "items",
  slowest: "slowest item",
  outcome: "outcome",
  error: "error",
  lane: "lane",
  why: "why",
  attempt: "attempt",
  task: "task",
  nbytes: "size",
};
const KIND_WORDS = {
  start: "start-up", import: "import", transfer: "transfer", run: "run", idle: "idle", failed: "run",
};

function shown(key, value) {
  if (key === "nbytes" && typeof value === "number") return size(value);
  if (key === "slowest" && value !== null && typeof value === "object") {
    const took = typeof value.ms === "number" ? duration(value.ms * 1000) : "";
    return [value.arguments, took].filter(Boolean).join(" in ");
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// Pairs of a label and a text.
function toldOf(args) {
  const keys = [...Object.keys(LABELS).filter((key) => key in args),
    ...Object.keys(args).filter((key) => !(key in LABELS))];
  return keys
    .filter((key) => !(key === "attempt" && args[key] === 1))
    .map((key) => [LABELS[key] ?? key, shown(key, args[key])]);
}

function toldOfSpan(data, track, spans, i) {
  const kind = data.kinds[spans.kind[i]];
  const took = spans.end[i] - spans.start[i];
  const pairs = [["duration", duration(took)], ["from", moment(spans.start[i], took * 10 || 1)]];
  if (spans.merged[i]) {
    const title = `${count(spans.merged[i], "span")} of ${KIND_WORDS[kind]}`;
    return { kind, title, pairs: [...pairs, ["", "too short to be told apart"]] };
  }
  const name = spans.name[i] < 0 ? "" : data.names[spans.name[i]];
  const args = spans.detail[i] < 0 ? {} : data.details[spans.detail[i]];
  const title = kind === "run" || kind === "failed" || kind === "idle" ? name
    : `${KIND_WORDS[kind]}: ${name}`;
  return { kind, title, pairs: [...toldOf(args), ...pairs, ["worker", track.name]] };
}

class Tip {
  constructor(root) {
    this.root = root;
  }

  show({ kind, title, pairs }, x, y) {
    const head = element("p", undefined, "tip-title");
    if (kind) head.append(element("span", undefined, `swatch ${kind}`));
    head.append(element("span", title));
    const list = element("dl");
    for (const [label, text] of pairs) {
      list.append(element("dt", label), element("dd", text));
    }
    this.root.replaceChildren(head, list);
    this.root.hidden = false;
    // Beside the point, and within the window.
    const box = this.root.getBoundingClientRect();
    const { clientWidth, clientHeight } = document.documentElement;
    const left = x + 14 + box.width <= clientWidth ? x + 14 : Math.max(4, x - 14 - box.width);
    const top = y + 14 + box.height <= clientHeight ? y + 14 : Math.max(4, y - 14 - box.height);
    this.root.style.transform = `translate(${Math.max(4, left)}px, ${top}px)`;
  }

  hide() {
    this.root.hidden = true;
  }
}
