// What a room's log says today: edits, deletions and reactions taken into the messages that they are about. The same fold
// is written in Rust (`causerie_core::timeline`); `crates/causerie-core/tests/timeline/` has the cases that both must pass.
//
// Records may come in any order: each counts by its position.

import { isSymbol, symbolKey } from "../lib/text.js";

/** @typedef {import("../wire/connection.js").LogRecord} LogRecord */
/** @typedef {import("../wire/connection.js").Entry} Entry */

/**
 * @typedef {object} View a message as it reads now
 * @property {string | null} text null if it was deleted, or never had one
 * @property {string | null} from the record that has this text: the message, or the edit that counts
 * @property {boolean} edited
 * @property {boolean} deleted
 * @property {string} reason of the deletion, if its author has given one
 * @property {{symbol: string, by: {member: string, author: string}[]}[]} reactions in the order in which they first came
 */

/**
 * @typedef {object} Quote a message that another is about
 * @property {string} id of the message whose line shows it
 * @property {string | null} author null if it is not at hand
 * @property {string | null} text null if it is deleted or not at hand, or never had one
 * @property {boolean} deleted
 */

/** Kinds that only change another message. */
const REFERRING = new Set(["edit", "delete", "reaction"]);
/** Kinds that have a text of their own, which an edit replaces. */
const READABLE = new Set(["text", "action", "notice", "reply", "topic"]);
/** Limit of a topic, in bytes of UTF-8, as the server has it; an edit may be longer. */
const TOPIC_BYTES_MAX = 1_024;

/** @type {Readonly<View>} */
const NOTHING = Object.freeze({ text: null, from: null, edited: false, deleted: false, reason: "", reactions: [] });

/** Returns whether a record has a line of its own. @param {Entry} entry */
export const hasLine = ({ kind }) => !REFERRING.has(kind);

/** Returns the message that a record is about. @param {LogRecord} record */
const targetOf = ({ of, to }) => /** @type {string} */ (of ?? to);
/** @param {string} id of a message */
const memberOf = (id) => id.slice(0, id.lastIndexOf("#"));

/** Returns as much of a text as a topic may have. @param {string} text */
const topicText = (text) => text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(TOPIC_BYTES_MAX)).read);

/**
 * Returns whether an edit or a deletion counts: it names a message or an edit of its own author's, and changes a message
 * of the same. The server sees to it, and we do not depend on it.
 * @param {LogRecord} change
 * @param {LogRecord} target what it names
 * @param {LogRecord} message whose line shows it
 */
const counts = (change, target, message) => (hasLine(target) || target.kind === "edit")
	&& memberOf(target.id) === change.member && memberOf(message.id) === change.member;

/** The messages of a log as they read now. */
export class Fold {
	constructor() {
		/** @type {Map<string, LogRecord>} */
		this.byId = new Map();
		/** @type {Map<string, LogRecord[]>} edits, deletions and reactions, by the message that they name */
		this.about = new Map();
		/** @type {Map<string, View>} views that were asked for, until something changes them */
		this.views = new Map();
		/** @type {LogRecord | undefined} the last record that set a topic */
		this.topicRecord = undefined;
	}

	/** Takes a record in, wherever in the log it stands. @param {LogRecord} record */
	take(record) {
		this.byId.set(record.id, record);
		if (record.kind === "topic" && (this.topicRecord?.position ?? 0) < record.position) this.topicRecord = record;
		// It may be what others are about that are here already: they show somewhere else now.
		this.views.delete(this.shownAs(record.id));
		if (hasLine(record)) return;
		const target = targetOf(record);
		const about = this.about.get(target);
		if (about) about.push(record);
		else this.about.set(target, [record]);
		this.views.delete(this.shownAs(target));
	}

	/**
	 * Returns the message whose line shows this one: an edit or a reaction shows at what it is about, to the end.
	 * @param {string} id
	 * @returns {string}
	 */
	shownAs(id) {
		let at = this.byId.get(id);
		while (at && !hasLine(at)) {
			const target = this.byId.get(targetOf(at));
			// What is not at hand cannot be followed; what does not stand before it, it cannot be about.
			if (!target || target.position >= at.position) return target ? at.id : targetOf(at);
			at = target;
		}
		return at?.id ?? id;
	}

	/** Returns whether a message is deleted by now. @param {string} id of one that has a line */
	isDeleted(id) {
		return this.about.has(id) ? this.view(id).deleted : this.byId.get(id)?.deleted === true;
	}

	/**
	 * Returns the records whose text stands where this one shows: the message, and its edits.
	 * @param {string} id
	 * @returns {string[]}
	 */
	versions(id) {
		const message = this.byId.get(this.shownAs(id));
		if (!message) return [this.shownAs(id)];
		return [message.id, ...this.#changes(message).flatMap((change) => (change.kind === "edit" ? [change.id] : []))];
	}

	/** Returns the topic as it reads now; null if no topic is at hand. @returns {string | null} */
	get topic() {
		return this.topicRecord ? this.view(this.topicRecord.id).text ?? "" : null;
	}

	/**
	 * Returns a message for where another answers it.
	 * @param {string} id
	 * @returns {Quote}
	 */
	quote(id) {
		const shown = this.shownAs(id);
		const { text, deleted } = this.view(shown);
		return { id: shown, author: this.byId.get(shown)?.author ?? null, text, deleted };
	}

	/**
	 * Returns a message as it reads now.
	 * @param {string} id of one that has a line
	 * @returns {View}
	 */
	view(id) {
		const known = this.views.get(id);
		if (known) return known;
		const message = this.byId.get(id);
		if (!message || !hasLine(message)) return NOTHING;
		const view = this.#fold(message);
		this.views.set(id, view);
		return view;
	}

	/**
	 * Returns the edits, deletions and reactions that count for a message, in the order of the log.
	 * @param {LogRecord} message
	 */
	#changes(message) {
		const found = [];
		const open = [message];
		// A list that grows while it is walked. It ends: whatever it finds stands behind what that is about.
		for (const target of open) {
			for (const record of this.about.get(target.id) ?? []) {
				if (record.position <= target.position) continue;
				open.push(record);
				if (record.kind === "reaction" || counts(record, target, message)) found.push(record);
			}
		}
		return found.sort((a, b) => a.position - b.position);
	}

	/**
	 * @param {LogRecord} message
	 * @returns {View}
	 */
	#fold(message) {
		const isReadable = READABLE.has(message.kind);
		let text = isReadable ? message.text ?? "" : null;
		let from = message.id;
		let [edited, deleted, reason] = [message.edited === true, message.deleted === true, ""];
		/** @type {Map<string, {symbol: string, by: Map<string, string>}>} by what reads the same; member → name */
		const reactions = new Map();
		for (const change of this.#changes(message)) {
			if (change.kind === "reaction") react(reactions, change);
			else if (change.kind === "delete") [deleted, reason] = [true, change.reason ?? ""];
			// A server tells no text of the edits of what was deleted.
			else if (change.deleted) deleted = true;
			else if (isReadable) [text, from, edited] = [change.text ?? "", change.id, true];
		}
		if (deleted) return { ...NOTHING, deleted, reason };
		if (text !== null && message.kind === "topic") text = topicText(text);
		return {
			text,
			from,
			edited,
			deleted,
			reason,
			reactions: [...reactions.values()].filter(({ by }) => by.size > 0)
				.map(({ symbol, by }) => ({ symbol, by: [...by].map(([member, author]) => ({ member, author })) })),
		};
	}
}

/**
 * Puts a reaction beside others, or takes it away.
 * @param {Map<string, {symbol: string, by: Map<string, string>}>} reactions
 * @param {LogRecord} reaction
 */
function react(reactions, { member, author, symbol = "", set }) {
	// Rooms of older versions have had others.
	if (!isSymbol(symbol)) return;
	const key = symbolKey(symbol);
	const { by } = reactions.get(key) ?? { by: new Map() };
	// It looks as whoever put it there first made it.
	if (by.size === 0) reactions.set(key, { symbol, by });
	if (set) by.set(member, author);
	else by.delete(member);
}
