// A list of lines of which only those in sight are in the document, and where each begins.

import { Following } from "../lib/following.js";

/** Heights of lines, as they were measured, or as is guessed until then; they tell which lines are in sight. */
export class Heights {
	/** @param {number} guess */
	constructor(guess) {
		this.guess = guess;
		/** @type {string[]} */
		this.keys = [];
		/** Number of keys that are known here: the array may have grown since. */
		this.count = 0;
		/** @type {Float64Array} height of each line; not a number where it was not measured */
		this.sizes = new Float64Array(64);
		/** @type {Float64Array} beginning of each line, and the end of the last */
		this.tops = new Float64Array(65);
		this.valid = 0;
	}

	/**
	 * Takes other lines at the end, or at the beginning, or altogether.
	 * @param {string[]} keys of all lines, in order; may be the same array with more at its end
	 * @returns {number | null} how much further back the lines are that were there; null if not all are
	 */
	setKeys(keys) {
		const had = this.count;
		// The array that is known may have grown at its end since, before others came to its beginning.
		const before = had > 0 ? keys.indexOf(this.keys[0]) : 0;
		const grown = (/** @type {number} */ by) => by >= 0 && keys.length >= by + had && (keys === this.keys ? by === 0
			: had === 0 || (keys[by] === this.keys[0] && this.keys.every((key, i) => i >= had || keys[by + i] === key)));
		const moved = grown(0) ? 0 : grown(before) ? before : null;
		if (this.sizes.length < keys.length || moved) {
			const sizes = new Float64Array(this.sizes.length < keys.length ? 2 * keys.length + 64 : this.sizes.length);
			sizes.set(this.sizes.subarray(0, had), moved ?? 0);
			this.sizes = sizes;
			if (this.tops.length <= sizes.length) this.tops = this.#longer(sizes.length + 1);
		}
		this.sizes.fill(Number.NaN, 0, moved ?? keys.length);
		if (moved !== null) this.sizes.fill(Number.NaN, moved + had, keys.length);
		[this.keys, this.count] = [keys, keys.length];
		if (moved !== 0) this.valid = 0;
		return moved;
	}

	/** Returns the beginnings with room for more. @param {number} length */
	#longer(length) {
		const tops = new Float64Array(length);
		tops.set(this.tops);
		return tops;
	}

	/**
	 * @param {number} index
	 * @param {number} height
	 * @returns {boolean} whether that is news
	 */
	measure(index, height) {
		if (this.sizes[index] === height) return false;
		this.sizes[index] = height;
		this.valid = Math.min(this.valid, index);
		return true;
	}

	/** Forgets all measures, as after a change of the width. */
	reset() {
		this.sizes.fill(Number.NaN);
		this.valid = 0;
	}

	/** Returns the beginning of a line; behind the last, the height of all. @param {number} index */
	top(index) {
		for (let i = this.valid; i < index; i += 1) {
			const size = this.sizes[i];
			this.tops[i + 1] = this.tops[i] + (Number.isNaN(size) ? this.guess : size);
		}
		this.valid = Math.max(this.valid, index);
		return this.tops[index];
	}

	get total() {
		return this.top(this.count);
	}

	/** Returns the line at this height, or the last. @param {number} y */
	at(y) {
		this.top(this.count);
		let [low, high] = [0, Math.max(0, this.count - 1)];
		while (low < high) {
			const middle = (low + high + 1) >> 1;
			if (this.tops[middle] <= y) low = middle;
			else high = middle - 1;
		}
		return low;
	}
}

/**
 * @typedef {object} ListOptions
 * @property {HTMLElement} scroller what scrolls
 * @property {HTMLElement} content an element in it, behind which others may stand
 * @property {(index: number) => HTMLElement} render makes a line's element
 * @property {() => void} [onTop] near the beginning
 */

/** A list of which only the lines in sight, and some around them, are in the document. */
export class VirtualList {
	/** @param {ListOptions} options */
	constructor({ scroller, content, render, onTop }) {
		this.scroller = scroller;
		this.content = content;
		this.render = render;
		this.onTop = onTop;
		this.heights = new Heights(44);
		/** @type {Map<string, HTMLElement>} */
		this.elements = new Map();
		this.following = new Following(scroller, 8);
		this.scheduled = false;
		this.width = 0;
		scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
		new ResizeObserver(() => {
			if (scroller.clientWidth !== this.width) this.heights.reset();
			this.width = scroller.clientWidth;
			this.schedule();
		}).observe(scroller);
		// A line that becomes higher by itself, and what stands behind the lines.
		this.observer = new ResizeObserver(() => this.schedule());
		this.observer.observe(content);
	}

	/** Returns whether the newest line stays in sight. */
	get atEnd() {
		return this.following.atEnd;
	}

	set atEnd(atEnd) {
		this.following.atEnd = atEnd;
	}

	/** Takes other lines, or other contents. @param {string[]} keys */
	setKeys(keys) {
		const anchor = this.#anchor();
		const moved = this.heights.setKeys(keys);
		const index = !anchor ? -1 : moved === null ? keys.indexOf(anchor.key) : anchor.index + moved;
		this.layout(anchor && index >= 0 ? { index, offset: anchor.offset } : null);
	}

	/** Renders lines anew that look different now. @param {Iterable<string>} keys */
	refresh(keys) {
		for (const key of keys) {
			const element = this.elements.get(key);
			if (!element) continue;
			const index = Number(element.dataset.index);
			const fresh = this.#element(index);
			// Whoever stands on it goes on standing on it.
			const held = element.contains(document.activeElement) ? document.activeElement : null;
			const action = held instanceof HTMLElement ? held.dataset.action : undefined;
			element.replaceWith(fresh);
			this.elements.set(key, fresh);
			if (held) {
				const same = action && fresh.querySelector(`[data-action="${action}"]`);
				(same instanceof HTMLElement ? same : fresh).focus({ preventScroll: true });
			}
		}
		this.schedule();
	}

	#anchor() {
		if (this.atEnd || this.heights.count === 0) return null;
		const index = this.heights.at(this.scroller.scrollTop);
		return { key: this.heights.keys[index], index, offset: this.scroller.scrollTop - this.heights.top(index) };
	}

	schedule() {
		if (this.scheduled) return;
		this.scheduled = true;
		requestAnimationFrame(() => {
			this.scheduled = false;
			this.layout(this.#anchor());
		});
	}

	/** @param {number} index */
	#element(index) {
		const element = this.render(index);
		element.dataset.index = String(index);
		return element;
	}

	/**
	 * Puts into the document what is in sight. The anchor is the line that must not move.
	 * @param {{index: number, offset: number} | null} anchor
	 */
	layout(anchor) {
		const { scroller, content, heights } = this;
		// Measuring can bring others into sight; this settles at once but for strange heights.
		for (let round = 0; round < 4; round += 1) {
			const height = scroller.clientHeight;
			const behind = scroller.scrollHeight - content.offsetHeight;
			const top = anchor
				? heights.top(anchor.index) + anchor.offset
				: this.atEnd ? Math.max(0, heights.total + behind - height) : scroller.scrollTop;
			const first = heights.count ? heights.at(Math.max(0, top - height / 2)) : 0;
			const last = heights.count ? heights.at(top + 1.5 * height) : -1;
			this.#place(first, last);
			let news = false;
			for (let index = first; index <= last; index += 1) {
				const element = this.elements.get(heights.keys[index]);
				if (element && heights.measure(index, element.getBoundingClientRect().height)) news = true;
			}
			content.style.paddingTop = `${heights.top(first)}px`;
			content.style.paddingBottom = `${heights.total - heights.top(last + 1)}px`;
			if (this.atEnd) scroller.scrollTop = scroller.scrollHeight;
			else if (anchor) scroller.scrollTop = heights.top(anchor.index) + anchor.offset;
			if (!news) break;
		}
		this.following.laidOut();
		if (scroller.scrollTop < scroller.clientHeight) this.onTop?.();
	}

	/**
	 * @param {number} first
	 * @param {number} last
	 */
	#place(first, last) {
		const { content, heights } = this;
		const wanted = new Set(heights.keys.slice(first, last + 1));
		for (const [key, element] of this.elements) {
			if (wanted.has(key)) continue;
			element.remove();
			this.elements.delete(key);
		}
		/** @type {Element | null} */
		let at = content.firstElementChild;
		for (let index = first; index <= last; index += 1) {
			const key = heights.keys[index];
			let element = this.elements.get(key);
			if (!element) {
				element = this.#element(index);
				this.elements.set(key, element);
			}
			element.dataset.index = String(index);
			element.setAttribute("aria-posinset", String(index + 1));
			element.setAttribute("aria-setsize", String(heights.count));
			if (element === at) at = at.nextElementSibling;
			else content.insertBefore(element, at);
		}
	}

	/**
	 * Brings a line into sight, in the middle if it is not there already.
	 * @param {number} index
	 * @returns {HTMLElement | undefined}
	 */
	reveal(index) {
		const { scroller, heights } = this;
		const [top, bottom] = [heights.top(index), heights.top(index + 1)];
		if (top < scroller.scrollTop || bottom > scroller.scrollTop + scroller.clientHeight) {
			const offset = (heights.top(index + 1) - top - scroller.clientHeight) / 2;
			this.atEnd = false;
			this.layout({ index, offset });
		}
		return this.elements.get(heights.keys[index]);
	}

	toEnd() {
		this.atEnd = true;
		this.layout(null);
	}
}
