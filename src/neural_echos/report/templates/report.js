// Contents: folded on a narrow screen; on a wide one, they mark the current section.
const narrow = matchMedia("(max-width: 72rem)"), contents = document.querySelector("nav details");
contents.open = !narrow.matches;
const links = new Map([...contents.querySelectorAll('a[href^="#"]')].map((link) => [link.hash.slice(1), link]));
const targets = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
let marked = null;
function mark() {
  const end = scrollY > 0 && innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const read = targets.filter((target) => end || target.getBoundingClientRect().top < innerHeight / 3);
  const link = links.get(read.length ? read[read.length - 1].id : "");
  if (link === marked) return;
  marked?.removeAttribute("aria-current");
  marked = link ?? null;
  if (!marked) return;
  marked.setAttribute("aria-current", "true");
  const box = document.querySelector("nav"), at = marked.offsetTop - box.clientHeight / 2;
  if (!narrow.matches) box.scrollTop = at;
}
document.addEventListener("scroll", mark, { passive: true });
mark();

// On a phone, the halves of a figure are stacked at the same text size, if nothing crosses its middle.
function halves(card) {
  const image = card.querySelector("img"), cut = +card.dataset.cut, across = 1 / Math.max(cut, 1 - cut);
  for (const [from, to] of [[0, cut], [cut, 1]]) {
    const half = document.createElement("div");
    half.className = "half";
    half.style.width = `${(to - from) * across * 100}%`;
    half.style.aspectRatio = `${(to - from) * image.naturalWidth} / ${image.naturalHeight}`;
    const part = image.cloneNode();
    part.style.width = `${100 / (to - from)}%`;
    part.style.marginLeft = `${-100 * from / (to - from)}%`;
    if (from) part.alt = "";
    half.append(part);
    card.append(half);
  }
}
for (const card of document.querySelectorAll(".card[data-cut]")) {
  const image = card.querySelector("img");
  image.decode().then(() => halves(card), () => card.removeAttribute("data-cut"));
}

// Figures and tables wider than the screen say so, and can be scrolled by keyboard.
function frames() {
  for (const card of document.querySelectorAll(".card:not([data-cut])")) {
    const wide = card.scrollWidth > card.clientWidth + 1;
    card.classList.toggle("wide", wide);
    if (wide) card.setAttribute("tabindex", 0); else card.removeAttribute("tabindex");
  }
}
addEventListener("load", frames);
addEventListener("resize", frames);

// Sections that are folded on screen are printed.
addEventListener("beforeprint", () => document.querySelectorAll("details.open").forEach((one) => { one.open = true; }));
