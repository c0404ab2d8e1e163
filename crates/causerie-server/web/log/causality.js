// What happened before what, worked out of the messages' own dependencies. No clock on any wall is read here.
//
// A history is a stretch of a room's log: a linear extension of the causal order, without holes between its first
// and its last message. So whatever lies on a causal path between two of its messages is in it too, and what is
// before what among them is exact, even where the log's beginning is not at hand. Where an answer does depend on
// what is not at hand it says so (`exact`).

/**
 * @typedef {object} Message
 * @property {string} id "0.7#90": author and number
 * @property {string} author "0.7"
 * @property {number} seq 90
 * @property {string[]} deps what its author had delivered last, beside its own message before
 */

/** @typedef {{count: number, exact: boolean}} Count how many messages of a member; at least, if not exact */
/** @typedef {"same" | "before" | "after" | "concurrent"} Relation */

/**
 * @typedef {object} Condition one line of the delivery rule of Birman, Schiper and Stephenson
 * @property {string} member whose messages are counted
 * @property {1 | 2} rule 1: the next of its author; 2: all that its author had delivered
 * @property {Count} stamp what the message says
 * @property {Count} clock what had been delivered where it arrived
 * @property {boolean} holds
 */

/**
 * Reception of a message at a member.
 * @typedef {object} Reception
 * @property {string} at the member; of a room's host, the server
 * @property {"held" | "delivered" | "shown"} how held until its causes had been delivered; delivered when it was received; or,
 *   where nothing is ever held, delivered all the same
 * @property {Map<string, Count> | null} clock what had been delivered there when it was received; null: that is not told
 * @property {string} [waitsFor] of what is or was held
 * @property {number | null} [ms] for how long it was held; null: it still is, or it is not known
 */

/**
 * @typedef {object} DiagramEvent
 * @property {"send" | "hold" | "deliver" | "drop"} kind a message is sent by the member `at`; or received there and
 *   held; or delivered there, when it was received or after it was held; or given up there, held until then
 * @property {string} at
 * @property {string} id the message
 * @property {string[]} [causes] of "send": from where arrows come
 * @property {string} [waitsFor] of "hold"
 * @property {string} [label] of "send": what it says, in short
 * @property {string} [mark] what stands at the row's left, such as its position, or when it was
 * @property {number} [heldMs] of "deliver": for how long it was held
 * @property {boolean} [observed] a member has told of it that runs a group of its own
 * @property {boolean} [wrong] of "deliver": before one of its causes
 * @property {boolean} [quiet] of "send": drawn small, since it says only who came or went
 */

/** Vectors that are remembered; each has an entry for each member. */
const VECTORS_MAX = 2_000;
/** Messages whose past and future are kept up to date: one that is pointed at, those that are chosen. */
const CONES_MAX = 4;

/**
 * Reads "0.7#90".
 * @param {string} id
 * @returns {{author: string, seq: number}}
 */
export function parseId(id) {
	const hash = id.lastIndexOf("#");
	return { author: id.slice(0, hash), seq: Number(id.slice(hash + 1)) };
}

/**
 * Compares two members: by origin, then by ordinal.
 * @param {string} a
 * @param {string} b
 */
export function compareMembers(a, b) {
	const [a0, a1] = a.split(".").map(Number);
	const [b0, b1] = b.split(".").map(Number);
	return a0 - b0 || a1 - b1 || (a < b ? -1 : Number(a > b));
}

/** The causal order of a stretch of a log. */
export class History {
	constructor() {
		/** @type {Map<string, Message & {order: number}>} by id; `order` only compares */
		this.messages = new Map();
		/** @type {Map<string, string[]>} messages at hand that name this one as a direct cause */
		this.followers = new Map();
		/** @type {Map<string, Message[]>} by author, in order */
		this.byAuthor = new Map();
		/** True when the whole past is at hand: nothing comes before the first message. */
		this.fromStart = false;
		this.first = 0;
		this.next = 0;
		/** @type {Map<string, Map<string, Count>>} vectors that were asked for, as long as the past stays the same */
		this.vectors = new Map();
		/**
		 * Cones that were asked for, the last at the end; their past is known down to the order `from`.
		 * @type {Map<string, {past: Set<string>, from: number, future: Set<string>}>}
		 */
		this.cones = new Map();
	}

	get size() {
		return this.messages.size;
	}

	/**
	 * Adds what follows everything at hand.
	 * @param {Message} message
	 */
	append(message) {
		this.#add(message, this.next, false);
		this.next += 1;
		const causes = directCauses(message);
		for (const [id, { future }] of this.cones) {
			if (causes.some((cause) => cause === id || future.has(cause))) future.add(message.id);
		}
	}

	/**
	 * Adds what comes right before everything at hand.
	 * @param {Message[]} messages in order
	 */
	prepend(messages) {
		this.vectors.clear();
		for (const cone of this.cones.values()) if (cone.from < this.first) cone.from = Number.POSITIVE_INFINITY;
		/** @type {Map<string, Message[]>} */
		const byAuthor = new Map();
		for (const message of [...messages].reverse()) {
			this.first -= 1;
			this.#add(message, this.first, true);
			const own = byAuthor.get(message.author);
			if (own) own.push(message);
			else byAuthor.set(message.author, [message]);
		}
		// One copy for each author, whatever the number of messages.
		for (const [author, own] of byAuthor) this.byAuthor.set(author, own.reverse().concat(this.byAuthor.get(author) ?? []));
	}

	/**
	 * @param {Message} message
	 * @param {number} order
	 * @param {boolean} front
	 */
	#add(message, order, front) {
		if (this.messages.has(message.id)) throw new Error(`${message.id} is there already`);
		this.messages.set(message.id, { ...message, order });
		for (const cause of directCauses(message)) {
			const followers = this.followers.get(cause);
			if (!followers) this.followers.set(cause, [message.id]);
			else if (front) followers.unshift(message.id);
			else followers.push(message.id);
		}
		if (front) return;
		const own = this.byAuthor.get(message.author);
		if (own) own.push(message);
		else this.byAuthor.set(message.author, [message]);
	}

	/**
	 * @param {string} id
	 * @returns {Message & {order: number} | undefined}
	 */
	get(id) {
		return this.messages.get(id);
	}

	/**
	 * Returns all that happened before a message, itself not included, as far as it is at hand.
	 * @param {string} id
	 * @param {string} [from] what stands before this one in the log may be left out: then it costs only what lies between
	 * @returns {ReadonlySet<string>}
	 */
	past(id, from) {
		const cone = this.#cone(id);
		const lowest = (from === undefined ? undefined : this.messages.get(from)?.order) ?? Number.NEGATIVE_INFINITY;
		if (cone.from > lowest) {
			// Nothing that stands before it in the log is on a path between two that stand behind.
			cone.past = this.#reach(id, (at) => directCauses(at), lowest);
			cone.from = lowest;
		}
		return cone.past;
	}

	/**
	 * Returns all that happened after a message, itself not included. It grows with what is appended.
	 * @param {string} id
	 * @returns {ReadonlySet<string>}
	 */
	future(id) {
		return this.#cone(id).future;
	}

	/** @param {string} id */
	#cone(id) {
		const known = this.cones.get(id);
		const cone = known ?? {
			past: new Set(),
			from: Number.POSITIVE_INFINITY,
			future: this.#reach(id, (at) => this.followers.get(at.id) ?? [], Number.NEGATIVE_INFINITY),
		};
		this.cones.delete(id);
		this.cones.set(id, cone);
		if (this.cones.size > CONES_MAX) this.cones.delete(/** @type {string} */ (this.cones.keys().next().value));
		return cone;
	}

	/**
	 * @param {string} id
	 * @param {(message: Message) => string[]} next
	 * @param {number} lowest the order below which nothing counts
	 * @returns {Set<string>}
	 */
	#reach(id, next, lowest) {
		/** @type {Set<string>} */
		const seen = new Set();
		const start = this.messages.get(id);
		const open = start ? [start] : [];
		for (let at = open.pop(); at; at = open.pop()) {
			for (const other of next(at)) {
				const message = this.messages.get(other);
				if (!message || message.order < lowest || seen.has(other)) continue;
				seen.add(other);
				open.push(message);
			}
		}
		return seen;
	}

	/**
	 * Returns a shortest chain of direct dependencies from the earlier to the later message, both included; empty if there is none.
	 * @param {string} earlier
	 * @param {string} later
	 * @returns {string[]}
	 */
	path(earlier, later) {
		const [from, to] = [this.messages.get(earlier), this.messages.get(later)];
		if (!from || !to || from === to) return [];
		/** @type {Map<string, string>} the message that led there */
		const via = new Map();
		let edge = [to.id];
		while (edge.length > 0) {
			/** @type {string[]} */
			const beyond = [];
			for (const at of edge) {
				for (const cause of directCauses(/** @type {Message} */ (this.messages.get(at)))) {
					const message = this.messages.get(cause);
					// Nothing that stands before the earlier one in the log can come after it.
					if (!message || message.order < from.order || via.has(cause)) continue;
					via.set(cause, at);
					if (cause === earlier) {
						const path = [earlier];
						for (let step = via.get(earlier); step; step = via.get(step)) path.push(step);
						return path;
					}
					beyond.push(cause);
				}
			}
			edge = beyond;
		}
		return [];
	}

	/**
	 * Returns the relation of the first message to the second.
	 * @param {string} a
	 * @param {string} b
	 * @returns {Relation}
	 */
	relation(a, b) {
		if (a === b) return "same";
		const [first, second] = [this.messages.get(a), this.messages.get(b)];
		if (!first || !second) throw new Error(`${first ? b : a} is not at hand`);
		if (first.order < second.order) return this.path(a, b).length > 0 ? "before" : "concurrent";
		return this.path(b, a).length > 0 ? "after" : "concurrent";
	}

	/**
	 * Returns the message's whole vector, as BSS would send it: of each member, the number of its last message that the author
	 * had delivered; of the author, the message's own number.
	 * @param {string} id
	 * @returns {Map<string, Count>}
	 */
	vector(id) {
		const message = this.messages.get(id);
		if (!message) throw new Error(`${id} is not at hand`);
		const known = this.vectors.get(id);
		if (known) return known;
		/** @type {Map<string, Count>} */
		const vector = new Map([[message.author, { count: message.seq, exact: true }]]);
		const note = (/** @type {string} */ author, /** @type {Count} */ { count, exact }) => {
			if (author === message.author) return;
			const noted = vector.get(author);
			if (!noted || count > noted.count) vector.set(author, { count, exact });
		};
		// What is at hand of a member is its last: nothing later of it can be in the past without being at hand.
		const noteId = (/** @type {string} */ cause) => {
			const { author, seq } = parseId(cause);
			note(author, { count: seq, exact: this.fromStart || this.messages.has(cause) });
		};
		const direct = directCauses(message);
		for (const cause of direct) noteId(cause);
		if (direct.every((cause) => this.vectors.has(cause))) {
			for (const cause of direct) this.vectors.get(cause)?.forEach((count, author) => note(author, count));
		} else {
			for (const earlier of this.past(id)) {
				noteId(earlier);
				for (const cause of directCauses(/** @type {Message} */ (this.messages.get(earlier)))) noteId(cause);
			}
		}
		if (this.vectors.size >= VECTORS_MAX) this.vectors.clear();
		this.vectors.set(id, vector);
		return vector;
	}

	/**
	 * Returns the clock of whoever keeps the log before this message: counts of what had been delivered in the order of the log.
	 * @param {string} id
	 * @returns {Map<string, Count>}
	 */
	clockBefore(id) {
		const message = this.messages.get(id);
		if (!message) throw new Error(`${id} is not at hand`);
		/** @type {Map<string, Count>} */
		const clock = new Map();
		for (const [author, own] of this.byAuthor) {
			let [low, high] = [0, own.length];
			while (low < high) {
				const middle = (low + high) >> 1;
				const other = /** @type {Message & {order: number}} */ (this.messages.get(own[middle].id));
				if (other.order < message.order) low = middle + 1;
				else high = middle;
			}
			clock.set(author, { count: low > 0 ? own[low - 1].seq : own[0].seq - 1, exact: true });
		}
		// Of those who have said nothing that is at hand we know what others say that they have delivered.
		for (const [author, { count }] of this.vector(id)) {
			if (!clock.has(author)) clock.set(author, { count, exact: this.fromStart });
		}
		return clock;
	}

	/**
	 * Returns the least clock with which this message was delivered when it was received.
	 * @param {string} id
	 * @returns {Map<string, Count>}
	 */
	clockAtLeast(id) {
		const { author, seq } = parseId(id);
		const clock = new Map([...this.vector(id)].map(([member, { count }]) => [member, { count, exact: false }]));
		return clock.set(author, { count: seq - 1, exact: true });
	}

	/** Returns the clock at the end of the log. @returns {Map<string, Count>} */
	clock() {
		return new Map([...this.byAuthor].map(([author, own]) => [author, { count: own[own.length - 1].seq, exact: true }]));
	}

	/**
	 * Returns the delivery rule [BSS91, section 5.1] number by number: the author first, then by member. `clock` is what had
	 * been delivered when the message arrived; without it, what had been when it was delivered, so that all conditions hold.
	 * @param {string} id
	 * @param {Map<string, Count>} [clock]
	 * @param {string[]} [members] who has a condition even if the author had delivered nothing of them
	 * @returns {Condition[]}
	 */
	conditions(id, clock = this.clockBefore(id), members = []) {
		const { author, seq } = /** @type {Message} */ (this.messages.get(id));
		const of = (/** @type {string} */ member) => clock.get(member) ?? { count: 0, exact: this.fromStart };
		/** @type {Condition[]} */
		const others = [];
		const vector = new Map(this.vector(id));
		for (const member of members) if (!vector.has(member)) vector.set(member, { count: 0, exact: this.fromStart });
		for (const [member, stamp] of vector) {
			if (member === author) continue;
			const had = of(member);
			// What is not known is not said to fail.
			others.push({ member, rule: 2, stamp, clock: had, holds: !had.exact || had.count >= stamp.count });
		}
		others.sort((a, b) => compareMembers(a.member, b.member));
		const own = { count: seq, exact: true };
		return [{ member: author, rule: 1, stamp: own, clock: of(author), holds: !of(author).exact || of(author).count === seq - 1 }, ...others];
	}
}

/**
 * Returns the direct causes of a message: its stamp, and its author's message before.
 * @param {Message} message
 * @returns {string[]}
 */
export function directCauses({ author, seq, deps }) {
	return seq > 1 ? [`${author}#${seq - 1}`, ...deps] : deps;
}

/**
 * Returns a log for ShiViz: each message an event of its author's, with a clock that counts events.
 * @param {Message[]} messages in order
 * @param {(member: string) => string} name
 * @param {(message: Message) => string} words what to write beside it
 * @returns {string}
 */
export function shiviz(messages, name, words) {
	/** @type {Map<string, string>} one word for each member, and each another */
	const hosts = new Map();
	const taken = new Set();
	for (const { author } of messages) {
		if (hosts.has(author)) continue;
		const plain = name(author).replace(/[\s\p{C}"\\{}]/gu, "_") || "_";
		let host = plain;
		for (let n = 2; taken.has(host); n += 1) host = `${plain}-${n}`;
		taken.add(host);
		hosts.set(author, host);
	}
	/** @type {Map<string, Map<string, number>>} */
	const clocks = new Map();
	/** @type {Map<string, number>} */
	const counts = new Map();
	const lines = ["(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})", ""];
	for (const message of messages) {
		const host = /** @type {string} */ (hosts.get(message.author));
		/** @type {Map<string, number>} */
		const clock = new Map();
		for (const cause of directCauses(message)) {
			for (const [member, count] of clocks.get(cause) ?? []) clock.set(member, Math.max(count, clock.get(member) ?? 0));
		}
		const count = (counts.get(host) ?? 0) + 1;
		counts.set(host, count);
		clock.set(host, count);
		clocks.set(message.id, clock);
		lines.push(words(message).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, " "), `${host} ${JSON.stringify(Object.fromEntries(clock))}`);
	}
	return `${lines.join("\n")}\n`;
}
