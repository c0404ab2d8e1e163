// A run of the lab: what the server tells of a simulated group, as events for the picture, in causal order and as the
// messages arrived; and what the inspector wants to know of it.

import { History, directCauses, parseId } from "./causality.js";

/** @typedef {import("./diagram.js").DiagramEvent} DiagramEvent */
/** @typedef {import("./causality.js").Count} Count */

/**
 * @typedef {object} Told a line of the server's
 * @property {string} event
 * @property {number} at_us
 * @property {string} process
 * @property {string} message
 * @property {string[]} deps
 * @property {string} [waits_for]
 */
/** @typedef {{[count: string]: number}} Outcome */
/** @typedef {import("./room.js").Held} Held */
/**
 * @typedef {object} Shown what the inspector looks at: a room, or a run
 * @property {{byId: Map<string, import("./timeline.js").LogRecord>}} timeline
 * @property {import("./causality.js").History} history
 * @property {(member: string) => string} nameOf
 * @property {(id: string) => string} [words] a message's, where they change
 * @property {Map<string, Held & {since: number}>} held
 * @property {Map<string, Held>} wasHeld
 * @property {Map<string, import("./room.js").HeldAt[]>} [heldAt]
 * @property {Map<string, {clock: Held["clock"], at: string}>} [arrived] where it was not held
 */

const NAMES = ["Ann", "Bob", "Cleo", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jon"];

/** @param {string} member */
export const nameOf = (member) => NAMES[Number(member.split(".")[1]) - 1] ?? member;
/** @param {string} id */
export const called = (id) => `${nameOf(parseId(id).author)}#${parseId(id).seq}`;

export class Run {
	/** @param {string} lines as the server wrote them */
	constructor(lines) {
		/** @type {any[]} */
		const told = lines.trim().split("\n").map((line) => JSON.parse(line));
		const end = told.pop();
		if (end?.event !== "end") throw new Error(end?.message ?? "the run is cut off");
		/** @type {Outcome} */
		this.outcome = end;
		/** @type {string[]} */
		this.members = told.flatMap(({ event, process }) => (event === "start" ? [process] : []));
		this.history = new History();
		this.history.fromStart = true;
		/** @type {Shown["timeline"]} */
		this.timeline = { byId: new Map() };
		this.nameOf = nameOf;
		/** @type {Map<string, Held & {since: number}>} in the end nothing is */
		this.held = new Map();
		/** @type {Map<string, Held>} where it was held first */
		this.wasHeld = new Map();
		/** @type {Map<string, {clock: Map<string, Count>, at: string}>} where it was delivered first */
		this.arrived = new Map();
		/** @type {DiagramEvent[]} */
		this.causal = [];
		/** @type {DiagramEvent[]} */
		this.arrival = [];
		/** @type {number[]} how many arrivals there are among so many events in causal order */
		this.arrivals = [0];
		/** @type {number[]} when each event in causal order happened, in milliseconds */
		this.times = [];
		/** @type {number[]} those among the arrivals that show a message before one of its past */
		this.anomalies = [];
		this.#build(told.filter(({ event }) => ["send", "hold", "deliver"].includes(event)));
	}

	/** @param {Told[]} told */
	#build(told) {
		/** @type {Map<string, Map<string, Count>>} */
		const clocks = new Map(this.members.map((member) => [member, new Map()]));
		/** @type {Map<string, Set<string>>} what has arrived where */
		const here = new Map(this.members.map((member) => [member, new Set()]));
		for (const { event, at_us, process, message: id, deps, waits_for = "" } of told) {
			const { author, seq } = parseId(id);
			const clock = /** @type {Map<string, Count>} */ (clocks.get(process));
			const arrived = /** @type {Set<string>} */ (here.get(process));
			const time = Math.round(at_us / 1000);
			this.times.push(time);
			if (event === "send") {
				this.history.append({ id, author, seq, deps });
				const text = deps.length > 0 ? `after ${deps.map(called).join(", ")}` : seq > 1 ? "goes on" : "begins";
				this.timeline.byId.set(id, { kind: "text", position: 0, id, deps, time: "", member: author, author: nameOf(author), text });
				/** @type {DiagramEvent} */
				const sent = { kind: "send", at: process, id, causes: deps, label: `${called(id)} ${text}`, mark: `${time}` };
				this.causal.push(sent);
				this.arrival.push(sent);
			} else if (event === "hold") {
				this.causal.push({ kind: "hold", at: process, id, waitsFor: waits_for });
				if (!this.wasHeld.has(id)) this.wasHeld.set(id, { waitsFor: waits_for, clock: new Map(clock), at: process });
			} else {
				this.causal.push({ kind: "deliver", at: process, id });
				if (!this.arrived.has(id)) this.arrived.set(id, { clock: new Map(clock), at: process });
			}
			if (event !== "send" && !arrived.has(id)) this.#arrive(id, process, arrived);
			arrived.add(id);
			if (event !== "hold") clock.set(author, { count: seq, exact: true });
			this.arrivals.push(this.arrival.length);
		}
	}

	/**
	 * Shows it as it arrives.
	 * @param {string} id
	 * @param {string} at
	 * @param {Set<string>} arrived before it
	 */
	#arrive(id, at, arrived) {
		const message = /** @type {import("./causality.js").Message} */ (this.history.get(id));
		const missing = [...directCauses(message), ...this.history.past(id)].find((cause) => !arrived.has(cause));
		/** @type {DiagramEvent} */
		const event = { kind: "deliver", at, id };
		if (missing) {
			this.anomalies.push(this.arrival.length);
			Object.assign(event, { mark: "✗", label: `${called(id)} before ${called(missing)}` });
		}
		this.arrival.push(event);
	}
}
