import assert from "node:assert/strict";
import { test } from "node:test";

import { Heights } from "../chat/list.js";
import { Timeline, keyOf } from "../log/timeline.js";
import { forSeeds } from "./random.js";

const FILE = "crates/causerie-server/web/tests/timeline.test.js";

/** @typedef {import("../wire/connection.js").LogRecord} LogRecord */
/** @typedef {import("../wire/connection.js").Entry} Entry */

/**
 * Returns a log with everything in it.
 * @param {import("./random.js").Random} random
 * @returns {Entry[]}
 */
function randomLog(random) {
	/** @type {Entry[]} */
	const log = [];
	/** @type {LogRecord[]} */
	const said = [];
	const seqs = [0, 0, 0, 0];
	for (let position = 1; position <= 60; position += 1) {
		if (random.chance(0.05)) {
			const to = position + random.below(3);
			log.push({ kind: "gap", from: position, to, why: "damaged" });
			position = to;
			continue;
		}
		const ordinal = random.below(4);
		seqs[ordinal] += 1;
		const base = {
			position, id: `0.${ordinal}#${seqs[ordinal]}`, deps: [], time: "", member: `0.${ordinal}`, author: `N${ordinal}`,
		};
		const target = said.length ? random.pick(said).id : undefined;
		const kind = random.pick(["text", "reply", "edit", "delete", "reaction", "topic", "joined"]);
		/** @type {LogRecord} */
		let record = { ...base, kind: "text", text: `t${position}` };
		if (kind === "topic") record = { ...base, kind: "topic", text: `about ${position}` };
		if (kind === "joined") record = { ...base, kind: "joined" };
		if (target && kind === "reply") record = { ...base, kind, to: target, text: `r${position}` };
		if (target && kind === "edit") record = { ...base, kind, of: target, text: `e${position}` };
		if (target && kind === "delete" && random.chance(0.3)) record = { ...base, kind, of: target };
		if (target && kind === "reaction") {
			record = { ...base, kind, to: target, symbol: random.pick(["+", "♥"]), set: random.chance(0.7) };
		}
		said.push(record);
		log.push(record);
	}
	return log;
}

/** @param {Timeline} timeline */
const shown = (timeline) =>
	timeline.lines.map((line) => [keyOf(line), line.kind === "gap" ? line : timeline.fold.view(line.id)]);

test("however the pages come, the same is shown", () => {
	forSeeds(300, FILE, (random) => {
		const log = randomLog(random);
		const whole = new Timeline();
		whole.append(log);
		const paged = new Timeline();
		let from = random.below(log.length);
		let to = from;
		paged.startAfter(from === 0 ? 0 : lastOf(log[from - 1]));
		while (from > 0 || to < log.length) {
			if (to < log.length && random.chance(0.5)) {
				const until = to + 1 + random.below(log.length - to);
				// What is there already comes again after a reconnect.
				paged.append(log.slice(Math.max(from, to - random.below(5)), until));
				to = until;
			} else if (from > 0) {
				const until = from - 1 - random.below(from);
				paged.prepend(log.slice(until, Math.min(to, from + random.below(5))));
				from = until;
			}
			// Looking at it in between must not freeze anything.
			shown(paged);
		}
		assert.deepEqual(shown(paged), shown(whole));
		assert.deepEqual(paged.records, whole.records);
		assert.deepEqual([paged.from, paged.to, paged.fold.topic], [whole.from, whole.to, whole.fold.topic]);
		for (const { id } of whole.records) assert.equal(paged.fold.shownAs(id), whole.fold.shownAs(id));
	});
});

/** @param {Entry} entry */
function lastOf(entry) {
	return entry.kind === "gap" ? entry.to : entry.position;
}

/**
 * @param {number} position
 * @param {string} id
 * @param {Partial<LogRecord>} rest
 * @returns {LogRecord}
 */
const record = (position, id, rest) => ({
	position, id, deps: [], time: "", member: id.split("#")[0], author: id.split("#")[0], kind: "text", ...rest,
});

test("edits, deletions and reactions change what they refer to", () => {
	const timeline = new Timeline();
	timeline.append([
		record(1, "0.1#1", { text: "helo" }),
		record(2, "0.1#2", { kind: "edit", of: "0.1#1", text: "hello" }),
		record(3, "0.2#1", { kind: "reaction", to: "0.1#2", symbol: "👍", set: true }),
		record(4, "0.2#2", { kind: "edit", of: "0.1#1", text: "not mine" }),
		record(5, "0.1#3", { kind: "edit", of: "0.1#2", text: "hello!" }),
		record(6, "0.3#1", { kind: "reaction", to: "0.1#1", symbol: "👍", set: true }),
		record(7, "0.3#2", { kind: "reaction", to: "0.1#1", symbol: "👍", set: false }),
	]);
	assert.equal(timeline.lines.length, 1);
	assert.deepEqual(timeline.fold.view("0.1#1"), {
		text: "hello!", from: "0.1#3", edited: true, deleted: false, reason: "", reactions: [{ symbol: "👍", by: [{ member: "0.2", author: "0.2" }] }],
	});
	timeline.append([
		record(8, "0.1#4", { kind: "delete", of: "0.1#1", reason: "mistaken" }),
		record(9, "0.1#5", { kind: "edit", of: "0.1#1", text: "back" }),
	]);
	const { text, deleted, reason } = timeline.fold.view("0.1#1");
	assert.deepEqual([text, deleted, reason], [null, true, "mistaken"], "a message that was deleted stays so");
});

test("what the server tells as deleted, is; and has no text", () => {
	const timeline = new Timeline();
	timeline.append([record(1, "0.1#1", { deleted: true }), record(2, "0.1#2", { text: "teh" }), record(3, "0.1#3", { kind: "edit", of: "0.1#2", text: "the" })]);
	assert.deepEqual([timeline.fold.view("0.1#1").text, timeline.fold.isDeleted("0.1#1"), timeline.fold.isDeleted("0.1#2")], [null, true, false]);
	assert.deepEqual(timeline.fold.versions("0.1#3"), ["0.1#2", "0.1#3"]);
});

test("reactions that read the same are one, and those that show nothing are none", () => {
	const timeline = new Timeline();
	const put = (/** @type {number} */ position, /** @type {string} */ by, /** @type {string} */ symbol, set = true) =>
		record(position, `${by}#${position}`, { kind: "reaction", to: "0.1#1", symbol, set });
	timeline.append([record(1, "0.1#1", { text: "x" }),
		put(2, "0.2", "❤"), put(3, "0.3", "❤\ufe0f"), put(4, "0.4", "é"), put(5, "0.5", "e\u0301"),
		// Flags of parts of a country differ by tags only, and people by skin.
		put(6, "0.2", "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}"), put(7, "0.3", "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}"),
		put(8, "0.2", "👍"), put(9, "0.3", "👍🏽"),
		put(10, "0.2", "\u200d"), put(11, "0.2", "\u202e"), put(12, "0.2", "\u0301".repeat(20)), put(13, "0.2", "\u2066x"),
		put(14, "0.2", "❤\ufe0f", false)]);
	assert.deepEqual(timeline.fold.view("0.1#1").reactions.map(({ symbol, by }) => [symbol, by.length]), [
		["❤", 1], ["é", 2],
		["🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}", 1], ["🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}", 1],
		["👍", 1], ["👍🏽", 1]]);
});

test("holes are errors, repetitions are not", () => {
	const timeline = new Timeline();
	timeline.startAfter(4);
	timeline.append([record(5, "0.1#1", {}), record(6, "0.1#2", {})]);
	assert.throws(() => timeline.append([record(8, "0.1#3", {})]), /7 is missing/);
	assert.throws(() => timeline.prepend([record(3, "0.2#1", {})]), /4 is missing/);
	assert.equal(timeline.append([record(6, "0.1#2", {})]).length, 0);
	assert.equal(timeline.prepend([{ kind: "gap", from: 1, to: 4, why: "removed" }]).length, 1);
	assert.deepEqual([timeline.from, timeline.to, timeline.records.length], [1, 6, 2]);
});

test("heights: as if all were added up each time", () => {
	forSeeds(200, FILE, (random) => {
		const heights = new Heights(10);
		/** @type {Map<string, number>} */
		const real = new Map();
		let keys = ["a"];
		heights.setKeys(keys);
		for (let step = 0; step < 60; step += 1) {
			const what = random.below(5);
			const fresh = Array.from({ length: random.below(4) }, (_, i) => `${step} ${i}`);
			// A list that grows at its end may be the same array.
			if (what === 0 && random.chance(0.5)) keys.push(...fresh);
			else if (what === 0) keys = [...keys, ...fresh];
			// Nobody has told of what came to its end when others come to its beginning.
			if (what === 1 && random.chance(0.3)) keys.push(`${step} more`);
			if (what === 1) keys = [...fresh, ...keys];
			if (what < 2) heights.setKeys(keys);
			if (what === 2) {
				const index = random.below(keys.length);
				const height = random.below(50);
				assert.equal(heights.measure(index, height), real.get(keys[index]) !== height);
				real.set(keys[index], height);
			}
			if (what === 3 && random.chance(0.1)) {
				heights.reset();
				real.clear();
			}
			const tops = [0];
			for (const key of keys) tops.push(tops[tops.length - 1] + (real.get(key) ?? 10));
			const index = random.below(keys.length + 1);
			assert.equal(heights.top(index), tops[index]);
			if (random.chance(0.5)) assert.equal(heights.total, tops[keys.length]);
			const y = random.below(tops[keys.length] + 20);
			let expected = 0;
			while (expected + 1 < keys.length && tops[expected + 1] <= y) expected += 1;
			assert.equal(heights.at(y), expected);
		}
	});
});
