// What every widget's browser side is made of: elements, buttons, canvases, numbers as Python writes them.

const WAITING = "Waiting for the kernel. The live view is not saved with the notebook: if no kernel runs, run this cell again.";

const GONE = "The kernel of this view is gone: run this cell again.";

function number(value) {
  value *= 1 + 1e-12;
  const [mantissa, power] = value.toExponential(2).split("e");
  if (!value) return "0";
  return power < -4 || power >= 4 ? `${mantissa}e${+power}` : value.toFixed(Math.max(0, 2 - power));
}

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function opaque(rgb) {
  const out = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  for (let i = 0; i < rgb.length; i++) out[4 * Math.floor(i / 3) + (i % 3)] = rgb[i];
  return out;
}

const colours = (hex) => new Uint32Array(opaque(hex.match(/../g).map((two) => parseInt(two, 16))).buffer); // RGBA words

function paint(canvas, width, height, rgba) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
}

function paintMap(canvas, width, height, indices, colour) {
  paint(canvas, width, height, new Uint8ClampedArray(Uint32Array.from(indices, (i) => colour[i]).buffer));
}

const FINE = 512; // pixels of an outline's canvas, about: a line of two is seen in a picture of 320

const drawn = new WeakMap(); // canvas → the mask that is drawn on it

function drawOutline(canvas, mask, side) { // white lines between what is inside the mask and what is not
  const key = mask.join("");
  if (drawn.get(canvas) === key) return; // the same image: a line with a shadow takes time
  drawn.set(canvas, key);
  const fine = Math.max(1, Math.round(FINE / side)); // pixels to one of the image
  canvas.width = canvas.height = fine * side;
  const pen = canvas.getContext("2d"), at = (y, x) => x >= 0 && x < side && mask[y * side + x] > 0;
  if (mask.every((v) => v)) return;
  [pen.fillStyle, pen.shadowColor, pen.shadowBlur] = ["#fff", "#000", 2];
  for (let y = 0; y <= side; y++) for (let x = 0; x <= side; x++) {
    if (at(y, x) !== at(y, x - 1)) pen.fillRect(fine * x - 1, fine * y, 2, fine);
    if (at(y, x) !== at(y - 1, x)) pen.fillRect(fine * x, fine * y - 1, fine, 2);
  }
}

const cycle = (list, item) => list[(list.indexOf(item) + 1) % list.length];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const field = (label, ...controls) => [h("span", { class: "label" }, label), h("div", { class: "field" }, ...controls)];
const item = (label, ...controls) => h("div", { class: "item" }, h("span", { class: "label" }, label), ...controls);
const button = (name, text, onclick) => h("button", { type: "button", "aria-label": name, onclick }, text);

function select(label, options, choose) {
  const node = h("select", { "aria-label": label, onchange: () => choose(node.value) });
  for (const [value, text] of options) node.append(h("option", { value }, text));
  return node;
}

function range(label, min, max, step, choose) {
  const node = h("input", { type: "range", min, max, step, "aria-label": label, oninput: () => choose(+node.value) });
  return node;
}

const waiting = (live) => setTimeout(() => (live.textContent = WAITING), 4000);
const liveLine = () => h("p", { class: "live", role: "status", "aria-live": "polite" });
const stageOf = (label, ...panes) => h("div", { class: "stage", tabindex: 0, role: "application", "aria-label": label }, ...panes);

const frame = (name, onkeydown, ...parts) =>
  h("div", { class: `kdnb-widget ${name}`, onkeydown }, ...parts);
const controlsOf = (...fields) => h("div", { class: "controls" }, ...fields.flat());
const helpOf = (help) => h("p", { class: "help" }, ...help.map(([keys, what]) => h("span", {}, h("kbd", {}, keys), what)));

const modified = (event) => event.ctrlKey || event.metaKey || event.altKey;

function onKeys(acts, own = () => false, before = () => {}) { // own: the key belongs to the element that has the focus
  return (event) => {
    if (event.ctrlKey || event.metaKey) return; // JupyterLab's: Ctrl+S saves the notebook
    event.stopPropagation(); // no plain key is a shortcut of JupyterLab here
    if (own(event) || event.altKey || event.key === "Tab") return;
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    before(act);
    act();
  };
}

function ready(model, root, known) { // a view that lives hides the picture that stands for it
  root.setAttribute("aria-busy", !known);
  const stills = document.querySelectorAll(`[data-kdnb-still="${model.get("spec").still}"]`);
  for (const still of known ? stills : []) still.style.display = "none";
}

function send(model, question) { // whether anybody could hear it: after a restart of the kernel nobody can
  try {
    model.send(question);
  } catch {
    return false;
  }
  return true;
}

const setter = (model) => (changes) => {
  for (const [name, value] of Object.entries(changes)) model.set(name, value);
  model.save_changes();
};

function follow(model, names, draw, receive = () => {}) { // gives back how to stop
  let queued = false;
  function redraw() {
    queued = false;
    draw();
  }
  function changed() { // several traits at once: one picture
    if (!queued) queueMicrotask(redraw);
    queued = true;
  }
  names.forEach((name) => model.on(`change:${name}`, changed));
  model.on("msg:custom", receive);
  return () => {
    names.forEach((name) => model.off(`change:${name}`, changed));
    model.off("msg:custom", receive);
  };
}

const share = (part, whole) => `${(100 * part) / whole}%`;
const bytesOf = (view) => new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
