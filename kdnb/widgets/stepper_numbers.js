// The arithmetic of render.py once more, so that a step needs no kernel; tests hold the two against each other.

const row = (spec, kind, target) => spec.kinds[kind].first + (spec.kinds[kind].per_class ? target : 0);
const hasSign = (spec, s) => spec.kinds[s.kind].signed || (s.versus >= 0 && spec.kinds[s.kind].per_class);
const plus = (value) => (value > 0 ? "+" : "") + number(value);

const TRUE_CLASS = -1, PREDICTED = -2; // targets that follow the image

function classOf(spec, image, target) {
  const truth = spec.targets[image], answers = spec.models[0].probabilities[image];
  if (target >= 0) return target;
  return target === PREDICTED || truth < 0 ? answers.indexOf(Math.max(...answers)) : truth;
}

function softmax(logits) {
  const top = Math.max(...logits), parts = Array.from(logits, (z) => Math.exp(z - top)), sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((v) => v / sum);
}

const chance = (p) => (p + 1e-12).toFixed(2);
const twoDigits = (value) => (value >= 0.005 ? "+" : "") + (Math.abs(value) < 0.005 ? 0 : value).toFixed(2); // of a logit

function brief(value) { // in at most six characters
  const size = Math.abs(value);
  if (size < 1e-9) return "0";
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 0.01 ? value.toFixed(2) : value.toExponential(0);
}

function valuesOf(spec, maps, m, layer, kind, target, versus) {
  const found = maps[m][layer - 1][row(spec, kind, target)];
  if (versus < 0 || !spec.kinds[kind].per_class) return found;
  const other = maps[m][layer - 1][row(spec, kind, versus)];
  return found.map((v, i) => v - other[i]); // float32, as in Python
}

function ends(values) {
  let low = 0, high = 0;
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return [low, high];
}

function extremesOf(spec, s, m, layer) {
  const model = spec.models[m], kind = spec.kinds[s.kind];
  if (s.versus < 0 || !kind.per_class) return model.extremes[layer][row(spec, s.kind, s.target)];
  const [a, b] = [Math.min(s.target, s.versus), Math.max(s.target, s.versus)];
  const [low, high] = a === b ? [0, 0] : model.contrasts[layer][s.kind][`${a},${b}`];
  return s.target < s.versus ? [low, high] : [-high, -low];
}

function colourRange(spec, maps, s, m) {
  const layers = [...spec.models[m].taps.keys()], scope = s.scale === "models" ? spec.models.map((_, j) => j) : [m];
  const every = s.scale === "layers" || s.scale === "models" ? layers : [s.layer - 1];
  const found = s.scale === "map" ? [ends(valuesOf(spec, maps, m, s.layer, s.kind, s.target, s.versus))]
    : scope.flatMap((j) => every.map((layer) => extremesOf(spec, s, j, layer)));
  const low = Math.min(0, ...found.map(([a]) => a)), high = Math.max(0, ...found.map(([, b]) => b));
  return hasSign(spec, s) ? [Math.min(low, -high), Math.max(high, -low)] : [low, high];
}

function indices(raw, low, high, signed) {
  const out = new Uint8Array(raw.length).fill(signed ? 128 : 0);
  if (low === high) return out;
  for (let i = 0; i < raw.length; i++) {
    out[i] = Math.floor((signed ? 127 * (raw[i] / high) + 128 : 255 * ((raw[i] - low) / (high - low))) + 0.5);
  }
  return out;
}

function peakOf(raw, signed) {
  let best = 0, differs = false;
  const size = signed ? Math.abs : (v) => v;
  for (let i = 1; i < raw.length; i++) {
    differs ||= raw[i] !== raw[0];
    if (size(raw[i]) > size(raw[best])) best = i;
  }
  return differs ? best : -1;
}

function barsOf(spec, maps, s, m) {
  const model = spec.models[m], minus = (list) => list[s.target] - (s.versus >= 0 ? list[s.versus] : 0);
  if (model.refusal) return [];
  return model.taps.map((_, layer) => {
    let supporting = 0, opposing = 0;
    for (const v of valuesOf(spec, maps, m, layer + 1, "evidence", s.target, s.versus)) v > 0 ? (supporting += v) : (opposing += v);
    return { supporting, opposing, bias: minus(model.bias[layer][s.image]), logit: minus(model.logits[s.image]) };
  });
}

const cellAt = (point, [height, width], side) => [Math.floor((point[0] * height) / side), Math.floor((point[1] * width) / side)];

function boxOf([size, jump, start], cell, side) {
  if (size === null) return null;
  if (size >= 2 * side) return [0, 0, side, side];
  const corner = cell.map((c) => Math.trunc(start + c * jump - (size - 1) / 2));
  return [...corner, ...corner.map((c) => c + size)].map((v) => clamp(v, 0, side));
}

function patchOf(place, side, places) {
  const half = Math.floor(side / places), centre = place.map((p) => Math.round(((p + 0.5) * side) / places));
  return [...centre.map((c) => Math.max(0, c - half)), ...centre.map((c) => Math.min(side, c + half))];
}

const ranked = (values) => Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);

function pane(spec, maps, s, m) {
  const model = spec.models[m], kind = spec.kinds[s.kind], at = s.layer - 1, signed = hasSign(spec, s);
  const [height, width] = model.sizes[at], raw = valuesOf(spec, maps, m, s.layer, s.kind, s.target, s.versus);
  const [low, high] = colourRange(spec, maps, s, m), best = peakOf(raw, signed);
  const peak = best < 0 ? null : [Math.floor(best / width), best % width];
  const cell = s.point.length ? cellAt(s.point, [height, width], spec.side) : null;
  const sees = cell && boxOf(model.fields[at], cell, spec.side), bars = barsOf(spec, maps, s, m);
  const name = spec.classes[s.target] + (s.versus >= 0 ? ` minus ${spec.classes[s.versus]}` : "");
  let said = `${model.name}, layer ${s.layer} of ${model.taps.length} (${model.taps[at]}, ${height} × ${width}), ` +
    `${kind.label}${kind.per_class ? ` for ${name}` : ""}, `;
  said += peak ? `${signed ? "strongest" : "brightest"} ${(signed ? plus : number)(raw[best])} at row ${peak[0] + 1}, column ${peak[1] + 1}; `
    : `says nothing here: the same value ${number(raw[0])} everywhere; `;
  if (s.occluded.length || s.ablated.length) said += "nothing covered or cut: ";
  said += [s.target, s.versus].filter((k) => k >= 0)
    .map((k) => `p(${spec.classes[k]}) ${chance(model.probabilities[s.image][k])}`).join(", ");
  if (bars.length) {
    const b = bars[at];
    said += `; logit${s.versus >= 0 ? " difference" : ""} ${plus(b.logit)} = for ${number(b.supporting)}, ` +
      `against ${number(b.opposing)}, bias ${plus(b.bias)}`;
  }
  if (cell) {
    said += `; cell at row ${cell[0] + 1}, column ${cell[1] + 1}: ${number(raw[cell[0] * width + cell[1]])}`;
    if (sees) said += `, sees rows ${sees[0] + 1} to ${sees[2]}, columns ${sees[1] + 1} to ${sees[3]}`;
  }
  return { height, width, low, high, raw, peak, cell, sees, bars, sentence: said, indices: indices(raw, low, high, signed) };
}
