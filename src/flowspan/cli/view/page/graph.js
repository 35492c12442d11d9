// The graph of components: layers from left to right (downwards where it is narrow), loops bent back.

const graph = {
  trace: null,
  scale: 1, x: 0, y: 0,

  build() {
    this.canvas = $('canvas');
    this.world = h('div', {class: 'world'});
    this.canvas.append(this.world);
    $('graph-in').addEventListener('click', () => this.zoomBy(1.3));
    $('graph-out').addEventListener('click', () => this.zoomBy(1 / 1.3));
    $('graph-fit').addEventListener('click', () => this.fit(0));
    this.canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      const box = this.canvas.getBoundingClientRect();
      this.zoomBy(Math.exp(-clamp(event.deltaY, -80, 80) / 240), event.clientX - box.left, event.clientY - box.top);
    }, {passive: false});
    this.canvas.addEventListener('pointerdown', (event) => this.hold(event));
    this.canvas.addEventListener('keydown', (event) => this.keys(event));
    new ResizeObserver(framed(() => { if (this.trace && !$('graph').hidden) this.draw(true); })).observe(this.canvas);
  },

  open(trace) {
    this.trace = trace;
    this.drawn = '';
  },

  /** Draws if what is there is not it already: another trace, or another direction. */
  draw(resized = false) {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width || !height) return;
    const down = this.better(width, height);
    const drawn = `${this.trace.id} ${down}`;
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.paint(down);
      this.fit();
    } else if (resized && !this.touched) this.fit();
    this.mark();
  },

  /** Whether it is larger in this room when it goes down, not to the right. */
  better(width, height) {
    const fitting = (down) => {
      let wide = 1, high = 0;
      for (const given of this.trace.graphs) {
        const placed = layout(given, down);
        wide = Math.max(wide, placed.width);
        high += placed.height;
      }
      return Math.min(width / wide, height / high);
    };
    const shape = `${this.trace.id} ${Math.round(width / 40)} ${Math.round(height / 40)}`;
    if (this.shape !== shape) {
      this.shape = shape;
      this.down = Math.min(fitting(true), 1) > Math.min(fitting(false), 1) * 1.15;
    }
    return this.down;
  },

  paint(down) {
    const {trace} = this, many = trace.graphs.length > 1;
    const paths = h('g'), frames = [];
    this.nodes = [];
    this.edges = [];
    let top = 0, width = 0;
    for (const given of trace.graphs) {
      const head = many || given.left ? 34 : 0;
      const placed = layout(given, down);
      const edge = many ? 20 : 0;
      const last = this.waitedFor(given, placed.edges);
      for (const node of placed.nodes) {
        const button = this.node(given.nodes[node.at], node, edge, top + head + edge);
        this.nodes.push(button);
      }
      for (const line of placed.edges) {
        const d = line.path(edge, top + head + edge);
        const path = h('path', {d, class: `edge ${line.kind} ${line.back ? 'back' : ''}`, 'marker-end': 'url(#arrow)'},
          h('title', {}, `${given.nodes[line.from][0]} → ${given.nodes[line.to][0]}${line.labels.length ? `\n${line.labels.join('\n')}` : ''}`));
        if (last.get(line.to) === line) path.classList.add('path');
        paths.append(path);
        this.edges.push({path, from: this.nodes[this.nodes.length - placed.nodes.length + line.from], to: this.nodes[this.nodes.length - placed.nodes.length + line.to]});
      }
      if (head) {
        const frame = h('div', {class: 'frame'}, h('span', {class: 'name'}, given.name),
          given.left ? h('span', {class: 'left'}, `${number(given.left)} spans of further nodes are left out`) : null);
        Object.assign(frame.style, {top: `${top}px`, width: `${placed.width + 2 * edge}px`, height: `${placed.height + head + 2 * edge}px`});
        frames.push(frame);
      }
      width = Math.max(width, placed.width + 2 * edge);
      top += placed.height + head + 2 * edge + 24;
    }
    this.size = {width, height: top - 24};
    const sheet = h('svg', {width, height: this.size.height, class: 'edges', 'aria-hidden': 'true'},
      h('defs', {}, h('marker', {id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: 'auto', markerUnits: 'userSpaceOnUse'},
        h('path', {d: 'M0 0.5 7.5 4 0 7.5z'}))), paths);
    this.world.replaceChildren(...frames, sheet, ...this.nodes);
    if (this.nodes[0]) this.nodes[0].tabIndex = 0;
    this.touched = false;
  },

  /** Of the edges to a node on the critical path the one that it waited for: its source ended last. */
  waitedFor(given, edges) {
    const {trace} = this, found = new Map(), ends = new Map();
    const onPath = (node) => given.nodes[node][1].some((i) => i in trace.critical);
    for (const edge of edges) {
      if (edge.back || !onPath(edge.from) || !onPath(edge.to)) continue;
      const end = edge.kind === 'call' ? Infinity : most(given.nodes[edge.from][1].map((i) => trace.begin[i] + trace.lengthOf(i)));
      if (!(end <= ends.get(edge.to))) { ends.set(edge.to, end); found.set(edge.to, edge); }
    }
    return found;
  },

  node([name, spans], {x, y, width, height}, left, top) {
    const {trace} = this;
    const worst = spans.find((i) => trace.outcomeOf(i) === 'error') ?? spans.find((i) => trace.outcomeOf(i) !== 'ok') ?? spans[0];
    const outcome = trace.outcomeOf(worst), kind = trace.kindOf(spans[0]);
    const took = spans.reduce((sum, i) => sum + trace.lengthOf(i), 0);
    const tokens = spans.reduce((sum, i) => sum + (i in trace.tokens ? trace.tokens[i][0] + trace.tokens[i][1] : 0), 0);
    const facts = [trace.typeOf(spans[0]), duration(took), tokens ? `${short(tokens)} tok` : '',
      spans.length > 1 && outcome === 'error' ? count(spans.filter((i) => trace.outcomeOf(i) === 'error').length, 'error') : ''].filter(Boolean);
    const button = h('button', {
      class: `node k-${kind} o-${look(outcome)} ${spans.some((i) => i in trace.critical) ? 'path' : ''}`,
      tabindex: -1, title: name,
      'aria-label': `${name}, ${facts.join(', ')}${spans.length > 1 ? `, ran ${spans.length} times` : ''}${outcome === 'ok' ? '' : `, ${outcome}`}`,
      onclick: () => {
        if (this.moved) return;
        const now = spans.indexOf(waterfall.active); // a second click: its next span
        page.select(now >= 0 && !$('details').hidden ? spans[(now + 1) % spans.length] : spans[0]);
      },
    }, h('span', {class: 'kind-icon'}, icon(MARKED.includes(outcome) ? outcome : kind)),
      h('span', {class: 'name'}, name), h('span', {class: 'facts'}, facts.join(' · ')),
      spans.length > 1 ? h('span', {class: 'times'}, `×${spans.length}`) : null);
    Object.assign(button.style, {left: `${x + left}px`, top: `${y + top}px`, width: `${width}px`, height: `${height}px`});
    button.spans = spans;
    button.centre = {x: x + left + width / 2, y: y + top + height / 2};
    return button;
  },

  /** Which node is the active span's, and which ones the search found. */
  mark() {
    if (!this.nodes || $('graph').hidden) return;
    const here = search.here();
    for (const node of this.nodes) {
      const active = node.spans.includes(waterfall.active);
      node.classList.toggle('active', active);
      node.setAttribute('aria-current', active);
      node.classList.toggle('other', !!here && !node.spans.some((i) => here.has(i)));
    }
    for (const {path, from, to} of this.edges) {
      path.classList.toggle('near', from.classList.contains('active') || to.classList.contains('active'));
    }
  },

  keys(event) {
    const at = event.target.closest('.node');
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (!at || !way || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    let best = null, nearest = Infinity;
    for (const node of this.nodes) {
      const dx = node.centre.x - at.centre.x, dy = node.centre.y - at.centre.y;
      const along = dx * way[0] + dy * way[1], aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      if (node !== at && along > 4 && along + 2.5 * aside < nearest) { nearest = along + 2.5 * aside; best = node; }
    }
    if (!best) return;
    at.tabIndex = -1;
    best.tabIndex = 0;
    best.focus({preventScroll: true});
    this.bring(best);
    if (!$('details').hidden) page.select(best.spans[0]);
  },

  bring(node) {
    const x = node.centre.x * this.scale + this.x, y = node.centre.y * this.scale + this.y;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight, edge = 110;
    this.place(this.scale, this.x + clamp(x, edge, Math.max(edge, width - edge)) - x, this.y + clamp(y, 50, height - 50) - y);
  },

  // ---- pan and zoom

  place(scale, x, y) {
    Object.assign(this, {scale, x, y});
    this.world.style.transform = `translate(${x}px,${y}px) scale(${scale})`;
  },

  /** All of it; not smaller than *smallest*, where it would be unreadable: then its beginning. */
  fit(smallest = 0.72) {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight, edge = 28;
    const fitting = Math.min((width - 2 * edge) / this.size.width, (height - 2 * edge) / this.size.height, 1.15);
    const scale = Math.max(fitting, smallest, 0.05);
    const x = (width - this.size.width * scale) / 2, y = (height - this.size.height * scale) / 2;
    this.place(scale, Math.max(x, edge), Math.max(y, edge));
    this.touched = false;
  },

  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = clamp(this.scale * factor, 0.05, 3), by = scale / this.scale;
    this.touched = true;
    this.place(scale, x - (x - this.x) * by, y - (y - this.y) * by);
  },

  /** One pointer moves the sheet, two stretch it. */
  hold(event) {
    if (event.button) return;
    this.pointers ??= new Map();
    this.pointers.set(event.pointerId, event);
    this.moved = false;
    if (this.pointers.size > 1) return;
    const begin = event;
    const move = (e) => {
      const before = this.pointers.get(e.pointerId);
      if (!before) return;
      this.pointers.set(e.pointerId, e);
      if (Math.hypot(e.clientX - begin.clientX, e.clientY - begin.clientY) > 5) { this.moved = true; this.touched = true; }
      if (!this.moved) return;
      if (this.pointers.size === 1) { this.place(this.scale, this.x + e.clientX - before.clientX, this.y + e.clientY - before.clientY); return; }
      const other = [...this.pointers.values()].find((p) => p.pointerId !== e.pointerId);
      const apart = (a) => Math.max(1, Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY));
      const box = this.canvas.getBoundingClientRect();
      this.zoomBy(apart(e) / apart(before), (e.clientX + other.clientX) / 2 - box.left, (e.clientY + other.clientY) / 2 - box.top);
    };
    const up = (e) => {
      this.pointers.delete(e.pointerId);
      if (this.pointers.size) return;
      for (const name of ['pointerup', 'pointercancel']) removeEventListener(name, up);
      removeEventListener('pointermove', move);
      setTimeout(() => { this.moved = false; }, 0); // after the click that ends it
    };
    addEventListener('pointermove', move);
    for (const name of ['pointerup', 'pointercancel']) addEventListener(name, up);
  },
};

const NODE = {width: 184, height: 54};

/** Where nodes and edges of a graph stand. Nodes come by their first start: what points back, loops. */
function layout(given, down) {
  const count = given.nodes.length;
  const size = down ? {main: NODE.height, cross: NODE.width} : {main: NODE.width, cross: NODE.height};
  const gap = down ? {main: 40, cross: 20} : {main: 60, cross: 22};
  const edges = given.edges.map(([from, to, kind, labels]) => ({from, to, kind, labels, back: to <= from}));
  const layer = layersOf(count, edges);
  const {rows, chains} = withBends(count, edges, layer);
  order(rows);
  const cross = align(rows, size.cross + gap.cross, gap.cross);

  const reach = most(cross.values()) + size.cross;
  const at = (node) => ({main: node.layer * (size.main + gap.main), cross: cross.get(node)});
  const xy = (main, across) => (down ? [across, main] : [main, across]);
  const nodes = [];
  for (const node of rows.flat()) {
    if (node.bend) continue;
    const {main, cross: across} = at(node);
    const [x, y] = xy(main, across);
    nodes[node.at] = {at: node.at, x, y, ...NODE, main, across};
  }
  let loops = 0;
  const lines = edges.map((edge) => {
    const chain = chains.get(edge);
    if (!edge.back) {
      const points = chain.map((node, n) => {
        const {main, cross: across} = at(node);
        const middle = across + size.cross / 2;
        if (node.bend) return [[main, middle], [main + size.main, middle]];
        return n ? [[main, middle]] : [[main + size.main, middle]];
      }).flat();
      return {...edge, path: (left, top) => curve(points.map(([m, c]) => xy(m, c)), left, top, down)};
    }
    const bottom = reach + 18 + 16 * (loops++ % 6);
    const begin = nodes[edge.from], end = nodes[edge.to];
    const points = [[begin.main + size.main * 0.6, begin.across + size.cross], [end.main + size.main * 0.4, end.across + size.cross]];
    const [[bx, by], [ex, ey]] = points.map(([m, c]) => xy(m, c));
    const [cx, cy] = xy(points[0][0] + 8, bottom + 14), [dx, dy] = xy(points[1][0] - 8, bottom + 14);
    return {...edge, path: (left, top) => `M${bx + left} ${by + top}C${cx + left} ${cy + top} ${dx + left} ${dy + top} ${ex + left} ${ey + top}`};
  });
  const deep = (Math.max(...layer, 0) + 1) * (size.main + gap.main) - gap.main;
  const across = reach + (loops ? 30 + 16 * Math.min(loops, 6) : 0);
  const [width, height] = xy(deep, across);
  return {nodes, edges: lines, width, height};
}

/** One layer further than whatever leads there. */
function layersOf(count, edges) {
  const layer = new Array(count).fill(0), out = new Map();
  for (const edge of edges) if (!edge.back) out.set(edge.from, [...(out.get(edge.from) || []), edge.to]);
  const led = new Set(edges.filter((edge) => !edge.back).map((edge) => edge.to));
  for (let at = 0; at < count; at++) for (const to of out.get(at) || []) layer[to] = Math.max(layer[to], layer[at] + 1);
  for (let at = count - 1; at >= 0; at--) { // what nothing leads to stands right before what it leads to
    if (!led.has(at) && out.has(at)) layer[at] = Math.max(layer[at], Math.min(...out.get(at).map((to) => layer[to])) - 1);
  }
  return layer;
}

/** The layers with a bend wherever an edge passes through one. */
function withBends(count, edges, layer) {
  const rows = [], node = [];
  const put = (made) => { (rows[made.layer] ??= []).push(made); return made; };
  for (let at = 0; at < count; at++) node[at] = put({at, layer: layer[at], before: [], after: []});
  const chains = new Map();
  let bends = 0;
  for (const edge of edges) {
    if (edge.back) continue;
    const chain = [node[edge.from]];
    for (let at = layer[edge.from] + 1; at < layer[edge.to] && bends < 4000; at++, bends++) chain.push(put({bend: true, layer: at, before: [], after: []}));
    chain.push(node[edge.to]);
    for (let n = 1; n < chain.length; n++) { chain[n - 1].after.push(chain[n]); chain[n].before.push(chain[n - 1]); }
    chains.set(edge, chain);
  }
  for (let at = 0; at < rows.length; at++) rows[at] ??= [];
  return {rows, chains};
}

/** Fewer crossings: each node to the mean place of its neighbours, forwards and back. */
function order(rows) {
  const number = () => rows.forEach((row) => row.forEach((node, at) => { node.place = at; }));
  number();
  for (let sweep = 0; sweep < 10; sweep++) {
    const forwards = sweep % 2 === 0;
    for (const row of forwards ? rows : [...rows].reverse()) {
      for (const node of row) {
        const near = forwards ? node.before : node.after;
        node.wish = near.length ? near.reduce((sum, other) => sum + other.place, 0) / near.length : node.place;
      }
      row.sort((a, b) => a.wish - b.wish || a.place - b.place);
      row.forEach((node, at) => { node.place = at; });
    }
  }
}

/** Each near the middle of its neighbours, none on another. */
function align(rows, step, gap) {
  const cross = new Map();
  const room = (node) => (node.bend ? Math.max(gap, step / 3) : step);
  for (const row of rows) { let at = 0; for (const node of row) { cross.set(node, at); at += room(node); } }
  const sweeps = cross.size > 1500 ? 8 : 60;
  for (let sweep = 0; sweep < sweeps; sweep++) {
    for (const row of sweep % 2 ? [...rows].reverse() : rows) {
      const wish = row.map((node) => {
        const near = sweep > sweeps - 8 ? [] : sweep % 2 ? node.after : node.before;
        let sum = 0, weight = 0;
        for (const other of near.length ? near : [...node.before, ...node.after]) {
          const pull = pullOf(node, other);
          sum += pull * cross.get(other);
          weight += pull;
        }
        return weight ? sum / weight : cross.get(node);
      });
      spread(row, wish, room).forEach((at, n) => cross.set(row[n], at));
    }
  }
  const first = least(cross.values());
  for (const [node, at] of cross) cross.set(node, at - first);
  return cross;
}

/** What is next to each other stands in line before what is far. */
const pullOf = (node, other) => (node.bend && other.bend ? 8 : node.bend || other.bend ? 1 : 6);

/** As near to *wish* as the room between them lets them be; a bend gives way to a node. */
function spread(row, wish, room) {
  const blocks = [];
  let offset = 0;
  row.forEach((node, n) => {
    const own = node.bend ? 1 : 12;
    let block = {sum: own * (wish[n] - offset), weight: own, offsets: [offset]};
    while (blocks.length && blocks.at(-1).sum / blocks.at(-1).weight > block.sum / block.weight) {
      const before = blocks.pop(); // they would overlap: from here on they move together
      block = {sum: before.sum + block.sum, weight: before.weight + block.weight, offsets: [...before.offsets, ...block.offsets]};
    }
    blocks.push(block);
    offset += room(node);
  });
  return blocks.flatMap(({sum, weight, offsets}) => offsets.map((each) => sum / weight + each));
}

function curve(points, left, top, down) {
  const [first, ...rest] = points.map(([x, y]) => [x + left, y + top]);
  let d = `M${first[0]} ${first[1]}`, [px, py] = first;
  for (const [x, y] of rest) {
    const half = (down ? y - py : x - px) / 2;
    d += down ? `C${px} ${py + half} ${x} ${y - half} ${x} ${y}` : `C${px + half} ${py} ${x - half} ${y} ${x} ${y}`;
    [px, py] = [x, y];
  }
  return d;
}
