// A stretch of a room's log: records come in, in pages and live, and have their lines in the order of the positions, always.

import { Fold, hasLine } from "./fold.js";

/** @typedef {import("../wire/connection.js").Entry} Entry */
/** @typedef {import("../wire/connection.js").LogRecord} LogRecord */

/** Returns the first position of an entry. @param {Entry} entry */
export const firstOf = (entry) => (entry.kind === "gap" ? entry.from : entry.position);
/** Returns the last position of an entry. @param {Entry} entry */
export const lastOf = (entry) => (entry.kind === "gap" ? entry.to : entry.position);
/** Returns a name for a line that stays the same. @param {Entry} entry */
export const keyOf = (entry) => (entry.kind === "gap" ? `gap ${entry.from}` : entry.id);

/** Returns whether an entry is a message, of all that happens in a room. @param {Entry} entry */
export const isSaid = (entry) => ["text", "action", "notice", "reply"].includes(entry.kind);

/** One stretch of a room's log, without holes, that grows at both ends. */
export class Timeline {
	constructor() {
		/** @type {Entry[]} entries that have a line of their own, in order */
		this.lines = [];
		/** @type {string[]} names of the lines */
		this.keys = [];
		/** @type {LogRecord[]} all records, in order */
		this.records = [];
		/** The messages among them, as they read now. */
		this.fold = new Fold();
		/** The first and the last position at hand: `to < from` as long as there is nothing. */
		this.from = 1;
		this.to = 0;
	}

	/** Begins after this position. @param {number} position */
	startAfter(position) {
		if (this.to >= this.from) throw new Error("there is something already");
		[this.from, this.to] = [position + 1, position];
	}

	/**
	 * Adds what follows the last position at hand. What is there already is left out; a hole is an error.
	 * @param {Entry[]} entries
	 * @returns {Entry[]} those that were new
	 */
	append(entries) {
		const added = [];
		for (const entry of entries) {
			if (lastOf(entry) <= this.to) continue;
			if (firstOf(entry) > this.to + 1) throw new RangeError(`${this.to + 1} is missing before ${firstOf(entry)}`);
			this.to = lastOf(entry);
			if (hasLine(entry)) {
				this.lines.push(entry);
				this.keys.push(keyOf(entry));
			}
			if (entry.kind !== "gap") {
				this.records.push(entry);
				this.fold.take(entry);
			}
			added.push(entry);
		}
		return added;
	}

	/**
	 * Adds what comes right before the first position at hand.
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
			if (hasLine(entry)) lines.push(entry);
			if (entry.kind !== "gap") records.push(entry);
		}
		for (const record of records) this.fold.take(record);
		// One copy; arguments would not hold a long page.
		this.lines = lines.concat(this.lines);
		this.keys = lines.map(keyOf).concat(this.keys);
		this.records = records.concat(this.records);
		this.from = next;
		return added;
	}
}
