// A room's log as people read it: records come in, in pages and live, and what is shown comes out. Edits, deletions and
// reactions change what they refer to and have no line of their own; the order is that of the positions, always.

import { Following } from "../lib/following.js";
import { isVisible, symbolKey } from "../lib/text.js";

/**
 * @typedef {object} LogRecord an entry of the log, as the server writes it
 * @property {"text" | "action" | "notice" | "reply" | "edit" | "delete" | "reaction" | "topic" | "joined" | "left" | "unknown"} kind
 * @property {number} position
 * @property {string} id
 * @property {string[]} deps
 * @property {string} time for people; nothing is ordered by it
 * @property {string} member
 * @property {string} author
 * @property {string} [text] as it reads today; not there if it was deleted
 * @property {boolean} [edited]
 * @property {string} [to]
 * @property {string} [of]
 * @property {string} [symbol]
 * @property {boolean} [set]
 * @property {string} [reason]
 * @property {boolean} [deleted] then the server does not tell the text
 */
/** @typedef {{kind: "gap", from: number, to: number, why: string}} Gap positions that cannot be read */
/** @typedef {LogRecord | Gap} Entry */

/**
 * @typedef {object} View a message as it is now
 * @property {string | null} text null if it was deleted
 * @property {string | null} from the record that has this text: the message, or what edits it
 * @property {boolean} edited
 * @property {boolean} deleted
 * @property {string} reason why it was deleted, if its author has said so
 * @property {{symbol: string, by: {member: string, author: string}[]}[]} reactions in the order in which they first came
 */

/** Kinds that only change another message. */
const REFERRING = new Set(["edit", "delete", "reaction"]);

/** @param {Entry} entry */
export const firstOf = (entry) => (entry.kind === "gap" ? entry.from : entry.position);
/** @param {Entry} entry */
export const lastOf = (entry) => (entry.kind === "gap" ? entry.to : entry.position);
/** A name for a line that stays the same. @param {Entry} entry */
export const keyOf = (entry) => (entry.kind === "gap" ? `gap ${entry.from}` : entry.id);

/** What was said, of all that happens in a room. @param {Entry} entry */
export const isSaid = (entry) => ["text", "action", "notice", "reply"].includes(entry.kind);

/** One stretch of a room's log, without holes, that grows at both ends. */
export class Timeline {
	constructor() {
		/** @type {Entry[]} what has a line of its own, in order */
		this.lines = [];
		/** @type {string[]} their names */
		this.keys = [];
		/** @type {LogRecord[]} everything, in order */
		this.records = [];
		/** @type {Map<string, LogRecord>} */
		this.byId = new Map();
		/** The first and the last position at hand: `to < from` as long as there is nothing. */
		this.from = 1;
		this.to = 0;
		/** @type {Map<string, LogRecord[]>} what refers to a message by edit, deletion or reaction, in order */
		this.about = new Map();
		/** @type {Map<string, View>} */
		this.views = new Map();
		/** @type {LogRecord | undefined} what set the topic last */
		this.topic = undefined;
	}

	/** Begins after this position: what comes next is the one behind it. @param {number} position */
	startAfter(position) {
		if (this.to >= this.from) throw new Error("there is something already");
		[this.from, this.to] = [position + 1, position];
	}

	/**
	 * What follows the last position at hand. What is there already is left out; a hole is an error.
	 * @param {Entry[]} entries
	 * @returns {Entry[]} those that were new
	 */
	append(entries) {
		const added = [];
		for (const entry of entries) {
			if (lastOf(entry) <= this.to) continue;
			if (firstOf(entry) > this.to + 1) throw new RangeError(`${this.to + 1} is missing before ${firstOf(entry)}`);
			this.to = lastOf(entry);
			if (!REFERRING.has(entry.kind)) {
				this.lines.push(entry);
				this.keys.push(keyOf(entry));
			}
			if (entry.kind !== "gap") {
				this.records.push(entry);
				this.#know(entry, false);
			}
			added.push(entry);
		}
		return added;
	}

	/**
	 * What comes right before the first position at hand.
	 * @param {Entry[]} entries
	 * @returns {Entry[]} those that were new
	 */
	prepend(entries) {
		const added = entries.filter((entry) => firstOf(entry) < this.from);
		let next = this.from;
		for (const entry of [...added].reverse()) {
			if (lastOf(entry) < next - 1) throw new RangeError(`${next - 1} is missing behind ${lastOf(entry)}`);
			next = firstOf(entry);
		}
		const lines = [];
		const records = [];
		for (const entry of added) {
			if (!REFERRING.has(entry.kind)) lines.push(entry);
			if (entry.kind !== "gap") records.push(entry);
		}
		// From the back, so that of what refers to a message the first stays the first.
		for (const record of [...records].reverse()) this.#know(record, true);
		// One copy; arguments would not hold a long page.
		this.lines = lines.concat(this.lines);
		this.keys = lines.map(keyOf).concat(this.keys);
		this.records = records.concat(this.records);
		this.from = next;
		return added;
	}

	/**
	 * @param {LogRecord} record
	 * @param {boolean} front
	 */
	#know(record, front) {
		this.byId.set(record.id, record);
		if (record.kind === "topic" && (!this.topic || record.position > this.topic.position)) this.topic = record;
		if (!REFERRING.has(record.kind)) return;
		const target = /** @type {string} */ (record.of ?? record.to);
		const about = this.about.get(target);
		if (!about) this.about.set(target, [record]);
		else if (front) about.unshift(record);
		else about.push(record);
		this.views.delete(this.shownAs(target));
		// Those who were known as referring to this one, refer to another through it.
		this.views.delete(this.shownAs(record.id));
	}

	/**
	 * The message whose line shows this one: an edit or a reaction shows at what it refers to.
	 * @param {string} id
	 * @returns {string}
	 */
	shownAs(id) {
		let at = id;
		// What refers to another stands behind it, so this ends.
		for (let record = this.byId.get(at); record && REFERRING.has(record.kind); record = this.byId.get(at)) {
			at = /** @type {string} */ (record.of ?? record.to);
		}
		return at;
	}

	/** Returns whether a message is deleted by now. @param {string} id of one that has a line */
	isDeleted(id) {
		return this.about.has(id) ? this.view(id).deleted : this.byId.get(id)?.deleted === true;
	}

	/**
	 * Returns the records whose text stands where this one shows: the message, and what edits it.
	 * @param {string} id
	 * @returns {string[]}
	 */
	versions(id) {
		const ids = [this.shownAs(id)];
		for (const at of ids) ids.push(...(this.about.get(at) ?? []).flatMap((record) => (record.kind === "edit" ? [record.id] : [])));
		return ids;
	}

	/**
	 * A message as it is now.
	 * @param {string} id of one that has a line
	 * @returns {View}
	 */
	view(id) {
		const known = this.views.get(id);
		if (known) return known;
		const view = this.#fold(id);
		this.views.set(id, view);
		return view;
	}

	/**
	 * @param {string} id
	 * @returns {View}
	 */
	#fold(id) {
		const record = this.byId.get(id);
		const about = [...(this.about.get(id) ?? [])];
		// A list that grows while it is walked: what refers to an edit refers to what that one edits.
		for (const referring of about) about.push(...(this.about.get(referring.id) ?? []));
		about.sort((a, b) => a.position - b.position);
		let text = record?.text ?? "";
		/** @type {string | null} */
		let from = id;
		let [edited, deleted, reason] = [record?.edited === true, record?.deleted === true, ""];
		/** @type {Map<string, {symbol: string, by: Map<string, string>}>} by what reads the same; member → name */
		const reactions = new Map();
		for (const { id: at, kind, member, author, symbol = "", set, text: instead = "", reason: why = "" } of about) {
			if (kind === "reaction") {
				if (!isVisible(symbol)) continue;
				const key = symbolKey(symbol);
				const { by } = reactions.get(key) ?? { by: new Map() };
				// A new one looks as whoever put it there first made it.
				if (by.size === 0) reactions.set(key, { symbol, by });
				if (set) by.set(member, author);
				else by.delete(member);
				// Only one's own words are changed; the server sees to it, and we do not depend on it.
			} else if (record && member === record.member) {
				if (kind === "edit") [text, from, edited] = [instead, at, true];
				else [deleted, reason] = [true, why];
			}
		}
		return {
			text: deleted ? null : text,
			from: deleted ? null : from,
			edited,
			deleted,
			reason,
			reactions: [...reactions.values()].filter(({ by }) => by.size > 0)
				.map(({ symbol, by }) => ({ symbol, by: [...by].map(([member, author]) => ({ member, author })) })),
		};
	}
}

/**
 * Which lines are in sight, when each is as high as it was measured, or as is guessed until then.
 */
export class Heights {
	/** @param {number} guess */
	constructor(guess) {
		this.guess = guess;
		/** @type {string[]} */
		this.keys = [];
		/** How many of them are known here: an array may have grown since. */
		this.count = 0;
		/** @type {Float64Array} how high each line is; not a number where it was not measured */
		this.sizes = new Float64Array(64);
		/** @type {Float64Array} where each line begins, and where the last ends */
		this.tops = new Float64Array(65);
		this.valid = 0;
	}

	/**
	 * Other lines at the end, or at the beginning, or altogether.
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

	/** @param {number} length */
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

	/** Where a line begins; behind the last, the height of all. @param {number} index */
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

	/** The line at this height, or the last. @param {number} y */
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

/** Lines of which only those in sight, and some around them, are in the document. */
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

	/** Whether the newest stays in sight. */
	get atEnd() {
		return this.following.atEnd;
	}

	set atEnd(atEnd) {
		this.following.atEnd = atEnd;
	}

	/** Other lines, or other contents. @param {string[]} keys */
	setKeys(keys) {
		const anchor = this.#anchor();
		const moved = this.heights.setKeys(keys);
		const index = !anchor ? -1 : moved === null ? keys.indexOf(anchor.key) : anchor.index + moved;
		this.layout(anchor && index >= 0 ? { index, offset: anchor.offset } : null);
	}

	/** These lines look different now. @param {Iterable<string>} keys */
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
