// Search over names at once, over attributes and payloads as their chunks open; filters by status.

const search = {
  query: '',
  run: 0, // counts searches: an older one stops when a newer begins
  found: [], // per trace: sorted spans
  only: false,
  statuses: new Set(),
  haystacks: new Map(), // span among all -> its text, lower case

  build() {
    $('query').addEventListener('input', () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.start($('query').value), 120);
    });
    $('previous').addEventListener('click', () => this.step(-1));
    $('next').addEventListener('click', () => this.step(1));
    $('only').addEventListener('click', () => {
      this.only = !this.only;
      $('only').setAttribute('aria-pressed', this.only);
      this.apply();
    });
  },

  async start(given) {
    const query = given.trim().toLowerCase(), run = ++this.run;
    if (query === this.query) return;
    this.query = query;
    this.found = traces.map(() => new Set());
    this.done = !query;
    if (query) {
      for (const [t, trace] of traces.entries()) {
        const fitting = new Set(trace.names.keys());
        trace.names.forEach((name, at) => { if (!name.toLowerCase().includes(query)) fitting.delete(at); });
        if (trace.id.includes(query)) this.found[t].add(trace.root);
        for (let i = 0; i < trace.count; i++) {
          if (fitting.has(trace.name[i]) || trace.ids[i] === query) this.found[t].add(i);
        }
      }
    }
    this.apply();
    if (!query) return;
    let shown = performance.now();
    let t = 0;
    for (const chunk of await details.all()) {
      const spans = await details.open(chunk).catch(() => []); // the file was cut
      for (let n = 0; n < spans.length; n++) {
        const index = chunk.first + n;
        while (index >= traces[t].first + traces[t].count) t++;
        if (this.text(index, spans[n]).includes(query)) this.found[t].add(index - traces[t].first);
        if (performance.now() - shown > 40) { // let the page breathe
          await pause();
          if (run !== this.run) return;
          shown = performance.now();
          this.count();
        }
      }
      if (run !== this.run) return;
    }
    this.done = true;
    this.apply();
  },

  text(index, detail) {
    let text = this.haystacks.get(index);
    if (text === undefined) {
      const words = [];
      const take = (value) => {
        if (typeof value === 'string') words.push(value);
        else if (Array.isArray(value)) value.forEach(take);
        else if (value && typeof value === 'object') for (const key in value) { words.push(key); take(value[key]); }
        else words.push(String(value));
      };
      take([detail.name, detail.message, detail.attributes, detail.events, detail.scope]);
      text = words.join('\n').toLowerCase();
      this.kept = (this.kept || 0) + text.length;
      if (this.kept < 5e7) this.haystacks.set(index, text);
    }
    return text;
  },

  here() {
    return this.query ? this.found[traces.indexOf(page.trace)] : null;
  },

  /** What was found, and what the filter leaves, into timeline and list of runs. */
  apply() {
    const here = this.here(), {trace} = page;
    waterfall.matches = here;
    waterfall.keep = null;
    const {statuses} = this;
    const only = this.only && here;
    if (statuses.size || only) {
      const keep = new Uint8Array(trace.count);
      for (let i = trace.count - 1; i >= 0; i--) {
        if ((!statuses.size || statuses.has(trace.outcomeOf(i))) && (!only || here.has(i))) keep[i] = 1;
        if (keep[i] && trace.parent[i] >= 0) keep[trace.parent[i]] = 1;
      }
      waterfall.keep = keep;
    }
    waterfall.arrange();
    this.count();
    page.runs.refill();
    graph.mark();
  },

  count() {
    const active = !!this.query;
    const all = active ? this.found.reduce((sum, each) => sum + each.size, 0) : 0;
    const here = active ? this.here().size : 0;
    const more = this.done ? '' : '…';
    const elsewhere = all > here ? `, ${number(all - here)} in other runs` : '';
    $('found').textContent = active ? `${number(here)}${elsewhere}${more}` : '';
    $('found').title = active ? `${count(here, 'match').replace('matchs', 'matches')} in this run${elsewhere}` : '';
    for (const id of ['previous', 'next', 'only']) $(id).hidden = !active;
    document.body.classList.toggle('searching', active);
  },

  /** The next match by its place, round the end; then in the next run that has one. */
  step(by) {
    const here = this.here();
    if (!here) return;
    const places = [...here].sort((a, b) => a - b);
    if (!places.length) {
      const runs = traces.keys();
      const other = [...runs].find((t) => this.found[t].size);
      if (other !== undefined) { page.open(traces[other], least(this.found[other])); }
      return;
    }
    const active = waterfall.active;
    const next = by > 0 ? places.find((i) => i > active) ?? places[0] : places.findLast((i) => i < active) ?? places.at(-1);
    page.select(next, {quietly: page.narrow()});
    say(`Match ${places.indexOf(next) + 1} of ${places.length}: ${page.trace.nameOf(next)}`);
  },

  clear() {
    $('query').value = '';
    this.start('');
  },

  /** A switch for each status that the trace has, if it has more than one. */
  offer(trace) {
    const names = ['error', 'ok', ...MARKED.slice(1)].filter((name) => trace.outcomes[name]);
    for (const other of Object.keys(trace.outcomes)) if (!names.includes(other)) names.push(other);
    for (const name of this.statuses) if (!trace.outcomes[name]) this.statuses.delete(name);
    $('filters').replaceChildren(...(names.length < 2 ? [] : names).map((name) =>
      h('button', {class: `chip o-${look(name)}`, 'aria-pressed': this.statuses.has(name), 'data-status': name, onclick: (event) => {
        if (!this.statuses.delete(name)) this.statuses.add(name);
        event.currentTarget.setAttribute('aria-pressed', this.statuses.has(name));
        this.apply();
      }}, h('i', {class: 'dot'}), `${name} `, h('b', {}, number(trace.outcomes[name])))));
  },
};
