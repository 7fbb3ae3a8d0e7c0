// The browser's side of the layer stepper. It draws every step from raw maps by the rules of stepper_numbers.py, so that a step
// needs no kernel; what depends on a click (ablation, occlusion) is asked from whoever answers: kernel or saved page.

const KEYS = { a: "average", i: "eigencam", g: "gradcam", h: "hirescam", l: "layercam", e: "evidence" };
const HELP = [["← →", "layer"], ["↑ ↓", "image"], ["A I G H L E", "map"], ["C V", "class, minus class"], ["S", "scale"],
  ["M", "model"], ["+ −", "opacity"], ["P", "play"], ["F", "filter"], ["O", "cover a patch"], ["X", "clear"], ["J", "export"]];
const NAMES = ["image", "layer", "kind", "target", "versus", "scale", "opacity", "shown", "only", "order", "point",
  "occluded", "ablated", "quiz", "guess", "smooth"];
const PLAY_MS = 900;
const STILL = "Play is off, because your system asks for less motion: step with the arrow keys.";
const FOLLOWING = [TRUE_CLASS, PREDICTED];
const ASKING = "Which class is it? Choose your guess, point at the place if you like, then reveal.";

function render({ model, el }) {
  const spec = model.get("spec"), layers = spec.models[0].taps.length, names = spec.classes;
  const palettes = spec.palettes.map(colours), store = new Map(), asked = new Set();
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const kept = () => Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));
  const state = () => ({ ...kept(), target: classOf(spec, model.get("image"), model.get("target")) });
  const both = spec.models.length === 2 ? ["both", ...spec.models.map((m) => m.name)] : ["both"];
  const scales = Object.entries(spec.scales).filter(([name]) => both.length > 1 || name !== "models");
  const apply = setter(model);
  let timer = 0, late = 0, notice = "", words = "", // what is said of the screen, and of what was done
    counted = { model: 0, channel: -1 }, // whose arithmetic is shown
    pending = ""; // the question for effects that is not answered yet

  function set(changes) { // channels are cut in the whole picture: not where a patch is covered, nor after another step
    notice = "";
    const resets = ["layer", "shown", "image"].some((name) => name in changes) || changes.occluded?.length;
    const more = {};
    if (resets && !("ablated" in changes) && model.get("ablated").length) more.ablated = [];
    if (changes.ablated?.length && model.get("occluded").length) more.occluded = [];
    apply({ ...changes, ...more });
  }
  const first = () => Math.max(0, both.indexOf(model.get("shown")) - 1); // the model whose channels are shown
  const move = (by) => set({ layer: clamp(model.get("layer") + by, 1, layers) });
  const fade = (by) => set({ opacity: clamp(Math.round(model.get("opacity") * 10 + by) / 10, 0, 1) });
  const images = () => spec.filters[model.get("only")];
  function turn(by) {
    const list = images(), here = list.indexOf(model.get("image"));
    if (list.length) show(list[clamp(here + by, 0, list.length - 1)]);
  }
  function show(image, more = {}) { // another image is asked anew
    set({ ...more, image, quiz: model.get("quiz") === "off" ? "off" : "asking", guess: -1 });
  }
  function filter(only) {
    const list = spec.filters[only];
    if (list.length && !list.includes(model.get("image"))) show(list[0], { only });
    else set({ only });
  }

  // ---- what somebody else computes ----
  function need(question) {
    const key = JSON.stringify(question);
    if (!store.has(key) && !asked.has(key)) {
      if (send(model, question)) asked.add(key);
      else notice = GONE;
    }
    return store.get(key);
  }
  function receive(message, buffers) {
    if (!message.to) return;
    if (JSON.stringify(message.to) === pending) pending = "";
    if (message.refused && (message.again || message.to.ask === "image")) return failed(message); // it has no maps
    const found = message.to.ask === "image" ? unpack(message, buffers) : message;
    if (message.refused && message.to.ask !== "arithmetic") notice = message.refused;
    else if (message.to.ask === "effects") found.values = new Float32Array(bytesOf(buffers[0]).buffer);
    store.set(JSON.stringify(message.to), found);
    if (message.to.ask === "arithmetic") return drawArithmetic(state()); // the rest stays as it is
    draw();
    if (message.to.ask === "image") neighbours();
  }
  function unpack(message, buffers) {
    const [pixels, numbers, tiles] = [bytesOf(buffers[0]), new Float32Array(bytesOf(buffers[1]).buffer), bytesOf(buffers[2])];
    let start = 0, from = 0;
    const take = (count) => numbers.subarray(start, (start += count));
    const maps = spec.models.map((m) => m.sizes.map(([height, width]) => {
      const made = Object.fromEntries(Object.entries(spec.kinds).filter(([kind]) => kind !== "hirescam").map(([kind, about]) =>
        [kind, Array.from({ length: about.per_class ? names.length : 1 }, () => take(height * width))]));
      made.hirescam = made.evidence.map((map) => map.map((v) => Math.max(v, 0))); // its positive part: not sent
      return Object.keys(spec.kinds).flatMap((kind) => made[kind]);
    }));
    const contributions = spec.models.map((m) => m.channels.map((count) => names.map(() => take(count))));
    const means = spec.models.map((m) => m.channels.map((count) => take(count)));
    const mosaics = spec.models.map((m) => m.channels.map((count, i) => {
      const [height, width] = m.tiles[i];
      return tiles.subarray(from, (from += count * height * width));
    }));
    return { pixels: opaque(pixels), maps, contributions, means, mosaics, inside: message.inside };
  }
  function failed({ to, refused }) { // what failed is not kept: the next step asks it again
    asked.delete(JSON.stringify(to));
    clearTimeout(late);
    notice = refused;
    live.textContent = `${words}\n${notice}`.trim();
  }
  const neighbours = () => [1, -1].forEach((by) => { // so that up and down need not wait
    const list = images(), image = list[list.indexOf(model.get("image")) + by];
    if (image !== undefined) need({ ask: "image", image });
  });

  // ---- playing ----
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
      move(1);
      if (model.get("layer") === layers) stop();
    }, PLAY_MS);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "pause");
  }
  const calm = () => still.matches && stop();

  // ---- what a person does to a picture or a channel ----
  function cover() {
    const point = model.get("point").length ? model.get("point") : [spec.side / 2, spec.side / 2];
    const place = point.map((p) => Math.floor((p * spec.places) / spec.side)), now = model.get("occluded");
    set({ occluded: now.length && now.every((v, i) => v === place[i]) ? [] : place });
  }
  const clear = () => set({ point: [], occluded: [], ablated: [] });
  function ablate(channel) {
    const now = model.get("ablated");
    set({ ablated: now.includes(channel) ? now.filter((c) => c !== channel) : [...now, channel].sort((a, b) => a - b) });
  }
  function point(m, event) {
    const box = event.currentTarget.getBoundingClientRect();
    const at = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    counted = { model: m, channel: -1 };
    set({ point: at.map((v) => clamp(Math.floor(v * spec.side), 0, spec.side - 1)) });
    event.currentTarget.focus({ preventScroll: true });
  }
  function pointByKey(m, event) {
    const ways = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }, way = ways[event.key];
    if (modified(event)) return;
    if (event.key === "Escape") {
      set({ point: [] });
      stage.focus();
    } else if (way) {
      counted = { model: m, channel: -1 };
      const size = spec.models[m].sizes[model.get("layer") - 1], now = model.get("point"); // (height, width)
      const cell = now.length ? cellAt(now, size, spec.side).map((c, i) => clamp(c + way[i], 0, size[i] - 1)) : size.map((v) => Math.floor(v / 2));
      set({ point: cell.map((c, i) => Math.floor(((c + 0.5) * spec.side) / size[i])) });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // ---- elements ----
  const panes = spec.models.map((about, m) => {
    const parts = modelPane(spec, about);
    parts.picture.addEventListener("click", (event) => point(m, event));
    parts.picture.addEventListener("keydown", (event) => pointByKey(m, event));
    return parts;
  });
  const original = h("canvas", { role: "img" }), edge = h("canvas", { class: "smooth", "aria-hidden": true }), outline = h("div", { class: "sees" }), hole = h("div", { class: "patch" });
  const title = h("p", { class: "title" }), truth = h("p", { class: "truth" }), early = h("p", { class: "truth" });
  const place = h("span", { class: "place" }), live = liveLine();
  const back = button("previous image", "‹", () => turn(-1)), next = button("next image", "›", () => turn(1)), play = button("", "", toggle);
  const smooth = button("smooth map", "smooth", () => set({ smooth: !model.get("smooth") }));
  const slider = range("layer", 1, layers, 1, (v) => set({ layer: v }));
  const opacity = range("opacity of the map", 0, 1, 0.05, (v) => set({ opacity: v })), percent = h("output");
  const ticks = spec.models[0].taps.map((_, i) => h("span", { style: `--at: ${i / Math.max(1, layers - 1)}` },
    ...spec.models.map((m) => h("span", {}, m.taps[i]))));
  const kinds = Object.entries(spec.kinds).map(([kind, { label }]) => [kind, button(label, label, () => set({ kind }))]);
  const targets = [...FOLLOWING, ...names.keys()];
  const target = select("class whose logit is explained", targets.map((k) => [k, names[k] ?? ""]), (v) => set({ target: +v }));
  const versus = select("class whose logit is subtracted", [[-1, "minus nothing"], ...names.map((n, k) => [k, `minus ${n}`])], (v) => set({ versus: +v }));
  const scale = select("colour scale", scales, (v) => set({ scale: v }));
  const shown = select("models shown", both.map((name) => [name, name]), (v) => set({ shown: v }));
  const only = select("images shown", Object.entries(spec.filters).map(([name, list]) => [name, `${name} (${list.length})`]), filter);
  const quiz = button("guess first", "guess first", () => set({ quiz: model.get("quiz") === "off" ? "asking" : "off", guess: -1 }));
  const guess = select("your guess", [[-1, "your guess"], ...names.map((n, k) => [k, n])], (v) => set({ guess: +v, quiz: "asking" }));
  const reveal = button("reveal the answer", "reveal", () => set({ quiz: model.get("guess") < 0 ? "asking" : "revealed" }));
  const files = button("export picture and data", "export", download);
  const channels = channelGrid({ toggle: ablate, reset: () => set({ ablated: [] }), orders: Object.entries(spec.orders),
    reorder: (v) => set({ order: v }), entered: () => draw() });
  const sums = arithmeticPanel((channel) => {
    counted.channel = channel;
    draw();
  });
  const group = h("div", { class: "group", role: "group", "aria-label": "map" }, ...kinds.map(([, node]) => node));
  const stage = stageOf("maps: left and right arrows change the layer, up and down the image",
    h("section", { class: "pane", "aria-label": "image" },
      h("header", {}, h("strong", {}, "image"), h("span", { class: "about" }, `${spec.side} × ${spec.side}`)),
      h("div", {}, h("div", { class: "picture" }, original, edge, hole, outline),
        h("div", { class: "pager" }, back, place, next), title, truth, early)),
    ...panes.map((p) => p.node));
  const accounts = h("div", { class: "accounts" }, ledgerKey(), ...panes.map((p) => p.account));
  const onSlider = () => document.activeElement === slider; // there the arrows change its value
  const acts = {
    ArrowLeft: () => move(-1), ArrowRight: () => move(1), " ": toggle, p: toggle,
    ArrowUp: () => (onSlider() ? move(1) : turn(-1)), ArrowDown: () => (onSlider() ? move(-1) : turn(1)),
    Home: () => set({ layer: 1 }), End: () => set({ layer: layers }), "+": () => fade(1), "=": () => fade(1), "-": () => fade(-1),
    c: () => set({ target: cycle(targets, model.get("target")) }),
    v: () => set({ versus: ((model.get("versus") + 2) % (names.length + 1)) - 1 }),
    s: () => set({ scale: cycle(scales.map(([name]) => name), model.get("scale")) }),
    m: () => set({ shown: cycle(both, model.get("shown")) }), f: () => filter(cycle(Object.keys(spec.filters), model.get("only"))),
    o: cover, x: clear, j: download,
  };
  for (const [key, kind] of Object.entries(KEYS)) acts[key] = () => set({ kind });
  const keys = onKeys(acts, ({ target, key }) => target.tagName === "SELECT" || (key === " " && target.tagName === "BUTTON")
    || (target === opacity && /^(Arrow|Home|End)/.test(key)), (act) => timer && act !== toggle && stop());
  const choose = h("div", { class: "tools" },
    item("Layer", play, h("div", { class: "layers" }, slider, h("div", { class: "ticks", "aria-hidden": true }, ...ticks))),
    item("Map", group), item("Class", target, versus));
  const more = h("div", { class: "tools" }, item("Images", only), ...(both.length > 1 ? [item("Models", shown)] : []), item("Scale", scale),
    item("Opacity", opacity, percent, smooth), item("You", quiz, guess, reveal), item("Files", files));
  const root = frame("kdnb-stepper", keys, choose,
    h("div", { class: "body" }, stage, live, accounts, h("div", { class: "beside" }, channels.node, sums.node)), more, helpOf(HELP));

  // ---- drawing ----
  function effects() { // one at a time, so that what is passed over is never computed
    const question = { ask: "effects", image: model.get("image"), model: first(), layer: model.get("layer") };
    const key = JSON.stringify(question);
    if (pending) return;
    need(question);
    if (asked.has(key) && !store.has(key)) pending = key;
  }

  function answers(s) { // logits with what is covered or ablated, and every layer's evidence of a covered image
    const covered = s.occluded.length ? need({ ask: "occlude", image: s.image, place: s.occluded }) : null;
    const cut = s.ablated.length ? need({ ask: "ablate", image: s.image, model: first(), layer: s.layer, channels: s.ablated }) : null;
    return spec.models.map((m, i) => (cut && i === first() ? cut.logits : covered?.logits?.[i]) ?? null);
  }
  function changes(s, now) {
    const said = [];
    spec.models.forEach((m, i) => {
      const before = m.probabilities[s.image], k = s.target;
      if (!now[i]) return;
      const what = s.ablated.length && i === first() ? `without channel${s.ablated.length > 1 ? "s" : ""} ${s.ablated.join(", ")}` : "with the patch covered";
      said.push(`${m.name} ${what}: p(${names[k]}) ${chance(before[k])} → ${chance(softmax(now[i])[k])}, ` +
        `logit ${plus(m.logits[s.image][k])} → ${plus(now[i][k])}`);
    });
    const covered = s.occluded.length ? need({ ask: "occlude", image: s.image, place: s.occluded }) : null;
    if (covered?.evidence) spec.models.forEach((m, i) => {
      const sums = covered.evidence[i];
      if (sums) said.push(`${m.name}'s evidence with the patch covered: ` + m.taps.map((tap, l) =>
        `${tap} ${plus(sums[l][s.target] - (s.versus >= 0 ? sums[l][s.versus] : 0))}`).join(", "));
    });
    return said;
  }
  const heading = (s) => (s.quiz === "asking" ? `image ${s.image + 1}` : spec.titles[s.image]); // a title may tell the class
  function verdict(s, known) {
    if (s.quiz !== "revealed" || s.guess < 0) return [];
    const truth = spec.targets[s.image], student = spec.models[0].probabilities[s.image];
    const right = truth < 0 ? "" : s.guess === truth ? ": right" : `: it is ${names[truth]}`;
    const best = student.indexOf(Math.max(...student)), inside = known.inside;
    const hit = s.point.length && inside ? `; your place lies ${inside[s.point[0]][s.point[1]] === "1" ? "inside" : "outside"} what defines the class` : "";
    return [`you said ${names[s.guess]}${right}; the student says ${names[best]}${hit}`];
  }
  function drawChannels(s, known, m) {
    const at = s.layer - 1, about = spec.models[m], found = store.get(JSON.stringify({ ask: "effects", image: s.image, model: m, layer: s.layer }));
    const all = known.contributions[m][at], minus = (c) => all[s.target][c] - (s.versus >= 0 ? all[s.versus][c] : 0);
    const gain = Float32Array.from(all[s.target], (_, c) => Math.fround(minus(c)));
    const base = about.probabilities[s.image][s.target], count = names.length;
    const without = (c) => softmax(found.values.subarray(c * count, (c + 1) * count))[s.target];
    const drop = found?.values && Float32Array.from(gain, (_, c) => base - without(c));
    const of = s.quiz === "asking" ? "the class" : names[s.target]; // its name may be the answer
    if (s.order === "effect" || channels.focused()) effects();
    const by = s.order === "mean" ? known.means[m][at] : s.order === "effect" && drop ? drop : gain;
    const how = s.order !== "effect" || drop ? "" : found ? " (by contribution: their effects cannot be had here)" : " (asking for their effects)";
    const effect = (c) => !drop ? "" : `, without it p(${of}) ${drop[c] >= 0 ? "falls" : "rises"} by ${number(Math.abs(drop[c]))}`;
    channels.draw({
      of: `${s.image}/${m}/${s.layer}/${s.order}`, by: s.order, order: ranked(by), ablated: s.ablated, colour: palettes[0],
      title: `${about.name}'s ${about.channels[at]} channels at ${about.taps[at]}${how}`,
      height: about.tiles[at][0], width: about.tiles[at][1], tiles: known.mosaics[m][at],
      text: (c) => brief(by[c]),
      label: (c) => `channel ${c}, contribution ${plus(gain[c])}${effect(c)}`,
    });
  }

  function drawArithmetic(s) {
    const m = s.shown === "both" ? counted.model : first(), about = spec.models[m], tap = about.taps[s.layer - 1];
    sums.node.hidden = s.quiz === "asking";
    if (!s.point.length) return sums.draw("How a number is made", null);
    const cell = cellAt(s.point, about.sizes[s.layer - 1], spec.side), known = counted.of === `${s.image} ${m} ${s.layer}`;
    counted = { ...counted, of: `${s.image} ${m} ${s.layer}`, channel: known ? counted.channel : -1 };
    const found = need({ ask: "arithmetic", image: s.image, model: m, layer: s.layer, cell, channel: counted.channel });
    sums.draw(`${about.name}, ${tap}, row ${cell[0] + 1}, column ${cell[1] + 1}${found?.steps ? `, channel ${found.channel}` : ""}`, found);
  }

  function draw() {
    const s = state(), known = need({ ask: "image", image: s.image }), hide = s.quiz === "asking";
    clearTimeout(late);
    ready(model, root, known);
    if (!known) {
      if (notice === GONE) live.textContent = GONE;
      else late = waiting(live);
      return;
    }
    drawArithmetic(s); // first, so that the kernel computes while the rest is drawn
    const colour = palettes[+hasSign(spec, s)], truthName = names[spec.targets[s.image]], now = answers(s), said = [], list = images();
    const predicted = names[classOf(spec, s.image, PREDICTED)];
    paint(original, spec.side, spec.side, known.pixels);
    const mask = hide || !known.inside ? [] : Array.from(known.inside.join(""), Number); // an outline would tell the guesser
    drawOutline(edge, mask, spec.side);
    original.setAttribute("aria-label", hide || !truthName ? heading(s) : `${heading(s)}, true class ${truthName}`);
    title.textContent = heading(s);
    truth.textContent = hide || !truthName ? "" : `✓ true class: ${truthName}`;
    early.textContent = hide || !spec.early ? "" : spec.early[s.image] > layers ? "no probe agrees with the student to the end"
      : `probes agree with the student from layer ${spec.early[s.image]} on`;
    place.textContent = list.includes(s.image) ? `${list.indexOf(s.image) + 1} of ${list.length}` : `– of ${list.length}`;
    back.setAttribute("aria-disabled", list.indexOf(s.image) <= 0); // not disabled: that would drop the focus
    next.setAttribute("aria-disabled", list.indexOf(s.image) === list.length - 1);
    const covered = s.occluded.length ? patchOf(s.occluded, spec.side, spec.places) : null;
    put(hole, covered, spec.side);
    outline.hidden = true;
    panes.forEach((parts, m) => {
      const hidden = s.shown !== "both" && s.shown !== spec.models[m].name, before = spec.models[m].probabilities[s.image];
      parts.node.hidden = hidden;
      parts.account.hidden = hidden || hide;
      if (hidden) return;
      const seen = pane(spec, known.maps, s, m), logits = now[m] ?? spec.models[m].logits[s.image], p = now[m] ? softmax(logits) : before;
      if (!hide) said.push(seen.sentence);
      paint(parts.image, spec.side, spec.side, known.pixels);
      paintMap(parts.map, seen.width, seen.height, seen.indices, colour);
      drawOutline(parts.edge, mask, spec.side);
      parts.map.style.opacity = seen.peak ? s.opacity : 0; // a constant map says nothing
      parts.map.classList.toggle("smooth", s.smooth);
      parts.map.setAttribute("aria-label", hide ? spec.models[m].name : seen.sentence);
      parts.about.textContent = `${spec.models[m].taps[s.layer - 1]} · ${seen.height} × ${seen.width}${seen.peak ? "" : " · says nothing here"}`;
      for (const [node, cell] of [[parts.peak, seen.peak], [parts.cell, seen.cell]]) {
        const [y, x] = cell ?? [0, 0];
        node.hidden = !cell;
        Object.assign(node.style, { left: share(x + 0.5, seen.width), top: share(y + 0.5, seen.height), width: share(1, seen.width), height: share(1, seen.height) });
      }
      put(parts.sees, seen.sees, spec.side);
      put(parts.patch, covered, spec.side);
      if (m === first()) put(outline, seen.sees, spec.side);
      paintMap(parts.bar, 255, 1, Uint8Array.from({ length: 255 }, (_, i) => i + 1), colour);
      [number(seen.low), spec.kinds[s.kind].unit, number(seen.high)].forEach((text, i) => (parts.legend[i].textContent = text));
      parts.chances.hidden = hide;
      parts.rows.forEach((r, i) => {
        r.node.classList.toggle("chosen", i === s.target);
        r.label.textContent = names[i] + (i === spec.targets[s.image] ? " ✓" : "");
        r.fill.style.width = `${100 * p[i]}%`;
        Object.assign(r.was.style, { left: `${100 * before[i]}%`, display: now[m] ? "block" : "none" });
        r.p.textContent = chance(p[i]);
        r.logit.textContent = twoDigits(logits[i]);
      });
      drawLedger(parts, seen.bars, s.layer, spec.models[m].refusal);
      parts.heading.textContent = `${spec.models[m].name}'s ledger${now[m] ? " (nothing covered or cut)" : ""}`;
      parts.readings.textContent = spec.models[m].readings[s.layer - 1].join(" · ");
    });
    accounts.hidden = hide;
    drawChannels(s, known, first());
    slider.value = s.layer;
    const taps = spec.models.map((m) => m.taps[s.layer - 1]).join(", ");
    slider.setAttribute("aria-valuetext", `layer ${s.layer} of ${layers}: ${taps}`);
    ticks.forEach((tick, i) => tick.classList.toggle("now", i === s.layer - 1));
    kinds.forEach(([name, node]) => node.setAttribute("aria-pressed", name === s.kind));
    smooth.setAttribute("aria-pressed", s.smooth);
    quiz.setAttribute("aria-pressed", s.quiz !== "off");
    guess.hidden = reveal.hidden = s.quiz === "off";
    target.options[0].textContent = `true class (${hide ? "?" : truthName ?? `unknown: ${predicted}`})`;
    target.options[1].textContent = `predicted (${hide ? "?" : predicted})`;
    [target.value, versus.value, scale.value, shown.value, opacity.value, only.value, guess.value] =
      [model.get("target"), s.versus, s.scale, s.shown, s.opacity, s.only, s.guess];
    percent.textContent = `${Math.round(100 * s.opacity)} %`;
    const focus = channels.node.contains(document.activeElement) ? [channels.label()] : [];
    words = hide ? ASKING : [...focus, ...verdict(s, known), ...changes(s, now), ...said].join("\n");
    live.textContent = hide || !notice ? words : `${words}\n${notice}`;
  }

  async function download() {
    const s = state(), known = need({ ask: "image", image: s.image });
    if (!known) return;
    const seen = panes.map((parts, m) => [parts, m]).filter(([parts]) => !parts.node.hidden);
    const patch = s.occluded.length ? patchOf(s.occluded, spec.side, spec.places).map((v) => v / spec.side) : null;
    const pictures = [{ title: heading(s), range: "", patch, layers: [[original, 1], [edge, 1]] }, ...seen.map(([parts, m]) => ({
      title: `${spec.models[m].name}, ${parts.about.textContent}`, range: parts.legend.map((l) => l.textContent).join("   "), patch,
      layers: [[parts.image, 1], [parts.map, Number(parts.map.style.opacity)], [parts.edge, 1]] }))];
    const { smooth: _, ...saved } = kept(), name = `${heading(s)}-layer${s.layer}-${s.kind}`.replace(/[^\w.-]+/g, "_");
    const sentence = words; // not what is said of an earlier export
    save(`${name}.png`, await exportPicture(pictures, sentence));
    save(`${name}.json`, new Blob([JSON.stringify({ state: saved, image: heading(s), sentence, ...spec.provenance }, null, 1)], { type: "application/json" }));
    live.textContent = notice = `saved ${name}.png and ${name}.json`;
  }

  stop();
  el.append(root);
  const leave = follow(model, NAMES, draw, receive);
  still.addEventListener("change", calm);
  draw();
  return () => {
    stop();
    clearTimeout(late);
    leave();
    still.removeEventListener("change", calm);
  };
}

export default { render };
