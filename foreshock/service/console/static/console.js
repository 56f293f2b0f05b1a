"use strict";
/* Comfort on top of pages that work without it: live list, instant filter, keys. It only reads what the server rendered. */
(() => {
  const body = document.body;
  const byId = (id) => document.getElementById(id);
  const REFRESH_MS = Number(body.dataset.refreshMs) || 5000;
  const STALE_MS = Number(body.dataset.staleMs) || 15000;
  const SAY_EVERY_MS = 10000; // one summary at a time, also in a storm
  const POINTER_RESTS_MS = 10000; // a pointer parked over the list does not hold it up
  const GO = { i: "/", p: "/problems", f: "/forecasts", q: "/silences", s: "/sources", d: "/dead-letters", t: "/status" };
  const CHORD_MS = 1500;

  /* ---- the server's clock: ages count on from it, whatever this machine believes ---- */

  let clockOffset = 0;
  const setClock = (iso) => { const at = Date.parse(iso); if (!Number.isNaN(at)) clockOffset = at - Date.now(); };
  const now = () => Date.now() + clockOffset;
  setClock(body.dataset.now || "");

  const age = (ms) => { // the same words as words.age
    const seconds = Math.max(Math.floor(ms / 1000), 0);
    if (seconds < 60) return `${seconds} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min`;
    const hours = Math.floor(minutes / 60);
    if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
    return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
  };

  const tick = () => {
    for (const item of document.querySelectorAll("time[data-since]")) {
      const text = age(now() - Date.parse(item.dataset.since));
      if (item.textContent !== text) item.textContent = text;
    }
    const clock = byId("clock");
    if (clock) clock.textContent = `${new Date(now()).toISOString().slice(11, 16)} UTC`;
  };
  setInterval(tick, 1000);
  tick();

  /* ---- what a screen reader hears: collected, then said at most every ten seconds ---- */

  const unsaid = { fresh: 0, urgent: 0, over: 0 };
  let saidAt = 0;
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  const say = () => {
    if (!(unsaid.fresh || unsaid.over) || Date.now() - saidAt < SAY_EVERY_MS) return;
    const parts = [];
    if (unsaid.fresh) parts.push(`${plural(unsaid.fresh, "new incident")}${unsaid.urgent ? `, ${unsaid.urgent} with priority 1` : ""}`);
    if (unsaid.over) parts.push(`${plural(unsaid.over, "incident")} left the list`);
    byId("say").textContent = parts.join(". ");
    Object.assign(unsaid, { fresh: 0, urgent: 0, over: 0 });
    saidAt = Date.now();
  };

  /* ---- asking again ---- */

  let answeredAt = Date.now();
  const stale = byId("stale");
  const showStale = () => {
    const late = Date.now() - answeredAt;
    const old = late > STALE_MS && !document.hidden;
    if (old) stale.textContent = `This data is ${age(late)} old: Foreshock does not answer. It keeps trying.`;
    stale.hidden = !old;
  };

  const poll = (url, etag, changed) => {
    let busy = false;
    const ask = async () => {
      if (busy || document.hidden) return;
      busy = true;
      try {
        const answer = await fetch(url(), {
          cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(REFRESH_MS * 2),
          headers: etag.value ? { "If-None-Match": etag.value } : {},
        });
        if (answer.status === 304 || answer.ok) {
          answeredAt = Date.now();
          const text = answer.status === 304 ? "" : await answer.text();
          if (answer.ok) etag.value = answer.headers.get("ETag") || "";
          changed(answer.status === 304, text);
        }
      } catch { /* the banner tells */ } finally { busy = false; }
      showStale();
    };
    setInterval(ask, REFRESH_MS);
    setInterval(showStale, 1000);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      answeredAt = Math.max(answeredAt, Date.now() - STALE_MS + 5000); // a hidden page did not ask; give it a moment
      ask();
    });
  };

  /* ---- the list of incidents ---- */

  const rows = byId("rows");
  const filter = byId("q");

  const applyFilter = () => {
    if (!rows || !filter) return;
    const words = filter.value.normalize("NFC").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows.rows) {
      row.hidden = !words.every((word) => row.dataset.text.includes(word));
      if (!row.hidden) shown += 1;
    }
    const output = byId("shown");
    output.hidden = words.length === 0;
    const text = `${shown} of ${rows.rows.length} match`;
    if (output.textContent !== text) output.textContent = text;
  };

  const keepFilterInAddress = () => {
    const here = new URL(location.href);
    if (filter.value) here.searchParams.set("q", filter.value); else here.searchParams.delete("q");
    history.replaceState(null, "", here);
    for (const link of document.querySelectorAll("a[data-keep-q]")) {
      const target = new URL(link.href);
      if (filter.value) target.searchParams.set("q", filter.value); else target.searchParams.delete("q");
      link.href = target;
    }
  };

  if (rows && filter) {
    const pill = byId("pending");
    let pointerAt = 0;
    let waiting = null;
    let toldOf = new Set([...rows.rows].map((row) => row.dataset.id));

    filter.addEventListener("input", () => { applyFilter(); keepFilterInAddress(); });
    filter.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const first = [...rows.rows].find((row) => !row.hidden);
      if (first) first.querySelector("[data-nav]").focus();
    });
    rows.addEventListener("pointermove", () => { pointerAt = Date.now(); });
    rows.addEventListener("pointerleave", () => { pointerAt = 0; });

    const reading = () => { // rows do not move under a pointer or a selection
      const selection = getSelection();
      const selecting = selection && !selection.isCollapsed && rows.contains(selection.anchorNode);
      return selecting || Date.now() - pointerAt < POINTER_RESTS_MS;
    };

    const sameCells = (row, fresh) => {
      if (row.className !== fresh.className) row.className = fresh.className;
      row.dataset.text = fresh.dataset.text;
      row.dataset.priority = fresh.dataset.priority;
      for (let index = 0; index < row.cells.length; index += 1) {
        const [cell, next] = [row.cells[index], fresh.cells[index]];
        if (cell.innerHTML === next.innerHTML) continue;
        const link = cell.querySelector("[data-nav]");
        const other = next.querySelector("[data-nav]");
        if (link && other && link === document.activeElement) { // keep the very element that has the focus
          link.textContent = other.textContent;
          link.href = other.getAttribute("href");
          other.replaceWith(link);
          cell.replaceChildren(...next.childNodes);
          link.focus({ preventScroll: true });
        } else cell.replaceChildren(...next.childNodes);
      }
    };

    const apply = (fresh) => {
      const focused = document.activeElement;
      const place = focused && rows.contains(focused) ? [...rows.rows].indexOf(focused.closest("tr")) : -1;
      const present = new Map([...rows.rows].map((row) => [row.dataset.id, row]));
      const order = [...fresh.querySelector("#rows").rows].map((row) => {
        const old = present.get(row.dataset.id);
        if (old) { sameCells(old, row); return old; }
        row.classList.add("is-new");
        return document.adoptNode(row);
      });
      const keep = new Set(order);
      for (const row of present.values()) if (!keep.has(row)) row.remove();
      order.forEach((row, index) => { if (rows.rows[index] !== row) rows.insertBefore(row, rows.rows[index] || null); });
      byId("incidents").hidden = order.length === 0;
      byId("nothing").replaceChildren(...fresh.querySelector("#nothing").childNodes);
      byId("summary").replaceChildren(...fresh.querySelector("#summary").childNodes);
      if (place >= 0 && document.activeElement !== focused) {
        const row = focused.isConnected ? focused.closest("tr") : rows.rows[Math.min(place, rows.rows.length - 1)];
        if (row) (focused.isConnected ? focused : row.querySelector("[data-nav]")).focus({ preventScroll: true });
      }
      pill.hidden = true;
      waiting = null;
      applyFilter();
      tick();
    };

    const tellOf = (fresh) => {
      const listed = [...fresh.querySelector("#rows").rows];
      const ids = new Set(listed.map((row) => row.dataset.id));
      const added = listed.filter((row) => !toldOf.has(row.dataset.id));
      unsaid.fresh += added.length;
      unsaid.urgent += added.filter((row) => row.dataset.priority === "1").length;
      unsaid.over += [...toldOf].filter((id) => !ids.has(id)).length;
      toldOf = ids;
    };

    const moves = (fresh) => {
      const next = [...fresh.querySelector("#rows").rows].map((row) => row.dataset.id).join("\n");
      return next !== [...rows.rows].map((row) => row.dataset.id).join("\n");
    };

    const arrived = (unchanged, text) => {
      if (!unchanged) {
        waiting = new DOMParser().parseFromString(text, "text/html");
        setClock(waiting.querySelector("#live").dataset.now);
        tellOf(waiting);
      }
      say();
      if (!waiting) return;
      if (moves(waiting) ? !reading() : !getSelection() || getSelection().isCollapsed) { apply(waiting); return; }
      const present = new Set([...rows.rows].map((row) => row.dataset.id));
      const added = [...waiting.querySelector("#rows").rows].filter((row) => !present.has(row.dataset.id)).length;
      pill.textContent = added ? `Show ${plural(added, "new incident")}` : "Show what changed";
      pill.hidden = false;
    };
    pill.addEventListener("click", () => { if (waiting) apply(waiting); });

    const address = () => {
      const here = new URL(location.href);
      here.searchParams.set("fragment", "1");
      here.searchParams.delete("q"); // hiding is done here
      return here;
    };
    poll(address, { value: "" }, arrived);
    applyFilter();
  }

  /* ---- an open incident: say that it changed, never move what is being read or typed ---- */

  const changed = byId("changed");
  if (changed) {
    const seen = { value: changed.dataset.etag };
    poll(() => changed.dataset.watch, seen, (unchanged) => {
      if (unchanged || !changed.hidden) return;
      const reload = document.createElement("a");
      reload.href = location.pathname + location.search;
      reload.textContent = "Show it as it is now";
      changed.replaceChildren("This incident has changed since you opened it. ", reload);
      changed.hidden = false;
    });
  }

  for (const link of document.querySelectorAll("a[data-lane]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      for (const entry of byId("entries").children) entry.hidden = Boolean(link.dataset.lane) && entry.dataset.lane !== link.dataset.lane;
      for (const other of document.querySelectorAll("a[data-lane]")) other.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      history.replaceState(null, "", link.href);
    });
  }

  for (const button of document.querySelectorAll("button[data-copy]")) {
    if (!navigator.clipboard) continue; // only where the address is https or this machine
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  /* ---- keys ---- */

  const STORED = "foreshock.single-keys";
  const remember = (value) => { try { localStorage.setItem(STORED, value); } catch { /* private window */ } };
  const recall = () => { try { return localStorage.getItem(STORED); } catch { return null; } };
  let singleKeys = recall() !== "off";

  const help = byId("help");
  const choice = byId("single-keys");
  choice.checked = singleKeys;
  choice.addEventListener("change", () => { singleKeys = choice.checked; remember(singleKeys ? "on" : "off"); });
  const opener = byId("help-open");
  opener.hidden = false;
  opener.addEventListener("click", () => help.showModal());

  const step = (by) => {
    const stops = [...document.querySelectorAll("[data-nav]")].filter((stop) => stop.getClientRects().length);
    if (!stops.length) return;
    const at = stops.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : stops.length - 1) : Math.min(Math.max(at + by, 0), stops.length - 1);
    stops[next].focus();
    (stops[next].closest("tr") || stops[next]).scrollIntoView({ block: "nearest" });
  };

  let goUntil = 0;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape" && event.target === filter) {
        filter.value = "";
        applyFilter();
        keepFilterInAddress();
        filter.blur();
      }
      return;
    }
    if (!singleKeys) return;
    if (Date.now() < goUntil && GO[event.key]) {
      goUntil = 0;
      event.preventDefault();
      location.assign(GO[event.key]);
      return;
    }
    goUntil = 0;
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "g") goUntil = Date.now() + CHORD_MS;
    else if (event.key === "?") help.showModal();
    else if (event.key === "/" && filter) { filter.focus(); filter.select(); }
    else if (event.key === "c" && document.querySelector("[data-comment]")) document.querySelector("[data-comment]").focus();
    else return;
    event.preventDefault();
  });
})();
