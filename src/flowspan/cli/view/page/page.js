// The page itself: which trace and span are looked at, keys, theme, address, printing.

const page = {
  trace: null,

  build() {
    this.narrowQuery = matchMedia('(max-width: 719px)');
    this.sorted = traces.map((_, at) => at);
    $('runs-count').textContent = number(traces.length);
    document.body.classList.toggle('single', traces.length < 2);
    if (!traces.length) {
      document.body.classList.add('no-traces');
      $('trace-head').append(h('p', {class: 'nothing'}, 'There is no trace in this page.'));
      return;
    }
    waterfall.build();
    graph.build();
    search.build();
    this.buildRuns();
    this.buildKeys();
    this.buildGrips();
    $('tab-timeline').addEventListener('click', () => this.view('timeline'));
    $('tab-graph').addEventListener('click', () => this.view('graph'));
    $('critical').addEventListener('click', () => this.critical());
    $('to-runs').addEventListener('click', () => this.toRuns(true));
    addEventListener('hashchange', () => this.follow());
    addEventListener('beforeprint', () => waterfall.seen.length <= 2000 && waterfall.list.show(true));
    addEventListener('afterprint', () => waterfall.list.show());
    this.follow(true);
  },

  narrow() { return this.narrowQuery.matches; },

  // ---- what is looked at

  open(trace, i = -1, options = {}) {
    if (this.trace !== trace) {
      this.trace = trace;
      document.title = `${trace.title} · flowspan`;
      search.offer(trace);
      this.head();
      waterfall.keep = null;
      waterfall.matches = search.here();
      waterfall.open(trace);
      search.apply();
      graph.open(trace);
      if (!$('graph').hidden) graph.draw();
      if (i < 0) this.close({quietly: true});
    }
    this.toRuns(false);
    this.activateRun();
    if (i >= 0) this.select(i, options);
    else this.note();
  },

  /** *quietly*: the details follow only if they are open. */
  select(i, {quietly = false, focus = false} = {}) {
    if (waterfall.rowOf[i] < 0 && waterfall.keep && !waterfall.keep[i]) { // a filter hides it: it was asked for
      search.statuses.clear();
      search.only = false;
      $('only').setAttribute('aria-pressed', 'false');
      search.offer(this.trace);
      search.apply();
    }
    waterfall.activate(i);
    graph.mark();
    if (!quietly) this.showDetails();
    if (!$('details').hidden) {
      panel.show(this.trace, i).then(() => focus && $('details').querySelector('.scroll')?.focus());
    }
    this.note();
  },

  showDetails() {
    if (!$('details').hidden) return;
    $('details').hidden = false;
    $('grip').hidden = false;
    document.body.classList.add('with-details');
  },

  close({quietly = false} = {}) {
    if ($('details').hidden) return;
    $('details').hidden = true;
    $('grip').hidden = true;
    document.body.classList.remove('with-details');
    panel.hide();
    if (quietly) return;
    ($('graph').hidden ? $('rows') : $('canvas').querySelector('.node.active') ?? $('tab-graph')).focus();
    this.note();
  },

  view(name) {
    const drawing = name === 'graph';
    $('graph').hidden = !drawing;
    $('timeline').hidden = drawing;
    for (const each of ['timeline', 'graph']) {
      $(`tab-${each}`).setAttribute('aria-selected', each === name);
      $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
    }
    document.body.classList.toggle('graph-view', drawing);
    if (drawing) graph.draw(); else { waterfall.resize(); waterfall.list.show(); }
    this.note();
  },

  critical() {
    const on = document.body.classList.toggle('path-only');
    $('critical').setAttribute('aria-pressed', on);
  },

  toRuns(on, focus = true) {
    document.body.classList.toggle('at-runs', on);
    if (on && focus) $('runs-list').focus();
  },

  head() {
    const {trace} = this;
    const tokens = trace.usage[0] + trace.usage[1];
    const fact = (...words) => h('span', {class: 'fact'}, words);
    $('trace-head').replaceChildren(
      h('div', {class: 'title'}, h('h2', {class: 'name'}, trace.title), badge(trace.status)),
      h('div', {class: 'facts'},
        fact(h('b', {}, duration(trace.duration))),
        fact(h('b', {}, number(trace.count)), trace.count === 1 ? ' span' : ' spans'),
        tokens ? fact(h('b', {}, short(trace.usage[0])), ' tokens in, ', h('b', {}, short(trace.usage[1])), ' out') : null,
        trace.errors.length ? h('button', {class: 'fact errors', title: 'Next error (e)', onclick: () => this.nextError()}, icon('error'), count(trace.errors.length, 'error')) : null,
        h('time', {class: 'fact', title: `${new Date(trace.millis).toString()}\n${trace.start} ns`}, moment(trace.millis)),
        trace.session ? fact('session ', h('span', {class: 'name'}, trace.session)) : null,
        trace.user ? fact('user ', h('span', {class: 'name'}, trace.user)) : null,
        h('span', {class: 'fact id'}, 'trace ', h('code', {title: trace.id}, trace.id.slice(0, 8)), copyButton(trace.id, 'trace id'))));
  },

  nextError() {
    const {errors} = this.trace;
    if (!errors.length) { say('No error in this run'); return; }
    this.select(errors.find((i) => i > waterfall.active) ?? errors[0]);
  },

  // ---- the list of runs

  buildRuns() {
    const list = $('runs-list');
    const longest = Math.max(1, most(traces.map((trace) => trace.duration)));
    const oneDay = new Set(traces.map((trace) => new Date(trace.millis).toDateString())).size === 1;
    this.runs = new VirtualList(list, 62, () => {
      const parts = {status: h('span', {class: 'kind-icon'}), name: h('span', {class: 'name'}), when: h('span', {class: 'when'}), facts: h('span', {class: 'facts'}), hits: h('span', {class: 'hits'}), bar: h('i', {class: 'length'})};
      const row = h('div', {class: 'run', role: 'option'}, parts.status, parts.name, parts.hits, parts.when, parts.facts, parts.bar);
      row.cells = parts;
      return row;
    }, (row, at) => {
      const t = this.sorted[at], trace = traces[t], part = row.cells;
      row.id = `run-${t}`;
      row.at = at;
      row.className = `run o-${look(trace.status)}`;
      row.setAttribute('aria-selected', trace === this.trace);
      row.setAttribute('aria-posinset', at + 1);
      row.setAttribute('aria-setsize', traces.length);
      part.status.replaceChildren(icon(look(trace.status)));
      part.status.title = trace.status;
      marked(part.name, trace.title, search.query);
      row.title = trace.title;
      part.when.textContent = moment(trace.millis).slice(...(oneDay ? [11, 19] : [5, 16]));
      part.when.title = moment(trace.millis);
      const tokens = trace.usage[0] + trace.usage[1];
      const facts = [duration(trace.duration), count(trace.count, 'span')];
      if (tokens) facts.push(`${short(tokens)} tok`);
      part.facts.replaceChildren(facts.join(' · '), trace.errors.length ? h('b', {class: 'errors'}, ` · ${count(trace.errors.length, 'error')}`) : '');
      part.bar.style.width = `${Math.max(1, (100 * trace.duration) / longest)}%`;
      const hits = search.query ? search.found[t].size : 0;
      part.hits.textContent = hits ? number(hits) : '';
      row.classList.toggle('other', !!search.query && !hits);
      row.setAttribute('aria-label', `${trace.title}, ${trace.status}, ${facts.join(', ')}, ${count(trace.errors.length, 'error')}`);
    });
    list.addEventListener('click', (event) => {
      const row = event.target.closest('.run');
      if (row) this.open(traces[this.sorted[row.at]]);
    });
    $('sort').addEventListener('change', () => this.sort());
    this.sort();
  },

  sort() {
    const by = {
      newest: (a, b) => b.millis - a.millis, oldest: (a, b) => a.millis - b.millis,
      slowest: (a, b) => b.duration - a.duration, errors: (a, b) => b.errors.length - a.errors.length,
      tokens: (a, b) => b.usage[0] + b.usage[1] - a.usage[0] - a.usage[1],
    }[$('sort').value];
    this.sorted.sort((a, b) => by(traces[a], traces[b]) || a - b);
    this.runs.reset(traces.length);
    this.activateRun();
  },

  activateRun() {
    if (!this.trace) return;
    const at = this.sorted.indexOf(traces.indexOf(this.trace));
    this.runs.reveal(at);
    this.runs.refill();
    $('runs-list').setAttribute('aria-activedescendant', `run-${this.sorted[at]}`);
  },

  otherRun(steps) {
    const at = this.sorted.indexOf(traces.indexOf(this.trace)) + steps;
    if (at < 0 || at >= traces.length) return;
    const atRuns = document.body.classList.contains('at-runs');
    this.open(traces[this.sorted[at]]);
    if (atRuns) this.toRuns(true);
  },

  // ---- the address: #trace/span, and the view

  address(trace, i) {
    return `#${trace.id}${i >= 0 ? `/${trace.ids[i]}` : ''}${$('graph').hidden ? '' : '?graph'}`;
  },

  note() {
    const address = this.address(this.trace, $('details').hidden ? -1 : waterfall.active);
    if (address !== location.hash) history.replaceState(null, '', address);
  },

  follow(first = false) {
    const [, traceId, spanId, view] = /^#([0-9a-f]*)(?:\/([0-9a-f]+))?(\?graph)?$/.exec(location.hash) || [];
    const trace = traces.find((each) => each.id === traceId);
    if (trace) this.open(trace, spanId ? trace.place(spanId) : -1);
    else if (first) {
      this.open(traces[this.sorted[0]]);
      if (this.narrow() && traces.length > 1) this.toRuns(true, false);
    }
    if (view) this.view('graph');
  },

  // ---- keys

  buildKeys() {
    document.addEventListener('keydown', (event) => this.key(event));
    $('help-button').addEventListener('click', () => $('help').showModal());
    $('help-close').addEventListener('click', () => $('help').close());
    $('help').addEventListener('click', (event) => { if (event.target === $('help')) $('help').close(); });
  },

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || $('help').open) return;
    const {target, key} = event;
    if (target.id === 'query') { this.keyInSearch(event); return; }
    if (target.matches('input, select, textarea')) return;
    const inDetails = $('details').contains(target), inRuns = $('runs').contains(target);
    const onButton = target.matches('button, a, summary, [role=separator]');
    const moves = !inDetails && !(onButton && target.closest('[role=tablist]'));
    const page_ = Math.max(1, Math.floor($('rows').clientHeight / waterfall.list.height) - 1);
    const go = (steps) => (inRuns ? this.otherRun(steps) : this.select(waterfall.neighbour(steps), {quietly: true}));
    const does = {
      '/': () => { $('query').focus(); $('query').select(); },
      '?': () => $('help').showModal(),
      Escape: () => this.escape(),
      n: () => search.step(1), p: () => search.step(-1),
      e: () => this.nextError(),
      g: () => this.view($('graph').hidden ? 'graph' : 'timeline'),
      c: () => this.critical(),
      z: () => $('graph').hidden && waterfall.zoomToSpan(),
      t: () => theme.next(),
      '[': () => this.otherRun(-1), ']': () => this.otherRun(1),
      '+': () => ($('graph').hidden ? waterfall.zoomBy(0.6) : graph.zoomBy(1.3)),
      '=': () => ($('graph').hidden ? waterfall.zoomBy(0.6) : graph.zoomBy(1.3)),
      '-': () => ($('graph').hidden ? waterfall.zoomBy(1 / 0.6) : graph.zoomBy(1 / 1.3)),
      0: () => ($('graph').hidden ? waterfall.zoom() : graph.fit(0)),
      ...(moves && {
        ArrowDown: () => go(1), ArrowUp: () => go(-1), j: () => go(1), k: () => go(-1),
        ArrowLeft: () => (event.shiftKey ? waterfall.foldAll(true) : inRuns || waterfall.left()),
        ArrowRight: () => (event.shiftKey ? waterfall.foldAll(false) : inRuns || waterfall.right()),
      }),
      ...(moves && !onButton && {
        Home: () => go(-1e9), End: () => go(1e9), PageUp: () => go(-page_), PageDown: () => go(page_),
        Enter: () => (inRuns ? (this.toRuns(false), $('rows').focus()) : this.select(waterfall.active, {focus: true})),
      }),
    }[key];
    if (target.closest('[role=tablist]') && (key === 'ArrowLeft' || key === 'ArrowRight')) {
      this.view($('graph').hidden ? 'graph' : 'timeline');
      $($('graph').hidden ? 'tab-timeline' : 'tab-graph').focus();
      event.preventDefault();
    } else if (does) {
      event.preventDefault();
      does();
    }
  },

  keyInSearch(event) {
    if (event.key === 'Escape') {
      search.clear();
      $('rows').focus();
    } else if (event.key === 'Enter') {
      clearTimeout(search.timer);
      search.start($('query').value);
      search.step(event.shiftKey ? -1 : 1);
    } else if (event.key === 'ArrowDown') {
      $('rows').focus();
    } else return;
    event.preventDefault();
  },

  escape() {
    if (!$('details').hidden) this.close();
    else if (search.query) search.clear();
    else if ($('graph').hidden && waterfall.zoomed()) waterfall.zoom();
    else if (traces.length > 1 && this.narrow()) this.toRuns(true);
  },

  // ---- widths that can be pulled

  buildGrips() {
    const grip = (handle, name, read, low, high) => {
      const set = (value) => {
        document.documentElement.style.setProperty(name, `${Math.round(clamp(value, low, high()))}px`);
        remembered.set(name, Math.round(value));
      };
      const kept = Number(remembered.get(name));
      if (kept) set(kept);
      handle.addEventListener('pointerdown', (event) => {
        event.preventDefault();
        handle.setPointerCapture(event.pointerId);
        const move = (e) => set(read(e.clientX));
        handle.addEventListener('pointermove', move);
        handle.addEventListener('pointerup', () => { handle.removeEventListener('pointermove', move); waterfall.resize(); }, {once: true});
      });
      handle.addEventListener('keydown', (event) => {
        const by = {ArrowLeft: -24, ArrowRight: 24}[event.key];
        if (!by) return;
        event.preventDefault();
        event.stopPropagation();
        set(read(handle.getBoundingClientRect().left + by));
        waterfall.resize();
      });
    };
    grip($('grip'), '--details', (x) => innerWidth - x, 300, () => innerWidth * 0.7);
    grip($('name-grip'), '--names', (x) => x - $('rows').getBoundingClientRect().left, 120, () => $('rows').clientWidth * 0.7);
  },
};

const theme = {
  names: ['auto', 'light', 'dark'],
  set(name) {
    document.documentElement.dataset.theme = name;
    $('theme').title = `Theme: ${name === 'auto' ? 'as the system' : name} (t)`;
    $('theme').setAttribute('aria-label', `Theme: ${name === 'auto' ? 'as the system' : name}`);
    remembered.set('theme', name);
    if (page.trace) waterfall.drawMap();
  },
  next() {
    const now = this.names.indexOf(document.documentElement.dataset.theme);
    this.set(this.names[(now + 1) % 3]);
    say(`Theme: ${document.documentElement.dataset.theme === 'auto' ? 'as the system' : document.documentElement.dataset.theme}`);
  },
};
theme.set(theme.names.includes(remembered.get('theme')) ? remembered.get('theme') : 'auto');
$('theme').addEventListener('click', () => theme.next());
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => page.trace && waterfall.drawMap());

page.build();
performance.mark('flowspan-ready');
document.documentElement.dataset.ready = '';
