const numbers = JSON.parse(document.getElementById("numbers").textContent);
const hint = document.getElementById("hint");
const shown = (value, text) => (value === null ? [] : [text]);

function describe(at) {
  const of = (name) => numbers[name][at];
  const lines = [`channel ${of("channel")}` + (of("input") === null ? "" : `, input ${of("input")}`)];
  if (of("state") !== "usable") lines.push(of("state"));
  lines.push(...shown(of("cosine"), `nearest pattern: ${of("pattern")}, cosine ${of("cosine")}`));
  lines.push(...shown(of("dog"), `best DoG: ${of("sign") > 0 ? "on" : "off"}-centre, γ ${of("gamma")}, cosine ${of("dog")}`));
  if (of("cluster")) lines.push(`cluster: ${of("cluster")}`);
  lines.push(...shown(of("offset"), `offset ${of("offset")} taps`), ...shown(of("largest"), `largest tap ${of("largest")}`));
  return lines;
}

function point(event) {
  const image = event.target.closest("img.mosaic");
  if (!image) { hint.style.display = "none"; return; }
  const box = image.getBoundingClientRect(), { across, rows, count, first } = image.dataset;
  const column = Math.min(across - 1, Math.floor((event.clientX - box.left) / box.width * across));
  const row = Math.min(rows - 1, Math.floor((event.clientY - box.top) / box.height * rows));
  const at = row * across + column;
  if (at < 0 || at >= count) { hint.style.display = "none"; return; }
  hint.replaceChildren(...describe(+first + at).flatMap((line) => [document.createTextNode(line), document.createElement("br")]));
  hint.style.display = "block";
  hint.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - hint.offsetWidth - 8))}px`;
  hint.style.top = `${event.clientY + 16 + hint.offsetHeight > innerHeight ? event.clientY - hint.offsetHeight - 10 : event.clientY + 16}px`;
}
document.addEventListener("pointermove", point);
document.addEventListener("pointerdown", point);
document.addEventListener("scroll", () => { hint.style.display = "none"; }, { passive: true });

const layer = document.getElementById("layer"), size = document.getElementById("size"), left = document.getElementById("left");
function filter() {
  let count = 0;
  const sections = document.querySelectorAll("section.layer");
  for (const section of sections) {
    const fits = section.dataset.layer.toLowerCase().includes(layer.value.trim().toLowerCase());
    section.hidden = !(fits && (!size.value || section.dataset.size === size.value));
    count += !section.hidden;
  }
  left.textContent = `${count} of ${sections.length} layers`;
}
layer.addEventListener("input", filter);
size.addEventListener("change", filter);
filter();
