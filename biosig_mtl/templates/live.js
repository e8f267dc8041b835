"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const KEPT_S = 30, MOST_POINTS = 6000, MOST_ESTIMATES = 2400, MOST_EVENTS = 60, ROWS = 8, BEATS = 120;
  const COLOURS = ["--one", "--two", "--three", "--four", "--five"];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  let about = null, status = null, traces = new Map(), beats = new Map(), windows = new Map(), events = [];
  let head = 0, shown = 0, lastFrame = 0, paused = false, heardAt = 0, estimatedAt = 0, ended = "", open = false;
  let ranges = new Map();

  // ---------------------------------------------------------------------------------------------------------- small things
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let palette = {};
  const repaint = () => {
    palette = {};
    for (const name of [...COLOURS, "--ink", "--muted", "--grid", "--line", "--panel", "--bad"]) palette[name] = css(name);
    chartDirty = true;
  };
  const pad = (n) => String(n).padStart(2, "0");
  const at = (s) => {
    const whole = Math.max(0, Math.floor(s)), h = Math.floor(whole / 3600), m = Math.floor(whole / 60) % 60;
    return h ? `${h}:${pad(m)}:${pad(whole % 60)}` : `${m}:${pad(whole % 60)}`;
  };
  const number = (x, digits) => (x === null || x === undefined ? "–" : x.toFixed(digits));
  const digitsOf = (target) => (target.unit === "mmHg" ? 0 : 2);
  const make = (tag, text, name) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (name) node.className = name;
    return node;
  };
  const fill = (node, ...children) => node.replaceChildren(...children);
  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const label = (name) => (name.length <= 4 ? name.toUpperCase() : name);

  // ------------------------------------------------------------------------------------------------------- what is told
  const told = {
    about(d) {
      about = d;
      set($("about"), `${d.task.replaceAll("_", " ")} from ${Object.keys(d.channels).join(", ") || "no channel"}`
        + (d.speed === null ? ", replayed as fast as possible" : d.speed !== 1 ? `, replayed ${d.speed} times as fast` : ""));
      set($("says"), d.says);
      fill($("heading"), ...["Window", ...d.targets.map((t) => label(t.name) + (t.unit ? ` (${t.unit})` : "")), "Quality", "State"]
        .map((word) => { const th = make("th", word); th.scope = "col"; return th; }));
      const items = d.targets.map((t, k) => legendItem(label(t.name), COLOURS[k % COLOURS.length], "full"));
      items.push(legendItem("settled", "--muted", "full"));
      const later = d.settled_after_s ? ` after ${at(d.settled_after_s)}` : "";
      if (d.provisional) items.push(legendItem(`provisional: from the last seconds, settled${later}`, "--muted", ""));
      items.push(legendItem("refused", "--bad", "cross"));
      fill($("legend"), ...items);
      buildCards();
      ended = "";
    },
    trace(d) {
      for (const [name, s] of Object.entries(d.s)) addStrip(name, s);
      for (const [name, times] of Object.entries(d.b)) {
        const kept = beats.get(name) || [];
        kept.push(...times);
        beats.set(name, kept.slice(-BEATS));
      }
    },
    estimate(d) {
      const before = windows.get(d.t);
      // A settled word is the last one.
      if (before && before.settled && !d.settled) return;
      windows.delete(d.t);
      windows.set(d.t, d);
      if (windows.size > MOST_ESTIMATES) windows.delete(windows.keys().next().value);
      estimatedAt = performance.now();
      chartDirty = true;
    },
    event(d) {
      events.unshift(d);
      events.length = Math.min(events.length, MOST_EVENTS);
      listEvents();
    },
    status(d) { status = d; },
    end(d) { ended = d.says; source.close(); },
    reset() {
      traces = new Map(); beats = new Map(); windows = new Map(); events = []; ranges = new Map();
      head = shown = 0; ended = "";
      listEvents();
      chartDirty = true;
    },
  };

  function addStrip(name, s) {
    let kept = traces.get(name);
    if (!kept) traces.set(name, kept = { t: [], lo: [], hi: [], step: s.d });
    // A clock that went back: what was drawn is of another time.
    if (kept.t.length && s.t < kept.t[kept.t.length - 1] - 1) { kept.t = []; kept.lo = []; kept.hi = []; }
    kept.step = s.d;
    const high = s.h || s.l;
    for (let i = 0; i < s.l.length; i++) { kept.t.push(s.t + i * s.d); kept.lo.push(s.l[i]); kept.hi.push(high[i]); }
    const last = kept.t[kept.t.length - 1];
    let drop = Math.max(0, kept.t.length - MOST_POINTS);
    while (drop < kept.t.length && kept.t[drop] < last - KEPT_S) drop++;
    if (drop > 1000) { kept.t.splice(0, drop); kept.lo.splice(0, drop); kept.hi.splice(0, drop); }
    if (last > head || last < head - KEPT_S) head = last;
  }

  // ------------------------------------------------------------------------------------------------------------- cards
  const cards = new Map();
  function buildCards() {
    cards.clear();
    const box = $("cards");
    fill(box);
    const add = (key, title, colour) => {
      const node = make("div", undefined, "card"), name = make("div", undefined, "name");
      const word = make("span", title), tag = make("span", "", "tag none"), big = make("b"), one = make("p"), two = make("p");
      tag.hidden = true;
      big.id = `value-${key}`;
      name.append(word, tag);
      node.append(name, big);
      node.style.borderLeftColor = `var(${colour})`;
      const card = { node, tag, big, one, two };
      if (key === "quality") {
        card.meter = make("div", undefined, "meter");
        card.bar = make("i");
        card.meter.append(card.bar);
        node.append(card.meter);
      }
      node.append(one, two);
      box.append(node);
      cards.set(key, card);
    };
    about.targets.forEach((t, k) => add(`target-${t.name}`, label(t.name), COLOURS[k % COLOURS.length]));
    add("rate", "Beats per minute", "--bad");
    add("quality", "Signal quality", "--three");
  }

  const byTime = () => [...windows.values()].sort((a, b) => a.t - b.t);

  function drawCards() {
    if (!about) return;
    const all = byTime(), known = all.filter((w) => w.state !== "refused");
    const latest = known[known.length - 1], settled = known.filter((w) => w.settled).pop(), last = all[all.length - 1];
    const age = estimatedAt ? (performance.now() - estimatedAt) / 1000 : 0;
    const stale = !ended && latest && (age > 3 * Math.max(latest.e - latest.t, 5) || !open);
    for (const target of about.targets) {
      const card = cards.get(`target-${target.name}`), v = latest && latest.v[target.name];
      card.node.classList.toggle("provisional", Boolean(latest && !latest.settled));
      card.node.classList.toggle("old", Boolean(stale || (last && last.state === "refused")));
      card.tag.hidden = !latest;
      if (!v) { set(card.big, "–"); set(card.one, "waiting for the first window"); continue; }
      card.tag.className = latest.settled ? "tag good" : "tag warn";
      set(card.tag, latest.settled ? "settled" : "provisional");
      fill(card.big, typeof v.v === "string" ? v.v : number(v.v, digitsOf(target)), make("small", target.unit ? ` ${target.unit}` : ""));
      set(card.one, within(target, v));
      const more = [`${at(latest.t)} to ${at(latest.e)}`];
      if (last.state === "refused") more.push(`window at ${at(last.t)} refused: ${last.reason}`);
      else if (!latest.settled && settled) more.push(`settled ${short(target, settled.v[target.name])} at ${at(settled.t)}`);
      if (stale) more.push(`nothing new for ${Math.round(age)} s`);
      set(card.two, more.join("; "));
    }
    const rates = Object.entries((status && status.rate) || {}).filter(([, r]) => r !== null);
    set(cards.get("rate").big, rates.length ? String(Math.round(rates[0][1])) : "–");
    set(cards.get("rate").one, rates.length ? rates.map(([n, r]) => `${Math.round(r)} from ${n}`).join(", ") : "no beats found yet");
    const quality = cards.get("quality"), sqi = latest ? latest.sqi : null;
    set(quality.big, number(sqi, 2));
    quality.bar.style.width = `${100 * (sqi || 0)}%`;
    quality.bar.style.background = `var(${sqi >= 0.7 ? "--three" : sqi >= 0.4 ? "--five" : "--bad"})`;
    set(quality.one, "0 is noise, 1 is clean");
  }

  function within(target, v) {
    if (v.p) return `share ${Math.round(100 * Math.max(...v.p))} %`;
    return v.lo === null || v.hi === null ? "no interval" : `90 % interval ${number(v.lo, digitsOf(target))} to ${number(v.hi, digitsOf(target))}`;
  }
  const short = (target, v) => (!v ? "–" : typeof v.v === "string" ? v.v : number(v.v, digitsOf(target)));

  function drawTable() {
    if (!about) return;
    fill($("rows"), ...byTime().slice(-ROWS).reverse().map((w) => {
      const row = make("tr");
      row.append(make("td", `${at(w.t)}–${at(w.e)}`));
      for (const target of about.targets) {
        const v = w.v[target.name], cell = make("td", v ? short(target, v) : "–");
        if (v && v.p) cell.append(make("small", `${Math.round(100 * Math.max(...v.p))} %`));
        else if (v && v.lo !== null) cell.append(make("small", `${number(v.lo, digitsOf(target))}–${number(v.hi, digitsOf(target))}`));
        row.append(cell);
      }
      row.append(make("td", number(w.sqi, 2)));
      const state = make("td");
      state.append(make("span", w.state, `tag ${w.state === "settled" ? "good" : w.state === "refused" ? "bad" : "warn"}`));
      if (w.reason) state.append(make("small", w.reason));
      row.append(state);
      return row;
    }));
  }

  function listEvents() {
    const items = events.map((e) => {
      const item = make("li");
      item.append(make("b", at(e.t)), ` ${e.kind}${e.channel && !e.says.startsWith(e.channel) ? ` (${e.channel})` : ""}: ${e.says}`);
      return item;
    });
    fill($("events"), ...(items.length ? items : [make("li", "nothing yet", "sub")]));
  }

  function drawState() {
    const quiet = heardAt ? (performance.now() - heardAt) / 1000 : 0;
    let word = "connecting", tone = "none", alarm = "";
    if (ended) [word, tone, alarm] = ["ended", "none", `The recording has ${ended}. The page stays as it is.`];
    else if (!open && heardAt) [word, tone, alarm] = ["reconnecting", "bad", "The program does not answer; what is shown is old. Trying again."];
    else if (open && quiet > 10) [word, tone, alarm] = ["no news", "bad", `Nothing has come from the program for ${Math.round(quiet)} s; what is shown is old.`];
    else if (status && status.silent > 0) [word, tone, alarm] = ["silent", "bad", `No signal has arrived for ${Math.round(status.silent)} s.`];
    else if (status && status.state === "degraded") [word, tone, alarm] = ["degraded", "warn", "A channel is lost; see the events."];
    else if (status && status.behind > 5) [word, tone, alarm] = ["behind", "warn", `The work is ${Math.round(status.behind)} s behind the signal.`];
    else if (open) [word, tone] = [status ? status.state : "live", "good"];
    if (paused) [word, tone] = ["paused", "warn"];
    set($("state"), word);
    $("state").className = `tag ${tone}`;
    $("banner").hidden = !alarm;
    set($("banner"), alarm);
    if (status) {
      const counts = Object.entries(status.counts).filter(([, n]) => n).map(([word, n]) => `${n} ${word}`);
      set($("counts"), [`${at(status.now)} of signal`, ...counts].join(" · "));
    }
  }

  // ------------------------------------------------------------------------------------------------------------ canvases
  function ready(canvas, height) {
    const width = canvas.clientWidth, scale = Math.min(devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.height = `${height}px`;
    }
    const c = canvas.getContext("2d");
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, width, height);
    c.font = `13px ${getComputedStyle(document.body).fontFamily}`;
    c.lineJoin = "round";
    return [c, width];
  }

  const LEFT = 46, RIGHT = 8, FOOT = 22;

  function drawTrace() {
    const names = [...traces.keys()], canvas = $("trace");
    const narrow = canvas.clientWidth < 560, lane = narrow ? 92 : 118, span = narrow ? 6 : 10;
    const [c, width] = ready(canvas, Math.max(names.length, 1) * lane + FOOT);
    const stop = shown, start = stop - span, x = (t) => LEFT / 2 + ((t - start) / span) * (width - LEFT / 2 - RIGHT);
    const bottom = Math.max(names.length, 1) * lane;
    c.textAlign = "center";
    for (let s = Math.ceil(Math.max(start, 0)); s <= stop; s++) {
      c.strokeStyle = palette["--grid"];
      c.lineWidth = 1;
      line(c, x(s), 0, x(s), bottom);
      if (s % 2 === 0 && x(s) < width - 16) { c.fillStyle = palette["--muted"]; c.fillText(at(s), x(s), bottom + 16); }
    }
    if (!names.length) {
      c.fillStyle = palette["--muted"];
      c.fillText("no signal yet", width / 2, lane / 2);
    }
    names.forEach((name, k) => drawLane(c, name, k, { x, start, stop, top: k * lane, lane, width }));
  }

  function drawLane(c, name, k, box) {
    const kept = traces.get(name), { t, lo, hi } = kept, [from, to] = slice(t, box.start, box.stop);
    const range = rangeOf(name, lo, hi, from, to);
    const y = (v) => box.top + 24 + (1 - (v - range[0]) / (range[1] - range[0])) * (box.lane - 32);
    c.strokeStyle = palette[COLOURS[(k + 2) % COLOURS.length]];
    c.lineWidth = 1.6;
    c.beginPath();
    let before = null;
    const perColumn = Math.max(1, Math.floor((to - from) / Math.max(box.width, 1)));
    for (let i = from; i < to; i += perColumn) {
      let low = null, high = null;
      for (let j = i; j < Math.min(i + perColumn, to); j++) {
        if (lo[j] === null) continue;
        low = low === null ? lo[j] : Math.min(low, lo[j]);
        high = high === null ? hi[j] : Math.max(high, hi[j]);
      }
      if (low === null) { before = null; continue; }
      const px = box.x(t[i]);
      if (before === null || t[i] - before > 3 * kept.step * perColumn) c.moveTo(px, y(low)); else c.lineTo(px, y(low));
      if (high !== low) c.lineTo(px, y(high));
      before = t[i];
    }
    c.stroke();
    c.fillStyle = palette["--bad"];
    for (const b of beats.get(name) || []) {
      if (b < box.start || b > box.stop) continue;
      const px = box.x(b), py = box.top + 20;
      c.beginPath(); c.moveTo(px - 5, py - 8); c.lineTo(px + 5, py - 8); c.lineTo(px, py); c.fill();
    }
    c.textAlign = "left";
    const unit = about && about.channels[name] && about.channels[name].unit;
    const words = unit ? `${name} (${unit})` : name;
    c.fillStyle = palette["--panel"];
    c.fillRect(0, box.top + 1, c.measureText(words).width + 10, 19);
    c.fillStyle = palette["--ink"];
    c.fillText(words, 2, box.top + 14);
  }

  // The scale grows at once and shrinks slowly, so that a beat does not make it jump.
  function rangeOf(name, lo, hi, from, to) {
    let low = Infinity, high = -Infinity;
    for (let i = from; i < to; i++) {
      if (lo[i] === null) continue;
      if (lo[i] < low) low = lo[i];
      if (hi[i] > high) high = hi[i];
    }
    if (low > high) return ranges.get(name) || [0, 1];
    const rest = (high - low) * 0.06 || Math.abs(high) * 0.01 || 1, now = [low - rest, high + rest];
    const was = ranges.get(name) || now, slow = 0.03;
    const made = [Math.min(now[0], was[0] + (now[0] - was[0]) * slow), Math.max(now[1], was[1] + (now[1] - was[1]) * slow)];
    ranges.set(name, made);
    return made;
  }

  function slice(t, start, stop) {
    const find = (v) => { let a = 0, b = t.length; while (a < b) { const m = (a + b) >> 1; if (t[m] < v) a = m + 1; else b = m; } return a; };
    return [find(start), find(stop)];
  }
  const line = (c, x0, y0, x1, y1) => { c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke(); };

  let chartDirty = true, spots = [];

  // Targets of one unit share an axis; a target with classes has one of its own, from 0 to 1.
  function lanes() {
    const made = [];
    about.targets.forEach((target, k) => {
      const one = { ...target, colour: COLOURS[k % COLOURS.length] };
      const beside = !target.classes.length && made.find((l) => !l.classes && l.unit === target.unit);
      if (beside) beside.targets.push(one);
      else made.push({ unit: target.unit, classes: target.classes.length > 0, targets: [one] });
    });
    return made;
  }

  function drawChart() {
    const canvas = $("chart"), narrow = canvas.clientWidth < 560, lane = narrow ? 190 : 240;
    const made = about ? lanes() : [];
    const [c, width] = ready(canvas, Math.max(made.length, 1) * lane + FOOT);
    spots = [];
    const all = byTime();
    if (!made.length || !all.length) {
      c.fillStyle = palette["--muted"];
      c.textAlign = "center";
      c.fillText("no estimate yet", width / 2, lane / 2);
      return;
    }
    const longest = Number($("span").value), stop = all[all.length - 1].e;
    const span = Math.min(longest, Math.max(stop - all[0].t, 60)), start = stop - span;
    const seen = all.filter((w) => w.e >= start);
    const x = (t) => LEFT + ((t - start) / span) * (width - LEFT - RIGHT - 6);
    const bottom = made.length * lane, step = [10, 30, 60, 120, 300, 600, 1200, 1800].find((s) => (s / span) * (width - LEFT) > 64) || 3600;
    c.textAlign = "center";
    for (let s = Math.ceil(Math.max(start, 0) / step) * step; s <= stop; s += step) {
      c.strokeStyle = palette["--grid"];
      line(c, x(s), 0, x(s), bottom);
      c.fillStyle = palette["--muted"];
      if (x(s) < width - 20) c.fillText(at(s), x(s), bottom + 17);
    }
    made.forEach((one, k) => drawTargets(c, one, seen, { top: k * lane, lane, x, width, dense: (width / span) * 8 }));
  }

  function drawTargets(c, one, seen, box) {
    const [low, high] = one.classes ? [0, 1] : limits(one, seen);
    const y = (v) => box.top + 12 + (1 - (v - low) / (high - low)) * (box.lane - 34);
    c.lineWidth = 1;
    const step = one.classes ? 0.5 : [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100].find((s) => ((box.lane - 34) * s) / (high - low) > 28) || 200;
    for (let v = Math.ceil(low / step) * step; v <= high + 1e-9; v += step) {
      c.strokeStyle = palette["--grid"];
      line(c, LEFT, y(v), box.width - RIGHT, y(v));
      c.fillStyle = palette["--muted"];
      c.textAlign = "right";
      c.fillText(String(Math.round(v * 100) / 100), LEFT - 8, y(v) + 4);
    }
    c.textAlign = "left";
    c.fillText(one.classes ? `share of "${one.targets[0].classes[one.targets[0].classes.length - 1]}" (${one.targets[0].name})` : one.unit, 2, box.top + 10);
    const radius = Math.max(1.2, Math.min(4, box.dense / 3));
    for (const w of seen) {
      const px = box.x((w.t + w.e) / 2), beside = Math.min(6, box.dense / 2);
      spots.push([px, w]);
      if (w.state === "refused") { cross(c, px, box.top + box.lane - 14, Math.min(radius + 0.5, 4)); continue; }
      // Side by side, so that intervals which overlap can be told apart.
      one.targets.forEach((target, k) => {
        if (w.v[target.name]) mark(c, w, target, px + (k - (one.targets.length - 1) / 2) * beside, y, radius);
      });
    }
  }

  function limits(one, seen) {
    let low = Infinity, high = -Infinity;
    for (const w of seen) for (const target of one.targets) {
      const v = w.v[target.name];
      if (!v || v.v === null) continue;
      low = Math.min(low, v.lo === null ? v.v : v.lo);
      high = Math.max(high, v.hi === null ? v.v : v.hi);
    }
    if (low > high) return [0, 1];
    const rest = (high - low) * 0.05 || 1;
    return [low - rest, high + rest];
  }

  function mark(c, w, target, px, y, radius) {
    const v = w.v[target.name], value = v.p ? v.p[v.p.length - 1] : v.v;
    if (value === null) return;
    c.strokeStyle = c.fillStyle = palette[target.colour];
    if (!v.p && v.lo !== null && v.hi !== null) {
      c.globalAlpha = w.settled ? 0.45 : 0.35;
      c.lineWidth = w.settled ? Math.min(3, radius) : 1;
      c.setLineDash(w.settled ? [] : [3, 3]);
      line(c, px, y(v.lo), px, y(v.hi));
      c.setLineDash([]);
      c.globalAlpha = 1;
    }
    c.beginPath();
    c.arc(px, y(value), radius, 0, 7);
    if (w.settled) { c.fill(); return; }
    c.fillStyle = palette["--panel"];
    c.fill();
    c.lineWidth = Math.min(1.6, radius);
    c.stroke();
  }

  function cross(c, px, py, r) {
    c.strokeStyle = palette["--bad"];
    c.lineWidth = 1.5;
    line(c, px - r, py - r, px + r, py + r);
    line(c, px - r, py + r, px + r, py - r);
  }

  $("chart").addEventListener("pointermove", (event) => {
    const px = event.offsetX;
    let best = null;
    for (const [x, w] of spots) if (best === null || Math.abs(x - px) < Math.abs(best[0] - px)) best = [x, w];
    if (!best) return;
    const w = best[1], words = about.targets.filter((t) => w.v[t.name]).map((t) => `${label(t.name)} ${short(t, w.v[t.name])} (${within(t, w.v[t.name])})`);
    set($("hover"), `${at(w.t)} to ${at(w.e)}, ${w.state}${w.reason ? `: ${w.reason}` : ""}. ${words.join("; ")}`);
  });

  function legendItem(text, colour, kind) {
    const item = make("li"), dot = make("i", kind === "cross" ? "×" : "", kind);
    dot.style.color = `var(${colour})`;
    item.append(dot, text);
    return item;
  }

  // --------------------------------------------------------------------------------------------------------------- time
  function advance(now) {
    const dt = Math.min((now - lastFrame) / 1000, 0.2), speed = about ? about.speed : 1;
    if (calm.matches || ended || speed === null || speed > 4 || Math.abs(head - shown) > 2 * Math.max(speed, 1)) shown = head;
    else {
      // A little behind what has arrived, so that it runs smoothly though it comes in pieces.
      const behind = head - 0.3 * speed - shown;
      shown = Math.min(shown + dt * speed * (1 + Math.max(-0.5, Math.min(0.5, behind))), head);
    }
  }

  function frame(now) {
    requestAnimationFrame(frame);
    // A screen of numbers needs no sixty pictures a second; who asked for calm gets one.
    if (now - lastFrame < (calm.matches ? 1000 : 33)) return;
    if (!paused) {
      advance(now);
      drawTrace();
      if (chartDirty) { chartDirty = false; drawChart(); drawTable(); }
    }
    lastFrame = now;
  }

  setInterval(() => { if (!paused) drawCards(); drawState(); }, 250);

  function pause() {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    set($("pause-word"), paused ? "Go on" : "Pause");
    chartDirty = true;
    drawState();
  }
  $("pause").addEventListener("click", pause);
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "p" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
    pause();
  });
  $("span").addEventListener("change", () => { chartDirty = true; });
  dark.addEventListener("change", repaint);
  new ResizeObserver(() => { chartDirty = true; if (paused) { drawTrace(); drawChart(); } }).observe(document.body);

  // ------------------------------------------------------------------------------------------------------------- the line
  const source = new EventSource("events");
  source.onopen = () => { open = true; heardAt = performance.now(); };
  source.onerror = () => { open = false; };
  for (const kind of Object.keys(told)) {
    source.addEventListener(kind, (event) => { heardAt = performance.now(); told[kind](JSON.parse(event.data)); });
  }
  repaint();
  requestAnimationFrame(frame);
})();
