"use strict";
(() => {
  const query = document.getElementById("q");
  const provider = document.getElementById("p");
  const boxes = [...document.querySelectorAll("input.k")];
  const shown = document.getElementById("shown");
  const groups = [...document.querySelectorAll("details.g")].map((node) => ({
    node,
    head: node.querySelector("summary").textContent.toLowerCase(),
    rows: [...node.querySelectorAll("tr.r")].map((row) => ({ row, text: row.textContent.toLowerCase() })),
  }));
  const apply = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const classes = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let total = 0;
    for (const { node, head, rows } of groups) {
      const inScope = classes.has(node.dataset.k) && (!provider || !provider.value || provider.value === node.dataset.p);
      let hits = 0;
      for (const { row, text } of rows) {
        const hit = inScope && words.every((word) => head.includes(word) || text.includes(word));
        row.hidden = !hit;
        if (hit) hits += 1;
      }
      node.hidden = hits === 0;
      if (words.length) node.open = hits > 0 && hits <= 50;
      total += hits;
    }
    shown.textContent = total === 1 ? "1 resource" : total + " resources";
  };
  query.addEventListener("input", apply);
  for (const box of boxes) box.addEventListener("change", apply);
  if (provider) provider.addEventListener("change", apply);
  window.addEventListener("beforeprint", () => { for (const { node } of groups) node.open = true; });
  apply();
})();
