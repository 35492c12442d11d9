// Everything about one span: what went wrong, what was said, what went in and came out.

const panel = {
  box: $('details'),
  shown: 0, // counts: what arrives late for an older span is not shown

  async show(trace, i) {
    const turn = ++this.shown;
    let span, resource = {};
    try {
      span = await trace.detail(i);
      resource = await details.resource(span.resource);
    } catch { /* cut, or of another time than this browser */ }
    if (turn !== this.shown) return;
    if (!span) {
      this.box.replaceChildren(this.head(trace, i, {name: trace.nameOf(i)}),
        h('p', {class: 'nothing'}, 'The details cannot be read: the file was cut or damaged.'));
      return;
    }
    const given = span.attributes;
    const folded = new Set([...this.box.querySelectorAll('details.section:not([open])')].map((each) => each.dataset.name));
    const parts = [
      this.error(trace, i, span),
      ...this.payloads(given),
      this.logs(trace, i, span),
      this.links(trace, i, span),
      this.attributes(given),
      this.table('Resource', resource, true),
    ];
    this.box.replaceChildren(this.head(trace, i, span), h('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Details of ${trace.nameOf(i)}`}, this.facts(trace, i, span), ...parts.filter(Boolean)));
    for (const section of this.box.querySelectorAll('details.section')) if (folded.has(section.dataset.name)) section.open = false;
  },

  hide() {
    this.shown++;
    this.box.replaceChildren();
  },

  head(trace, i, span) {
    const outcome = trace.outcomeOf(i);
    return h('header', {class: `k-${trace.kindOf(i)} o-${look(outcome)}`},
      h('span', {class: 'kind-icon'}, icon(trace.kindOf(i))),
      h('h2', {class: 'name'}, pieces(span.name || '(no name)', 200)),
      badge(outcome),
      copyButton(() => location.href, 'link to this span', 'link'),
      h('button', {class: 'icon', 'aria-label': 'Close the details', title: 'Close (Esc)', onclick: () => page.close()}, icon('close')));
  },

  facts(trace, i, span) {
    const tokens = trace.tokens[i];
    const path = (trace.critical[i] || []).reduce((sum, [from, to]) => sum + to - from, 0);
    const given = span.attributes;
    const parent = trace.parent[i];
    const fact = (name, value, title) => value && h('div', {title}, h('dt', {}, name), h('dd', {}, value));
    const cut = given['flowspan.truncated'], hidden = given['flowspan.redacted'];
    return h('div', {class: 'facts'},
      h('dl', {},
        fact('Duration', duration(trace.length[i])),
        trace.hasChildren(i) && fact('Itself', duration(trace.self[i]), 'Without the time in which a child ran'),
        fact('Starts', trace.begin[i] ? `+${duration(trace.begin[i])}` : 'with the trace', moment(trace.millis + trace.begin[i] / 1e6)),
        path > 0 && fact('On critical path', `${duration(path)} · ${Math.round((100 * path) / trace.extent)} %`),
        tokens && fact('Tokens', `${number(tokens[0])} in, ${number(tokens[1])} out`),
        fact('Model', trace.modelOf(i)),
        fact('Type', trace.typeOf(i)),
        fact('Kind', ['', '', 'server', 'client', 'producer', 'consumer'][span.kind] || ''),
        fact('Service', trace.serviceOf(i)),
        fact('Scope', span.scope)),
      h('p', {class: 'around'},
        parent >= 0 && h('span', {}, 'In ', jump(trace, parent)),
        trace.hasChildren(i) && h('span', {}, count(trace.after[i] - i - 1, 'span'), ' below'),
        h('span', {class: 'id'}, 'Span ', h('code', {}, trace.ids[i]), copyButton(trace.ids[i], 'span id'))),
      (cut || hidden) && h('p', {class: 'notes'},
        cut && h('span', {class: 'note'}, `Cut: ${[].concat(cut).join(', ')}`),
        hidden && h('span', {class: 'note'}, `${count(hidden, 'secret')} hidden`)));
  },

  error(trace, i, span) {
    const events = span.events.filter(([name]) => name === 'exception');
    const failed = trace.outcomeOf(i) === 'error' || events.length;
    if (!failed) return span.message ? section('Status', h('p', {class: 'text'}, pieces(span.message))) : null;
    const cards = events.map(([, time, said]) => {
      const stack = said['exception.stacktrace'];
      return h('div', {class: 'exception'},
        h('p', {class: 'what'}, h('b', {}, String(said['exception.type'] ?? 'error')), ' ', pieces(String(said['exception.message'] ?? ''), 2000)),
        h('p', {class: 'when'}, `+${duration(time)}`),
        stack ? h('details', {class: 'stack', open: true}, h('summary', {}, 'Stack trace', copyButton(String(stack), 'stack trace')), h('pre', {}, pieces(String(stack)))) : null);
    });
    if (!cards.length) {
      const kind = span.attributes['error.type'];
      cards.push(h('div', {class: 'exception'}, h('p', {class: 'what'}, kind ? [h('b', {}, String(kind)), ' '] : null, pieces(span.message || 'Failed without a message', 2000)),
        this.origin(trace, i)));
    }
    return section('Error', h('div', {class: 'error-card'}, cards));
  },

  /** Where below the error was raised, if not here. */
  origin(trace, i) {
    for (let at = trace.after[i] - 1; at > i; at--) {
      if (trace.outcomeOf(at) === 'error' && !trace.children(at).some((child) => trace.outcomeOf(child) === 'error')) {
        return h('p', {class: 'when'}, 'Raised in ', jump(trace, at));
      }
    }
    return null;
  },

  payloads(given) {
    const said = messages(given['gen_ai.input.messages']), answered = messages(given['gen_ai.output.messages']);
    const system = messages(given['gen_ai.system_instructions']);
    const talk = said || answered;
    const parts = [];
    if (talk) {
      const all = [...(system || []), ...(said || []), ...(answered || [])];
      parts.push(section('Conversation', h('div', {class: 'talk'}, conversation(all)), {extra: count(all.length, 'message')}));
    }
    for (const [title, name] of [['Input', 'input.value'], ['Output', 'output.value']]) {
      if (name in given) parts.push(payload(title, given[name], talk));
    }
    if (!('input.value' in given) && 'gen_ai.tool.call.arguments' in given) parts.push(payload('Arguments', given['gen_ai.tool.call.arguments']));
    if (!('output.value' in given) && 'gen_ai.tool.call.result' in given) parts.push(payload('Result', given['gen_ai.tool.call.result']));
    return parts;
  },

  logs(trace, i, span) {
    const events = span.events.filter(([name]) => name !== 'exception');
    const dropped = span.attributes['flowspan.logs.dropped'];
    if (!events.length && !dropped) return null;
    const list = h('ol', {class: 'logs'});
    const add = (from) => {
      for (const [name, time, said] of events.slice(from, from + PIECE)) {
        const log = name === 'flowspan.log';
        const text = log ? said['log.message'] : null;
        const found = typeof text === 'string' ? parsed(text) : null;
        list.append(h('li', {}, h('span', {class: 'when'}, `+${duration(time)}`),
          h('span', {class: 'of'}, log ? String(said['log.name'] ?? '') : name),
          h('div', {class: 'what'}, found ? tree(found.value, 1) : text !== null && text !== undefined ? pieces(String(text), 2000)
            : Object.keys(said).length ? tree(said, 1) : null)));
      }
      if (events.length > from + PIECE) {
        const more = h('button', {class: 'more', onclick: () => { more.remove(); add(from + PIECE); }}, `${number(events.length - from - PIECE)} more`);
        list.append(h('li', {}, more));
      }
    };
    add(0);
    if (dropped) list.append(h('li', {class: 'none'}, `${count(dropped, 'log')} beyond the limit were not kept`));
    const onlyLogs = events.every(([name]) => name === 'flowspan.log');
    return section(onlyLogs ? 'Logs' : 'Events', list, {extra: number(events.length)});
  },

  links(trace, i, span) {
    const rows = span.links.map(([traceId, spanId, said]) => {
      const other = traceId === trace.id ? trace : traces.find((each) => each.id === traceId);
      const place = other ? other.place(spanId) : -1;
      const kind = String(said['flowspan.link.type'] ?? 'link');
      const edge = said['flowspan.edge.source'] ? `${said['flowspan.edge.source']} → ${said['flowspan.edge.target'] ?? ''}` : '';
      const target = place >= 0 ? jump(other, place) : h('code', {title: 'This span is not in the page'}, `${traceId} ${spanId}`);
      return h('li', {}, h('span', {class: 'of'}, kind === 'edge' ? 'from' : kind), target,
        place >= 0 && other !== trace ? h('span', {class: 'when'}, `in ${other.title}`) : null,
        place < 0 ? copyButton(traceId, 'trace id') : null, edge && h('div', {class: 'edge-name'}, edge));
    });
    for (const [from, to, kind] of trace.links) {
      if (to === i) rows.push(h('li', {}, h('span', {class: 'of'}, kind === 'edge' ? 'to' : 'linked from'), jump(trace, from)));
    }
    return rows.length ? section('Links', h('ul', {class: 'links'}, rows), {extra: number(rows.length)}) : null;
  },

  attributes(given) {
    const above = new Set(['input.value', 'output.value']);
    if (messages(given['gen_ai.input.messages'])) above.add('gen_ai.input.messages');
    if (messages(given['gen_ai.output.messages'])) above.add('gen_ai.output.messages');
    return this.table('Attributes', given, false, above);
  },

  table(title, given, closed = false, without = new Set()) {
    const names = Object.keys(given).filter((name) => !without.has(name)).sort();
    if (!names.length) return null;
    const rows = names.map((name) => {
      const value = given[name];
      const found = typeof value === 'string' ? parsed(value) : isTree(value) ? {value} : null;
      const text = typeof value === 'string' ? value : special(value) ? value['\0'] : isTree(value) ? indented(value) : String(value);
      return h('div', {}, h('dt', {}, breakable(name)), h('dd', {}, found ? tree(found.value, 1) : pieces(text, 600)), copyButton(text, name));
    });
    const left = Object.fromEntries(names.map((name) => [name, given[name]]));
    return section(title, h('dl', {class: 'table'}, rows), {extra: number(names.length), copied: () => indented(left), closed});
  },
};

/** A part of the details that can be folded. */
function section(title, content, {extra = '', copied = null, closed = false, more = null} = {}) {
  return h('details', {class: 'section', open: !closed, 'data-name': title},
    h('summary', {}, icon('chevron', 'chevron'), h('h3', {}, title), h('span', {class: 'count'}, extra), h('span', {class: 'spring'}), more,
      copied ? copyButton(copied, title.toLowerCase()) : null),
    content);
}

/** A dotted name may be broken after its dots and underscores. */
const breakable = (name) => name.split(/(?<=[._])/).slice(0, 60).flatMap((each, n) => (n ? [h('wbr'), each] : [each]));

const badge = (outcome) =>
  h('span', {class: `badge o-${look(outcome)}`}, icon(look(outcome)), outcome);

/** A reference to a span of the page. */
const jump = (trace, i) =>
  h('a', {class: `jump k-${trace.kindOf(i)}`, href: page.address(trace, i), onclick: (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (trace === page.trace) page.select(i); else page.open(trace, i);
  }}, icon(trace.kindOf(i)), h('span', {class: 'name'}, trace.nameOf(i)));

/** What went in or came out: a tree if it is JSON, and as it was written. */
function payload(title, given, closed = false) {
  const text = typeof given === 'string' ? given : isTree(given) ? indented(given) : String(special(given) ? given['\0'] : given);
  const found = typeof given === 'string' ? parsed(given) : isTree(given) ? {value: given} : null;
  const body = h('div', {class: 'payload'});
  const raw = () => h('pre', {}, pieces(text));
  body.append(found ? tree(found.value) : raw());
  const more = found && h('button', {class: 'soft small', 'aria-pressed': 'false', onclick: (event) => {
    event.preventDefault();
    const on = event.currentTarget.getAttribute('aria-pressed') === 'false';
    event.currentTarget.setAttribute('aria-pressed', on);
    body.replaceChildren(on ? raw() : tree(found.value));
  }}, 'Raw');
  const extra = text.length > 2000 ? sizeOf(text.length) : '';
  return section(title, body, {extra, copied: text, closed: !!closed, more});
}

/** The messages that an attribute holds; null if it holds none. */
function messages(given) {
  const found = typeof given === 'string' ? parsed(given)?.value : given;
  if (!Array.isArray(found) || !found.length) return null;
  const fitting = found.every((each) => each && typeof each === 'object' && ('parts' in each || 'content' in each));
  return fitting ? found : null;
}

function conversation(all) {
  const made = all.slice(0, PIECE).map((message) => {
    const role = typeof message.role === 'string' ? message.role : message.type === 'text' ? 'system' : 'message';
    const parts = Array.isArray(message.parts) ? message.parts : Array.isArray(message.content) ? message.content : [message.content];
    const calls = Array.isArray(message.tool_calls) ? message.tool_calls.map((call) => ({type: 'tool_call', ...call, ...call?.function})) : [];
    return h('article', {class: `message r-${/^[a-z]+$/.test(role) ? role : 'other'}`},
      h('header', {}, role, typeof message.finish_reason === 'string' && message.finish_reason !== 'stop' ? h('span', {}, message.finish_reason) : null),
      [...parts, ...calls].map(part));
  });
  if (all.length > PIECE) {
    const more = h('button', {class: 'more', onclick: () => more.replaceWith(...conversation(all.slice(PIECE)))}, `${number(all.length - PIECE)} more`);
    made.push(more);
  }
  return made;
}

/** One part of a message: text, a thought, a call of a tool or its answer, or anything else. */
function part(given) {
  if (given === null || given === undefined) return null;
  if (typeof given !== 'object') return h('p', {class: 'text'}, pieces(String(given)));
  const content = given.content ?? given.text;
  if ((given.type === 'text' || given.type === undefined) && typeof content === 'string') return h('p', {class: 'text'}, pieces(content));
  if (given.type === 'reasoning' || given.type === 'thinking') {
    return h('details', {class: 'thought'}, h('summary', {}, 'Reasoning'), h('p', {class: 'text'}, pieces(String(content ?? ''))));
  }
  if (given.type === 'tool_call') {
    const value = typeof given.arguments === 'string' ? parsed(given.arguments)?.value ?? given.arguments : given.arguments;
    return h('div', {class: 'call k-tool'}, h('p', {}, icon('tool'), h('b', {}, String(given.name ?? 'tool'))), value === undefined || value === null ? null : tree(value, 2));
  }
  if (given.type === 'tool_call_response') {
    const value = given.response ?? given.result;
    const found = typeof value === 'string' ? parsed(value)?.value ?? value : value;
    return h('div', {class: 'call k-tool'}, h('p', {}, icon('tool'), 'result'), isTree(found) ? tree(found, 2) : h('p', {class: 'text'}, pieces(String(found))));
  }
  return h('div', {class: 'call'}, tree(given, 2));
}
