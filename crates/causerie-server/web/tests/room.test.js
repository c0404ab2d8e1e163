import assert from "node:assert/strict";
import { test } from "node:test";

import { Room } from "../log/room.js";

/** A room in which Ann has asked, and Bob has answered. */
function room() {
	/** @type {import("../log/causality.js").DiagramEvent[]} */
	const drawn = [];
	const made = new Room("lobby", { outbox: [], refused: [] }, { save: () => {}, refresh: () => {} }, (change, detail) => {
		if (change === "lines") drawn.push(...detail.events);
		if (change === "held") drawn.push(...detail);
	});
	const { handlers } = made.session;
	const names = { "0.0": "", "0.1": "Ann", "0.2": "Bob", "0.3": "Eve" };
	let position = 0;
	/** @param {string} id @param {string[]} deps */
	const place = (id, deps) => {
		const member = /** @type {keyof typeof names} */ (id.split("#")[0]);
		position += 1;
		handlers.onEntries([{ kind: "text", position, id, deps, time: "2026-01-01T00:00:00Z", member, author: names[member], text: id }]);
	};
	handlers.onMembers(Object.entries(names).slice(1).map(([member, name]) => ({ member, name })));
	return { room: made, handlers, place, drawn };
}

test("the rule is told for the member that was clicked, by the clock that it has told", () => {
	const { room: lobby, handlers, place } = room();
	place("0.1#1", []);
	place("0.2#1", ["0.1#1"]);
	handlers.onObserved({ member: "0.3", message: "0.2#1", what: "held", waits_for: "0.1#1", held_ms: 0, clock: { "0.0": 0, "0.1": 0, "0.3": 0 } });
	handlers.onObserved({ member: "0.3", message: "0.1#1", what: "delivered" });
	handlers.onObserved({ member: "0.3", message: "0.2#1", what: "delivered", held_ms: 451 });
	const [server, eve, ...others] = lobby.receptions("0.2#1");
	assert.deepEqual(others, []);
	assert.deepEqual([server.at, server.how, lobby.placeOf(server.at)], ["0.0", "delivered", "the server"]);
	assert.deepEqual([eve.at, eve.how, eve.ms], ["0.3", "held", 451]);
	const rule = (/** @type {import("../log/causality.js").Reception} */ { clock }, id = "0.2#1") =>
		lobby.history.conditions(id, clock ?? undefined, lobby.everybody()).map(({ member, holds }) => `${member} ${holds}`);
	assert.deepEqual(rule(eve), ["0.2 true", "0.0 true", "0.1 false", "0.3 true"]);
	assert.deepEqual(rule(server), ["0.2 true", "0.0 true", "0.1 true", "0.3 true"]);
	// Of what was delivered at once no clock is told, and it is known that all conditions held.
	const [, question] = lobby.receptions("0.1#1");
	assert.deepEqual([question.at, question.how], ["0.3", "delivered"]);
	assert.deepEqual(rule(question, "0.1#1"), ["0.1 true", "0.0 true", "0.2 true", "0.3 true"]);
});

test("the topic is told as it stands", () => {
	const { room: lobby, handlers } = room();
	const common = { time: "2026-01-01T00:00:00Z", member: "0.1", author: "Ann", deps: [] };
	handlers.onEntries([{ ...common, kind: "topic", position: 1, id: "0.1#1", text: "secrets" }]);
	assert.equal(lobby.topic, "secrets");
	handlers.onEntries([{ ...common, kind: "edit", position: 2, id: "0.1#2", of: "0.1#1", text: "numbers" }]);
	assert.equal(lobby.topic, "numbers");
	handlers.onEntries([{ ...common, kind: "delete", position: 3, id: "0.1#3", of: "0.1#1" }]);
	assert.equal(lobby.topic, "");
});

test("what the server holds is drawn where it is held, and delivered there", () => {
	const { handlers, place, drawn } = room();
	place("0.1#1", []);
	handlers.onHeld("0.2#2", "0.2#1");
	place("0.2#1", []);
	place("0.2#2", []);
	assert.deepEqual(drawn.map(({ kind, at, id }) => `${kind} ${id} at ${at}`), [
		"send 0.1#1 at 0.1", "hold 0.2#2 at 0.0", "send 0.2#1 at 0.2", "send 0.2#2 at 0.2", "deliver 0.2#2 at 0.0",
	]);
});

test("what the server has let go is delivered there, whichever is told first", () => {
	const { handlers, place, drawn } = room();
	place("0.1#1", []);
	handlers.onHeld("0.2#2", "0.2#1");
	place("0.2#1", []);
	handlers.onReleased("0.2#2");
	place("0.2#2", []);
	const { kind, at, heldMs } = drawn[drawn.length - 1];
	assert.deepEqual([kind, at], ["deliver", "0.0"]);
	assert.equal(typeof heldMs, "number");
});

test("a hold that is told again is one", () => {
	const { handlers, place, drawn } = room();
	place("0.1#1", []);
	place("0.2#1", ["0.1#1"]);
	for (const held_ms of [0, 900]) handlers.onObserved({ member: "0.3", message: "0.2#1", what: "held", waits_for: "0.1#1", held_ms });
	assert.equal(drawn.filter(({ kind }) => kind === "hold").length, 1);
});
