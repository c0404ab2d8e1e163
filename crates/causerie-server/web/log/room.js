// One room as this page knows it: its log, what that means for causality and for the picture, who is in, what is on its
// way, and what was read.

import { History, parseId } from "./causality.js";
import { PAGE, describeRoom, readPage } from "../wire/connection.js";
import { Onlooker } from "../wire/onlooker.js";
import { SharedSession } from "../wire/sharing.js";
import { flat, isMentioned } from "../lib/text.js";
import { Timeline, isSaid } from "./timeline.js";

/** @typedef {import("../wire/connection.js").Entry} Entry */
/** @typedef {import("../wire/connection.js").LogRecord} LogRecord */
/** @typedef {import("./causality.js").DiagramEvent} DiagramEvent */
/** @typedef {import("../wire/connection.js").Member} Member */
/** @typedef {import("../lib/memory.js").Outgoing} Outgoing */
/** @typedef {import("../wire/connection.js").Problem} Problem */

/** @typedef {import("../lib/memory.js").Memory} Memory */
/** @typedef {import("./causality.js").Reception} Reception */
/** @typedef {{waitsFor: string, clock: Map<string, import("./causality.js").Count>}} Held a message that is held, with the clock of the server when it came */
/** @typedef {"lines" | "state" | "members" | "outbox" | "refused" | "held" | "reset" | "older"} Change */

/** Returns the words of a record by itself, as it was said. @param {LogRecord} record */
export function wordsOf(record) {
	if (record.deleted) return "deleted";
	switch (record.kind) {
		case "text":
		case "notice":
		case "reply": return record.text ?? "";
		case "action": return `${record.author} ${record.text ?? ""}`;
		case "edit": return `edits ${record.of}: ${record.text ?? ""}`;
		case "delete": return `deletes ${record.of}`;
		case "reaction": return `${record.set ? "reacts" : "takes back"} ${record.symbol} (${record.to})`;
		case "topic": return `topic: ${record.text}`;
		case "joined": return `${record.author} joined`;
		case "left": return `${record.author} left`;
		default: return "something that this page does not know";
	}
}

/** A room, as this page knows it. */
export class Room {
	/**
	 * @param {string} name
	 * @param {Memory} memory changed in place
	 * @param {{save: () => void, refresh: () => void}} keeper of the memory
	 * @param {(change: Change, detail?: any) => void} onChange
	 */
	constructor(name, memory, { save, refresh }, onChange) {
		this.name = name;
		this.memory = memory;
		this.save = save;
		this.onChange = onChange;
		/** @type {Map<string, string>} */
		this.names = new Map();
		/** @type {Member[]} */
		this.members = [];
		/** @type {string | null} as described, before the record that set it is at hand */
		this.topicBefore = null;
		/** @type {Problem | undefined} */
		this.problem = undefined;
		this.opened = false;
		this.loadingOlder = false;
		this.timeline = new Timeline();
		this.history = new History();
		/** @type {DiagramEvent[]} */
		this.events = [];
		/** @type {Map<string, Held & {since: number}>} messages that are held at the server now */
		this.held = new Map();
		/** @type {Map<string, Held & {ms: number}>} messages that were held, with the reason */
		this.wasHeld = new Map();
		/** @type {Map<string, Reception[]>} receptions at members, as they say, by message */
		this.observed = new Map();
		/** @type {Map<string, Set<string>>} messages that a member has held and not said to have delivered, by member */
		this.heldNow = new Map();
		/** Number of observations of members that were not told. */
		this.unobserved = 0;
		/** True when positions that cannot be read lie between those that can. */
		this.gapped = false;
		/** @type {Map<string, number>} positions of messages that call us */
		this.mentions = new Map();
		const following = {
			/** @param {Entry[]} entries */
			onEntries: (entries) => this.#take(entries),
			lastPosition: () => this.timeline.to,
			onReset: () => {
				this.memory.read = undefined;
				this.#forget();
				onChange("reset");
			},
			/** @param {string} id @param {string} waitsFor */
			onHeld: (id, waitsFor) => this.#hold(id, waitsFor),
			/** @param {string} id */
			onReleased: (id) => this.#release(id),
			/** @param {import("../wire/connection.js").Seen} seen */
			onObserved: (seen) => this.#observe(seen),
			/** @param {number} count */
			onUnobserved: (count) => {
				this.unobserved += count;
				onChange("held", []);
			},
			/** @param {Member[]} members */
			onMembers: (members) => this.#meet(members),
		};
		this.onlooker = new Onlooker(name, following);
		this.session = new SharedSession(name, memory, {
			...following,
			onState: (state, problem) => {
				this.problem = problem;
				if (state === "live") this.#joined();
				this.#look();
				onChange("state", state);
			},
			onWelcome: ({ members }) => this.#meet(members),
			onSaid: () => onChange("outbox"),
			onPlaced: () => onChange("outbox"),
			onRefused: (said, problem) => onChange("refused", { said, problem, own: this.session.isOwn(said) }),
			save,
			refresh,
		});
	}

	/** Forgets the log: it is another one now. */
	#forget() {
		this.timeline = new Timeline();
		this.history = new History();
		this.events = [];
		this.held.clear();
		this.wasHeld.clear();
		this.observed.clear();
		this.heldNow.clear();
		this.unobserved = 0;
		this.gapped = false;
		this.mentions.clear();
	}

	#joined() {
		if (this.memory.joined) return;
		this.memory.joined = true;
		this.save();
	}

	/** @param {Member[]} members */
	#meet(members) {
		this.members = members;
		for (const { member, name } of members) this.names.set(member, name);
		this.onChange("members");
	}

	/** Reads the last page, and comes in again if we were in. */
	async open() {
		if (!this.opened) {
			const [{ topic, members, epoch }, page] = await Promise.all([describeRoom(this.name), readPage(this.name)]);
			this.opened = true;
			this.topicBefore = topic;
			if (this.memory.epoch !== undefined && this.memory.epoch !== epoch) this.memory.read = undefined;
			this.timeline.startAfter(page.from - 1);
			this.#take(page.messages);
			this.memory.read ??= page.to;
			this.#meet(members);
		}
		if (this.session.state !== "idle") return;
		if (this.memory.name && this.memory.joined) this.session.start(this.memory.name);
		else this.#look();
	}

	/** @param {string | undefined} name */
	join(name = this.memory.name) {
		if (!name) return;
		this.memory.name = name;
		this.session.start(name);
	}

	/** Reads along where nobody has joined. */
	#look() {
		this.onlooker.look(this.opened && ["idle", "refused"].includes(this.session.state));
	}

	/** Tries at once to connect, without waiting for a pause to end. */
	hurry() {
		this.session.hurry();
		this.onlooker.hurry();
	}

	close() {
		this.onlooker.look(false);
		this.session.stop();
	}

	/** Returns the own member, if there is one. */
	get me() {
		return this.memory.member;
	}

	/** Returns the name of a member. @param {string} member */
	nameOf(member) {
		if (member.endsWith(".0")) return "room";
		return this.names.get(member) ?? member;
	}

	/** Returns the topic as it reads now; empty if there is none. */
	get topic() {
		return this.timeline.fold.topic ?? this.topicBefore ?? "";
	}

	/** @param {Entry[]} entries */
	#take(entries) {
		const added = this.timeline.append(entries);
		if (added.length === 0) return;
		for (const entry of added) {
			if (entry.kind === "gap") {
				this.gapped = true;
				continue;
			}
			this.names.set(entry.member, entry.author);
			this.history.append({ id: entry.id, ...parseId(entry.id), deps: entry.deps });
			const held = this.held.get(entry.id);
			if (held) {
				this.wasHeld.set(entry.id, { ...held, ms: Date.now() - held.since });
				this.held.delete(entry.id);
			}
			if (entry.kind === "joined" && !this.members.some(({ member }) => member === entry.member)) {
				this.members = [...this.members, { member: entry.member, name: entry.author }];
			}
			if (entry.kind === "left") this.members = this.members.filter(({ member }) => member !== entry.member);
		}
		this.#knowsStart();
		const isUnknown = (/** @type {Entry} */ entry) => (entry.kind === "edit" || entry.kind === "delete") && !this.timeline.fold.byId.has(entry.of ?? "");
		if (this.timeline.fold.topic === null && this.topicBefore && added.some(isUnknown)) void this.#readTopic();
		const reworded = this.#reword(added);
		const events = added.flatMap((entry) => {
			if (entry.kind === "gap") return [];
			const before = entry.deps.flatMap((dep) => this.#deliveredBy(entry.member, dep));
			const held = this.wasHeld.get(entry.id);
			/** @type {DiagramEvent[]} */
			const after = held ? [{ kind: "deliver", at: hostOf(entry.id), id: entry.id, heldMs: held.ms }] : [];
			return [...before, ...this.#eventOf(entry), ...after];
		});
		this.events.push(...events);
		this.onChange("lines", { added, events, reworded });
	}

	/** Reads the topic: what set it may stand further up, and be changed by what is not at hand. */
	async #readTopic() {
		const { topic } = await describeRoom(this.name).catch(() => ({ topic: this.topicBefore }));
		this.topicBefore = topic;
		this.onChange("outbox");
	}

	/**
	 * Takes in changes of earlier messages, and returns those that say something else now, or nothing any more.
	 * @param {Entry[]} added
	 */
	#reword(added) {
		/** @type {Set<string>} */
		const reworded = new Set();
		for (const entry of added) {
			if (entry.kind === "edit" || entry.kind === "delete") for (const id of this.timeline.fold.versions(entry.id)) reworded.add(id);
		}
		if (reworded.size > 0) for (const event of this.events) if (event.kind === "send" && reworded.has(event.id)) event.label = this.label(event.id);
		for (const id of [...reworded, ...added.flatMap((entry) => (isSaid(entry) && entry.kind !== "gap" ? [entry.id] : []))]) this.#noteMention(id);
		return reworded;
	}

	/** @param {string} id */
	#noteMention(id) {
		const record = this.timeline.fold.byId.get(id);
		if (record && isSaid(record) && this.isMention(record)) this.mentions.set(id, record.position);
		else this.mentions.delete(id);
	}

	/** Returns whether it calls us, by name or as an answer to something of ours. @param {LogRecord} record */
	isMention(record) {
		if (this.me === undefined || record.member === this.me) return false;
		const { text } = this.timeline.fold.view(record.id);
		if (text === null) return false;
		return (record.kind === "reply" && record.to?.split("#")[0] === this.me) || isMentioned(text, this.memory.name);
	}

	/** Returns a message's words as they are today: none of one that was deleted, nor of what an edit has taken away. @param {string} id */
	words(id) {
		const { timeline } = this;
		const record = timeline.fold.byId.get(id);
		if (!record) return "";
		if (record.kind === "edit") return timeline.fold.view(timeline.fold.shownAs(id)).from === id ? wordsOf(record) : `edits ${record.of}`;
		if (!isSaid(record)) return wordsOf(record);
		const { text } = timeline.fold.view(id);
		return wordsOf({ ...record, text: text ?? "", deleted: text === null });
	}

	#knowsStart() {
		const [first] = this.timeline.records;
		this.history.fromStart = !this.gapped && this.timeline.from === 1 && first !== undefined;
	}

	/** Reads the page before the first line at hand. @returns {Promise<boolean>} whether there was one */
	async readOlder(limit = PAGE) {
		if (this.loadingOlder || !this.opened || this.timeline.from <= 1) return false;
		this.loadingOlder = true;
		try {
			const { timeline } = this;
			const page = await readPage(this.name, { before: timeline.from, limit });
			if (timeline !== this.timeline) return false;
			const added = timeline.prepend(page.messages);
			const records = added.flatMap((entry) => (entry.kind === "gap" ? [] : [entry]));
			if (records.length < added.length) this.gapped = true;
			for (const { member, author } of records) if (!this.names.has(member)) this.names.set(member, author);
			this.history.prepend(records.map(({ id, deps }) => ({ id, ...parseId(id), deps })));
			this.#knowsStart();
			this.#reword(added);
			const events = added.flatMap((entry) => this.#eventOf(entry));
			this.events = events.concat(this.events);
			this.onChange("older", events);
			return added.length > 0;
		} finally {
			this.loadingOlder = false;
		}
	}

	/**
	 * @param {string} id
	 * @param {string} waitsFor
	 */
	#hold(id, waitsFor) {
		// It may have been placed while this was on its way.
		if (this.timeline.fold.byId.has(id) || this.held.has(id)) return;
		this.held.set(id, { waitsFor, clock: this.history.clock(), since: Date.now() });
		/** @type {DiagramEvent} */
		const event = { kind: "hold", at: hostOf(id), id, waitsFor };
		this.events.push(event);
		this.onChange("held", [event]);
	}

	/** @param {string} id */
	#release(id) {
		const held = this.held.get(id);
		if (!held) return;
		this.held.delete(id);
		this.wasHeld.set(id, { ...held, ms: Date.now() - held.since });
		// Released without a place: its author has left, and it was given up. Or its record is the next that comes.
		setTimeout(() => {
			if (this.timeline.fold.byId.has(id)) return;
			/** @type {DiagramEvent} */
			const event = { kind: "drop", at: hostOf(id), id };
			this.events.push(event);
			this.onChange("held", [event]);
		}, 1_000);
		this.onChange("held", []);
	}

	/** @param {import("../wire/connection.js").Seen} seen */
	#observe({ member, message, what, waits_for: waitsFor, held_ms: ms, clock }) {
		// What was said before we came in is not in the picture.
		if (!this.timeline.fold.byId.has(message)) return;
		/** @type {DiagramEvent} */
		const event = { kind: what === "held" ? "hold" : "deliver", at: member, id: message, waitsFor, observed: true };
		const receptions = this.observed.get(message) ?? [];
		this.observed.set(message, receptions);
		const known = receptions.find(({ at }) => at === member);
		if (what === "held") {
			// It is told again after a connection was cut.
			if (known) return;
			const had = clock ? new Map(Object.entries(clock).map(([of, count]) => [of, { count, exact: true }])) : null;
			receptions.push({ at: member, how: "held", clock: had, waitsFor, ms: null });
			this.heldNow.set(member, (this.heldNow.get(member) ?? new Set()).add(message));
		} else {
			if (known) known.ms = ms ?? null;
			else receptions.push({ at: member, how: "delivered", clock: null });
			if (known || ms !== undefined) event.heldMs = ms;
			this.heldNow.get(member)?.delete(message);
		}
		const events = [...(what === "held" ? [] : this.#deliveredBy(member, message)), event];
		this.events.push(...events);
		this.onChange("held", events);
	}

	/**
	 * Returns deliveries that a member must have made before this one: its author's messages before. They may have been too
	 * many to be told.
	 * @param {string} member
	 * @param {string} id
	 * @returns {DiagramEvent[]}
	 */
	#deliveredBy(member, id) {
		const held = this.heldNow.get(member);
		if (!held) return [];
		const { author, seq } = parseId(id);
		const done = [...held].filter((other) => parseId(other).author === author && parseId(other).seq <= seq);
		for (const other of done) held.delete(other);
		return done.map((other) => ({ kind: "deliver", at: member, id: other, observed: true }));
	}

	/** Returns the place where a member delivers, in words. @param {string} member */
	placeOf(member) {
		return member.endsWith(".0") ? "the server" : this.nameOf(member);
	}

	/** Returns the members who are in, the room's host among them. */
	everybody() {
		return [...new Set([...this.members.map(({ member }) => hostOf(member)), ...this.members.map(({ member }) => member)])];
	}

	/**
	 * Returns the receptions of a message: at the server, and where members have told of it.
	 * @param {string} id
	 * @returns {Reception[]}
	 */
	receptions(id) {
		const at = hostOf(id);
		const now = this.held.get(id);
		if (now) return [{ at, how: "held", clock: now.clock, waitsFor: now.waitsFor, ms: null }];
		if (!this.history.get(id)) return [];
		const held = this.wasHeld.get(id);
		/** @type {Reception} */
		const server = held ? { at, how: "held", ...held } : { at, how: "delivered", clock: this.history.clockBefore(id) };
		const members = (this.observed.get(id) ?? []).map((seen) => (seen.how === "delivered" ? { ...seen, clock: this.history.clockAtLeast(id) } : seen));
		return [server, ...members];
	}

	/** Returns the number of messages that others have said since this was read. */
	get unread() {
		const read = this.memory.read ?? this.timeline.to;
		let count = 0;
		for (let i = this.timeline.lines.length - 1; i >= 0; i -= 1) {
			const line = this.timeline.lines[i];
			if (line.kind === "gap" || line.position <= read) break;
			if (isSaid(line) && line.member !== this.me && !this.timeline.fold.isDeleted(line.id)) count += 1;
		}
		return count;
	}

	/** Returns the number of unread messages that call us. */
	get unreadMentions() {
		const read = this.memory.read ?? this.timeline.to;
		let count = 0;
		for (const position of this.mentions.values()) if (position > read) count += 1;
		return count;
	}

	/** Notes that all that is at hand has been read. */
	markRead() {
		if ((this.memory.read ?? 0) >= this.timeline.to) return;
		this.memory.read = this.timeline.to;
		this.save();
	}

	/** Returns the messages that were said here and have no place yet. @returns {Outgoing[]} */
	get outbox() {
		return this.memory.outbox;
	}

	/** Returns a message as the log has it, if it is at hand. @param {string} id */
	record(id) {
		return this.timeline.fold.byId.get(id);
	}

	/** Returns its words for the picture. @param {string} id */
	label(id) {
		return flat(this.words(id));
	}

	/** @param {Entry} entry @returns {DiagramEvent[]} */
	#eventOf(entry) {
		if (entry.kind === "gap") return [];
		const quiet = entry.kind === "joined" || entry.kind === "left";
		return [{
			kind: "send", at: parseId(entry.id).author, id: entry.id, causes: entry.deps, label: this.label(entry.id),
			mark: String(entry.position), quiet,
		}];
	}
}

/** Returns the host of the origin of a message, or of a member: the server delivers there. @param {string} id */
const hostOf = (id) => `${id.split(".")[0]}.0`;
