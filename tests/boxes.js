(root) => { // what overlaps, is cut off or leaves the frame inside a widget, in words
  const top = document.querySelector(root), frame = top.getBoundingClientRect(), atoms = [], faults = [];
  const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
  const name = (node) => node.nodeType === Node.TEXT_NODE ? `"${node.data.trim().slice(0, 40)}" in ${name(node.parentElement)}`
    : `${node.tagName.toLowerCase()}.${node.className} ${node.getAttribute("aria-label") ?? ""}`;
  const cuts = (element) => element.tagName === "BUTTON" || getComputedStyle(element).overflow !== "visible";
  function add(node, rect) {
    if (!inside(rect, frame)) faults.push(`leaves the frame: ${name(node)}`);
    for (let around = node.parentElement; around !== top; around = around.parentElement) {
      if (cuts(around) && !inside(rect, around.getBoundingClientRect())) faults.push(`cut by ${name(around)}: ${name(node)}`);
    }
    atoms.push([node, rect]);
  }
  const texts = document.createTreeWalker(top, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, range = document.createRange();
    if (!text.data.trim() || text.parentElement.closest("select, style, .heard") || !text.parentElement.checkVisibility()) continue;
    range.selectNodeContents(text);
    for (const rect of range.getClientRects()) add(text, rect);
  }
  for (const node of top.querySelectorAll("button, select, input, .picture, canvas.bar, .track, .axis")) {
    if (node.checkVisibility()) add(node, node.getBoundingClientRect());
  }
  for (const list of top.querySelectorAll("select")) { // a list cuts its text without telling
    if (!list.checkVisibility()) continue;
    const twin = list.cloneNode(false);
    twin.append(list.selectedOptions[0].cloneNode(true));
    twin.style.cssText = "position: absolute; visibility: hidden; width: auto; max-width: none";
    list.after(twin);
    if (twin.offsetWidth > list.offsetWidth + 1) faults.push(`cut: ${name(list)}`);
    twin.remove();
  }
  atoms.forEach(([a, one], i) => atoms.slice(i + 1).forEach(([b, other]) => {
    const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
    const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
    const picture = (node) => (node.closest ?? node.parentElement.closest).call(node.closest ? node : node.parentElement, ".picture");
    const together = a.contains(b) || b.contains(a) || a === b || (picture(a) && picture(a) === picture(b));
    if (wide > 2 && high > 3 && !together) faults.push(`overlap: ${name(a)} and ${name(b)}`);
  }));
  return faults;
}
