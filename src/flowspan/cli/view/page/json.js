// Values as trees to unfold. What is closed has no elements; what is long comes in pieces.

const PIECE = 100; // members at a time
const TEXT = 1500; // characters at a time, of a string in a tree

/** The value that *text* is as JSON, wrapped; null if it is none or only a scalar. */
function parsed(text) {
  const first = text.trimStart()[0];
  if (first !== '{' && first !== '[') return null;
  try {
    // numbers that JavaScript would round keep their digits
    const exact = (key, value, context) =>
      typeof value === 'number' && context && !same(value, context.source) ? {'\0': context.source} : value;
    return {value: /\d{16}/.test(text) ? JSON.parse(text, exact) : JSON.parse(text)};
  } catch {
    return null;
  }
}

const same = (value, source) => Number.isSafeInteger(value) || !/^-?\d+$/.test(source);

/** Numbers and bytes that JSON cannot say come as {"\0": text}. */
const special = (value) =>
  value !== null && typeof value === 'object' && typeof value['\0'] === 'string' && Object.keys(value).length === 1;

const isTree = (value) => value !== null && typeof value === 'object' && !special(value);

const indented = (value) =>
  JSON.stringify(value, (key, each) => (special(each) ? each['\0'] : each), 2);

/** *levels*: how many are open at the start. */
function tree(value, levels = 2) {
  const root = h('div', {class: 'tree', role: 'tree'});
  if (isTree(value)) members(root, value, levels, 1);
  else root.append(h('div', {class: 'leaf', role: 'treeitem'}, scalar(value)));
  root.addEventListener('keydown', (event) => treeKeys(root, event));
  const first = root.querySelector('[role=treeitem]');
  if (first) first.tabIndex = 0;
  return root;
}

function members(into, value, levels, depth, from = 0) {
  const list = Array.isArray(value);
  const entries = list ? value : Object.entries(value);
  const to = Math.min(entries.length, from + PIECE);
  for (let at = from; at < to; at++) {
    const [key, item] = list ? [at, value[at]] : entries[at];
    into.append(member(key, item, levels, depth, list));
  }
  if (!entries.length) into.append(h('div', {class: 'leaf none', role: 'treeitem'}, list ? '[] empty' : '{} empty'));
  if (to < entries.length) {
    const more = h('button', {class: 'more', onclick: () => { more.remove(); members(into, value, levels, depth, to); }},
      `${number(entries.length - to)} more`);
    into.append(more);
  }
}

function member(key, value, levels, depth, inList) {
  const name = h('span', {class: inList ? 'key index' : 'key'}, String(key));
  const tip = {role: 'treeitem', tabindex: -1, 'aria-level': depth};
  if (!isTree(value)) return h('div', {class: 'leaf', ...tip}, name, ' ', scalar(value));
  const below = h('div', {class: 'members', role: 'group'});
  const many = Array.isArray(value) ? value.length : Object.keys(value).length;
  const node = h('div', {class: 'branch', ...tip, 'aria-expanded': 'false'});
  const head = h('div', {class: 'head', onclick: () => fold()}, icon('chevron', 'chevron'), name,
    h('span', {class: 'size'}, Array.isArray(value) ? `[${many}]` : `{${many}}`), h('span', {class: 'glimpse'}, glimpse(value)));
  const fold = (open = node.getAttribute('aria-expanded') === 'false') => {
    node.setAttribute('aria-expanded', String(open));
    if (open && !below.firstChild) members(below, value, levels - 1, depth + 1);
  };
  node.fold = fold;
  node.append(head, below);
  if (levels > 1 && many <= 12) fold(true);
  return node;
}

function treeKeys(root, event) {
  const at = event.target.closest('[role=treeitem]');
  if (!at || event.target.closest('button') || event.ctrlKey || event.metaKey || event.altKey) return;
  const seen = [...root.querySelectorAll('[role=treeitem]')].filter((item) => item.offsetParent);
  const go = (item) => { if (item) { at.tabIndex = -1; item.tabIndex = 0; item.focus(); } };
  const open = at.getAttribute('aria-expanded');
  if (event.key === 'ArrowDown') go(seen[seen.indexOf(at) + 1]);
  else if (event.key === 'ArrowUp') go(seen[seen.indexOf(at) - 1]);
  else if (event.key === 'ArrowRight' && open === 'false') at.fold(true);
  else if (event.key === 'ArrowRight' && open) go(at.querySelector('[role=treeitem]'));
  else if (event.key === 'ArrowLeft' && open === 'true') at.fold(false);
  else if (event.key === 'ArrowLeft') go(at.parentElement.closest('[role=treeitem]'));
  else if (event.key === 'Enter' && open) at.fold();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** A line of what is inside, for what is closed. */
function glimpse(value) {
  const words = [];
  let room = 80;
  for (const [key, item] of Object.entries(value)) {
    const text = isTree(item) ? (Array.isArray(item) ? '[…]' : '{…}') : String(special(item) ? item['\0'] : item).slice(0, 40);
    words.push(Array.isArray(value) ? text : `${key}: ${text}`);
    room -= words.at(-1).length;
    if (room < 0 || words.length > 8) { words.push('…'); break; }
  }
  return words.join(', ');
}

function scalar(value) {
  if (special(value)) return h('span', {class: 'value number'}, value['\0']);
  if (typeof value === 'string') return h('span', {class: 'value string'}, pieces(value, TEXT));
  const kind = value === null ? 'null' : typeof value;
  return h('span', {class: `value ${kind}`}, String(value));
}

/** A text, its first *size* characters at first; each time more is asked for, eight times as much. */
function pieces(text, size = 6000) {
  if (text.length <= size * 1.2) return text;
  const shown = document.createTextNode(text.slice(0, size));
  const box = h('span', {}, shown);
  const more = h('button', {class: 'more', onclick: (event) => {
    event.stopPropagation();
    size *= 8;
    shown.data = text.slice(0, size);
    if (size >= text.length) more.remove(); else label();
  }});
  const label = () => { more.textContent = `… ${sizeOf(text.length - size)} more`; };
  label();
  box.append(more);
  return box;
}
