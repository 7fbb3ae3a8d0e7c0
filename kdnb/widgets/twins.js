// The browser's side of the twin browser: a test image, the training image most like it, and their difference.

const HELP = [["← →", "pair"], ["↑ ↓", "split"], ["W", "next where the neighbour is wrong"]];

function picturePane(name) {
  const canvas = h("canvas", { role: "img" }), about = h("span", { class: "about" }), below = h("p", { class: "title" });
  const node = h("section", { class: "pane", "aria-label": name },
    h("header", {}, h("strong", {}, name), about), h("div", {}, h("div", { class: "picture" }, canvas), below));
  return { canvas, about, below, node };
}

function render({ model, el }) {
  const spec = model.get("spec"), splits = Object.keys(spec.pairs), palette = colours(spec.palette);
  const store = new Map(), asked = new Set();
  let late = 0;
  const now = () => ({ split: model.get("split"), place: Math.min(model.get("place"), spec.pairs[model.get("split")].length - 1) });
  const id = ({ split, place }) => `${split} ${place}`;

  const set = setter(model);
  const go = (by) => set({ place: clamp(now().place + by, 0, spec.pairs[now().split].length - 1) });
  const turn = (by) => set({ split: splits[(splits.indexOf(now().split) + by + splits.length) % splits.length] });
  function nextWrong() {
    const { split, place } = now(), pairs = spec.pairs[split];
    const found = pairs.findIndex((pair, i) => i > place && !pair.right);
    if (found >= 0) set({ place: found });
    else live.textContent = "No further pair of this split has a wrong neighbour.";
  }

  const [test, train, gap] = ["test image", "nearest in train or val", "difference"].map(picturePane);
  const bar = h("canvas", { class: "bar", "aria-hidden": true });
  gap.node.querySelector(".picture").after(bar, h("div", { class: "legend" },
    h("span", {}, "0"), h("span", { class: "unit" }, "largest difference of a colour"), h("span", {}, "255")));
  const place = h("span", { class: "place" }), live = liveLine();
  const back = button("previous pair", "‹", () => go(-1)), next = button("next pair", "›", () => go(1));
  const wrong = button("next pair with a wrong neighbour", "next wrong", nextWrong);
  const choose = splits.map((split) => [split, button(`${split} split`, split, () => set({ split }))]);
  const group = h("div", { class: "group", role: "group", "aria-label": "split" }, ...choose.map(([, node]) => node));
  const stage = stageOf("pairs: left and right arrows change the pair, up and down the split", test.node, train.node, gap.node);
  const keys = onKeys({ ArrowLeft: () => go(-1), ArrowRight: () => go(1), ArrowUp: () => turn(-1), ArrowDown: () => turn(1),
    Home: () => go(-Infinity), End: () => go(Infinity), w: nextWrong });
  const root = frame("kdnb-twins", keys, stage, controlsOf(field("Pair", back, place, next, wrong), field("Split", group)), helpOf(HELP), live);

  function ask(state) { // whether it was, or could be, asked
    const pair = spec.pairs[state.split][state.place];
    if (!pair || asked.has(id(state))) return true;
    if (!send(model, { ask: "pair", ...state })) return false;
    asked.add(id(state));
    return true;
  }
  function receive(message, buffers) {
    if (!("place" in message)) return;
    store.set(id(message), buffers.map(bytesOf));
    draw();
    [1, -1].forEach((by) => ask({ split: message.split, place: now().place + by }));
  }

  function draw() {
    const state = now(), pair = spec.pairs[state.split][state.place], known = store.get(id(state));
    clearTimeout(late);
    ready(model, root, known);
    if (!known) {
      if (ask(state)) late = waiting(live);
      else live.textContent = GONE;
      return;
    }
    const [a, b] = known, side = spec.side, most = new Uint8Array(side * side);
    for (let i = 0; i < a.length; i++) most[Math.floor(i / 3)] = Math.max(most[Math.floor(i / 3)], Math.abs(a[i] - b[i]));
    paint(test.canvas, side, side, opaque(a));
    paint(train.canvas, side, side, opaque(b));
    paintMap(gap.canvas, side, side, most, palette);
    paintMap(bar, 256, 1, Uint8Array.from({ length: 256 }, (_, i) => i), palette);
    for (const [parts, name, label] of [[test, pair.test_id, pair.test_label], [train, pair.train_id, pair.train_label]]) {
      parts.canvas.setAttribute("aria-label", `${name}, class ${label}`);
      parts.about.textContent = label;
      parts.below.textContent = name;
    }
    train.about.textContent += pair.right ? " ✓" : " ✗";
    const largest = most.reduce((x, y) => Math.max(x, y), 0);
    gap.canvas.setAttribute("aria-label", `difference of the two images, at most ${largest} of 255`);
    gap.about.textContent = `at most ${largest}`;
    place.textContent = `${state.place + 1} of ${spec.pairs[state.split].length}`;
    back.setAttribute("aria-disabled", state.place === 0);
    next.setAttribute("aria-disabled", state.place === spec.pairs[state.split].length - 1);
    choose.forEach(([name, node]) => node.setAttribute("aria-pressed", name === state.split));
    live.textContent = pair.sentence;
  }

  el.append(root);
  const leave = follow(model, ["split", "place"], draw, receive);
  draw();
  return () => {
    clearTimeout(late);
    leave();
  };
}

export default { render };
