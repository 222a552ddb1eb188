/* The gallery: filter, sort, step, decide, download. All text goes in through textContent.
   Data (see analysis/gallery.py): {mode, key, name, classes, values, sources: [name], slice, rows}
   rows: [id, picture, labels, entropy, margin]. What only the close view shows lies in details/<mode>-000.js, `slice` rows
   each: [shares per source ([class, thousandth, ...] or 0), nearest training images ([id, picture, label])]. */
"use strict";
(() => {
  const source = document.getElementById("gallery-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const byId = (id) => document.getElementById(id);
  const [ID, PICTURE, LABELS, ENTROPY, MARGIN] = [0, 1, 2, 3, 4];
  const LINES = 8, SKIP = -1, OUT = -2;  // lines of tiles that are laid out together
  const large = (picture) => picture.replace(/^thumbnails\//, "images/");
  const pixelated = (picture) => picture.startsWith("images/");
  let decisions = recall();
  let shown = [], tiles = [], across = 1, at = -1, wanted = null;

  /* the details of a row: none until its slice is there */
  const numberOf = new Map(data.rows.map((row, number) => [row, number]));
  const details = new Map();
  function detail(row) {
    const number = numberOf.get(row), slice = Math.floor(number / data.slice);
    if (!details.has(slice)) load(slice);
    return details.get(slice)?.[number % data.slice];
  }
  function load(slice) {
    details.set(slice, null);
    const script = document.createElement("script");
    script.src = `details/${data.mode}-${String(slice).padStart(3, "0")}.js`;
    document.head.append(script);
  }
  window.podiumDetails = (slice, content) => {
    details.set(slice, content);
    const row = byId("view").open ? shown[at] : null;
    if (row && Math.floor(numberOf.get(row) / data.slice) === slice) show(row);
  };

  function recall() {
    try { return new Map(JSON.parse(localStorage.getItem(data.key) || "[]")); } catch { return new Map(); }
  }
  function remember() {
    try {
      localStorage.setItem(data.key, JSON.stringify([...decisions]));
      localStorage.setItem("podium-name", byId("who").value);
    } catch { /* private windows keep nothing */ }
  }
  function element(tag, text, name) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }
  function picture(path, text) {
    const made = element("img", undefined, "thumb");
    made.loading = "lazy"; made.decoding = "async"; made.alt = text; made.src = path;
    if (pixelated(path)) made.classList.add("pixel");
    return made;
  }

  /* votes of a row: [[class, count], ...], most votes first */
  function votes(row) {
    const counts = new Map();
    for (const label of row[LABELS]) counts.set(label, (counts.get(label) || 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
  }
  const hasMajority = (row) => 2 * votes(row)[0][1] > row[LABELS].length;

  const orders = {
    entropy: (a, b) => b[ENTROPY] - a[ENTROPY],
    margin: (a, b) => a[MARGIN] - b[MARGIN],
    votes: (a, b) => votes(a)[0][1] - votes(b)[0][1] || b[ENTROPY] - a[ENTROPY],
    id: (a, b) => (a[ID] < b[ID] ? -1 : 1),
    given: () => 0,
  };

  function filter() {
    const pair = byId("pair") && byId("pair").value ? byId("pair").value.split("-").map(Number) : [];
    const said = [...byId("says").querySelectorAll("select")].map((select) => (select.value === "" ? null : Number(select.value)));
    const text = byId("find").value.trim().toLowerCase();
    const openOnly = byId("open-only") && byId("open-only").checked, undecided = byId("undecided").checked;
    shown = data.rows.filter((row) =>
      pair.every((label) => row[LABELS].includes(label)) &&
      said.every((label, i) => label === null || row[LABELS][i] === label) &&
      (!text || row[ID].toLowerCase().includes(text)) &&
      (!openOnly || !hasMajority(row)) && (!undecided || !decisions.has(row[ID])));
    shown.sort(orders[byId("sort").value]);
    startOver();
    byId("nothing").hidden = shown.length > 0;
    byId("count").textContent = `${shown.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} images`;
    if (shown.length) draw();
    keepAddress();
    const place = wanted ? shown.indexOf(wanted) : -1;
    wanted = null;
    if (place >= 0) open(place);
  }
  function keepAddress() {
    const parts = [];
    if (byId("pair") && byId("pair").value) parts.push(`pair=${byId("pair").value}`);
    if (byId("sort").selectedIndex) parts.push(`sort=${byId("sort").value}`);
    try { history.replaceState(null, "", parts.length ? `#${parts.join("&")}` : "#"); } catch { /* not allowed here */ }
  }
  function readAddress() {
    for (const part of location.hash.slice(1).split("&")) {
      const [name, value] = part.split("=");
      if (name === "image" && data.rows[Number(value)]) wanted = data.rows[Number(value)];
      const field = name === "pair" || name === "sort" ? byId(name) : null;
      if (field && [...field.options].some((option) => option.value === value)) field.value = value;
    }
  }

  /* Tiles come in blocks of whole lines; a browser lays out and paints only the blocks in sight. */
  function startOver() {
    byId("grid").replaceChildren();
    tiles = [];
    across = columns();
  }
  function columns() {
    const width = byId("grid").clientWidth, style = getComputedStyle(byId("grid"));
    const least = parseFloat(style.getPropertyValue("--tile")), gap = parseFloat(style.getPropertyValue("--gap"));
    return Math.max(1, Math.floor((width + gap) / (least + gap)));
  }
  function redraw() {
    const count = tiles.length;
    startOver();
    while (tiles.length < Math.min(count, shown.length)) draw();
  }
  function draw() {
    const block = element("div", undefined, "block"), start = tiles.length;
    block.style.setProperty("--lines", Math.min(LINES, Math.ceil((shown.length - start) / across)));
    for (const row of shown.slice(start, start + LINES * across)) {
      tiles.push(tile(row, tiles.length));
      block.append(tiles.at(-1));
    }
    byId("grid").append(block);
  }
  function tile(row, place) {
    const made = element("button", undefined, "tile-button");
    made.type = "button";
    made.dataset.id = row[ID];
    made.append(picture(row[PICTURE], row[ID]));
    const list = element("span", undefined, "votes");
    for (const [label, text] of captions(row)) {
      const vote = element("span");
      vote.append(element("b", data.classes[label]), ` ${text}`);
      list.append(vote);
    }
    made.append(list);
    mark(made, row);
    made.addEventListener("click", () => open(place));
    return made;
  }
  function captions(row) {
    const counted = votes(row).slice(0, 4).map(([label, count]) => [label, `×${count}`]);
    if (data.mode !== "train") return counted;
    const given = row[LABELS][0], all = row[LABELS][row[LABELS].length - 1];
    return [[given, "given"], [all, "members"]];
  }
  function mark(made, row) {
    made.querySelector(".mark")?.remove();
    const decision = decisions.get(row[ID]);
    if (!decision) return;
    made.append(element("span", verdict(decision.label, row), decision.label === SKIP ? "mark skip" : "mark"));
  }
  function verdict(label, row) {
    if (label === SKIP) return "skipped";
    if (label === OUT) return "wrong: leave out";
    if (data.mode !== "train") return data.classes[label];
    return label === row[LABELS][0] ? "right label" : `wrong: ${data.classes[label]}`;
  }

  function open(place) {
    at = place;
    while (at >= tiles.length) draw();
    const row = shown[at];
    show(row);
    byId("previous").disabled = at === 0;
    byId("next").disabled = at === shown.length - 1;
    if (!byId("view").open) byId("view").showModal();
    byId("view").querySelector(".body").scrollTop = 0;
    if (at + 1 < shown.length) {
      new Image().src = large(shown[at + 1][PICTURE]);
      detail(shown[at + 1]);
    }
  }
  function show(row) {
    byId("view-id").textContent = row[ID];
    byId("view-place").textContent = `${(at + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")} · ${
      votes(row).map(([label, count]) => `${data.classes[label]} ×${count}`).join(", ")}`;
    const image = byId("view-image");
    image.src = large(row[PICTURE]);
    image.alt = row[ID];
    const [shares, nearest] = detail(row) || [null, []];
    byId("view-says").replaceChildren(...data.sources.map((name, i) => line(name, row, i, shares)));
    showNearest(nearest);
    showChoices(row);
  }
  const percent = (share) => `${(share / 10).toFixed(share > 990 ? 1 : 0)}%`;
  function line(name, row, i, every) {
    const made = element("tr"), label = row[LABELS][i], top = votes(row)[0][0];
    const heading = element("th", name);
    heading.scope = "row"; heading.title = name;
    made.append(heading, element("td", data.classes[label], label === top ? "said" : "said other"));
    const cell = element("td");
    const shares = every?.[i];
    if (!every) cell.append(element("span", "…", "quiet"));
    else if (!shares) cell.append(element("span", "label only", "quiet"));
    else {
      const grid = element("div", undefined, "share"), bar = element("span", undefined, "bar");
      bar.style.setProperty("--v", shares[1] / 1000);
      grid.append(bar, element("em", percent(shares[1])));
      const rest = [];
      for (let k = 2; k < shares.length; k += 2) rest.push(`${data.classes[shares[k]]} ${percent(shares[k + 1])}`);
      grid.append(element("small", (shares[0] === label ? "" : `likeliest ${data.classes[shares[0]]}; `) + (rest.length ? `then ${rest.join(", ")}` : "")));
      cell.append(grid);
    }
    made.append(cell);
    return made;
  }
  function showNearest(nearest) {
    byId("near").hidden = nearest.length === 0;
    byId("view-near").replaceChildren(...nearest.map(([id, path, label]) => {
      const made = element("figure");
      made.append(picture(path, id), element("figcaption", data.classes[label]));
      made.title = id;
      return made;
    }));
  }

  function choicesOf(row) {
    const listed = votes(row).map(([label]) => label);
    for (const shares of detail(row)?.[0] || []) if (shares) for (let k = 0; k < shares.length; k += 2) if (!listed.includes(shares[k])) listed.push(shares[k]);
    return listed.slice(0, 6);
  }
  function showChoices(row) {
    const chosen = decisions.get(row[ID])?.label;
    const buttons = choicesOf(row).map((label, i) => choice(data.classes[label], label, chosen, i + 1));
    const others = element("select");
    others.setAttribute("aria-label", "Another class");
    others.append(new Option("another …", ""), ...data.classes.map((name, label) => new Option(name, String(label))));
    others.addEventListener("change", () => { if (others.value !== "") decide(Number(others.value)); });
    const rest = [others, choice("Skip", SKIP, chosen)];
    if (data.mode === "train") rest.push(choice("Leave out", OUT, chosen));
    byId("choices").replaceChildren(...buttons, ...rest);
  }
  function choice(text, label, chosen, number) {
    const made = element("button");
    if (number) made.append(element("small", String(number)), " ");
    made.append(text);
    made.type = "button";
    made.setAttribute("aria-pressed", String(label === chosen));
    made.addEventListener("click", () => decide(label));
    return made;
  }
  function decide(label) {
    const row = shown[at];
    decisions.set(row[ID], { label, at: new Date().toISOString() });
    changed(row);
    if (at + 1 < shown.length) open(at + 1); else showChoices(row);
  }
  function undo() {
    decisions.delete(shown[at][ID]);
    changed(shown[at]);
    showChoices(shown[at]);
  }
  function changed(row) {
    remember();
    const made = tiles[shown.indexOf(row)];
    if (made) mark(made, row);
    count();
  }
  function count() {
    const made = decided().length;
    byId("decided").textContent = made ? `${made.toLocaleString("en")} decided` : "Nothing decided yet";
    byId("download").disabled = made === 0;
  }
  function decided() {
    return data.rows.filter((row) => decisions.has(row[ID]) && decisions.get(row[ID]).label !== SKIP);
  }

  function cell(text) {
    return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
  }
  const value = (label) => (label === OUT ? "" : data.values[label]);
  function table() {
    const who = byId("who").value.trim();
    const rows = decided().map((row) => {
      const { label, at: when } = decisions.get(row[ID]), before = row[LABELS][0];
      return data.mode === "train"
        ? label === before ? null : [row[ID], data.values[before], value(label), `looked at by ${who}, ${when}`]
        : [row[ID], value(label), who, when, "yes"];
    }).filter(Boolean);
    const head = data.mode === "train" ? ["id", "old", "new", "why"] : ["image_id", "label", "decided_by", "decided_at", "tainted"];
    return [head, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
  }
  function download() {
    if (!byId("who").value.trim()) {
      byId("decided").textContent = "Your name first: the file says who decided";
      byId("who").focus();
      return;
    }
    remember();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
    link.download = data.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  function step(by) {
    const next = at + by;
    if (next >= 0 && next < shown.length) open(next);
  }
  function key(event) {
    const typing = event.target.matches?.("input[type=search], input[type=text], select");
    if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
    if (!byId("view").open) {
      if (event.key === "/") { event.preventDefault(); byId("find").focus(); }
      if ((event.key === "j" || event.key === "ArrowRight") && shown.length && !event.target.closest?.("button, a")) open(Math.max(at, 0));
      return;
    }
    const actions = { ArrowRight: () => step(1), j: () => step(1), ArrowLeft: () => step(-1), k: () => step(-1), s: () => decide(SKIP), u: undo };
    const label = choicesOf(shown[at])[Number(event.key) - 1];
    const action = actions[event.key] || actions[event.key.toLowerCase()] || (label === undefined ? null : () => decide(label));
    if (action) { event.preventDefault(); action(); }
  }

  byId("says").append(...data.sources.map((name) => {
    const label = element("label", name), select = element("select");
    select.append(new Option("says anything", ""), ...data.classes.map((text, i) => new Option(text, String(i))));
    label.append(select);
    return label;
  }));
  byId("more").addEventListener("click", () => {
    byId("says").hidden = !byId("says").hidden;
    byId("more").setAttribute("aria-expanded", String(!byId("says").hidden));
  });
  byId("tools").addEventListener("change", filter);
  byId("find").addEventListener("input", filter);
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => byId("view").close());
  byId("view").addEventListener("close", () => tiles[at]?.focus({ preventScroll: false }));
  byId("download").addEventListener("click", download);
  byId("clear").addEventListener("click", () => { decisions = new Map(); remember(); count(); filter(); });
  document.addEventListener("keydown", key);
  window.addEventListener("hashchange", () => { readAddress(); filter(); });
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting) || tiles.length >= shown.length) return;
    draw();
    watcher.unobserve(byId("end"));  // look again: the end may still be in sight
    watcher.observe(byId("end"));
  }, { rootMargin: "1200px" });
  watcher.observe(byId("end"));
  new ResizeObserver(() => { if (columns() !== across) redraw(); }).observe(byId("grid"));
  try { byId("who").value = localStorage.getItem("podium-name") || ""; } catch { /* private windows keep nothing */ }
  readAddress();
  count();
  filter();
})();
