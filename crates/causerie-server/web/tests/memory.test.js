// What pages of one browser remember together: each of them is a module of its own here.

import assert from "node:assert/strict";
import { test } from "node:test";

/** @typedef {typeof import("../lib/memory.js")} Page */

let stored = /** @type {string | null} */ (null);
Object.assign(globalThis, {
	localStorage: { getItem: () => stored, setItem: (/** @type {string} */ _key, /** @type {string} */ value) => (stored = value) },
});
let pages = 0;
/** @returns {Promise<Page>} */
const open = () => import(`../lib/memory.js?${(pages += 1)}`);
const rooms = () => JSON.parse(stored ?? "{}").rooms;
const said = (/** @type {string} */ id) => ({ id, kind: "text", text: id });
const ids = (/** @type {{id: string}[]} */ list) => list.map(({ id }) => id);

test("each page writes what it has changed, and takes over what others have", async () => {
	stored = null;
	const [a, b] = [await open(), await open()];
	const inA = a.recall("lobby");
	Object.assign(inA, { token: "t1", joined: true, read: 5, draft: "of a" });
	inA.outbox.push(said("1"));
	a.memory.name = "Ann";
	a.save();
	b.refresh();
	const inB = b.recall("lobby");
	assert.deepEqual([inB.token, inB.read, ids(inB.outbox), b.memory.name], ["t1", 5, ["1"], "Ann"]);
	inB.read = 9;
	inB.outbox.push(said("2"));
	b.save();
	// It knows nothing of 2 and of 9, and writes nothing of that.
	inA.outbox.splice(0, 1);
	inA.draft = "more";
	a.save();
	assert.deepEqual([rooms().lobby.read, ids(rooms().lobby.outbox), rooms().lobby.draft, rooms().lobby.token], [9, ["2"], "more", "t1"]);
	a.refresh();
	assert.deepEqual([inA.read, inA.draft, ids(inA.outbox)], [9, "more", []], "lists are told of in another way");
	// Unless it asks for them: their page may be gone.
	a.refresh(true);
	assert.deepEqual(ids(inA.outbox), ["2"]);
	a.save();
	assert.deepEqual(ids(rooms().lobby.outbox), ["2"]);
	inA.outbox.pop();
	a.save();
	assert.deepEqual(ids(rooms().lobby.outbox), []);
	// Gone is gone: who still has the old one does not bring it back.
	inB.token = undefined;
	b.save();
	a.save();
	a.refresh();
	assert.equal(inA.token, undefined);
	assert.equal("token" in rooms().lobby, false);
	// What is changed here and not written yet stays.
	inA.read = 12;
	inB.read = 11;
	b.save();
	a.refresh();
	assert.equal(inA.read, 12);
});

test("rooms may be called as anything that objects have", async () => {
	stored = null;
	const a = await open();
	for (const name of ["__proto__", "constructor", "hasOwnProperty", "toString"]) {
		assert.deepEqual(a.recall(name), { outbox: [], refused: [] });
		Object.assign(a.recall(name), { joined: true, draft: name });
	}
	a.save();
	const b = await open();
	for (const name of ["__proto__", "constructor", "hasOwnProperty", "toString"]) {
		assert.deepEqual([b.recall(name).joined, b.recall(name).draft], [true, name]);
	}
	assert.equal(Object.getPrototypeOf(rooms()), Object.prototype);
	assert.equal(/** @type {any} */ ({}).joined, undefined);
});

test("what is not ours is nothing", async () => {
	for (const strange of ["", "{", "[]", "null", '{"rooms":[1,2],"name":7}', '{"rooms":{"lobby":null,"x":"y"}}']) {
		stored = strange;
		const a = await open();
		assert.deepEqual(a.recall("lobby"), { outbox: [], refused: [] }, strange);
		a.save();
	}
});
