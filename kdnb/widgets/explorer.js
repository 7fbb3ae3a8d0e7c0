// The browser's side of the explanation explorer: two sides A and B over one image. The kernel makes every number.

const HELP = [["A B", "side that the keys change"], ["← →", "method"], ["M", "model"], ["C", "class"], ["↑ ↓", "image"],
  ["X", "swap"], ["+ −", "opacity"], ["Esc", "stop computing"]];
const OLD = "Computing. This is the map before.";
const NAMES = ["image", "a", "b", "opacity"];
function side(name, spec, choose) {
  const parts = {
    image: h("canvas", { "aria-hidden": true }), map: h("canvas", { class: "map", role: "img" }),
    edge: h("canvas", { class: "smooth", "aria-hidden": true }), refusal: h("p", { class: "refusal" }), old: h("p", { class: "waiting" }, OLD),
    bar: h("canvas", { class: "bar", "aria-hidden": true }), legend: [h("span"), h("span", { class: "unit" }), h("span")],
    facts: h("dl", {}), badge: h("strong", { class: "badge" }, name), about: h("span", { class: "about" }),
    method: select(`method of side ${name}`, Object.entries(spec.methods).map(([key, { label }]) => [key, label]), (v) => choose(0, v)),
    model: select(`model of side ${name}`, spec.models.map((m) => [m, m]), (v) => choose(1, v)),
    target: select(`class explained on side ${name}`, [[-1, "true class"], ...spec.classes.map((c, k) => [k, c])], (v) => choose(2, +v)),
  };
  parts.scale = h("div", { class: "scale" }, parts.bar, h("div", { class: "legend" }, ...parts.legend));
  parts.node = h("section", { class: "pane", "aria-label": `side ${name}` }, h("header", {}, parts.badge, parts.about),
    h("div", { class: "choices" }, parts.method, parts.model, parts.target),
    h("div", { class: "picture" }, parts.image, parts.map, parts.edge, parts.refusal, parts.old), parts.scale, parts.facts);
  return parts;
}

function render({ model, el }) {
  const spec = model.get("spec"), count = spec.titles.length, methods = Object.keys(spec.methods);
  const palettes = spec.palettes.map(colours), store = new Map();
  let active = "a", inFlight = "", late = 0, shown = null; // shown: the question whose answer is on the screen
  let halted = { id: "", said: "" }; // the question that was stopped before anything was shown: not asked again by itself
  const now = () => ({ ask: "panel", image: model.get("image"), a: [...model.get("a")], b: [...model.get("b")] });

  const set = setter(model);
  const choose = (name, i, value) => set({ [name]: model.get(name).map((v, j) => (j === i ? value : v)) });
  const turn = (by) => set({ image: clamp(model.get("image") + by, 0, count - 1) });
  const fade = (by) => set({ opacity: clamp(Math.round(10 * model.get("opacity") + by) / 10, 0, 1) });
  const step = (by) => choose(active, 0, methods[(methods.indexOf(model.get(active)[0]) + by + methods.length) % methods.length]);
  const swap = () => set({ a: model.get("b"), b: model.get("a") });
  function activate(name, say) {
    active = name;
    for (const [key, parts] of Object.entries(sides)) {
      parts.node.classList.toggle("active", key === name);
      parts.node.setAttribute("aria-current", key === name);
    }
    if (say) live.textContent = `The keys now change side ${name.toUpperCase()}.`;
  }

  const sides = { a: side("A", spec, (i, v) => choose("a", i, v)), b: side("B", spec, (i, v) => choose("b", i, v)) };
  for (const [name, parts] of Object.entries(sides)) parts.node.addEventListener("focusin", () => activate(name));
  const original = h("canvas", { role: "img" }), edge = h("canvas", { class: "smooth", "aria-hidden": true });
  const title = h("p", { class: "title" }), truth = h("p", { class: "truth" }), alike = h("dl", {});
  const place = h("span", { class: "place" }), live = liveLine();
  const back = button("previous image", "‹", () => turn(-1)), next = button("next image", "›", () => turn(1));
  const opacity = range("opacity of the maps", 0, 1, 0.05, (v) => set({ opacity: v })), percent = h("output");
  const halt = button("stop computing", "stop", () => stop());
  const exchange = button("swap the sides A and B", "swap A and B", swap);
  const stage = stageOf("explanations: A and B choose the side, left and right arrows its method, up and down the image",
    h("section", { class: "pane", "aria-label": "image and agreement" },
      h("header", {}, h("strong", {}, "image"), h("span", { class: "about" }, `${spec.side} × ${spec.side}`)),
      h("div", { class: "picture" }, original, edge), h("div", { class: "pager" }, back, place, next), title, truth,
      h("p", { class: "agree" }, "How alike are A and B?"), alike),
    sides.a.node, sides.b.node);
  const keys = onKeys({ a: () => activate("a", true), b: () => activate("b", true), ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    ArrowUp: () => turn(-1), ArrowDown: () => turn(1), m: () => choose(active, 1, cycle(spec.models, model.get(active)[1])),
    c: () => choose(active, 2, ((model.get(active)[2] + 2) % (spec.classes.length + 1)) - 1),
    Escape: () => halt.click(), x: swap, "+": () => fade(1), "=": () => fade(1), "-": () => fade(-1) },
  (event) => (event.target.tagName === "SELECT" && event.key !== "Escape") || (event.target === opacity && /^(Arrow|Home|End|Page)/.test(event.key)));
  const root = frame("kdnb-explorer", keys, stage, controlsOf(field("Opacity", opacity, percent), field("Sides", exchange, halt)), helpOf(HELP), live);

  function ask(question, id) { // one at a time, so that what is passed over is never computed
    if (inFlight) return;
    if (!send(model, question)) return (live.textContent = GONE);
    inFlight = id;
    late = waiting(live);
  }
  function stop() {
    if (inFlight && !send(model, { ask: "stop" })) live.textContent = GONE;
  }
  function receive(message, buffers) {
    const id = JSON.stringify(message.to);
    if (id === inFlight) clearTimeout(late);
    if (message.busy) return (live.textContent = message.busy);
    if (!message.to) return;
    if (id === inFlight) inFlight = "";
    if (message.stopped) {
      const asked = JSON.stringify(now()) === id, back = shown && asked;
      if (asked && !shown) halted = { id, said: message.stopped };
      if (back) set({ image: shown.image, a: shown.a, b: shown.b });
      else draw();
      if (back) store.set("said", message.stopped);
      return;
    }
    store.set(id, { ...message, arrays: buffers.map(bytesOf) });
    draw();
  }

  const facts = (node, lines) => node.replaceChildren(...lines.flatMap(([what, text]) => [h("dt", {}, what), h("dd", {}, text)]));

  function drawSide(parts, view, choice, indices, pixels, mask) {
    const kind = spec.methods[choice[0]], colour = palettes[+kind.signed], refused = view.refusal !== "";
    paint(parts.image, spec.side, spec.side, opaque(pixels));
    parts.node.classList.toggle("refused", refused);
    parts.map.hidden = parts.edge.hidden = parts.scale.hidden = refused;
    parts.refusal.textContent = view.refusal;
    facts(parts.facts, view.lines);
    if (refused) return;
    paintMap(parts.map, spec.side, spec.side, indices, colour);
    if (view.constant) parts.map.style.opacity = 0; // it says nothing
    parts.map.setAttribute("aria-label", view.sentence);
    drawOutline(parts.edge, mask, spec.side);
    paintMap(parts.bar, 255, 1, Uint8Array.from({ length: 255 }, (_, i) => i + 1), colour);
    [view.low, kind.unit, view.high].forEach((text, i) => (parts.legend[i].textContent = text));
  }

  function draw() {
    const question = now(), id = JSON.stringify(question), known = store.get(id), faded = model.get("opacity");
    for (const [name, parts] of Object.entries(sides)) {
      [parts.method.value, parts.model.value, parts.target.value] = question[name];
      parts.target.options[0].textContent = `true class (${spec.classes[spec.targets[question.image]]})`;
      parts.about.textContent = spec.methods[question[name][0]].per_class ? "" : "knows no class";
      parts.map.style.opacity = faded;
    }
    opacity.value = faded;
    percent.textContent = `${Math.round(100 * faded)} %`;
    ready(model, root, known);
    halt.setAttribute("aria-disabled", !!known);
    for (const [name, parts] of Object.entries(sides)) {
      const same = shown && shown.image === question.image && JSON.stringify(shown[name]) === JSON.stringify(question[name]);
      parts.node.classList.toggle("old", !known && !same);
    }
    if (!known && id === halted.id) return (live.textContent = `${halted.said} Choose anything else, and come back, to compute it.`);
    halted = { id: "", said: "" };
    if (!known) return ask(question, id);
    shown = question;
    const [pixels, mask, ...maps] = known.arrays, truthName = spec.classes[spec.targets[question.image]];
    paint(original, spec.side, spec.side, opaque(pixels));
    original.setAttribute("aria-label", `${spec.titles[question.image]}, true class ${truthName}`);
    drawOutline(edge, mask, spec.side);
    Object.values(sides).forEach((parts, i) => drawSide(parts, known.views[i], question["ab"[i]], maps[i], pixels, mask));
    facts(alike, known.agreement);
    title.textContent = spec.titles[question.image];
    truth.textContent = `✓ true class: ${truthName}`;
    place.textContent = `${question.image + 1} of ${count}`;
    back.setAttribute("aria-disabled", question.image === 0); // not disabled: that would drop the focus
    next.setAttribute("aria-disabled", question.image === count - 1);
    live.textContent = [store.get("said"), known.sentence].filter(Boolean).join("\n");
    store.delete("said");
  }

  el.append(root);
  activate("a");
  const leave = follow(model, NAMES, draw, receive);
  draw();
  return () => {
    clearTimeout(late);
    leave();
  };
}

export default { render };
