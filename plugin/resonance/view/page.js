// The page of `resonance data view`. Whatever a row holds is put here by textContent: never as markup.
"use strict";

const at = (id) => document.getElementById(id);
const format = (number) => number.toLocaleString("en");
let set = {}, rows = [], place = 0, shown = null, queue = Promise.resolve();

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

async function ask(path, body) {
  const options = body === undefined ? {} :
    { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the command has ended; start it again and reload");
  }
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

function told(text) { at("state").textContent = text; }

// One action after the other: a flag that follows a page key is for the row that this key brings.
function queued(action) {
  return (...given) => { queue = queue.then(() => action(...given)).catch((error) => told(error.message)); };
}

function warn() {
  const lines = [];
  if (set.unread) lines.push(`${format(set.unread)} rows cannot be read and are not here; resonance data check lists them (${set.first_unread})`);
  if (set.limited) lines.push(`only the first ${format(set.total)} rows are open (--limit)`);
  if (set.lost) lines.push(`${set.flags_file}: ${set.lost}; these rows were changed or taken out since`);
  at("warning").hidden = !lines.length;
  at("warning").firstElementChild.textContent = lines.join(". ");
  at("forget").hidden = !set.lost;
}

async function open() {
  set = await ask("/set");
  document.title = set.name;
  at("name").textContent = set.name;
  at("kind").textContent = `${format(set.total)} ${set.kind}`;
  at("margins").hidden = !set.scored;
  at("sort").querySelector("[value=margin]").hidden = !set.scored;
  at("sort").querySelector("[value=difference]").hidden = set.kind !== "pairs";
  at("problem").hidden = set.problems === null;
  for (const value of set.source ? ["", ...set.sources] : []) {
    const option = element("option", value || `any ${set.source}`);
    option.value = value;
    at("source").append(option);
  }
  at("source").hidden = !set.source;
  set.reasons.forEach((reason, number) => {
    const option = element("option", `flagged ${reason}`);
    option.value = reason;
    at("flagged").append(option);
    const button = element("button", `${number + 1} ${reason}`);
    button.dataset.reason = reason;
    button.setAttribute("aria-pressed", "false");
    button.onclick = queued(() => flag(reason));
    at("reasons").append(button);
  });
  warn();
  await select();
}

async function select(keep) {
  const query = new URLSearchParams({
    text: at("text").value, low: at("low").value, high: at("high").value, source: at("source").value,
    flag: at("flagged").value, problem: at("problem").value, sort: at("sort").value,
    down: at("down").checked ? "yes" : "",
  });
  told("searching ...");
  rows = (await ask(`/rows?${query}`)).rows;
  told("");
  place = Math.max(0, rows.indexOf(keep));
  await show();
}

async function show() {
  const filtered = rows.length === set.total ? "" : ` (filtered from ${format(set.total)})`;
  at("count").textContent = `${format(rows.length && place + 1)} of ${format(rows.length)}${filtered}`;
  at("main").hidden = !rows.length;
  at("empty").hidden = rows.length > 0;
  if (!rows.length) { shown = null; mark(); return; }
  const row = shown = await ask(`/row?row=${rows[place]}`);
  at("where").textContent = `${row.files > 1 ? `${row.file}, ` : ""}row ${row.number}` +
    (row.margin === null ? "" : ` \u00b7 margin ${Number(row.margin.toPrecision(6))}`) +
    (row.label === null ? "" : ` \u00b7 label ${row.label === true ? "good" : row.label === false ? "bad" : row.label}`);
  at("problems").replaceChildren(...row.problems.map(([kind, message]) => element("p", `${kind}: ${message}`)));
  at("turns").replaceChildren(...row.turns.map(([role, text]) => block(role, "turn", [[text, false]])));
  at("answers").replaceChildren(...row.answers.map((answer) => block(answer.who, answer.who, answer.pieces, answer)));
  at("legend").hidden = row.answers.length < 2;
  at("others").replaceChildren(...row.others.map(([name, text]) => {
    const line = element("tr");
    line.append(element("td", name), element("td", text));
    return line;
  }));
  at("main").classList.toggle("bare", !row.media.length);
  at("media").replaceChildren(...row.media.map((medium, number) => figure(row.index, number, medium)));
  at("note").value = row.flag ? row.flag.note : "";
  mark();
  window.scrollTo(0, 0);
  document.body.dataset.row = row.number;
}

function block(who, name, pieces, answer) {
  const made = element("div", undefined, `block ${name}`);
  const head = element("h2");
  head.append(element("span", who));
  if (answer) {
    if (answer.score !== null) head.append(element("b", `score ${answer.score}`));
    head.append(element("span", `${format(answer.characters)} characters`));
  }
  const text = element("div", undefined, "text");
  text.dir = "auto";
  for (const [words, changed] of pieces) text.append(changed ? element("span", words, "only") : words);
  made.append(head, text);
  return made;
}

function figure(row, number, medium) {
  const made = element("figure");
  const image = element("img");
  image.alt = medium.name;
  image.onload = () => image.classList.toggle("small", image.naturalWidth < 100);
  image.onclick = () => image.classList.toggle("large");
  image.onerror = queued(async () => {
    const why = await ask(image.getAttribute("src")).then(() => "cannot be shown", (error) => error.message);
    const cure = why.startsWith("not there") ? ". Start with --media-dir FOLDER, or see resonance data fix-paths --help" : "";
    image.replaceWith(element("div", `${medium.name}: ${why}${cure}`, "placeholder"));
  });
  image.src = `/picture?row=${row}&place=${number}`;
  const kind = medium.kind === "videos" ? " (first frame)" : "";
  made.append(image, element("figcaption", medium.name + kind));
  return made;
}

function mark() {
  const reason = shown && shown.flag ? shown.flag.flag : null;
  for (const button of at("reasons").children) button.setAttribute("aria-pressed", String(button.dataset.reason === reason));
}

async function flag(reason, note) {
  if (!shown) return;
  const row = shown;
  const found = await ask("/flag", { row: row.index, flag: reason, note: note ?? at("note").value });
  row.flag = reason === null ? null : { flag: reason, note: note ?? at("note").value };
  if (reason === null) at("note").value = "";
  const like = found.like > 1 ? `, and ${format(found.like - 1)} rows like it` : "";
  told(`${reason === null ? "no flag" : reason} on row ${row.number}${like}; ${format(found.flagged)} in ${set.flags_file}`);
  if (row === shown) mark();
}

function page(step) {
  const wanted = Math.min(Math.max(place + step, 0), rows.length - 1);
  if (wanted === place) return undefined;
  place = wanted;
  told("");
  return show();
}

async function jump() {
  const wanted = await ask(`/jump?${new URLSearchParams({ number: at("jump").value, file: shown ? shown.file : "" })}`);
  if (rows.includes(wanted)) {
    place = rows.indexOf(wanted);
    await show();
  } else {
    told("that row is filtered out; clear the filters to see it");
  }
}

const KEYS = {
  ArrowRight: () => page(1), j: () => page(1), ArrowLeft: () => page(-1), k: () => page(-1),
  Home: () => page(-rows.length), End: () => page(rows.length),
  f: () => flag(shown && shown.flag ? null : set.reasons[0]), u: () => flag(null),
};
const FIELDS = { n: "note", g: "jump", "/": "text" }; // at once: the next key is for the field

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    document.activeElement.blur();
    for (const image of document.querySelectorAll("img.large")) image.classList.remove("large");
  }
  if (event.target.matches("input:not([type=checkbox]), select")) return;
  const reason = set.reasons && set.reasons[Number(event.key) - 1];
  const action = reason ? () => flag(reason) : KEYS[event.key];
  if (!action && !FIELDS[event.key] && event.key !== "d") return;
  event.preventDefault();
  if (action) queued(action)();
  else if (event.key === "d") at("differ").click();
  else at(FIELDS[event.key]).select();
});
at("previous").onclick = queued(() => page(-1));
at("next").onclick = queued(() => page(1));
at("jump").onchange = queued(jump);
at("differ").onchange = () => at("answers").classList.toggle("plain", !at("differ").checked);
at("note").onchange = queued(() => shown && shown.flag && flag(shown.flag.flag, at("note").value));
at("note").onkeydown = (event) => { if (event.key === "Enter") at("note").blur(); };
at("filters").onsubmit = (event) => { event.preventDefault(); document.activeElement.blur(); queued(select)(shown && shown.index); };
at("filters").onreset = () => setTimeout(queued(() => select(shown && shown.index)));
for (const id of ["source", "flagged", "problem", "sort", "down"]) at(id).onchange = queued(() => { at(id).blur(); return select(shown && shown.index); });
at("forget").onclick = queued(async () => { await ask("/forget", {}); set = { ...set, ...(await ask("/set")) }; warn(); });
queued(open)();
