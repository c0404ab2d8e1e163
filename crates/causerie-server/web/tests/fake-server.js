// A server in this process that cuts connections, loses answers, forgets members and takes its time.

import assert from "node:assert/strict";

/** @typedef {{member: string, seq: number, said: Map<string, {id: string, position: number}>, gone: boolean, name: string}} Member */

export const realTimeout = globalThis.setTimeout;
/** Shortens all pauses. @type {any} */
export const fastTimeout = (/** @type {() => void} */ then, /** @type {number} */ ms) => realTimeout(then, ms / 500);

export class FakeServer {
	/** @param {import("./random.js").Random} random */
	constructor(random) {
		this.random = random;
		/** @type {any[]} */
		this.log = [];
		/** @type {Map<string, Member>} by token */
		this.members = new Map();
		/** @type {Map<string, string>} nonce → token */
		this.nonces = new Map();
		this.hostSeq = 0;
		/** @type {Set<FakeSocket>} */
		this.sockets = new Set();
		this.chaos = true;
		this.cuts = 0;
		this.expired = 0;
		/** @type {number | undefined} */
		this.bytesMax = undefined;
	}

	/** @param {object} record */
	append(record) {
		this.log.push({ position: this.log.length + 1, deps: [], time: "", ...record });
		for (const socket of this.sockets) socket.pump();
	}

	/** @param {string} name @param {string} nonce */
	join(name, nonce) {
		let token = this.nonces.get(nonce);
		if (!token) {
			const member = `0.${this.members.size + 1}`;
			token = `${member}.secret`;
			this.nonces.set(nonce, token);
			this.members.set(token, { member, seq: 0, said: new Map(), gone: false, name });
			this.append({ kind: "joined", id: `0.0#${(this.hostSeq += 1)}`, member, author: name });
		}
		return token;
	}

	/** @param {Member} member */
	expire(member) {
		member.gone = true;
		this.expired += 1;
		this.append({ kind: "left", id: `0.0#${(this.hostSeq += 1)}`, member: member.member, author: member.name, reason: "away" });
	}

	/** @param {Member} member @param {any} event */
	say(member, { id, kind, text }) {
		const known = member.said.get(id);
		if (known) return known;
		if (member.gone) return null;
		member.seq += 1;
		const said = { id: `${member.member}#${member.seq}`, position: this.log.length + 1 };
		member.said.set(id, said);
		this.append({ kind, id: said.id, member: member.member, author: member.name, text });
		return said;
	}

	/** Answers a request, as `fetch` does. @param {string} path @param {any} options */
	async fetch(path, { method, headers, body }) {
		if (this.chaos && this.random.chance(0.15)) throw new TypeError("no answer");
		const url = new URL(path, "http://localhost");
		const answer = (/** @type {number} */ status, /** @type {object} */ json) => ({ ok: status < 300, status, json: async () => json });
		if (path.endsWith("/ws")) return answer(405, { code: "not_a_websocket", message: "?" });
		if (method === "POST") {
			const member = this.members.get(headers.Authorization.slice(7));
			if (!member) return answer(401, { code: "wrong_token", message: "?" });
			const asked = JSON.parse(body);
			const said = this.say(member, asked);
			if (this.chaos && this.random.chance(0.2)) throw new TypeError("the answer is lost");
			return said ? answer(200, { id: asked.id, message: said.id, position: said.position }) : answer(410, { code: "expired", message: "?" });
		}
		if (!url.pathname.endsWith("/messages")) return answer(200, { epoch: "7", members: [], topic: null });
		const after = Number(url.searchParams.get("after") ?? 0);
		const messages = this.log.slice(after, after + 3);
		return answer(200, { epoch: "7", from: after + 1, to: after + messages.length, end: this.log.length, messages });
	}
}

/** A WebSocket, as a browser's. */
export class FakeSocket extends EventTarget {
	static OPEN = 1;
	/** @type {FakeServer} */
	static server;

	constructor() {
		super();
		this.readyState = 0;
		/** @type {number | null} */
		this.cursor = null;
		/** It is told several records at once. */
		this.batch = false;
		/** @type {Member | undefined} */
		this.member = undefined;
		this.later(() => {
			if (FakeSocket.server.chaos && FakeSocket.server.random.chance(0.2)) return this.cut();
			this.readyState = 1;
			this.dispatchEvent(new Event("open"));
		});
	}

	/** Hands over in order, but not at once. @param {() => void} then */
	later(then) {
		setImmediate(() => {
			if (this.readyState < 2) then();
		});
	}

	cut() {
		if (this.readyState >= 2) return;
		this.readyState = 3;
		FakeSocket.server.cuts += 1;
		FakeSocket.server.sockets.delete(this);
		setImmediate(() => this.dispatchEvent(new Event("close")));
	}

	close() {
		this.cut();
	}

	/** @param {object} event */
	tell(event) {
		this.later(() => {
			if (FakeSocket.server.chaos && FakeSocket.server.random.chance(0.04)) return this.cut();
			this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(event) }));
		});
	}

	pump() {
		const { log, random } = FakeSocket.server;
		while (this.cursor !== null && this.cursor < log.length) {
			const entries = log.slice(this.cursor, this.cursor + (this.batch ? 1 + random.below(3) : 1));
			const end = entries.findIndex((entry) => entry.kind === "left" && entry.member === this.member?.member);
			if (end >= 0) entries.splice(end + 1);
			this.cursor += entries.length;
			const records = entries.map((entry) => ({ type: ["joined", "left"].includes(entry.kind) ? entry.kind : "message", ...entry }));
			this.tell(this.batch ? records : records[0]);
			if (end >= 0) {
				this.tell({ type: "error", code: "expired", message: "?" });
				this.later(() => this.cut());
				this.cursor = null;
			}
		}
	}

	/** @param {string} text */
	send(text) {
		this.later(() => this.hear(JSON.parse(text)));
	}

	/** @param {any} event */
	hear(event) {
		const { server } = FakeSocket;
		if (server.chaos && server.random.chance(0.08)) return this.cut();
		if (event.type === "ping") return this.tell({ type: "pong" });
		if (event.type === "say") {
			const said = this.member && server.say(this.member, event);
			return this.tell(said ? { type: "ack", id: event.id, message: said.id, position: said.position } : { type: "error", code: "expired", message: "?", id: event.id });
		}
		const before = server.log.length;
		this.batch = event.batch === true;
		const token = event.type === "join" ? server.join(event.name, event.nonce) : event.token;
		this.member = server.members.get(token);
		if (!this.member || this.member.gone) return this.tell({ type: "error", code: "expired", message: "?" });
		for (const other of [...server.sockets]) {
			if (other.member !== this.member) continue;
			other.tell({ type: "error", code: "superseded", message: "?" });
			other.later(() => other.cut());
		}
		this.tell({ type: "welcome", room: "r", epoch: "7", member: this.member.member, token, position: server.log.length, bytes_max: server.bytesMax, members: [] });
		this.cursor = event.type === "join" ? before : event.after;
		server.sockets.add(this);
		this.pump();
	}
}

/** Lets pages in this process find the server where they look for theirs. @param {FakeServer} server @param {any} [fetched] what is fetched, in place of the server's */
export function standIn(server, fetched) {
	FakeSocket.server = server;
	Object.assign(globalThis, {
		WebSocket: FakeSocket, location: { href: "http://localhost/" }, setTimeout: fastTimeout,
		fetch: fetched ?? ((/** @type {string} */ path, /** @type {any} */ options) => server.fetch(path, options)),
	});
}

/**
 * Returns handlers for a session, and a log that takes in entries as the timeline does: what is known is left out, and a hole
 * is an error.
 * @returns {{heard: any[], handlers: any}}
 */
export function listener() {
	/** @type {any[]} */
	const heard = [];
	const nothing = () => {};
	const handlers = {
		onState: nothing, onWelcome: nothing, onReset: () => assert.fail("it is the same log"), onHeld: nothing, onReleased: nothing,
		onObserved: nothing, onUnobserved: nothing, onMembers: nothing, onSaid: nothing, onPlaced: nothing, save: nothing,
		onRefused: (/** @type {any} */ said, /** @type {any} */ problem) => assert.fail(`${said.text}: ${problem.message}`),
		lastPosition: () => heard.length,
		onEntries: (/** @type {any[]} */ entries) => {
			for (const entry of entries) {
				if (entry.position <= heard.length) continue;
				assert.equal(entry.position, heard.length + 1);
				heard.push(entry);
			}
		},
	};
	return { heard, handlers };
}
