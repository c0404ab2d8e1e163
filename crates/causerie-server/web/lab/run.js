// A run of the lab: what the server tells of a simulated group, as events for the picture, in causal order and as the
// messages arrived; and what the inspector wants to know of it.

import { History, compareMembers, directCauses, parseId } from "../log/causality.js";

/** @typedef {import("../log/causality.js").DiagramEvent} DiagramEvent */
/** @typedef {import("../log/causality.js").Count} Count */
/** @typedef {import("../log/causality.js").Reception} Reception */
/** @typedef {import("../picture/inspector.js").Shown} Shown */
/** @typedef {"causal" | "arrival"} Order in which messages are delivered: after their causes, or as they arrive */

/**
 * @typedef {object} Told a line of the server's
 * @property {string} event
 * @property {number} at_us
 * @property {string} process
 * @property {string} message
 * @property {string[]} deps
 * @property {string} [waits_for]
 * @property {number} [held_us]
 */
/** @typedef {{[count: string]: number}} Outcome */

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
		/** @type {Map<string, import("../wire/connection.js").LogRecord>} */
		this.records = new Map();
		this.nameOf = nameOf;
		/** @type {{[order in Order]: Map<string, Map<string, Reception>>}} by message, by member */
		this.receptions = { causal: new Map(), arrival: new Map() };
		/** @type {DiagramEvent[]} */
		this.causal = [];
		/** @type {DiagramEvent[]} */
		this.arrival = [];
		/** @type {number[]} number of arrivals among so many events in causal order */
		this.arrivals = [0];
		/** @type {number[]} time of each event in causal order, in milliseconds */
		this.times = [];
		/** @type {number[]} those among the arrivals that show a message before one of its past */
		this.anomalies = [];
		this.#build(told.filter(({ event }) => ["send", "hold", "deliver"].includes(event)));
	}

	/** Returns the run as the inspector looks at it. @param {Order} order @returns {Shown} */
	in(order) {
		return {
			record: (id) => this.records.get(id), history: this.history, nameOf, placeOf: nameOf, everybody: () => this.members,
			receptions: (id) => [...this.receptions[order].get(id)?.values() ?? []].sort((a, b) => compareMembers(a.at, b.at)),
		};
	}

	/** @param {Order} order @param {string} id @param {Reception} reception */
	#receive(order, id, reception) {
		const known = this.receptions[order].get(id) ?? new Map();
		this.receptions[order].set(id, known.set(reception.at, reception));
	}

	/** @param {Told[]} told */
	#build(told) {
		/** @type {Map<string, Map<string, Count>>} */
		const clocks = new Map(this.members.map((member) => [member, new Map(this.members.map((other) => [other, { count: 0, exact: true }]))]));
		/** @type {Map<string, Set<string>>} messages that have arrived, by member */
		const here = new Map(this.members.map((member) => [member, new Set()]));
		for (const { event, at_us, process, message: id, deps, waits_for = "", held_us } of told) {
			const { author, seq } = parseId(id);
			const clock = /** @type {Map<string, Count>} */ (clocks.get(process));
			const arrived = /** @type {Set<string>} */ (here.get(process));
			const time = Math.round(at_us / 1000);
			const mark = String(time);
			this.times.push(time);
			if (event === "send") {
				this.history.append({ id, author, seq, deps });
				const text = deps.length > 0 ? `after ${deps.map(called).join(", ")}` : seq > 1 ? "goes on" : "begins";
				this.records.set(id, { kind: "text", position: 0, id, deps, time: "", member: author, author: nameOf(author), text });
				/** @type {DiagramEvent} */
				const sent = { kind: "send", at: process, id, causes: deps, label: `${called(id)} ${text}`, mark };
				this.causal.push(sent);
				this.arrival.push(sent);
			} else if (event === "hold") {
				this.causal.push({ kind: "hold", at: process, id, waitsFor: waits_for, mark });
				this.#receive("causal", id, { at: process, how: "held", clock: new Map(clock), waitsFor: waits_for, ms: null });
			} else {
				const ms = held_us === undefined ? undefined : Math.round(held_us / 1000);
				this.causal.push({ kind: "deliver", at: process, id, mark, heldMs: ms });
				const held = this.receptions.causal.get(id)?.get(process);
				if (held) held.ms = ms;
				else this.#receive("causal", id, { at: process, how: "delivered", clock: new Map(clock) });
			}
			if (event !== "send" && !arrived.has(id)) this.#arrive(id, process, arrived, mark);
			arrived.add(id);
			if (event !== "hold") clock.set(author, { count: seq, exact: true });
			this.arrivals.push(this.arrival.length);
		}
	}

	/**
	 * Notes a delivery in the order of arrival.
	 * @param {string} id
	 * @param {string} at
	 * @param {Set<string>} arrived before it
	 * @param {string} mark
	 */
	#arrive(id, at, arrived, mark) {
		const message = /** @type {import("../log/causality.js").Message} */ (this.history.get(id));
		const missing = [...directCauses(message), ...this.history.past(id)].find((cause) => !arrived.has(cause));
		/** @type {DiagramEvent} */
		const event = { kind: "deliver", at, id, mark };
		if (missing) {
			this.anomalies.push(this.arrival.length);
			Object.assign(event, { wrong: true, label: `${called(id)} before ${called(missing)}` });
		}
		this.arrival.push(event);
		// Of each member all up to the first that is missing: what the rule would ask for.
		const clock = new Map(this.members.map((member) => {
			let count = 0;
			while (arrived.has(`${member}#${count + 1}`)) count += 1;
			return [member, { count, exact: true }];
		}));
		this.#receive("arrival", id, { at, how: "shown", clock, waitsFor: missing });
	}
}
