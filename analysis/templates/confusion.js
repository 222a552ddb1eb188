/* Confusion matrices on a canvas, readable with a hundred classes: pointing at a cell reads it.
   Data (see analysis/report_classes.py): {classes, order, sources, counts: [[truth, said, count], ...] per source}. */
"use strict";
(() => {
  const source = document.getElementById("confusion-data"), canvas = document.getElementById("matrix");
  if (!source || !canvas) return;
  const data = JSON.parse(source.textContent);
  const hint = document.getElementById("hint"), chosen = document.getElementById("source");
  const n = data.classes.length, place = new Map(data.order.map((label, position) => [label, position]));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let margin = 0, size = 0, cells = new Map(), totals = [];

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const short = (text, room) => (text.length > room ? `${text.slice(0, room - 1)}…` : text);

  function load() {
    cells = new Map();
    totals = new Array(n).fill(0);
    for (const [truth, said, count] of data.counts[Number(chosen.value)] || []) {
      cells.set(truth * n + said, count);
      totals[truth] += count;
    }
    draw();
    list();
  }

  function draw() {
    const width = canvas.clientWidth || 600, ratio = window.devicePixelRatio || 1, named = n <= 40;
    margin = named ? Math.min(110, width * 0.24) : 10;
    size = (width - margin) / n;
    canvas.width = width * ratio;
    canvas.height = width * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.clearRect(0, 0, width, width);
    pen.fillStyle = colour("--sunken");
    pen.fillRect(margin, margin, width - margin, width - margin);
    const gap = size > 6 ? 1 : 0, text = size >= 22;
    for (const [key, count] of cells) {
      const truth = Math.floor(key / n), said = key % n;
      const x = margin + place.get(said) * size, y = margin + place.get(truth) * size, share = count / totals[truth];
      pen.globalAlpha = truth === said ? 0.16 + 0.24 * share : Math.min(1, 0.12 + 2.2 * Math.sqrt(share) / 1.6);
      pen.fillStyle = truth === said ? colour("--good") : colour("--bad");
      pen.fillRect(x + gap / 2, y + gap / 2, size - gap, size - gap);
      pen.globalAlpha = 1;
      if (text) {
        pen.fillStyle = truth !== said && share > 0.12 ? colour("--surface") : colour("--ink");
        pen.font = `${Math.min(13, size * 0.36)}px system-ui, sans-serif`;
        pen.textAlign = "center"; pen.textBaseline = "middle";
        pen.fillText(String(count), x + size / 2, y + size / 2);
      }
    }
    if (named) names(pen);
  }
  function names(pen) {
    pen.fillStyle = colour("--muted");
    pen.font = `${Math.max(9, Math.min(12.5, size * 0.7))}px system-ui, sans-serif`;
    data.order.forEach((label, position) => {
      const middle = margin + (position + 0.5) * size, name = short(data.classes[label], Math.floor(margin / 6.2));
      pen.textAlign = "right"; pen.textBaseline = "middle";
      pen.fillText(name, margin - 6, middle);
      pen.save();
      pen.translate(middle, margin - 6);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "left";
      pen.fillText(name, 0, 0);
      pen.restore();
    });
  }

  function read(event) {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - margin) / size), row = Math.floor((event.clientY - box.top - margin) / size);
    if (column < 0 || row < 0 || column >= n || row >= n) { hint.textContent = "Point at a cell to read it."; return; }
    const truth = data.order[row], said = data.order[column], count = cells.get(truth * n + said) || 0;
    const share = totals[truth] ? ` (${(100 * count / totals[truth]).toFixed(1)}% of the class)` : "";
    hint.textContent = truth === said
      ? `${data.classes[truth]}: ${count} of ${totals[truth]} right${share}`
      : `${data.classes[truth]} said to be ${data.classes[said]}: ${count}${share}`;
  }

  function list() {
    const wrong = [...cells].filter(([key]) => Math.floor(key / n) !== key % n).sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 14);
    document.getElementById("confused").replaceChildren(...wrong.map(([key, count]) => {
      const truth = Math.floor(key / n), line = document.createElement("tr");
      const texts = [data.classes[truth], data.classes[key % n], count.toLocaleString("en"), `${(100 * count / totals[truth]).toFixed(1)}%`];
      texts.forEach((text, i) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        if (i > 1) cell.className = "number";
        line.append(cell);
      });
      return line;
    }));
  }

  chosen.addEventListener("change", load);
  canvas.addEventListener("pointermove", read);
  canvas.addEventListener("pointerdown", read);
  dark.addEventListener("change", draw);
  window.addEventListener("resize", draw);
  load();
})();
