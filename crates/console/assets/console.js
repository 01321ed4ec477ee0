// Makes pages live and comfortable. Every page works without it.

const zone = new Intl.DateTimeFormat(document.documentElement.lang, {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
});

/** Times are written in UTC by the server; people read them in their own zone. Ages stay as they are. */
function localize(root) {
  for (const time of root.querySelectorAll("time:not(.age)")) {
    const date = new Date(time.dateTime);
    if (!Number.isNaN(date.getTime())) time.textContent = zone.format(date);
  }
}

/** Copy buttons appear only where they work. */
function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.title = document.body.dataset.copyIt;
    button.setAttribute("aria-label", document.body.dataset.copyIt);
  }
}

function prepare(root) {
  localize(root);
  offerCopies(root);
}

/** Replaces an element by its newer self, unless somebody is just using it. */
function patch(fresh) {
  const old = document.getElementById(fresh.id);
  if (!old) return;
  const selection = document.getSelection();
  const isSelected = selection && !selection.isCollapsed && old.contains(selection.anchorNode);
  if (isSelected || old.contains(document.activeElement)) return;
  const open = [...old.querySelectorAll("details")].map((details) => details.open);
  const scrolled = [...old.querySelectorAll(".wide")].map((wide) => wide.scrollLeft);
  prepare(fresh);
  old.replaceWith(fresh);
  fresh.querySelectorAll("details").forEach((details, at) => { details.open = open[at] ?? details.open; });
  fresh.querySelectorAll(".wide").forEach((wide, at) => { wide.scrollLeft = scrolled[at] ?? 0; });
}

/** One stream a page; closed while nobody looks. */
function followLive() {
  const address = document.body.dataset.live;
  if (!address) return;
  let source = null;
  const open = () => {
    source = new EventSource(address);
    source.addEventListener("patch", (event) => {
      const template = document.createElement("template");
      template.innerHTML = event.data;
      for (const fresh of [...template.content.children]) patch(fresh);
    });
    source.addEventListener("error", () => {
      const sign = document.querySelector(".live-sign");
      if (sign) sign.textContent = document.body.dataset.lost;
    });
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  if (!document.hidden) open();
}

/** Filters are sent while one types. */
function filterWhileTyping() {
  for (const form of document.querySelectorAll("form[data-filter]")) {
    const input = form.querySelector("input[type=search]");
    let timer = 0;
    input?.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => form.requestSubmit(), 500);
    });
    if (input?.value) {
      input.focus();
      input.setSelectionRange(input.value.length, input.value.length);
    }
  }
}

/** Of the search form only the fields of the chosen way are shown. */
function showSearchFields() {
  const form = document.querySelector("form[data-search]");
  const way = form?.elements.by;
  if (!way) return;
  const show = () => {
    for (const label of form.querySelectorAll("label[data-for]")) {
      const fits = label.dataset.for.split(" ").includes(way.value);
      label.hidden = !fits;
      label.querySelector("input").disabled = !fits;
    }
  };
  way.addEventListener("change", show);
  show();
}

/** Typed times are of the viewer's zone; they are sent as milliseconds, which have none. */
function sendTimesAsMilliseconds() {
  for (const input of document.querySelectorAll("input[data-time]")) {
    const written = input.value.trim();
    if (/^\d{9,}$/.test(written)) input.value = zoneText(Number(written));
    input.form?.addEventListener("submit", () => {
      const ms = Date.parse(input.value.trim().replace(" ", "T"));
      if (!Number.isNaN(ms) && !/^\d+$/.test(input.value.trim())) input.value = String(ms);
    });
    const hint = input.closest("label, fieldset")?.parentElement?.querySelector(".hint");
    if (hint?.textContent.startsWith("UTC")) hint.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone + hint.textContent.slice(3);
  }
}

function zoneText(ms) {
  const date = new Date(ms - new Date(ms).getTimezoneOffset() * 60000);
  return date.toISOString().slice(0, 19).replace("T", " ");
}

/** A box that ticks all boxes of its form. */
function tickAll() {
  for (const all of document.querySelectorAll("input[data-all]")) {
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const box of all.form.querySelectorAll(`input[name="${all.dataset.all}"]`)) box.checked = all.checked;
    });
  }
}

const PAGES = { o: "", t: "topics", g: "groups", m: "messages", d: "dead-letters", c: "cluster" };

/** `/` searches, `g` and a letter goes to a page, `j` and `k` move through rows, `r` loads again. */
function listenToKeys() {
  let isGoing = false;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest?.("input, textarea, select");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    if (isGoing && event.key in PAGES) {
      location.href = document.querySelector(".rail .brand").href + PAGES[event.key];
      return;
    }
    isGoing = event.key === "g";
    if (event.key === "/") {
      event.preventDefault();
      document.getElementById("jump")?.focus();
    } else if (event.key === "r") {
      location.reload();
    } else if (event.key === "j" || event.key === "k") {
      const rows = [...document.querySelectorAll("main td:first-child a, main td.code a")];
      const at = rows.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      rows[Math.max(0, Math.min(at, rows.length - 1))]?.focus();
    }
  });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const said = button.querySelector(".said");
  said.textContent = document.body.dataset.copied;
  setTimeout(() => { said.textContent = ""; }, 1200);
});

/** Bookmarks of the classic dashboard. */
const CLASSIC = { "#/topic": "topics", "#/consumer": "groups", "#/message": "messages", "#/dlqMessage": "dead-letters", "#/messageTrace": "messages", "#/cluster": "cluster", "#/acl": "settings" };
const classic = CLASSIC[location.hash.split("?")[0]];
if (classic) location.replace(document.querySelector(".rail .brand").href + classic);

prepare(document);
followLive();
filterWhileTyping();
showSearchFields();
sendTimesAsMilliseconds();
tickAll();
listenToKeys();
