"use strict";
// Points are kept in pixels of the picture, not of the screen. A shape is a list of points [x, y].
const { task, labels, key } = JSON.parse(document.getElementById("task").textContent);
const SVG = "http://www.w3.org/2000/svg";
const NEAR = 9; // pixels of the screen within which a click closes the polygon
const redraw = []; // one function for each picture
let shapes = {};
try { shapes = JSON.parse(localStorage.getItem(key)) || {}; } catch { shapes = {}; }
let downloaded = JSON.stringify(shapes);

const inside = (value, size) => Math.round(10 * Math.min(Math.max(value, 0), size)) / 10;
const box = ([a, b], [c, d]) => [[Math.min(a, c), Math.min(b, d)], [Math.max(a, c), Math.min(b, d)], [Math.max(a, c), Math.max(b, d)], [Math.min(a, c), Math.max(b, d)]];
const area = (points) => Math.abs(points.reduce((sum, [x, y], i) => {
  const [u, v] = points[(i + 1) % points.length];
  return sum + x * v - u * y;
}, 0)) / 2;

function keep() {
  try { localStorage.setItem(key, JSON.stringify(shapes)); } catch { /* the warning before leaving remains */ }
  const done = task.images.filter((image) => shapes[image.id]).length;
  document.getElementById("count").textContent = `${done} of ${task.images.length} pictures annotated`;
  document.getElementById("download").disabled = !done;
}

function start(figure) {
  const image = task.images[figure.dataset.number - 1];
  const sheet = figure.querySelector(".sheet");
  const svg = sheet.querySelector("svg");
  let open = []; // points of a polygon that is not closed
  let from = null; // where the pointer went down
  let drag = null;

  const at = (event) => {
    const shown = sheet.getBoundingClientRect();
    return [inside((event.clientX - shown.left) / shown.width * image.width, image.width),
            inside((event.clientY - shown.top) / shown.height * image.height, image.height)];
  };
  const far = ([a, b], [c, d]) => Math.hypot(a - c, b - d) * sheet.getBoundingClientRect().width / image.width;
  const add = (name, attributes) => {
    const element = svg.appendChild(document.createElementNS(SVG, name));
    for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  };
  const draw = () => {
    svg.replaceChildren();
    for (const points of shapes[image.id] || []) add("polygon", { points: points.join(" ") });
    if (drag) add("polygon", { points: drag.join(" ") });
    if (open.length) {
      add("polyline", { points: open.join(" ") });
      for (const [cx, cy] of open) add("circle", { cx, cy, r: 4 * image.width / sheet.getBoundingClientRect().width });
    }
    figure.classList.toggle("drawn", Boolean(shapes[image.id]));
    for (const button of figure.querySelectorAll("button")) button.disabled = !open.length && !shapes[image.id];
  };
  const take = (points) => {
    if (points.length > 2 && area(points) > 0) (shapes[image.id] ||= []).push(points);
    open = [];
    keep();
    draw();
  };
  const undo = (all) => {
    if (all || (!open.length && (shapes[image.id] || []).length === 1)) delete shapes[image.id];
    else if (!open.length) shapes[image.id]?.pop();
    open = all ? [] : open.slice(0, -1);
    keep();
    draw();
  };

  sheet.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = at(event);
    sheet.setPointerCapture(event.pointerId);
  });
  sheet.addEventListener("pointermove", (event) => {
    if (!from || open.length) return;
    drag = far(from, at(event)) > NEAR ? box(from, at(event)) : null;
    draw();
  });
  sheet.addEventListener("pointerup", (event) => {
    if (!from) return;
    const point = at(event);
    from = null;
    if (drag) { [drag, open] = [null, drag]; take(open); return; }
    if (open.length > 2 && far(point, open[0]) <= NEAR) { take(open); return; }
    if (!open.length || far(point, open.at(-1)) > 1) open.push(point);
    draw();
  });
  sheet.addEventListener("pointercancel", () => { from = drag = null; draw(); });
  sheet.addEventListener("dblclick", () => take(open));
  sheet.addEventListener("keydown", (event) => {
    if (event.key === "Enter") take(open);
    else if (event.key === "Escape") { open = []; draw(); }
    else if (event.key === "Backspace") { event.preventDefault(); undo(false); }
  });
  figure.querySelector(".undo").addEventListener("click", () => undo(false));
  figure.querySelector(".clear").addEventListener("click", () => undo(true));
  redraw.push(() => { open = []; draw(); });
  draw();
}

function annotations() {
  const drawn = task.images.flatMap((image) => (shapes[image.id] || []).map((points) => [image, points]));
  return drawn.map(([image, points], number) => {
    const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
    const [x, y] = [Math.min(...xs), Math.min(...ys)];
    return {
      id: number + 1, image_id: image.id, category_id: labels[image.file_name], iscrowd: 0, area: area(points),
      bbox: [x, y, Math.max(...xs) - x, Math.max(...ys) - y], segmentation: [points.flat()],
    };
  });
}

document.getElementById("download").addEventListener("click", () => {
  const text = JSON.stringify({ ...task, annotations: annotations() }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "annotations.json";
  link.click();
  downloaded = JSON.stringify(shapes);
});
document.getElementById("open").addEventListener("change", async ({ target }) => {
  const read = {};
  try {
    const content = JSON.parse(await target.files[0].text());
    const ids = new Map(task.images.map((image) => [image.file_name, image.id]));
    const names = new Map(content.images.map((image) => [image.id, image.file_name]));
    const strange = content.images.find((image) => !ids.has(image.file_name));
    if (strange) throw new Error(`${strange.file_name} is not on it`);
    for (const { image_id, segmentation } of content.annotations) {
      const id = ids.get(names.get(image_id));
      for (const flat of segmentation) (read[id] ||= []).push(flat.flatMap((x, i) => i % 2 ? [] : [[x, flat[i + 1]]]));
    }
  } catch (error) {
    alert(`This is no annotations.json of this page: ${error.message}`);
    return;
  } finally { target.value = ""; }
  if (Object.keys(shapes).length && !confirm("Put what the file has in the place of what is drawn here?")) return;
  shapes = read;
  downloaded = JSON.stringify(shapes);
  keep();
  redraw.forEach((draw) => draw());
});
document.getElementById("larger").addEventListener("click", () => document.body.classList.toggle("large"));
addEventListener("beforeunload", (event) => { if (JSON.stringify(shapes) !== downloaded) event.preventDefault(); });
document.querySelectorAll(".task").forEach(start);
keep();
