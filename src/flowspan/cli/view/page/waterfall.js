// The timeline: spans as a tree, each with its bar; an overview above it to zoom with.

const waterfall = {
  trace: null,
  folded: new Set(),
  seen: [], // the spans that have a row, in order
  rowOf: null, // span -> row, -1 without one
  active: -1,
  from: 0, to: 1, // the window that is looked at, in nanoseconds
  matches: null, // Set of spans that the search found, null without a search
  keep: null, // which spans a filter leaves

  build() {
    this.rows = $('rows');
    this.list = new VirtualList(this.rows, 30, () => this.makeRow(), (row, at) => this.fill(row, at));
    this.rows.addEventListener('click', (event) => this.click(event));
    this.rows.addEventListener('dblclick', (event) => event.target.closest('.track') && this.zoomToSpan());
    this.rows.addEventListener('wheel', (event) => this.wheel(event), {passive: false});
    $('map').addEventListener('pointerdown', (event) => this.drag(event));
    $('zoom-reset').addEventListener('click', () => this.zoom());
    $('expand').addEventListener('click', () => this.foldAll(false));
    $('collapse').addEventListener('click', () => this.foldAll(true));
    new ResizeObserver(framed(() => this.resize())).observe(this.rows);
  },

  open(trace) {
    this.trace = trace;
    this.folded = new Set();
    this.active = trace.root;
    this.from = 0;
    this.to = trace.extent;
    this.rows.scrollTop = 0;
    this.rows.setAttribute('aria-label', `Spans of ${trace.title}`);
    this.arrange();
    this.drawMap();
    this.drawScale();
  },

  /** Which spans have a row: none below a folded one, none that the filter drops. */
  arrange() {
    const {trace, folded, keep} = this;
    const seen = [];
    this.rowOf = new Int32Array(trace.count).fill(-1);
    for (let i = 0; i < trace.count;) {
      if (keep && !keep[i]) { i = trace.after[i]; continue; }
      this.rowOf[i] = seen.length;
      seen.push(i);
      i = folded.has(i) ? trace.after[i] : i + 1;
    }
    this.seen = seen;
    this.rows.setAttribute('aria-rowcount', seen.length);
    this.rows.classList.toggle('empty', !seen.length);
    this.list.reset(seen.length, this.rowHeight());
    this.point();
  },

  rowHeight() {
    const given = parseFloat(getComputedStyle(this.rows).getPropertyValue('--row'));
    return given || 30;
  },

  resize() {
    if (!this.trace) return;
    if (this.rowHeight() !== this.list.height) this.list.reset(this.seen.length, this.rowHeight());
    this.drawMap();
    this.drawScale();
    this.list.refill();
  },

  makeRow() {
    const part = {
      guides: h('i', {class: 'guides'}),
      fold: h('button', {class: 'fold', tabindex: -1, 'aria-hidden': 'true'}, icon('chevron')),
      icon: h('path'),
      name: h('span', {class: 'name'}),
      type: h('span', {class: 'type'}),
      bar: h('div', {class: 'bar'}),
      line: h('i', {class: 'on-path'}),
      time: h('span', {class: 'time'}),
      marks: h('div', {class: 'marks'}),
      self: h('div', {class: 'num', role: 'gridcell'}),
      tokens: h('div', {class: 'num', role: 'gridcell'}),
    };
    const row = h('div', {class: 'row', role: 'row'},
      h('div', {class: 'label', role: 'gridcell'}, part.guides, part.fold, h('span', {class: 'kind-icon'}, h('svg', {class: 'i', viewBox: '0 0 16 16', 'aria-hidden': 'true'}, part.icon)), part.name, part.type),
      h('div', {class: 'track', role: 'gridcell'}, part.bar, part.line, part.marks, part.time),
      part.self, part.tokens);
    row.cells = part;
    return row;
  },

  fill(row, at) {
    const {trace} = this, part = row.cells;
    const i = this.seen[at], outcome = trace.outcomeOf(i), kind = trace.kindOf(i);
    const parents = trace.hasChildren(i), folded = this.folded.has(i);
    row.id = `row-${i}`;
    row.span = i;
    const found = this.matches && (this.matches.has(i) ? 'match' : 'other');
    row.className = `row k-${kind} o-${look(outcome)} ${i === this.active ? 'active' : ''} ${found || ''} ${i in trace.critical ? '' : 'off-path'}`;
    row.setAttribute('aria-level', trace.depth[i] + 1);
    row.setAttribute('aria-rowindex', at + 1);
    row.setAttribute('aria-selected', i === this.active);
    if (parents) row.setAttribute('aria-expanded', !folded); else row.removeAttribute('aria-expanded');

    const indent = Math.min(trace.depth[i], 10);
    part.guides.style.width = `${indent * 14}px`;
    part.fold.className = parents ? (folded ? 'fold' : 'fold open') : 'fold leaf';
    part.icon.setAttribute('d', shape(MARKED.includes(outcome) ? outcome : kind));
    marked(part.name, trace.nameOf(i), search.query);
    row.title = trace.nameOf(i);
    part.type.textContent = folded ? `+${trace.after[i] - i - 1}` : trace.modelOf(i) || (trace.typeOf(i) === kind && kind === 'span' ? trace.serviceOf(i) : trace.typeOf(i));
    part.self.textContent = duration(trace.self[i]);
    part.tokens.textContent = i in trace.tokens ? short(trace.tokens[i][0] + trace.tokens[i][1]) : '';
    this.fillTrack(row, i);
    const ends = MARKED.includes(outcome) ? `, ${outcome}` : '';
    row.setAttribute('aria-label',
      `${trace.nameOf(i)}, ${trace.typeOf(i)}, ${duration(trace.length[i])}, itself ${duration(trace.self[i])}${ends}`);
  },

  fillTrack(row, i) {
    const {trace} = this, part = row.cells;
    const span = this.to - this.from;
    const at = (time) => (time - this.from) / span;
    const begin = at(trace.begin[i]), end = at(trace.begin[i] + trace.lengthOf(i));
    const left = clamp(begin, 0, 1), right = clamp(end, 0, 1);
    part.bar.hidden = end < 0 || begin > 1;
    part.bar.style.left = `${left * 100}%`;
    part.bar.style.width = `${(right - left) * 100}%`;
    const leaf = !trace.hasChildren(i);
    part.bar.className = leaf ? 'bar leaf' : 'bar';
    part.bar.style.backgroundImage = leaf ? '' : stripes(trace.itself(i), at, left, right, 'var(--k)');
    const path = trace.critical[i];
    part.line.hidden = !path || part.bar.hidden;
    if (!part.line.hidden) {
      part.line.style.left = part.bar.style.left;
      part.line.style.width = part.bar.style.width;
      const whole = leaf && path.length === 1 && path[0][0] <= trace.begin[i] && path[0][1] >= trace.begin[i] + trace.lengthOf(i);
      part.line.className = whole ? 'on-path whole' : 'on-path';
      part.line.style.backgroundImage = whole ? '' : stripes(path, at, left, right, 'var(--path)');
    }
    part.time.textContent = duration(trace.length[i]);
    const inside = right > 0.82 && left < 0.18;
    part.time.className = `time ${inside ? 'inside' : right > 0.82 ? 'before' : 'after'}`;
    part.time.style.left = inside ? '' : right > 0.82 ? '' : `${right * 100}%`;
    part.time.style.right = inside ? `${(1 - right) * 100}%` : right > 0.82 ? `${(1 - left) * 100}%` : '';

    const marks = [];
    let last = -1;
    const narrow = (right - left) * this.width < 16; // they would hide the bar
    for (const time of (!narrow && trace.marks[i]) || []) {
      const x = at(time);
      if (x < 0 || x > 1 || x - last < 0.006) continue;
      last = x;
      marks.push(x);
    }
    while (part.marks.childElementCount > marks.length) part.marks.lastChild.remove();
    while (part.marks.childElementCount < marks.length) part.marks.append(h('i'));
    marks.forEach((x, n) => { part.marks.children[n].style.left = `${x * 100}%`; });
  },

  click(event) {
    const row = event.target.closest('.row');
    if (!row) return;
    if (event.target.closest('.fold:not(.leaf)')) this.fold(row.span);
    else page.select(row.span);
  },

  fold(i, folded = !this.folded.has(i)) {
    if (folded) this.folded.add(i); else this.folded.delete(i);
    if (folded && this.active > i && this.active < this.trace.after[i]) page.select(i, {quietly: true});
    this.arrange();
  },

  foldAll(folded) {
    this.folded = new Set();
    const {trace} = this;
    if (folded) {
      for (let i = 0; i < trace.count; i++) {
        if (trace.hasChildren(i) && i !== trace.root) this.folded.add(i);
      }
      for (let i = this.active; i >= 0; i = trace.parent[i]) if (this.folded.has(trace.parent[i])) this.active = trace.parent[i];
    }
    this.arrange();
    this.reveal(this.active);
  },

  /** The row of span *i*, unfolding what hides it. */
  reveal(i) {
    let hidden = false;
    for (let above = this.trace.parent[i]; above >= 0; above = this.trace.parent[above]) {
      hidden = this.folded.delete(above) || hidden;
    }
    if (hidden) this.arrange();
    if (this.rowOf[i] >= 0) this.list.reveal(this.rowOf[i]);
  },

  activate(i) {
    const before = this.active;
    this.active = i;
    this.reveal(i);
    for (const each of [before, i]) {
      const row = document.getElementById(`row-${each}`);
      if (row) {
        row.classList.toggle('active', each === i);
        row.setAttribute('aria-selected', each === i);
      }
    }
    this.point();
  },

  point() {
    if (this.rowOf[this.active] >= 0) this.rows.setAttribute('aria-activedescendant', `row-${this.active}`);
    else this.rows.removeAttribute('aria-activedescendant');
  },

  /** The span *steps* rows further. */
  neighbour(steps) {
    const row = this.rowOf[this.active];
    return this.seen[clamp((row < 0 ? 0 : row) + steps, 0, this.seen.length - 1)];
  },

  left() {
    const {trace, active} = this;
    if (trace.hasChildren(active) && !this.folded.has(active)) this.fold(active, true);
    else if (trace.parent[active] >= 0) page.select(trace.parent[active], {quietly: true});
  },

  right() {
    const {trace, active} = this;
    if (this.folded.has(active)) this.fold(active, false);
    else if (trace.hasChildren(active)) page.select(this.neighbour(1), {quietly: true});
  },

  // ---- the window in time

  zoom(from = 0, to = this.trace.extent) {
    const whole = this.trace.extent;
    const width = clamp(to - from, Math.min(whole, 100), whole);
    this.from = clamp(from, 0, whole - width);
    this.to = this.from + width;
    $('zoom-reset').hidden = !this.zoomed();
    this.drawScale();
    this.list.refill();
  },

  /** The active span over the whole width, with a little air. */
  zoomToSpan() {
    const {trace, active} = this, air = trace.lengthOf(active) * 0.05;
    this.zoom(trace.begin[active] - air, trace.begin[active] + trace.lengthOf(active) + air);
  },

  zoomed() { return this.trace && this.to - this.from < this.trace.extent; },

  zoomBy(factor, at = 0.5) {
    const width = (this.to - this.from) * factor;
    const centre = this.from + at * (this.to - this.from);
    this.zoom(centre - at * width, centre + (1 - at) * width);
  },

  wheel(event) {
    const track = $('ticks').getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoomBy(Math.exp(clamp(event.deltaY, -60, 60) / 120), clamp((event.clientX - track.left) / track.width, 0, 1));
    } else if (this.zoomed() && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
      event.preventDefault();
      const by = ((event.deltaX || event.deltaY) / track.width) * (this.to - this.from);
      this.zoom(this.from + by, this.to + by);
    }
  },

  drag(event) {
    const map = $('map'), box = map.getBoundingClientRect(), whole = this.trace.extent;
    const at = (e) => clamp((e.clientX - box.left) / box.width, 0, 1);
    const begin = at(event);
    map.setPointerCapture(event.pointerId);
    const range = (e) => [Math.min(begin, at(e)) * whole, Math.max(begin, at(e)) * whole];
    const move = (e) => this.drawWindow(...range(e));
    const up = (e) => {
      map.removeEventListener('pointermove', move);
      const [from, to] = range(e);
      if (Math.abs(at(e) - begin) * box.width > 4) this.zoom(from, to); else this.zoom();
    };
    map.addEventListener('pointermove', move);
    map.addEventListener('pointerup', up, {once: true});
    map.addEventListener('pointercancel', up, {once: true});
  },

  drawScale() {
    const {from, to} = this, span = to - from;
    const width = this.width = $('ticks').clientWidth || 1;
    const step = niceStep(span / Math.max(2, Math.floor(width / 96)));
    const ticks = [], lines = [];
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      const x = (time - from) / span;
      const place = `${x * 100}%`;
      if (x < 0.965) {
        const tick = h('span', {}, tickOf(time, step));
        tick.style.left = place;
        ticks.push(tick);
      }
      const line = h('i');
      line.style.left = place;
      lines.push(line);
    }
    $('ticks').replaceChildren(...ticks);
    $('lines').replaceChildren(...lines);
    this.drawWindow(from, to);
  },

  drawWindow(from, to) {
    const pane = $('window'), whole = this.trace.extent;
    pane.hidden = to - from >= whole;
    pane.style.left = `${(from / whole) * 100}%`;
    pane.style.width = `${((to - from) / whole) * 100}%`;
  },

  drawMap() {
    const map = $('map'), {trace} = this, dots = devicePixelRatio || 1;
    const width = map.clientWidth, height = map.clientHeight;
    if (!width || !height) return;
    map.width = width * dots;
    map.height = height * dots;
    const paint = map.getContext('2d');
    paint.scale(dots, dots);
    const colour = (name) => { map.style.color = `var(${name})`; return getComputedStyle(map).color; };
    const colours = KINDS.map((kind) => colour(`--k-${kind}`)), error = colour('--error');
    const lane = Math.min(6, (height - 4) / trace.count);
    for (let i = 0; i < trace.count; i++) {
      const failed = trace.outcomeOf(i) === 'error';
      paint.fillStyle = failed ? error : colours[trace.kind[i]];
      paint.globalAlpha = failed ? 1 : trace.hasChildren(i) ? 0.4 : 0.85;
      paint.fillRect((trace.begin[i] / trace.extent) * width, 2 + i * lane,
        Math.max(1, (trace.lengthOf(i) / trace.extent) * width), Math.max(1, lane * 0.75));
    }
  },
};

/** A round time in the unit of its step. */
function tickOf(time, step) {
  if (time === 0) return '0';
  const [size, unit] = [[1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']].find(([size]) => time >= size && step >= size / 1e3);
  return time >= 6e11 ? duration(time) : `${+(time / size).toFixed(3)} ${unit}`;
}

/** 1, 2 or 5 times a power of ten. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  return power * ([1, 2, 5].find((each) => each * power >= least) || 10);
}

/** Time intervals as the stops of a gradient over a bar from *left* to *right* of the track. */
function stripes(intervals, at, left, right, colour) {
  const width = right - left;
  if (width <= 0) return intervals.length ? `linear-gradient(${colour},${colour})` : 'none';
  const close = 0.0015 / width;
  const found = [];
  for (const [begin, end] of intervals) {
    const from = (clamp(at(begin), left, right) - left) / width, to = (clamp(at(end), left, right) - left) / width;
    if (to < 0 || from > 1 || (to <= from && intervals.length > 1)) continue;
    if (found.length && from - found.at(-1)[1] < close) found.at(-1)[1] = Math.max(to, found.at(-1)[1]);
    else found.push([from, to]);
  }
  if (!found.length) return 'none';
  const stops = found.map(([from, to]) =>
    `transparent ${(from * 100).toFixed(2)}%,${colour} ${(from * 100).toFixed(2)}%,${colour} ${(to * 100).toFixed(2)}%,transparent ${(to * 100).toFixed(2)}%`);
  return `linear-gradient(90deg,${stops.join(',')})`;
}

/** *text* into *element*, with each place where *query* stands marked. */
function marked(element, text, query) {
  const low = query ? text.toLowerCase() : '';
  let at = query ? low.indexOf(query) : -1;
  if (at < 0 || low.length !== text.length) { element.textContent = text; return; }
  const parts = [];
  let done = 0;
  for (; at >= 0 && parts.length < 40; at = low.indexOf(query, done)) {
    parts.push(text.slice(done, at), h('mark', {}, text.slice(at, at + query.length)));
    done = at + query.length;
  }
  element.replaceChildren(...parts, text.slice(done));
}
