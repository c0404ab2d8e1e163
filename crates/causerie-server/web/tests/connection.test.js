// A session against a server in this process that cuts connections, loses answers, forgets members and takes its time.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeServer, FakeSocket, listener, realTimeout, standIn } from "./fake-server.js";
import { random } from "./random.js";

const FILE = "crates/causerie-server/web/tests/connection.test.js";

/** @param {number} seed */
async function run(seed) {
	const chance = random(seed);
	const server = new FakeServer(chance);
	standIn(server);
	const { Session } = await import("../wire/connection.js");
	for (let i = 0; i < 5; i += 1) server.append({ kind: "text", id: `0.99#${i + 1}`, member: "0.99", author: "X", text: `old ${i}` });
	const { heard, handlers } = listener();
	/** @type {import("../lib/memory.js").Membership} */
	const membership = { outbox: [], refused: [] };
	const session = new Session("r", membership, handlers);
	session.start("Ann");
	const said = [];
	for (let i = 0; i < 25; i += 1) {
		said.push(`text ${i}`);
		session.say({ id: `id${i}`, kind: "text", text: `text ${i}` });
		if (chance.chance(0.3)) server.append({ kind: "text", id: `0.99#${100 + i}`, member: "0.99", author: "X", text: `x ${i}` });
		if (chance.chance(0.06)) for (const member of server.members.values()) if (!member.gone) server.expire(member);
		if (chance.chance(0.1)) for (const socket of [...server.sockets]) socket.cut();
		for (let turns = chance.below(12); turns > 0; turns -= 1) await new Promise((resolve) => setImmediate(resolve));
	}
	server.chaos = false;
	const settled = () => membership.outbox.length === 0 && heard.length === server.log.length;
	for (let turns = 0; turns < 20_000 && !settled(); turns += 1) await new Promise((resolve) => realTimeout(resolve, 1));
	session.stop();
	assert.ok(settled(), `it does not settle: ${session.state}, ${membership.outbox.length} on their way, ${heard.length} of ${server.log.length}`);
	const placed = server.log.filter(({ author, kind }) => author === "Ann" && kind === "text").map(({ text }) => text);
	assert.deepEqual([...placed].sort(), [...said].sort(), "each once");
	assert.deepEqual(heard.map(({ id }) => id), server.log.map(({ id }) => id));
	return server;
}

test("whatever happens to connections, each message is said once and the log is heard whole", async () => {
	const seeds = process.env.SEED === undefined ? Array.from({ length: 60 }, (_, seed) => seed) : [Number(process.env.SEED)];
	let [cuts, expired] = [0, 0];
	for (const seed of seeds) {
		try {
			const server = await run(seed);
			cuts += server.cuts;
			expired += server.expired;
		} catch (error) {
			console.error(`replay: SEED=${seed} node --test ${FILE}`);
			throw error;
		}
	}
	if (process.env.SEED === undefined) assert.ok(cuts > 60 && expired > 10, "there was trouble enough");
});

/** Makes a session with a server that does not get in its way, and a list of what it tells. @param {FakeServer} server @param {any} [fetched] */
async function calm(server, fetched) {
	server.chaos = false;
	standIn(server, fetched);
	const { Session } = await import("../wire/connection.js");
	/** @type {import("../lib/memory.js").Membership} */
	const membership = { outbox: [], refused: [] };
	/** @type {string[]} */
	const refused = [];
	/** @type {string[]} */
	const states = [];
	let last = 0;
	const ignore = () => {};
	const session = new Session("r", membership, {
		onState: (state) => states.push(state), onWelcome: ignore, onReset: ignore, onHeld: ignore, onReleased: ignore, onObserved: ignore, onUnobserved: ignore,
		onMembers: ignore, onSaid: ignore, onPlaced: ignore, save: ignore, lastPosition: () => last,
		onRefused: (said, { code }) => refused.push(`${said.id} ${code}`),
		onEntries: (entries) => (last = Math.max(last, ...entries.map((entry) => (entry.kind === "gap" ? entry.to : entry.position)))),
	});
	const until = async (/** @type {() => boolean} */ condition) => {
		for (let n = 0; n < 20_000 && !condition(); n += 1) await new Promise((resolve) => realTimeout(resolve, 1));
		assert.ok(condition(), `${states}; ${refused}`);
	};
	return { session, membership, refused, states, until };
}

test("what can never be said leaves the outbox, also one of before, and what comes next is said", async () => {
	const server = new FakeServer(random(1));
	server.bytesMax = 200;
	const { session, membership, refused, until } = await calm(server);
	// How much may be sent is known once the server has told.
	membership.outbox.push({ id: "old", kind: "text", text: "x".repeat(300) }, { id: "half", kind: "text", text: "\udc4d" }, { id: "fine", kind: "text", text: "👍" });
	session.start("Ann");
	await until(() => membership.outbox.length === 0);
	session.say({ id: "cut", kind: "text", text: "half an \ud83d" });
	session.say({ id: "long", kind: "text", text: "é".repeat(100) });
	session.say({ id: "mark", kind: "reaction", to: "0.1#1", symbol: "\ud83d", set: true });
	session.say({ id: "next", kind: "text", text: "the next" });
	await until(() => membership.outbox.length === 0);
	assert.deepEqual(refused, ["old too_long", "half malformed", "cut malformed", "long too_long", "mark malformed"]);
	assert.deepEqual(server.log.flatMap(({ kind, text }) => (kind === "text" ? [text] : [])), ["👍", "the next"]);
	session.stop();
});

test("a page whose origin is refused says so, and does not try again and again", async () => {
	const server = new FakeServer(random(2));
	let asked = 0;
	const { session, states, until } = await calm(server, async () => {
		asked += 1;
		return { ok: false, status: 403, json: async () => ({ code: "foreign_origin", message: "?" }) };
	});
	globalThis.WebSocket = /** @type {any} */ (class extends FakeSocket {
		constructor() {
			super();
			setImmediate(() => this.cut());
		}
	});
	session.start("Ann");
	await until(() => states.includes("foreign"));
	assert.deepEqual([states, asked], [["connecting", "waiting", "foreign"], 1]);
	session.stop();
});
