import assert from "node:assert/strict";
import { test } from "node:test";

import { choose, enter, hover, on, roomOf, state } from "../state.js";

/** @type {any[]} everything that was told, in order */
const told = [];
on("room", ({ name }) => told.push(["room", name]));
on("selected", (id, at) => told.push(["selected", id, at]));
on("hovered", () => told.push(["hovered", state.hovered]));
on("change", ({ name }, change) => told.push(["change", name, change]));
on("outbox", () => told.push(["outbox"]));

/** Returns what was told since. */
const since = () => told.splice(0);

test("a message is chosen, another beside it, and none again", () => {
	since();
	choose("0.1#1", false);
	assert.deepEqual([state.selected, state.selectedAt], [["0.1#1"], null]);
	choose("0.1#2", true);
	assert.deepEqual(state.selected, ["0.1#1", "0.1#2"]);
	choose("0.1#3", true);
	assert.deepEqual(state.selected, ["0.1#1", "0.1#3"], "the first stays");
	choose("0.1#3", false, "0.2");
	assert.deepEqual([state.selected, state.selectedAt], [["0.1#3"], "0.2"]);
	choose("0.1#3", false);
	choose("0.1#3", false);
	assert.deepEqual(state.selected, [], "a line that is clicked again is not chosen any more");
	choose("0.1#3", false, "0.2");
	choose("0.1#3", false, "0.2");
	assert.deepEqual(state.selected, ["0.1#3"], "in the picture another event of it may be meant");
	choose(null, false);
	assert.deepEqual(state.selected, []);
	assert.equal(since().length, 9);
});

test("pointing at the same message again is no news", () => {
	since();
	hover("0.1#1");
	hover("0.1#1");
	hover(null);
	assert.deepEqual(since(), [["hovered", "0.1#1"], ["hovered", null]]);
});

test("changes are told of the room that is shown, and by name of all", () => {
	const [lobby, other] = [roomOf("lobby"), roomOf("other")];
	assert.equal(roomOf("lobby"), lobby);
	enter(lobby);
	choose("0.1#1", false);
	enter(other);
	assert.deepEqual([state.current, state.selected, state.selectedAt, state.hovered], [other, [], null, null]);
	since();
	lobby.onChange("outbox");
	other.onChange("outbox");
	assert.deepEqual(since(), [["change", "lobby", "outbox"], ["change", "other", "outbox"], ["outbox"]]);
});
