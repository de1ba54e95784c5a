const table = document.querySelector(".atlas"), rows = [...table.tBodies[0].rows], heads = [...table.tHead.rows[0].cells];
const search = document.getElementById("search"), sort = document.getElementById("sort"), left = document.getElementById("left");
const picks = ["role", "kind", "size"].map((name) => document.getElementById(name)).filter(Boolean);
const texts = new Map(rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase()]));

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const fits = picks.every((pick) => !pick.value || row.dataset[pick.id] === pick.value);
    row.hidden = !(fits && words.every((word) => texts.get(row).includes(word)));
  }
  left.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
}

// Numbers start with the largest, words with the first; missing values come last either way, and ties keep their order.
function arrange(head, down) {
  heads.forEach((one) => one.removeAttribute("aria-sort"));
  const column = heads.indexOf(head), value = (row) => row.cells[column].dataset.value;
  const sorted = [...rows];
  if (head) {
    const compare = head.classList.contains("number") ? (a, b) => a - b : (a, b) => a.localeCompare(b);
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    sorted.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return x === "" || y === "" ? (x === "") - (y === "") : (down ? -1 : 1) * compare(x, y);
    });
  }
  table.tBodies[0].append(...sorted);
  sort.value = head ? head.textContent.trim() : "";
}

for (const head of heads.filter((one) => !one.classList.contains("picture"))) {
  const button = document.createElement("button");
  button.type = "button";
  button.ariaLabel = `sort by ${head.textContent}`;
  head.append(" ", button);
  head.addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    arrange(head, now ? now === "ascending" : head.classList.contains("number"));
  });
}
sort.addEventListener("change", () => {
  const head = heads.find((one) => one.textContent.trim() === sort.value);
  arrange(head, head?.classList.contains("number"));
});
const tools = document.querySelector(".tools");
tools.hidden = false;
tools.addEventListener("submit", (event) => event.preventDefault());
search.addEventListener("input", filter);
picks.forEach((pick) => pick.addEventListener("change", filter));
filter();
