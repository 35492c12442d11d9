// The traces: columns of the outline, details out of their chunks when somebody asks.

const INDEX = JSON.parse($('index').textContent);
const KINDS = INDEX.kinds;
const MARKED = ['error', 'cancelled', 'paused', 'abandoned', 'open'];
const look = (outcome) => (MARKED.includes(outcome) ? outcome : 'ok');

class Trace {
  constructor(outline, first) {
    Object.assign(this, outline);
    this.first = first; // its first span among those of all traces
    this.count = this.ids.length;
    const count = this.count;
    this.depth = new Int32Array(count);
    this.after = new Int32Array(count).fill(1); // the first span that is not below this one
    for (let i = 0; i < count; i++) {
      if (this.parent[i] >= 0) this.depth[i] = this.depth[this.parent[i]] + 1;
    }
    for (let i = count - 1; i >= 0; i--) {
      if (this.parent[i] >= 0) this.after[this.parent[i]] += this.after[i];
    }
    for (let i = 0; i < count; i++) this.after[i] += i;
    this.millis = Number(BigInt(this.start) / 1000000n);
    this.outcomes = {};
    for (const name of this.outcome) {
      const word = this.names[name];
      this.outcomes[word] = (this.outcomes[word] || 0) + 1;
    }
    this.extent = Math.max(1, this.extent);
  }

  nameOf(i) { return this.names[this.name[i]] || '(no name)'; }
  outcomeOf(i) { return this.names[this.outcome[i]]; }
  kindOf(i) { return KINDS[this.kind[i]]; }
  typeOf(i) { return this.names[this.type[i]] || this.kindOf(i); }
  serviceOf(i) { return this.names[this.service[i]]; }
  modelOf(i) { return i in this.model ? this.names[this.model[i]] : ''; }
  hasChildren(i) { return this.after[i] > i + 1; }
  lengthOf(i) { return this.length[i] < 0 ? Math.max(0, this.extent - this.begin[i]) : this.length[i]; }
  get title() { return this.nameOf(this.root); }
  get status() { return this.outcomeOf(this.root); }

  children(i) {
    const found = [];
    for (let at = i + 1; at < this.after[i]; at = this.after[at]) found.push(at);
    return found;
  }

  place(id) {
    this.places ??= new Map(this.ids.map((each, i) => [each, i]));
    return this.places.get(id) ?? -1;
  }

  /** When it worked itself and no child did: [from, to] pairs, cached. */
  itself(i) {
    this.selves ??= new Map();
    let found = this.selves.get(i);
    if (!found) {
      found = [];
      const end = this.begin[i] + this.lengthOf(i);
      let free = this.begin[i];
      for (const child of this.children(i)) { // by start
        const begin = this.begin[child];
        if (begin > free) found.push([free, Math.min(begin, end)]);
        free = Math.max(free, Math.min(begin + this.lengthOf(child), end));
        if (free >= end) break;
      }
      if (free < end || !this.hasChildren(i)) found.push([free, end]);
      this.selves.set(i, found);
    }
    return found;
  }

  detail(i) { return details.at(this.first + i); }
}

/** The details of all spans of all traces, in chunks that are opened one by one. */
const details = {
  chunks: null, // [{first, count, element, promise, spans}]

  async all() {
    if (this.chunks) return this.chunks;
    if (document.readyState === 'loading') {
      await new Promise((ready) => document.addEventListener('DOMContentLoaded', ready, {once: true}));
    }
    let first = 0;
    this.chunks = [...document.querySelectorAll('script.chunk')].map((element) => {
      const text = element.textContent;
      const chunk = {first, count: parseInt(text, 10), element};
      first += chunk.count;
      return chunk;
    });
    return this.chunks;
  },

  async at(index) {
    const chunks = await this.all();
    let low = 0, high = chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (chunks[middle].first <= index) low = middle; else high = middle - 1;
    }
    if (!chunks.length) throw new Error('no details');
    const spans = await this.open(chunks[low]);
    return spans[index - chunks[low].first];
  },

  open(chunk) {
    chunk.promise ??= unpack(chunk.element).then((spans) => { chunk.element.remove(); return spans; });
    return chunk.promise;
  },

  async resource(place) {
    await this.all();
    this.resources ??= unpack($('resources'));
    return (await this.resources)[place];
  },
};

async function unpack(element) {
  const text = element.textContent;
  const packed = text.slice(text.indexOf(':') + 1);
  const bytes = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(packed)
    : Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return JSON.parse(await new Response(stream).text());
}

const traces = [];
{
  let first = 0;
  for (const outline of INDEX.traces) {
    traces.push(new Trace(outline, first));
    first += outline.ids.length;
  }
}
