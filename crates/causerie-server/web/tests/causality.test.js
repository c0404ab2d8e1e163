import assert from "node:assert/strict";
import { test } from "node:test";

import { History, parseId, shiviz } from "../log/causality.js";
import { forSeeds, randomRoom } from "./random.js";

const FILE = "crates/causerie-server/web/tests/causality.test.js";

/**
 * @param {import("../log/causality.js").Message[]} messages
 * @param {number} [from]
 */
function history(messages, from = 0) {
	const history = new History();
	history.fromStart = from === 0;
	for (const message of messages.slice(from)) history.append(message);
	return history;
}

/** @param {string} id @param {string[]} deps */
const message = (id, ...deps) => ({ id, ...parseId(id), deps });

test("past, future and relation are those that the authors knew", () => {
	forSeeds(60, FILE, (random) => {
		const log = randomRoom(random, 1 + random.below(6), 40);
		const from = random.chance(0.5) ? random.below(20) : 0;
		const kept = log.slice(from);
		const all = history(log, from);
		const at = new Set(kept.map(({ id }) => id));
		for (const { id, known } of kept) {
			assert.deepEqual(all.past(id), new Set([...known].filter((earlier) => at.has(earlier))));
			assert.deepEqual(all.future(id), new Set(kept.filter((later) => later.known.has(id)).map((later) => later.id)));
		}
		for (const a of kept) {
			for (const b of kept) {
				const expected = a === b ? "same" : b.known.has(a.id) ? "before" : a.known.has(b.id) ? "after" : "concurrent";
				assert.equal(all.relation(a.id, b.id), expected, `${a.id} and ${b.id}`);
				const path = all.path(a.id, b.id);
				assert.equal(path.length > 0, expected === "before");
				for (let i = 1; i < path.length; i += 1) {
					const { author, seq, deps } = /** @type {import("../log/causality.js").Message} */ (all.get(path[i]));
					assert.ok(deps.includes(path[i - 1]) || path[i - 1] === `${author}#${seq - 1}`, path.join(" "));
				}
			}
		}
	});
});

test("past and future of what is pointed at go on being right, and are not worked out anew for each message", () => {
	forSeeds(60, FILE, (random) => {
		const log = randomRoom(random, 1 + random.below(6), 60);
		let [from, to] = [20, 30];
		const grown = history(log.slice(0, to), from);
		/** @type {string[]} */
		let focus = [];
		for (let step = 0; step < 40; step += 1) {
			if (random.chance(0.3) && from > 0) {
				const more = Math.min(from, 1 + random.below(5));
				grown.prepend(log.slice(from - more, from));
				from -= more;
			} else if (to < log.length) {
				const futures = focus.map((id) => grown.future(id));
				grown.append(log[to]);
				to += 1;
				for (const [i, id] of focus.entries()) assert.equal(grown.future(id), futures[i]);
			}
			const fresh = history(log.slice(0, to), from);
			focus = [log[from + random.below(to - from)].id, ...focus].slice(0, 3);
			for (const id of focus) {
				const lowest = log[from + random.below(to - from)].id;
				const behind = new Set(log.slice(log.findIndex((message) => message.id === lowest), to).map((message) => message.id));
				const near = [...grown.past(id, lowest)].filter((earlier) => behind.has(earlier));
				assert.deepEqual(new Set(near), new Set([...fresh.past(id)].filter((earlier) => behind.has(earlier))));
				if (random.chance(0.5)) assert.deepEqual(grown.past(id), fresh.past(id));
				assert.deepEqual(grown.future(id), fresh.future(id));
			}
			const { id } = log[from + random.below(to - from)];
			assert.deepEqual(grown.clockBefore(id).get(parseId(id).author), fresh.clockBefore(id).get(parseId(id).author));
		}
	});
});

test("whole vectors: exact where it says so, and never too much", () => {
	let inexact = 0;
	forSeeds(60, FILE, (random) => {
		const log = randomRoom(random, 5, 40);
		const from = random.chance(0.5) ? random.below(30) : 0;
		const all = history(log, from);
		for (const { id, author, seq, known } of log.slice(from)) {
			const expected = new Map([[author, seq]]);
			for (const earlier of known) {
				const { author: whose, seq: which } = parseId(earlier);
				if (whose !== author) expected.set(whose, Math.max(which, expected.get(whose) ?? 0));
			}
			const vector = all.vector(id);
			if (from === 0) assert.equal(vector.size, expected.size);
			for (const [member, { count, exact }] of vector) {
				const real = expected.get(member) ?? 0;
				assert.ok(exact ? count === real : count <= real, `${id}: ${member} ${count} ${real}`);
				inexact += Number(!exact);
			}
		}
	});
	if (process.env.SEED === undefined) assert.ok(inexact > 0, "some runs must lack a part of the past");
});

test("the log's clock and both conditions", () => {
	forSeeds(40, FILE, (random) => {
		const log = randomRoom(random, 4, 30);
		const from = random.chance(0.5) ? random.below(20) : 0;
		const all = history(log, from);
		for (const [index, { id, author }] of log.entries()) {
			if (index < from) continue;
			const clock = all.clockBefore(id);
			for (const [member, { count, exact }] of clock) {
				const real = log.slice(0, index).filter((other) => other.author === member).length;
				assert.ok(exact ? count === real : count <= real);
			}
			// In the log's order everything is deliverable in its turn.
			const conditions = all.conditions(id);
			assert.ok(conditions.every(({ holds }) => holds), id);
			assert.deepEqual(conditions.map(({ rule }) => rule), [1, ...conditions.slice(1).map(() => 2)]);
			assert.equal(conditions[0].member, author);
		}
	});
});

test("an answer that overtakes its question fails on the question's author", () => {
	const all = history([message("0.1#1"), message("0.2#1", "0.1#1"), message("0.2#2")]);
	all.fromStart = true;
	const empty = new Map();
	const failing = (/** @type {string} */ id, /** @type {Map<string, import("../log/causality.js").Count>} */ clock) =>
		all.conditions(id, clock).filter(({ holds }) => !holds).map(({ member, rule, stamp, clock }) => [member, rule, stamp.count, clock.count]);
	assert.deepEqual(failing("0.2#1", empty), [["0.1", 2, 1, 0]]);
	assert.deepEqual(failing("0.2#2", empty), [["0.2", 1, 2, 0], ["0.1", 2, 1, 0]]);
	assert.deepEqual(failing("0.2#2", new Map([["0.1", { count: 1, exact: true }]])), [["0.2", 1, 2, 0]]);
});

test("what comes before is added in front, in any pages", () => {
	forSeeds(30, FILE, (random) => {
		const log = randomRoom(random, 4, 30);
		const all = new History();
		let from = 10 + random.below(20);
		let to = from;
		while (from > 0 || to < log.length) {
			if (to < log.length && random.chance(0.5)) {
				all.append(log[to]);
				to += 1;
			} else if (from > 0) {
				const page = 1 + random.below(from);
				all.prepend(log.slice(from - page, from));
				from -= page;
			}
		}
		const plain = history(log);
		for (const { id } of log) {
			assert.deepEqual(all.past(id), plain.past(id));
			assert.deepEqual(all.followers.get(id), plain.followers.get(id));
			assert.deepEqual(all.clockBefore(id).get("0.1"), plain.clockBefore(id).get("0.1"));
		}
	});
	assert.throws(() => history([message("0.1#1"), message("0.1#1")]), /there already/);
});

test("a log for ShiViz has the same order", () => {
	forSeeds(20, FILE, (random) => {
		const log = randomRoom(random, 4, 25);
		const text = shiviz(log, (member) => (member === "0.2" ? "An n\u2028\"" : "Bob"), ({ id }) => `${id}:\nx`);
		const lines = text.trimEnd().split("\n");
		assert.deepEqual(lines.slice(0, 2), ["(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})", ""]);
		const events = log.map(({ id }, i) => {
			assert.equal(lines[2 + 2 * i], `${id}: x`);
			const line = lines[3 + 2 * i];
			const space = line.indexOf(" ");
			return { host: line.slice(0, space), clock: JSON.parse(line.slice(space)) };
		});
		assert.equal(new Set(events.map(({ host }) => host)).size, new Set(log.map(({ author }) => author)).size);
		for (const [i, a] of events.entries()) {
			for (const [j, b] of events.entries()) {
				if (i !== j) assert.equal((b.clock[a.host] ?? 0) >= a.clock[a.host], log[j].known.has(log[i].id));
			}
		}
	});
});
