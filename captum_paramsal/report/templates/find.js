"use strict";
// Everything can be read without this: it hides and sorts cards, and loads nothing.
function start(form) {
  const list = document.getElementById(form.dataset.list);
  const said = form.querySelector("output");
  const plain = (text) => text.toLowerCase().replace(/\s+/g, " ").trim();
  const text = (card, names) => [...card.querySelectorAll(names)].map((one) => plain(one.textContent));
  // Read when they are asked for first, so that a page of a thousand opens as fast as without.
  let cards;
  const read = () => cards ||= [...list.children].map((card, place) => ({
    card, place, data: card.dataset,
    words: plain(card.textContent),
    filters: text(card, ".filters code"),
    file: text(card, ".file").join(" "),
    pair: text(card, ".right-word, .wrong-word").join(" "),
    pairs: (card.dataset.pairs || "").split(" "),
  }));
  let order = form.elements.sort.value;

  const fits = (one, wanted) =>
    wanted.words.split(" ").every((word) => one.words.includes(word)) &&
    (!wanted.filter || one.filters.some((name) => name.includes(wanted.filter))) &&
    (!wanted.pair || one.pairs.includes(wanted.pair)) &&
    (!wanted.group || one.data.group === wanted.group) &&
    (wanted.low === "" || 100 * one.data.confidence >= Number(wanted.low)) &&
    (wanted.high === "" || 100 * one.data.confidence <= Number(wanted.high));

  function sort(by) {
    if (by === order) return;
    order = by;
    const key = by.replace("-", "");
    const compared = (a, b) => key in a.data ? a.data[key] - b.data[key] : key in a ? String(a[key]).localeCompare(b[key], "en", { numeric: true }) : 0;
    const sign = by.startsWith("-") ? -1 : 1;
    list.append(...[...cards].sort((a, b) => sign * compared(a, b) || a.place - b.place).map((one) => one.card));
  }

  function show() {
    read();
    const wanted = Object.fromEntries(new FormData(form));
    wanted.words = plain(wanted.words);
    wanted.filter = plain(wanted.filter);
    sort(wanted.sort);
    let shown = 0;
    for (const one of cards) {
      one.card.hidden = !fits(one, wanted);
      shown += !one.card.hidden;
    }
    const all = `${cards.length.toLocaleString("en")} ${cards.length === 1 ? form.dataset.one : form.dataset.many}`;
    said.textContent = shown === cards.length ? `All ${all} shown` : `${shown.toLocaleString("en")} of ${all} shown`;
  }

  // A link to a card that is hidden shows all again.
  function reveal(address) {
    const card = address.length > 1 && document.getElementById(decodeURIComponent(address.slice(1)))?.closest("[hidden]");
    if (!card || !list.contains(card)) return;
    form.reset();
    show();
    card.scrollIntoView();
  }

  let waiting = 0;
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(show, 120); });
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
  document.addEventListener("click", (event) => { const link = event.target.closest?.('a[href^="#"]'); if (link) reveal(link.hash); });
  addEventListener("hashchange", () => reveal(location.hash));
  form.hidden = false;
}
document.querySelectorAll("form.find").forEach(start);
