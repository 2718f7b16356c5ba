// What the page was given, unpacked: columns of numbers for each track.

async function decoded(element) {
  const bytes = Uint8Array.from(atob(element.textContent.trim()), (c) => c.charCodeAt(0));
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(inflated).text());
}

// Times come as differences, in tenths of a microsecond. Imports lie within what made them, so they
// are kept apart: all other spans of a track are in order and do not overlap.
function unpacked(data, row) {
  const packed = data.tracks[row];
  const isImport = data.kinds.map((kind) => kind === "import");
  const spans = { row, start: [], end: [], kind: [], name: [], detail: [], merged: [] };
  const imports = { row, start: [], end: [], kind: [], name: [], detail: [], merged: [] };
  let start = 0;
  packed.start.forEach((difference, i) => {
    start += difference;
    const into = isImport[packed.kind[i]] ? imports : spans;
    into.start.push(start / 10);
    into.end.push((start + packed.duration[i]) / 10);
    into.kind.push(packed.kind[i]);
    into.name.push(packed.name_of[i]);
    into.detail.push(packed.detail[i]);
    into.merged.push(packed.merged[i]);
  });
  const { name, lane, pid } = packed;
  return { name, lane, pid, spans, imports };
}

// The first of some spans that ends after a time.
function firstAfter(spans, time) {
  let low = 0;
  let high = spans.end.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans.end[middle] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}
