// What the layer stepper is built of: a model's pane, the grid of channels, the files of an export.

const PAGE = 24, COLUMNS = 8; // channels on a page of the grid

function modelPane(spec, model) {
  const parts = {
    about: h("span", { class: "about" }), image: h("canvas", { "aria-hidden": true }),
    map: h("canvas", { class: "map", role: "img" }), peak: h("div", { class: "peak" }), cell: h("div", { class: "cell" }),
    edge: h("canvas", { class: "smooth", "aria-hidden": true }), sees: h("div", { class: "sees" }), patch: h("div", { class: "patch" }),
    bar: h("canvas", { class: "bar", "aria-hidden": true }),
    legend: [h("span"), h("span", { class: "unit" }), h("span")],
    sum: h("p", { class: "sum" }), readings: h("p", { class: "readings" }),
    heading: h("strong", {}, `${model.name}'s ledger`),
  };
  parts.rows = spec.classes.map((name) => {
    const fill = h("span", { class: "fill" }), was = h("span", { class: "was" }), p = h("span", { class: "p" }), logit = h("span", { class: "p" });
    const label = h("span", { class: "name", title: name }, name);
    return { fill, was, p, logit, label, node: h("li", {}, label, p, logit, h("span", { class: "track" }, fill, was)) };
  });
  parts.ledger = model.taps.map((tap) => {
    const [against, support, bias] = ["against", "support", "bias"].map((name) => h("span", { class: name }));
    return { against, support, bias, node: h("li", {}, h("span", { class: "name" }, tap), h("span", { class: "axis" }, against, support, bias)) };
  });
  parts.picture = h("div", { class: "picture", tabindex: 0, role: "application",
    "aria-label": `map of the ${model.name}: arrows move the pointer, O covers a patch, Escape leaves` },
    parts.image, parts.map, parts.edge, parts.patch, parts.sees, parts.peak, parts.cell);
  parts.chances = h("ul", { class: "classes", "aria-label": `probabilities and logits of the ${model.name}` },
    h("li", { class: "columns" }, h("span", { class: "name" }, "class"), h("span", { class: "p" }, "p"), h("span", { class: "p" }, "logit")),
    ...parts.rows.map((r) => r.node));
  parts.account = h("section", { class: "account", "aria-label": `ledger of the ${model.name}` }, parts.heading,
    h("ul", { class: "ledger", "aria-hidden": true }, ...parts.ledger.map((r) => r.node)), parts.sum, parts.readings);
  parts.node = h("section", { class: "pane", "aria-label": model.name },
    h("header", {}, h("strong", {}, model.name), parts.about),
    h("div", {}, parts.picture, parts.bar, h("div", { class: "legend" }, ...parts.legend), parts.chances));
  return parts;
}

const ledgerKey = () => h("ul", { class: "keys", "aria-hidden": true }, ...Object.entries({ support: "for", against: "against", bias: "bias after it" })
  .map(([name, text]) => h("li", {}, h("span", { class: `key ${name}` }), text)));

function put(node, box, side) {
  node.hidden = !box;
  if (!box) return;
  const [top, left, bottom, right] = box;
  Object.assign(node.style, { top: share(top, side), left: share(left, side), height: share(bottom - top, side), width: share(right - left, side) });
}

function drawLedger(parts, bars, layer, refusal) {
  const largest = Math.max(1e-12, ...bars.flatMap((b) => [b.supporting, -b.opposing, Math.abs(b.bias)]));
  parts.ledger.forEach((r, i) => {
    if (!bars.length) return (r.node.hidden = true);
    const b = bars[i], half = (v) => `${(50 * Math.abs(v)) / largest}%`;
    r.node.classList.toggle("now", i === layer - 1);
    r.support.style.width = half(b.supporting);
    r.against.style.width = half(b.opposing);
    Object.assign(r.bias.style, { width: half(b.bias), left: b.bias < 0 ? `${50 - (50 * Math.abs(b.bias)) / largest}%` : "50%" });
  });
  const b = bars[layer - 1];
  parts.sum.textContent = b ? `${plus(b.logit)} = ${plus(b.supporting)} ${number(b.opposing)} ${plus(b.bias)} bias` : refusal;
}

// ---- channels -------------------------------------------------------------------------------------------------------

function channelGrid({ toggle, entered, reorder, orders, reset }) {
  const cells = Array.from({ length: PAGE }, (_, i) => {
    const canvas = h("canvas", { "aria-hidden": true }), text = h("span"), value = h("span");
    const node = h("button", { type: "button", tabindex: i ? -1 : 0, onclick: () => toggle(now.order[start + i]),
      onfocus: () => roam(i, false) }, canvas, text, value);
    return { canvas, text, value, node, place: h("div", { role: "gridcell" }, node) };
  });
  const rows = Array.from({ length: PAGE / COLUMNS }, (_, r) => h("div", { role: "row" }, ...cells.slice(COLUMNS * r, COLUMNS * (r + 1)).map((c) => c.place)));
  const grid = h("div", { class: "channels", role: "grid", onkeydown: key, onfocusin: () => entered() }, ...rows);
  const title = h("strong"), place = h("span", { class: "place" });
  const order = select("order of the channels", orders, reorder);
  const back = button("previous channels", "‹", () => turn(-1)), next = button("next channels", "›", () => turn(1));
  const clear = button("restore all channels", "restore", reset);
  const node = h("section", { class: "channel-part", "aria-label": "channels" },
    h("header", {}, title, h("div", { class: "item" }, order, clear, h("span", { class: "item" }, back, place, next))), grid);
  let now = { order: [] }, start = 0, at = 0, of = "";

  function roam(i, focus = true) {
    cells[at].node.tabIndex = -1;
    at = clamp(i, 0, Math.min(PAGE, now.order.length - start) - 1);
    cells[at].node.tabIndex = 0;
    if (focus) cells[at].node.focus();
  }
  function turn(by) {
    const last = Math.floor((now.order.length - 1) / PAGE) * PAGE;
    start = clamp(start + by * PAGE, 0, last);
    paintAll();
    roam(at, grid.contains(document.activeElement));
  }
  function key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS, Home: -PAGE, End: PAGE };
    if (modified(event)) return;
    if (event.key === "PageDown" || event.key === "PageUp") turn(event.key === "PageDown" ? 1 : -1);
    else if (event.key in steps) {
      const to = at + steps[event.key];
      if (Math.abs(steps[event.key]) === 1 && (to < 0 || start + to >= now.order.length || to >= PAGE)) {
        if (to >= PAGE || to < 0) {
          const before = start;
          turn(Math.sign(to));
          if (start !== before) roam(to < 0 ? PAGE - 1 : 0);
        }
      } else if (Math.abs(steps[event.key]) !== COLUMNS || (to >= 0 && to < PAGE && start + to < now.order.length)) roam(to);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
  function paintAll() {
    cells.forEach((cell, i) => {
      const c = now.order[start + i];
      cell.place.hidden = c === undefined;
      if (c === undefined) return;
      const size = now.height * now.width;
      paintMap(cell.canvas, now.width, now.height, now.tiles.subarray(c * size, (c + 1) * size), now.colour);
      cell.text.textContent = c;
      cell.value.textContent = now.text(c);
      cell.node.setAttribute("aria-label", now.label(c));
      cell.node.setAttribute("aria-pressed", now.ablated.includes(c));
    });
    rows.forEach((row, r) => (row.hidden = start + r * COLUMNS >= now.order.length));
    const last = Math.min(start + PAGE, now.order.length);
    place.textContent = `${start + 1}–${last} of ${now.order.length}`;
  }
  function draw(about) {
    if (about.of !== of) { // other channels: from the first page on, and where the focus is
      const focused = cells.findIndex((cell) => cell.node === document.activeElement);
      [start, at, of] = [0, clamp(focused, 0, Math.min(PAGE, about.order.length) - 1), about.of];
    }
    now = about;
    title.textContent = about.title;
    grid.setAttribute("aria-label", about.title);
    order.value = about.by;
    cells.forEach((cell, i) => (cell.node.tabIndex = i === at ? 0 : -1));
    clear.setAttribute("aria-disabled", !about.ablated.length);
    paintAll();
  }
  return { node, draw, focused: () => grid.contains(document.activeElement), label: () => now.label?.(now.order[start + at]) ?? "" };
}

// ---- export ---------------------------------------------------------------------------------------------------------

function save(name, blob) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function exportPicture(pictures, sentence) {
  const side = 320, gap = 16, lines = sentence.split("\n").flatMap((line) => line.match(/.{1,120}(?:\s|$)/g) ?? []);
  const sheet = h("canvas", { width: pictures.length * (side + gap) + gap, height: side + 60 + 18 * lines.length + gap });
  const pen = sheet.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pictures.forEach(({ title, range, patch, layers }, i) => {
    const left = gap + i * (side + gap);
    for (const [canvas, opacity] of layers) {
      pen.globalAlpha = opacity;
      pen.imageSmoothingEnabled = canvas.classList.contains("smooth"); // as on the screen
      pen.drawImage(canvas, left, 32, side, side);
    }
    pen.globalAlpha = 1;
    if (patch) { // top, left, bottom, right as shares of the side
      const [y, x, bottom, right] = patch.map((v) => v * side);
      pen.fillStyle = "#888";
      pen.fillRect(left + x, 32 + y, right - x, bottom - y);
    }
    pen.fillStyle = "#212121";
    pen.font = "600 14px system-ui, sans-serif";
    pen.fillText(title, left, 22);
    pen.font = "12px system-ui, sans-serif";
    pen.fillText(range, left, side + 48);
  });
  pen.font = "12px system-ui, sans-serif";
  lines.forEach((line, i) => pen.fillText(line, gap, side + 76 + 18 * i));
  return new Promise((done) => sheet.toBlob(done, "image/png"));
}
