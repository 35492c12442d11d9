// Elements, words and numbers. Content becomes text, never markup: nothing here sets innerHTML.

const $ = (id) => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

/** An element: `h('a', {class: 'x', onclick: f}, 'text', other)`. */
function h(tag, given = {}, ...children) {
  const svg = SVG_TAGS.has(tag);
  const made = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) made.append(child);
  }
  return made;
}
const SVG_TAGS = new Set(['svg', 'use', 'g', 'path', 'rect', 'text', 'title', 'circle', 'marker', 'defs']);

/** A copy of the symbol's paths: a `use` would cost a tree of its own wherever it stands. */
const icon = (name, more = '') =>
  h('svg', {class: `i i-${name} ${more}`, 'viewBox': '0 0 16 16', 'aria-hidden': 'true'}, [...$(`i-${name}`).children].map((path) => path.cloneNode()));

const shape = (name) => (SHAPES[name] ??= $(`i-${name}`).firstElementChild.getAttribute('d'));
const SHAPES = {};

/** The largest of any number of values: an argument list has an end. */
const most = (values) => { let found = -Infinity; for (const value of values) if (value > found) found = value; return found; };
const least = (values) => -most([...values].map((value) => -value));

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Nanoseconds, as people say them. */
function duration(nanos) {
  if (nanos < 0) return 'open';
  if (nanos < 1e3) return `${Math.round(nanos)} ns`;
  if (nanos < 1e6) return `${round(nanos / 1e3)} µs`;
  if (nanos < 9.995e8) return `${round(nanos / 1e6)} ms`;
  if (nanos < 1e11) return `${(nanos / 1e9).toFixed(2)} s`;
  const seconds = Math.round(nanos / 1e9);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Three digits that count, without zeros at the end. */
const round = (value) =>
  String(value >= 100 ? Math.round(value) : value >= 10 ? +value.toFixed(1) : +value.toFixed(2));

const number = (value) => value.toLocaleString('en-US');

const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? '' : 's'}`;

/** Large counts in little room: 2310, 12.3k, 4.5M. */
const short = (value) =>
  value < 1e4 ? String(value) : value < 1e6 ? `${round(value / 1e3)}k` : `${round(value / 1e6)}M`;

const sizeOf = (characters) =>
  characters < 1024 ? `${characters} characters` : `${round(characters / 1024)} K characters`;

function moment(millis) {
  const date = new Date(millis);
  if (Number.isNaN(date.getTime())) return 'no time';
  const two = (value, digits = 2) => String(value).padStart(digits, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${two(date.getMilliseconds(), 3)}`;
}

/** Says it to who cannot see it, and shows it for a moment to who can. */
function say(words) {
  const said = $('said');
  said.textContent = words;
  said.classList.add('shown');
  clearTimeout(say.timer);
  say.timer = setTimeout(() => said.classList.remove('shown'), 1600);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = h('textarea', {class: 'off-screen'});
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
  say(`${what} copied`);
}

/** *text*: what is copied, or a function that makes it. */
const copyButton = (text, what, picture = 'copy') =>
  h('button', {
    class: 'icon copy', title: `Copy ${what}`, 'aria-label': `Copy ${what}`,
    onclick: (event) => {
      event.stopPropagation();
      copy(typeof text === 'function' ? text() : text, what[0].toUpperCase() + what.slice(1));
    },
  }, icon(picture));

/** What a page of another session chose; a browser may forbid it. */
const remembered = {
  get(name) {
    try { return localStorage.getItem(`flowspan.${name}`); } catch { return null; }
  },
  set(name, value) {
    try { localStorage.setItem(`flowspan.${name}`, value); } catch { /* then not */ }
  },
};

/** Calls *then* at most once a frame. */
function framed(then) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; then(); });
  };
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 0));
