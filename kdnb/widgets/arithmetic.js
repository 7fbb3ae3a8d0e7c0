// The arithmetic of one cell, as numbers: what enters, the kernel, their products, and what is made of their sum.

function grid(values, label) { // a small table of numbers
  const largest = Math.max(...values.flat().map(Math.abs)), digits = largest >= 100 ? 0 : largest >= 1 ? 2 : 3;
  const cell = (v) => v === null ? h("td", { title: "padding" }) : h("td", { title: number(v) }, v.toFixed(digits));
  const rows = values.map((row) => h("tr", {}, ...row.map(cell)));
  return h("figure", {}, h("table", {}, h("tbody", {}, ...rows)), h("figcaption", {}, label));
}

function product({ channel, patch, kernel, total }) {
  const products = patch.map((row, y) => row.map((v, x) => v * kernel[y][x]));
  return h("div", { class: "product" }, grid(patch, `channel ${channel} here`), h("span", {}, "×"), grid(kernel, "kernel"),
    h("div", { class: "product" }, h("span", {}, "="), grid(products, `sum ${plus(total)}`)));
}

function arithmeticPanel(choose) { // choose: another channel of the same cell
  const title = h("strong"), words = h("p", { class: "words", role: "status" }), numbers = h("div", { class: "numbers", "aria-hidden": true });
  const weaker = button("channel that is next weaker here", "weaker ›", () => now.weaker >= 0 && choose(now.weaker));
  const stronger = button("channel that is next stronger here", "‹ stronger", () => now.stronger >= 0 && choose(now.stronger));
  const ways = h("span", { class: "item" }, stronger, weaker);
  const node = h("section", { class: "arithmetic", "aria-label": "arithmetic of a cell" }, h("header", {}, title, ways), numbers, words);
  let now = {};

  function draw(name, found) { // found: nothing yet, a refusal or an answer
    const parts = [];
    now = found?.steps ? found : {};
    title.textContent = name;
    ways.hidden = !now.steps;
    stronger.setAttribute("aria-disabled", !(now.stronger >= 0));
    weaker.setAttribute("aria-disabled", !(now.weaker >= 0));
    words.textContent = now.sentence ?? found?.refused ?? "Point at a cell of a map, by click or arrow keys, to see how its number is made.";
    words.classList.toggle("heard", !!now.steps); // the numbers show the same
    if (now.steps) {
      const [left, sum] = now.rest;
      parts.push(...now.products.map(product));
      if (left) parts.push(h("p", {}, `${left} more input channels: ${plus(sum)}`));
      if (now.window) parts.push(grid(now.window, "what enters"));
      const lines = [...now.steps, ["the network gives", now.value], ["mean of all channels: the average map", now.mean]];
      parts.push(h("dl", {}, ...lines.flatMap(([what, value]) => [h("dt", {}, what), h("dd", {}, number(value))])));
    }
    numbers.replaceChildren(...parts);
  }
  return { node, draw };
}
