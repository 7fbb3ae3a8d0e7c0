// The browser's side of the soft-target explorer: sliders, bars of answers, bars of pushes. The kernel computes both.

const HELP = [["← →", "temperature"], ["↑ ↓", "alpha"], ["N P", "next, previous image"], ["L", "loss"]];
const STEPS = [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50]; // temperatures of the slider
const ANSWERS = [["sure", "teacher, T = 1"], ["teacher", "teacher"], ["student", "student"]];
const NAMES = ["image", "alpha", "temperature", "loss"];
const PUSHES = [["hard", "labels"], ["soft", "teacher"], ["total", "together"]];

function chart(title, series, classes, signed) {
  const bars = classes.map(() => series.map(([name]) => ({ name, fill: h("span", { class: "fill" }), value: h("span", { class: "p" }) })));
  const rows = classes.map((name, k) => h("li", {}, h("span", { class: "name", title: name }, name), h("div", { class: "bars" },
    ...bars[k].map((b, i) => h("div", { class: `bar of-${series[i][0]}` }, h("span", { class: signed ? "track signed" : "track" }, b.fill), b.value)))));
  const legend = series.map(([name, text]) => h("span", { class: `key of-${name}` }, h("span", { class: "fill" }), h("span", {}, text)));
  const node = h("section", { class: "chart", "aria-label": title }, h("header", {}, h("strong", {}, title)),
    h("p", { class: "keys" }, ...legend), h("ul", {}, ...rows));
  return { node, bars, rows, legend };
}

function render({ model, el }) {
  const spec = model.get("spec"), count = spec.titles.length, set = setter(model);
  let late = 0;
  const nearest = () => STEPS.reduce((best, t, i) => (Math.abs(Math.log(t / model.get("temperature"))) <
    Math.abs(Math.log(STEPS[best] / model.get("temperature"))) ? i : best), 0);
  const warm = (by) => set({ temperature: STEPS[clamp(nearest() + by, 0, STEPS.length - 1)] });
  const mix = (by) => set({ alpha: clamp(Math.round(20 * model.get("alpha") + by) / 20, 0, 1) });
  const turn = (by) => set({ image: clamp(model.get("image") + by, 0, count - 1) });

  const answers = chart("Answers", ANSWERS, spec.classes, false), pushes = chart("Push on the student", PUSHES, spec.classes, true);
  const alpha = range("alpha: weight of the labels", 0, 1, 0.05, (v) => set({ alpha: v })), alphaText = h("output");
  const heat = range("temperature", 0, STEPS.length - 1, 1, (v) => set({ temperature: STEPS[v] })), heatText = h("output");
  const loss = select("loss", spec.losses.map((name) => [name, name]), (v) => set({ loss: v }));
  const place = h("span", { class: "place" }), live = liveLine();
  const back = button("previous image", "‹", () => turn(-1)), next = button("next image", "›", () => turn(1));
  const stage = stageOf("answers and pushes: left and right arrows change the temperature, up and down alpha", answers.node, pushes.node);
  const keys = onKeys({ ArrowLeft: () => warm(-1), ArrowRight: () => warm(1), ArrowUp: () => mix(1), ArrowDown: () => mix(-1),
    Home: () => warm(-99), End: () => warm(99), n: () => turn(1), p: () => turn(-1),
    l: () => set({ loss: cycle(spec.losses, model.get("loss")) }) },
  (event) => ["SELECT", "INPUT"].includes(event.target.tagName) && /^(Arrow|Home|End|Page)/.test(event.key));
  const root = frame("kdnb-soft", keys, stage, controlsOf(field("alpha", alpha, alphaText), field("Temperature", heat, heatText),
    field("Loss", loss), field("Image", back, place, next)), helpOf(HELP), live);

  function draw() {
    const p = model.get("panel");
    if (!p.sure) return;
    const now = Object.fromEntries(NAMES.map((name) => [name, model.get(name)])); // the controls show it; bars are of the last answer
    const truth = spec.targets[p.of.image];
    const values = { ...p, total: p.hard.map((v, k) => v + p.soft[k]) };
    const largest = Math.max(...values.hard, ...values.soft, ...values.total, ...[values.hard, values.soft, values.total].flat().map(Math.abs), 1e-9);
    spec.classes.forEach((name, k) => {
      for (const parts of [answers, pushes]) {
        parts.rows[k].classList.toggle("chosen", k === truth);
        parts.rows[k].firstChild.textContent = name + (k === truth ? " ✓" : "");
      }
      for (const { name, fill, value } of answers.bars[k]) {
        fill.style.width = `${100 * values[name][k]}%`;
        value.textContent = (values[name][k] + 1e-12).toFixed(3);
      }
      for (const { name, fill, value } of pushes.bars[k]) {
        const v = values[name][k];
        Object.assign(fill.style, { width: share(Math.abs(v) / 2, largest), left: v < 0 ? `${50 - (50 * Math.abs(v)) / largest}%` : "50%" });
        value.textContent = (v > 0 ? "+" : "") + number(v);
      }
    });
    [alpha.value, heat.value, loss.value] = [now.alpha, nearest(), now.loss];
    heat.setAttribute("aria-valuetext", `T ${now.temperature}`);
    alphaText.textContent = now.alpha.toFixed(2);
    heatText.textContent = `${now.temperature}`;
    answers.legend.slice(1).forEach((node, i) => (node.lastChild.textContent = `${ANSWERS[i + 1][1]}, T = ${p.of.temperature}`));
    place.textContent = `${now.image + 1} of ${count}`;
    back.setAttribute("aria-disabled", now.image === 0);
    next.setAttribute("aria-disabled", now.image === count - 1);
    const answered = NAMES.every((name) => p.of[name] === now[name]);
    clearTimeout(late);
    ready(model, root, answered);
    if (answered) live.textContent = p.sentence;
    else late = waiting(live);
  }

  el.append(root);
  draw();
  const leave = follow(model, ["panel", ...NAMES], draw);
  return () => {
    clearTimeout(late);
    leave();
  };
}

export default { render };
