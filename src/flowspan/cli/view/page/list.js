// A list of any length, of which only the rows in sight are elements.

class VirtualList {
  /**
   * *make()*: an empty row; *fill(row, index)*: what stands in it.
   * Rows are used again: fill leaves nothing of what stood there before.
   */
  constructor(viewport, height, make, fill) {
    Object.assign(this, {viewport, height, make, fill, count: 0});
    this.space = h('div', {class: 'space', role: 'presentation'});
    this.rows = new Map();
    this.free = [];
    viewport.append(this.space);
    this.draw = framed(() => this.show());
    viewport.addEventListener('scroll', () => this.show(), {passive: true});
    new ResizeObserver(this.draw).observe(viewport);
  }

  /** All anew: the number of rows, their height or what is in them has changed. */
  reset(count = this.count, height = this.height) {
    this.count = count;
    this.height = height;
    this.space.style.height = `${count * height}px`;
    this.space.style.setProperty('--height', `${height}px`);
    for (const row of this.rows.values()) this.put(row);
    this.rows.clear();
    this.show();
  }

  show(everything = false) {
    const top = this.viewport.scrollTop, seen = this.viewport.clientHeight;
    const from = everything ? 0 : Math.max(0, Math.floor(top / this.height) - 6);
    const to = everything ? this.count : Math.min(this.count, Math.ceil((top + seen) / this.height) + 6);
    for (const [index, row] of this.rows) {
      if (index < from || index >= to) { this.rows.delete(index); this.put(row); }
    }
    for (let index = from; index < to; index++) {
      if (this.rows.has(index)) continue;
      let row = this.free.shift();
      if (!row) { row = this.make(); this.space.append(row); }
      row.hidden = false;
      row.style.transform = `translateY(${index * this.height}px)`;
      this.rows.set(index, row);
      this.fill(row, index);
    }
  }

  put(row) {
    row.hidden = true;
    row.removeAttribute('id');
    this.free.push(row);
  }

  /** What is in the rows in sight, once more. */
  refill() {
    for (const [index, row] of this.rows) this.fill(row, index);
  }

  reveal(index) {
    const top = index * this.height, seen = this.viewport.clientHeight;
    const now = this.viewport.scrollTop;
    if (top < now + this.height) this.viewport.scrollTop = top - this.height;
    else if (top + 2 * this.height > now + seen) this.viewport.scrollTop = top + 2 * this.height - seen;
    this.show();
  }
}
