import assert from "node:assert/strict";
import { test } from "node:test";

import { Run } from "../lab/run.js";

/**
 * Ann asks, Bob answers, and his answer overtakes her question on the way to Cleo and to Dan, who each hold it: Cleo for
 * 600 ms, Dan, whom Cleo had written meanwhile, for longer.
 */
const LINES = [
	...["0.1", "0.2", "0.3", "0.4"].map((process) => ({ at_us: 0, process, event: "start" })),
	{ at_us: 0, process: "0.1", event: "send", message: "0.1#1", deps: [] },
	{ at_us: 100_000, process: "0.2", event: "deliver", message: "0.1#1", deps: [] },
	{ at_us: 200_000, process: "0.2", event: "send", message: "0.2#1", deps: ["0.1#1"] },
	{ at_us: 250_000, process: "0.3", event: "send", message: "0.3#1", deps: [] },
	{ at_us: 290_000, process: "0.4", event: "deliver", message: "0.3#1", deps: [] },
	{ at_us: 300_000, process: "0.3", event: "hold", message: "0.2#1", deps: ["0.1#1"], waits_for: "0.1#1" },
	{ at_us: 300_000, process: "0.4", event: "hold", message: "0.2#1", deps: ["0.1#1"], waits_for: "0.1#1" },
	{ at_us: 900_000, process: "0.3", event: "deliver", message: "0.1#1", deps: [] },
	{ at_us: 900_000, process: "0.3", event: "deliver", message: "0.2#1", deps: ["0.1#1"], held_us: 600_000 },
	{ at_us: 1_500_000, process: "0.4", event: "deliver", message: "0.1#1", deps: [] },
	{ at_us: 1_500_000, process: "0.4", event: "deliver", message: "0.2#1", deps: ["0.1#1"], held_us: 1_200_000 },
	{ event: "end", messages: 3 },
].map((line) => JSON.stringify(line)).join("\n");

/** @param {import("../log/causality.js").Reception | undefined} reception */
const told = (reception) => reception && {
	how: reception.how, ms: reception.ms, clock: [...reception.clock ?? []].map(([member, { count }]) => `${member}: ${count}`).join(", "),
};

test("how a message fared is told for each member that received it", () => {
	const run = new Run(LINES);
	const at = (/** @type {"causal" | "arrival"} */ order, /** @type {string} */ member) =>
		told(run.in(order).receptions("0.2#1").find((reception) => reception.at === member));
	assert.deepEqual(at("causal", "0.3"), { how: "held", ms: 600, clock: "0.1: 0, 0.2: 0, 0.3: 1, 0.4: 0" });
	assert.deepEqual(at("causal", "0.4"), { how: "held", ms: 1200, clock: "0.1: 0, 0.2: 0, 0.3: 1, 0.4: 0" });
	assert.equal(at("causal", "0.2"), undefined, "whoever sends it does not receive it");
	const question = run.in("causal").receptions("0.1#1");
	assert.deepEqual(question.map(({ at: member, how }) => `${member} ${how}`), ["0.2 delivered", "0.3 delivered", "0.4 delivered"]);
	// As it arrives nothing is held, and the rule that failed is known all the same.
	assert.deepEqual(at("arrival", "0.4"), { how: "shown", ms: undefined, clock: "0.1: 0, 0.2: 0, 0.3: 1, 0.4: 0" });
	assert.ok(run.arrival.every(({ kind }) => kind !== "hold"));
	assert.deepEqual(run.arrival.filter(({ wrong }) => wrong).map(({ at: member }) => member), ["0.3", "0.4"]);
});

test("each member has a condition, those of whom nothing was delivered among them", () => {
	const run = new Run(LINES);
	const shown = run.in("causal");
	const held = shown.receptions("0.2#1").find(({ at }) => at === "0.4");
	const conditions = run.history.conditions("0.2#1", held?.clock ?? undefined, shown.everybody());
	assert.deepEqual(conditions.map(({ member, stamp, clock, holds }) => `${member}: ${stamp.count} of ${clock.count} ${holds}`),
		["0.2: 1 of 0 true", "0.1: 1 of 0 false", "0.3: 0 of 1 true", "0.4: 0 of 0 true"]);
});

test("events have their times, and a delivery for how long it was held", () => {
	const run = new Run(LINES);
	const last = run.causal[run.causal.length - 1];
	assert.deepEqual([last.kind, last.mark, last.heldMs], ["deliver", "1500", 1200]);
	assert.ok(run.causal.every(({ mark }) => mark !== undefined));
});
