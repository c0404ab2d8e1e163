import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { Timeline, firstOf, lastOf } from "../log/timeline.js";

/** The cases that the Rust fold passes as well; its README.md tells the format and the rules. */
const CASES = new URL("../../../causerie-core/tests/timeline/", import.meta.url);

/** @typedef {import("../wire/connection.js").Entry} Entry */
/** @typedef {{about: string, log?: Entry[], pages?: Entry[][], lines: any[], topic: string | null}} Case */

/** @param {Timeline} timeline @param {Entry[]} page */
function load(timeline, page) {
	if (page.length === 0) return;
	if (timeline.to < timeline.from) timeline.startAfter(firstOf(page[0]) - 1);
	if (lastOf(page[page.length - 1]) < timeline.from) timeline.prepend(page);
	else timeline.append(page);
}

/** Returns a line as the cases have it. @param {Timeline} timeline @param {Entry} entry */
function lineOf({ fold }, entry) {
	if (entry.kind === "gap") return entry;
	const { id, kind, author } = entry;
	if (kind === "joined" || kind === "left") return { id, kind, author, ...(entry.reason && { reason: entry.reason }) };
	const { text, edited, deleted, reason, reactions } = fold.view(id);
	const { id: target, ...quote } = fold.quote(entry.to ?? "");
	const reply = { id: target, ...(quote.author !== null && { author: quote.author }), ...(quote.text !== null && { text: quote.text }), ...(quote.deleted && { deleted: true }) };
	return {
		id, kind, author,
		...(text !== null && { text }),
		...(edited && { edited }),
		...(deleted && { deleted }),
		...(reason && { reason }),
		...(kind === "reply" && { reply }),
		...(reactions.length > 0 && { reactions: reactions.map(({ symbol, by }) => ({ symbol, count: by.length, names: by.map(({ author: name }) => name) })) }),
	};
}

/** @param {Entry[][]} pages */
function shown(pages) {
	const timeline = new Timeline();
	for (const page of pages) {
		load(timeline, page);
		// What was asked for in between is not remembered too long.
		for (const entry of timeline.lines) lineOf(timeline, entry);
	}
	return { lines: timeline.lines.map((entry) => lineOf(timeline, entry)), topic: timeline.fold.topic };
}

const files = readdirSync(CASES).filter((name) => name.endsWith(".json"));

test("there are as many cases as there were", () => assert.ok(files.length >= 80, `${files.length}`));

for (const file of files) {
	/** @type {Case} */
	const { about, log, pages, lines, topic } = JSON.parse(readFileSync(new URL(file, CASES), "utf8"));
	test(`${file}: ${about}`, () => {
		assert.ok((log === undefined) !== (pages === undefined), "either a log or pages");
		const expected = { lines, topic };
		if (pages) {
			assert.deepEqual(shown(pages), expected);
			return;
		}
		const whole = /** @type {Entry[]} */ (log);
		for (let cut = 0; cut <= whole.length; cut += 1) {
			assert.deepEqual(shown([whole.slice(cut), whole.slice(0, cut)]), expected, `the records from ${cut} on are loaded first`);
		}
		assert.deepEqual(shown(whole.map((entry) => [entry])), expected, "one by one");
		assert.deepEqual(shown(whole.map((entry) => [entry]).reverse()), expected, "one by one from the last");
	});
}
