// A saved page in the kernel's place: the state, and answers to all questions that were computed in advance.

const page = JSON.parse(document.getElementById("kdnb-page").textContent);
const packed = Uint8Array.from(atob(page.packed), (c) => c.charCodeAt(0));
const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
const bytes = await new Response(stream).arrayBuffer();
function joined(start, length) { // bytes of float32 numbers, stored by place in the number
  const planes = new Uint8Array(bytes, start, length), out = new Uint8Array(length), count = length / 4;
  for (let i = 0; i < length; i++) out[4 * (i % count) + Math.floor(i / count)] = planes[i];
  return out.buffer;
}
const known = new Map(page.answers.map(([message, parts]) => [JSON.stringify(message.to),
  [message, parts.map(([start, length, floats]) => new DataView(floats ? joined(start, length)
    : bytes.slice(start, start + length)))]]));
const listeners = {}, values = { ...page.state, spec: page.spec, smooth: false };
const emit = (event, ...what) => (listeners[event] ?? []).forEach((f) => f(...what));
const model = {
  get: (name) => values[name],
  set(name, value) {
    values[name] = value;
    emit(`change:${name}`);
  },
  save_changes() {},
  on: (event, f) => (listeners[event] ??= []).push(f),
  off: (event, f) => (listeners[event] = (listeners[event] ?? []).filter((g) => g !== f)),
  send(question) {
    const more = question.ask === "arithmetic" ? "The arithmetic of a cell" : "this page holds one channel of the student at a time: more";
    const refused = `${more} needs a running notebook`;
    const found = known.get(JSON.stringify(question)) ?? single(question) ?? [{ to: question, refused }, []];
    queueMicrotask(() => emit("msg:custom", ...found));
  },
};
function single({ ask, image, model: m, layer, channels }) { // one channel: a line of the effects of all
  const effects = known.get(JSON.stringify({ ask: "effects", image, model: m, layer }));
  if (ask !== "ablate" || channels.length !== 1 || !effects) return null;
  const all = new Float32Array(bytesOf(effects[1][0]).buffer), count = page.spec.classes.length;
  const logits = [...all.subarray(channels[0] * count, (channels[0] + 1) * count)];
  return [{ to: { ask, image, model: m, layer, channels }, logits }, []];
}
render({ model, el: document.getElementById("kdnb-stepper") });
