// The browser's side of the layer stepper. It draws every step from raw maps by the rules of render.py, so that a step
// needs no kernel and the numbers on the screen equal Python's.

const KEYS = { a: ["kind", "average"], g: ["kind", "gradcam"], e: ["kind", "evidence"] };
const HELP = [["← →", "layer"], ["↑ ↓", "image"], ["A G E", "map"], ["C", "class"], ["S", "scale"], ["M", "model"],
  ["+ −", "opacity"], ["P", "play"]];
const PLAY_MS = 900;
const STILL = "Play is off, because your system asks for less motion: step with the arrow keys.";

// ---- the same arithmetic as render.py -------------------------------------------------------------------------------

const row = (spec, s) => spec.kinds[s.kind].first + (spec.kinds[s.kind].per_class ? s.target : 0);

function colourRange(spec, s, model) {
  const every = s.scale === "layers" || s.scale === "models";
  let low = 0, high = 0;
  for (const m of s.scale === "models" ? spec.models : [model]) {
    for (const layer of every ? m.extremes : [m.extremes[s.layer - 1]]) {
      const images = layer[row(spec, s)];
      for (const [a, b] of s.scale === "map" ? [images[s.image]] : images) {
        low = Math.min(low, a);
        high = Math.max(high, b);
      }
    }
  }
  return spec.kinds[s.kind].signed ? [Math.min(low, -high), Math.max(high, -low)] : [low, high];
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

function pane(spec, maps, s, m) {
  const model = spec.models[m], kind = spec.kinds[s.kind], name = spec.classes[s.target], at = s.layer - 1;
  const [height, width] = model.sizes[at], raw = maps[m][at][row(spec, s)];
  const [low, high] = colourRange(spec, s, model), peak = peakOf(raw, kind.signed);
  const cell = [Math.floor(peak / width), peak % width];
  let where = `the same value ${number(raw[0])} everywhere`;
  if (peak >= 0) {
    const value = (kind.signed && raw[peak] > 0 ? "+" : "") + number(raw[peak]);
    where = `${kind.signed ? "strongest" : "brightest"} ${value} at row ${cell[0] + 1}, column ${cell[1] + 1}`;
  }
  const sentence = `${model.name}, layer ${s.layer} of ${model.taps.length} (${model.taps[at]}, ${height} × ${width}), ` +
    `${kind.label}${kind.per_class ? ` for ${name}` : ""}, ${where}; ` +
    `p(${name}) ${(model.probabilities[s.image][s.target] + 1e-12).toFixed(2)}`;
  return { height, width, low, high, sentence, cell: peak < 0 ? null : cell, indices: indices(raw, low, high, kind.signed) };
}

// ---- one model ------------------------------------------------------------------------------------------------------

function modelPane(spec, model) {
  const parts = {
    about: h("span", { class: "about" }), image: h("canvas", { "aria-hidden": true }),
    map: h("canvas", { class: "map", role: "img" }), peak: h("div", { class: "peak" }),
    bar: h("canvas", { class: "bar", "aria-hidden": true }),
    legend: [h("span"), h("span", { class: "unit" }), h("span")],
  };
  parts.rows = spec.classes.map((name) => {
    const fill = h("span", { class: "fill" }), p = h("span", { class: "p" });
    const label = h("span", { class: "name", title: name }, name);
    return { fill, p, label, node: h("li", {}, label, h("span", { class: "track" }, fill), p) };
  });
  parts.node = h("section", { class: "pane", "aria-label": model.name },
    h("header", {}, h("strong", {}, model.name), parts.about),
    h("div", { class: "picture" }, parts.image, parts.map, parts.peak),
    parts.bar, h("div", { class: "legend" }, ...parts.legend),
    h("ul", { class: "classes", "aria-label": `probabilities of the ${model.name}` }, ...parts.rows.map((r) => r.node)));
  return parts;
}

// ---- the widget -----------------------------------------------------------------------------------------------------

function render({ model, el }) {
  const spec = model.get("spec"), layers = spec.models[0].taps.length, count = spec.titles.length;
  const names = ["image", "layer", "kind", "target", "scale", "opacity", "shown", "smooth"];
  const palettes = spec.palettes.map(colours), store = new Map(), asked = new Set();
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const state = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const both = spec.models.length === 2 ? ["both", ...spec.models.map((m) => m.name)] : ["both"];
  const scales = Object.entries(spec.scales).filter(([name]) => both.length > 1 || name !== "models");
  let timer = 0, queued = false, late = 0;

  function set(changes) {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  }
  const move = (name, by, low, high) => set({ [name]: clamp(model.get(name) + by, low, high) });
  const fade = (by) => set({ opacity: clamp(Math.round(model.get("opacity") * 10 + by) / 10, 0, 1) });

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
    play.setAttribute("aria-label", "play through the layers");
  }
  function toggle() {
    if (timer) return stop();
    if (still.matches) return (live.textContent = STILL);
    if (model.get("layer") === layers) set({ layer: 1 });
    timer = setInterval(() => {
      move("layer", 1, 1, layers);
      if (model.get("layer") === layers) stop();
    }, PLAY_MS);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "pause");
  }
  const calm = () => still.matches && stop();

  const panes = spec.models.map((m) => modelPane(spec, m));
  const original = h("canvas", { role: "img" }), title = h("p", { class: "title" }), truth = h("p", { class: "truth" });
  const place = h("span", { class: "place" }), live = h("p", { class: "live", role: "status", "aria-live": "polite" });
  const back = button("previous image", "‹", () => move("image", -1, 0, count - 1));
  const next = button("next image", "›", () => move("image", 1, 0, count - 1));
  const play = button("", "", toggle);
  const smooth = button("smooth map", "smooth", () => set({ smooth: !model.get("smooth") }));
  const slider = range("layer", 1, layers, 1, (v) => set({ layer: v }));
  const opacity = range("opacity of the map", 0, 1, 0.05, (v) => set({ opacity: v })), percent = h("output");
  const ticks = spec.models[0].taps.map((_, i) => h("span", { style: `--at: ${i / Math.max(1, layers - 1)}` },
    ...spec.models.map((m) => h("span", {}, m.taps[i]))));
  const kinds = Object.entries(spec.kinds).map(([kind, { label }]) => [kind, button(label, label, () => set({ kind }))]);
  const target = select("class whose logit is explained", Object.entries(spec.classes), (v) => set({ target: +v }));
  const scale = select("colour scale", scales, (v) => set({ scale: v }));
  const shown = select("models shown", both.map((name) => [name, name]), (v) => set({ shown: v }));
  const marks = h("div", { class: "ticks", "aria-hidden": true }, ...ticks);
  const group = h("div", { class: "group", role: "group", "aria-label": "map" }, ...kinds.map(([, node]) => node));
  const stage = h("div", { class: "stage", tabindex: 0, role: "application",
    "aria-label": "maps: left and right arrows change the layer, up and down the image" },
    h("section", { class: "pane", "aria-label": "image" },
      h("header", {}, h("strong", {}, "image"), h("span", { class: "about" }, `${spec.side} × ${spec.side}`)),
      h("div", { class: "picture" }, original), h("div", { class: "pager" }, back, place, next), title, truth),
    ...panes.map((p) => p.node));
  const root = h("div", { class: "kdnb-widget", "data-lm-suppress-shortcuts": "true", onkeydown: key }, stage,
    h("div", { class: "controls" },
      ...field("Layer", play, h("div", { class: "layers" }, slider, marks)), ...field("Map", group),
      ...field("Class", target), ...field("Scale", scale), ...(both.length > 1 ? field("Models", shown) : []),
      ...field("Opacity", opacity, percent), ...field("Cells", smooth)),
    h("p", { class: "help" }, ...HELP.map(([keys, what]) => h("span", {}, h("kbd", {}, keys), what))), live);

  function key(event) {
    event.stopPropagation(); // JupyterLab's shortcuts stay out
    const own = event.target.tagName === "SELECT" || (event.target === opacity && /^(Arrow|Home|End)/.test(event.key));
    if (own || event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    const acts = {
      ArrowLeft: () => move("layer", -1, 1, layers), ArrowRight: () => move("layer", 1, 1, layers),
      ArrowUp: () => move("image", -1, 0, count - 1), ArrowDown: () => move("image", 1, 0, count - 1),
      Home: () => set({ layer: 1 }), End: () => set({ layer: layers }), p: toggle,
      "+": () => fade(1), "=": () => fade(1), "-": () => fade(-1),
      c: () => set({ target: (model.get("target") + 1) % spec.classes.length }),
      s: () => set({ scale: cycle(scales.map(([name]) => name), model.get("scale")) }),
      m: () => set({ shown: cycle(both, model.get("shown")) }),
    };
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.key === " " && event.target === stage) acts[" "] = toggle;
    const act = KEYS[name] ? () => set({ [KEYS[name][0]]: KEYS[name][1] }) : acts[name];
    if (!act) return;
    event.preventDefault();
    if (timer && act !== toggle) stop();
    act();
  }

  function ask(image) {
    if (image < 0 || image >= count || asked.has(image)) return;
    asked.add(image);
    model.send({ ask: "image", image });
  }
  function receive(message, buffers) {
    if (!("image" in message) || store.has(message.image)) return;
    const values = new Float32Array(bytesOf(buffers[1]).buffer), rows = spec.models[0].extremes[0].length;
    let start = 0;
    const maps = spec.models.map((m) => m.sizes.map(([height, width]) =>
      Array.from({ length: rows }, () => values.subarray(start, (start += height * width)))));
    store.set(message.image, { pixels: opaque(bytesOf(buffers[0])), maps });
    draw();
    [1, -1].forEach((by) => ask(model.get("image") + by)); // the neighbours, so that up and down need not wait
  }

  function draw() {
    queued = false;
    const s = state(), known = store.get(s.image);
    clearTimeout(late);
    root.setAttribute("aria-busy", !known);
    if (!known) {
      ask(s.image);
      late = setTimeout(() => (live.textContent = WAITING), 4000);
      return;
    }
    const kind = spec.kinds[s.kind], colour = palettes[+kind.signed], truthName = spec.classes[spec.targets[s.image]];
    const said = [];
    paint(original, spec.side, spec.side, known.pixels);
    original.setAttribute("aria-label", `${spec.titles[s.image]}, true class ${truthName}`);
    title.textContent = spec.titles[s.image];
    truth.textContent = `✓ true class: ${truthName}`;
    place.textContent = `${s.image + 1} of ${count}`;
    back.setAttribute("aria-disabled", s.image === 0); // not disabled: that would drop the focus
    next.setAttribute("aria-disabled", s.image === count - 1);
    panes.forEach((parts, m) => {
      const hidden = s.shown !== "both" && s.shown !== spec.models[m].name, p = spec.models[m].probabilities[s.image];
      parts.node.hidden = hidden;
      if (hidden) return;
      const now = pane(spec, known.maps, s, m);
      said.push(now.sentence);
      paint(parts.image, spec.side, spec.side, known.pixels);
      paintMap(parts.map, now.width, now.height, now.indices, colour);
      parts.map.style.opacity = s.opacity;
      parts.map.classList.toggle("smooth", s.smooth);
      parts.map.setAttribute("aria-label", now.sentence);
      parts.about.textContent = `${spec.models[m].taps[s.layer - 1]} · ${now.height} × ${now.width}`;
      parts.peak.hidden = !now.cell;
      const [y, x] = now.cell ?? [0, 0];
      Object.assign(parts.peak.style, { left: share(x + 0.5, now.width), top: share(y + 0.5, now.height),
        width: share(1, now.width), height: share(1, now.height) });
      paintMap(parts.bar, 255, 1, Uint8Array.from({ length: 255 }, (_, i) => i + 1), colour);
      [number(now.low), kind.unit, number(now.high)].forEach((text, i) => (parts.legend[i].textContent = text));
      parts.rows.forEach((r, i) => {
        r.node.classList.toggle("chosen", i === s.target);
        r.label.textContent = spec.classes[i] + (i === spec.targets[s.image] ? " ✓" : "");
        r.fill.style.width = `${100 * p[i]}%`;
        r.p.textContent = (p[i] + 1e-12).toFixed(2);
      });
    });
    slider.value = s.layer;
    const taps = spec.models.map((m) => m.taps[s.layer - 1]).join(", ");
    slider.setAttribute("aria-valuetext", `layer ${s.layer} of ${layers}: ${taps}`);
    ticks.forEach((tick, i) => tick.classList.toggle("now", i === s.layer - 1));
    kinds.forEach(([name, button]) => button.setAttribute("aria-pressed", name === s.kind));
    smooth.setAttribute("aria-pressed", s.smooth);
    [target.value, scale.value, shown.value, opacity.value] = [s.target, s.scale, s.shown, s.opacity];
    percent.textContent = `${Math.round(100 * s.opacity)} %`;
    live.textContent = said.join("\n");
  }
  const changed = () => {
    if (!queued) queueMicrotask(draw); // several traits at once: one picture
    queued = true;
  };

  stop();
  el.append(root);
  names.forEach((name) => model.on(`change:${name}`, changed));
  model.on("msg:custom", receive);
  still.addEventListener("change", calm);
  draw();
  return () => {
    stop();
    clearTimeout(late);
    names.forEach((name) => model.off(`change:${name}`, changed));
    model.off("msg:custom", receive);
    still.removeEventListener("change", calm);
  };
}

export default { render };
