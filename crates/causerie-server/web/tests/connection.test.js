// A session against a server in this process that cuts connections, loses answers, forgets members and takes its time.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FakeServer, FakeSocket, fastTimeout, realTimeout } from "./fake-server.js";
import { random } from "./random.js";

const FILE = "crates/causerie-server/web/tests/connection.test.js";

/** @param {number} seed */
async function run(seed) {
	const chance = random(seed);
	const server = new FakeServer(chance);
	FakeSocket.server = server;
	Object.assign(globalThis, {
		WebSocket: FakeSocket, location: { href: "http://localhost/" }, setTimeout: fastTimeout,
		fetch: (/** @type {string} */ path, /** @type {any} */ options) => server.fetch(path, options),
	});
	const { Session } = await import("../connection.js");
	for (let i = 0; i < 5; i += 1) server.append({ kind: "text", id: `0.99#${i + 1}`, member: "0.99", author: "X", text: `old ${i}` });
	/** @type {any[]} */
	const heard = [];
	/** @type {import("../connection.js").Membership} */
	const membership = { outbox: [], refused: [] };
	const session = new Session("r", membership, {
		onState: () => {}, onWelcome: () => {}, onReset: () => assert.fail("it is the same log"), onHeld: () => {}, onReleased: () => {}, onObserved: () => {}, onUnobserved: () => {},
		onMembers: () => {}, onSaid: () => {}, onPlaced: () => {}, save: () => {},
		onRefused: (said, problem) => assert.fail(`${said.text}: ${problem.message}`),
		lastPosition: () => heard.length,
		onEntries: (entries) => {
			// As the timeline does: what is known is left out, and a hole is an error.
			for (const entry of /** @type {any[]} */ (entries)) {
				if (entry.position <= heard.length) continue;
				assert.equal(entry.position, heard.length + 1);
				heard.push(entry);
			}
		},
	});
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
