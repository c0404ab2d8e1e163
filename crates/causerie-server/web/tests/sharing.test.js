// Pages of one browser in one room: whichever has the connection, whoever goes, each message is said once and all hear all.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeServer, listener, realTimeout, standIn } from "./fake-server.js";
import { random } from "./random.js";

const FILE = "crates/causerie-server/web/tests/sharing.test.js";

/** @typedef {import("../lib/memory.js").Membership} Membership */

/** A channel between pages of one browser. */
class FakeChannel {
	/** @param {Set<FakeChannel>} all */
	constructor(all) {
		this.all = all;
		/** @type {((event: any) => void)[]} */
		this.listeners = [];
		all.add(this);
	}

	/** @param {"message"} _type @param {(event: any) => void} then */
	addEventListener(_type, then) {
		this.listeners.push(then);
	}

	/** @param {any} message */
	postMessage(message) {
		const data = JSON.stringify(message);
		for (const other of this.all) {
			if (other !== this) setImmediate(() => this.all.has(other) && other.listeners.forEach((then) => then({ data: JSON.parse(data) })));
		}
	}
}

/** @param {number} seed */
async function run(seed) {
	const chance = random(seed);
	const server = new FakeServer(chance);
	standIn(server);
	const { SharedSession } = await import("../wire/sharing.js");
	/** @type {Set<FakeChannel>} */
	const channels = new Set();
	/** The storage of the browser, as memory.js keeps it. @type {{[field: string]: any}} */
	const stored = {};
	/** @type {Map<string, any>} */
	const outbox = new Map();
	const fields = ["token", "member", "nonce", "epoch"];
	const open = () => {
		const { heard, handlers } = listener();
		/** @type {Membership} */
		const membership = { outbox: [], refused: [] };
		/** @type {{[field: string]: any}} */
		const before = {};
		const mine = /** @type {{[field: string]: any}} */ (membership);
		/** @type {import("../lib/memory.js").Outgoing[]} */
		let had = [];
		const channel = new FakeChannel(channels);
		const session = new SharedSession("r", membership, {
			...handlers,
			save: () => {
				for (const field of fields) if (mine[field] !== before[field]) stored[field] = before[field] = mine[field];
				for (const said of had) if (!membership.outbox.includes(said)) outbox.delete(said.id);
				for (const said of membership.outbox) if (!had.includes(said)) outbox.set(said.id, said);
				had = [...membership.outbox];
			},
			refresh: () => {
				for (const field of fields) mine[field] = before[field] = stored[field];
				for (const [id, said] of outbox) if (!membership.outbox.some((other) => other.id === id)) membership.outbox.push(said);
				had = [...membership.outbox];
			},
		}, channel, `page ${chance.below(1e9)}`);
		session.start("Ann");
		return { session, heard, membership, channel };
	};
	/** Ends a page without a word. @param {ReturnType<typeof open>} page */
	const crash = ({ session, channel }) => {
		channels.delete(channel);
		session.suspend();
	};
	let pages = [open()];
	let led = 0;
	const said = [];
	for (let i = 0; i < 25; i += 1) {
		// Others come in once one is.
		if (pages.length < 4 && stored.token && chance.chance(0.25)) pages.push(open());
		const page = chance.pick(pages);
		// Who is not in yet has no field to write in.
		if (page.session.state === "live") {
			said.push(`text ${i}`);
			page.session.say({ kind: "text", text: `text ${i}` });
		}
		await new Promise((resolve) => realTimeout(resolve, chance.below(6)));
		if (chance.chance(0.1)) server.append({ kind: "text", id: `0.99#${i + 1}`, member: "0.99", author: "X", text: `x ${i}` });
		if (chance.chance(0.1)) for (const socket of [...server.sockets]) socket.cut();
		if (pages.length > 1 && chance.chance(0.15)) {
			const gone = chance.pick(pages);
			led += Number(gone.session.leading);
			pages = pages.filter((other) => other !== gone);
			if (chance.chance(0.5)) crash(gone);
			else gone.session.suspend();
		}
	}
	server.chaos = false;
	const settled = () => pages.filter(({ session }) => session.leading).length === 1 && server.sockets.size === 1 && pages.every(({ session, heard, membership }) =>
		session.state === "live" && membership.outbox.length === 0 && heard.length === server.log.length);
	for (let n = 0; n < 20_000 && !settled(); n += 1) await new Promise((resolve) => realTimeout(resolve, 1));
	const states = pages.map(({ session, heard, membership }) => `${session.state} ${session.leading} ${membership.outbox.length} ${heard.length}`);
	assert.ok(settled(), `it does not settle: ${states.join("; ")} of ${server.log.length}, with ${server.sockets.size} connections`);
	for (const { session } of pages) session.stop();
	const placed = server.log.filter(({ author, kind }) => author === "Ann" && kind === "text").map(({ text }) => text);
	assert.deepEqual([...placed].sort(), [...said].sort(), "each once");
	return { led, members: server.members.size, pages: pages.length };
}

test("pages of one browser are one member with one connection, whichever goes", async () => {
	const seeds = process.env.SEED === undefined ? Array.from({ length: 20 }, (_, seed) => seed) : [Number(process.env.SEED)];
	let [led, several] = [0, 0];
	for (const seed of seeds) {
		try {
			const told = await run(seed);
			assert.equal(told.members, 1, "one membership");
			led += told.led;
			several += Number(told.pages > 1);
		} catch (error) {
			console.error(`replay: SEED=${seed} node --test ${FILE}`);
			throw error;
		}
	}
	if (process.env.SEED === undefined) assert.ok(led > 5 && several > 10, "leaders went, and several pages were there at the end");
});
