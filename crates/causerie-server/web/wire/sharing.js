// Pages of one browser that are in the same room share one membership and one connection: one page leads, which has the
// connection, and tells the others what it hears; they tell it what is said in them. When it goes, another leads. Who
// begins to lead says so, and who led until then follows. Should two lead all the same, the server ends the connection of
// one of them: nothing depends on which was quicker.

import { Problem, Session, fillUpTo, randomHex } from "./connection.js";

/** @typedef {import("./connection.js").Handlers} Handlers */
/** @typedef {import("../lib/memory.js").Membership} Membership */
/** @typedef {import("../lib/memory.js").Outgoing} Outgoing */
/** @typedef {import("./connection.js").State} State */
/** @typedef {import("../lib/memory.js").Body} Body */
/** @typedef {{postMessage: (message: any) => void, addEventListener: (type: "message", then: (event: any) => void) => void}} Channel */
/** @typedef {{code: string, message: string, suggestion?: string} | undefined} Told a problem, as it goes through a channel */

/** The time that another page has to say that it leads, in milliseconds. */
const ANSWER = 100;
/** The time, in milliseconds, after which a follower asks for a silent leader: a page may end without a word. */
const ASK_EVERY = 20_000;
/** States in which nobody leads. */
const OVER = ["idle", "refused", "closed", "elsewhere", "foreign"];

const me = randomHex();
/** Opens the channel to all pages of this server in this browser, wherever a proxy has put it. @returns {Channel | null} */
const openChannel = () => (typeof BroadcastChannel === "undefined" || typeof document === "undefined" ? null
	: new BroadcastChannel(`causerie 1 ${new URL(".", location.href).pathname}`));
/** @type {Channel | null | undefined} */
let common;

/** @param {Problem | undefined} problem @returns {Told} */
const told = (problem) => problem && { code: problem.code, message: problem.message, suggestion: problem.suggestion };

/** A session of several pages, whichever of them has the connection. */
export class SharedSession {
	/**
	 * @param {string} room
	 * @param {Membership} membership changed in place
	 * @param {Handlers} handlers
	 * @param {Channel | null} [channel] to the other pages
	 * @param {string} [page] a name for this one
	 */
	constructor(room, membership, handlers, channel = (common ??= openChannel()), page = me) {
		this.room = room;
		this.membership = membership;
		this.handlers = handlers;
		this.channel = channel;
		this.page = page;
		this.name = "";
		/** @type {State} */
		this.state = "idle";
		/** @type {Problem | undefined} */
		this.problem = undefined;
		/** @type {import("./connection.js").Member[]} */
		this.members = [];
		/** @type {Map<string, string>} messages that are held now, and the cause that each waits for */
		this.held = new Map();
		this.retry = 0;
		/** The beginning of the ids that this page makes. */
		this.mark = randomHex().slice(0, 8);
		this.leading = false;
		/** @type {string | null} the page that leads, if it is another */
		this.leader = null;
		/** True when somebody is in, or wants to be. */
		this.wanted = false;
		this.stopped = false;
		this.suspended = false;
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.timer = undefined;
		/** The end of the queue of what a leader tells: one is taken after the other, also where something has to be fetched. */
		this.queue = Promise.resolve();
		this.session = new Session(room, membership, this.#relaying());
		channel?.addEventListener("message", ({ data }) => {
			if (data.room === room && data.from !== page) this.#hear(data);
		});
	}

	get retryAt() {
		return this.leading ? this.session.retryAt : this.retry;
	}

	/** Comes in, or comes back. @param {string} name */
	start(name) {
		this.name = name;
		[this.wanted, this.stopped] = [true, false];
		if (this.leading) this.session.start(name);
		else if (this.leader === null) {
			this.#become("connecting");
			this.#ask();
		}
	}

	/** Ends it, until it is started again; another page may lead. */
	stop() {
		[this.wanted, this.stopped] = [false, true];
		clearTimeout(this.timer);
		this.session.stop();
		if (this.leading) this.#post({ what: "gone" });
		[this.leading, this.leader] = [false, null];
	}

	/** Ends it for a page that is about to be gone. */
	suspend() {
		const { wanted } = this;
		this.stop();
		this.suspended = wanted;
	}

	/** Goes on in a page that is back. */
	resume() {
		if (this.suspended) this.start(this.name);
	}

	/** Connects at once, without waiting for a pause to end, and asks for a leader that has not been heard for long. */
	hurry() {
		if (this.leading) this.session.hurry();
		else if (this.wanted) {
			this.#order("hurry");
			this.#ask();
		}
	}

	/** Leaves the room; the server tells the others. */
	leave() {
		if (this.leading) this.session.leave();
		else this.#order("leave");
	}

	/** @param {Body} body */
	say(body) {
		/** @type {Outgoing} */
		const said = { ...body, id: this.mark + randomHex().slice(8) };
		if (this.leading) {
			this.session.say(said);
			return;
		}
		// Kept here as well: the leader may go before it has heard it.
		this.membership.outbox.push(said);
		this.handlers.save();
		this.handlers.onSaid(said);
		this.#order("say", said);
		clearTimeout(this.timer);
		// It tells at once that it has heard it, if it is there.
		this.timer = setTimeout(() => this.#ask(), 10 * ANSWER);
	}

	/** Returns whether it was said in this page, and not in another, or before. @param {Outgoing} said */
	isOwn({ id }) {
		return id.startsWith(this.mark);
	}

	/** Forgets something refused that was mended, or is given up. @param {string} id */
	dismiss(id) {
		this.#dismiss(id);
		this.#post({ what: "dismissed", id });
	}

	/** @param {string} id */
	#dismiss(id) {
		const { refused } = this.membership;
		const index = refused.findIndex((said) => said.id === id);
		if (index < 0) return;
		refused.splice(index, 1);
		this.handlers.save();
		this.handlers.onPlaced(id);
	}

	/** @param {object} message */
	#post(message) {
		this.channel?.postMessage({ room: this.room, from: this.page, ...message });
	}

	/** @param {"say" | "leave" | "hurry"} what @param {Outgoing} [said] */
	#order(what, said) {
		if (this.leader !== null) this.#post({ what: "order", to: this.leader, order: what, said });
	}

	/** @param {State} state @param {Problem} [problem] */
	#become(state, problem) {
		[this.state, this.problem] = [state, problem];
		if (OVER.includes(state)) {
			clearTimeout(this.timer);
			[this.leading, this.leader, this.wanted] = [false, null, false];
		}
		this.handlers.onState(state, problem);
	}

	/** Asks for the page that leads; if there is none, this one does. */
	#ask() {
		clearTimeout(this.timer);
		if (!this.channel) {
			this.#lead();
			return;
		}
		this.#post({ what: "who" });
		// Not all at once, where several have been left alone.
		this.timer = setTimeout(() => this.#lead(), ANSWER * (1 + Math.random()));
	}

	#lead() {
		if (!this.wanted || this.leading) return;
		[this.leading, this.leader] = [true, null];
		clearTimeout(this.timer);
		this.#post({ what: "lead" });
		this.handlers.refresh?.();
		this.session.start(this.name);
	}

	/** Follows another page. @param {string} leader */
	#follow(leader) {
		this.leading = false;
		this.leader = leader;
		this.session.stop();
		this.#patience();
	}

	#patience() {
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.#ask(), ASK_EVERY);
	}

	/** Returns the state of the session, for who follows from now on. */
	#standing() {
		return {
			what: "here", state: this.state, problem: told(this.problem), retryAt: this.session.retryAt, members: this.members, held: [...this.held],
			position: this.handlers.lastPosition(), placing: this.membership.outbox.map(({ id }) => id),
		};
	}

	/** @param {any} message */
	#hear(message) {
		const { from, what, to } = message;
		if (to !== undefined && to !== this.page) return;
		switch (what) {
			case "who":
				if (this.leading) this.#post({ ...this.#standing(), to: from });
				break;
			case "lead":
				if (!this.wanted) break;
				this.#follow(from);
				this.#ask();
				break;
			case "here":
				if (!this.wanted || this.leading) break;
				this.#follow(from);
				this.#catchUp(message);
				break;
			case "gone":
				if (from !== this.leader) break;
				this.leader = null;
				if (this.wanted) this.#ask();
				break;
			case "order":
				if (this.leading) this.#obey(message.order, message.said);
				break;
			case "dismissed":
				this.#dismiss(message.id);
				break;
			case "told":
				if (from !== this.leader) break;
				this.#patience();
				this.#later(() => this.#take(message.call, message.args));
				break;
		}
	}

	/** @param {() => unknown} then */
	#later(then) {
		this.queue = this.queue.then(async () => {
			await then();
		}).catch((error) => {
			// What cannot be taken now is told again.
			console.error(error);
			clearTimeout(this.timer);
			if (!this.leading && this.wanted) this.timer = setTimeout(() => this.#ask(), 1_000);
		});
	}

	/** @param {string} order @param {Outgoing} said */
	#obey(order, said) {
		if (order === "say") this.session.say(said);
		else if (order === "leave") this.session.leave();
		else this.session.hurry();
	}

	/** @param {any} standing of the leader */
	#catchUp({ state, problem, retryAt, members, held, position, placing }) {
		this.retry = retryAt;
		this.#later(async () => {
			if (this.leading) return;
			if (members.length > 0) this.handlers.onMembers(members);
			this.#become(state, problem && new Problem(problem));
			// What the leader does not have was said here before, or its answer came while nobody here listened.
			for (const said of this.membership.outbox) if (!placing.includes(said.id)) this.#order("say", said);
			for (const [id, waitsFor] of held) this.handlers.onHeld(id, waitsFor);
			await fillUpTo(this.room, this.handlers, position + 1);
		});
	}

	/** Takes in a call of the leader's. @param {keyof Handlers} call @param {any[]} args */
	async #take(call, args) {
		const { handlers, membership } = this;
		if (this.leading) return;
		const [first, second] = args;
		switch (call) {
			case "onState":
				this.retry = second;
				this.#become(first, args[2] && new Problem(args[2]));
				break;
			case "onEntries":
				await fillUpTo(this.room, handlers, first[0].kind === "gap" ? first[0].from : first[0].position);
				handlers.onEntries(first);
				break;
			case "onSaid":
				if (membership.outbox.some(({ id }) => id === first.id)) break;
				membership.outbox.push(first);
				handlers.onSaid(first);
				break;
			case "onPlaced": {
				const index = membership.outbox.findIndex(({ id }) => id === first);
				if (index >= 0) membership.outbox.splice(index, 1);
				handlers.onPlaced(first);
				handlers.save();
				break;
			}
			case "onRefused":
				this.#refused(first, new Problem(second));
				break;
			default:
				/** @type {any} */ (handlers)[call](...args);
		}
	}

	/** @param {Outgoing} said @param {Problem} problem */
	#refused(said, problem) {
		const { membership, handlers } = this;
		if (!membership.refused.some(({ id }) => id === said.id)) membership.refused.push({ ...said, why: problem.message });
		handlers.save();
		handlers.onRefused(said, problem);
	}

	/** Returns handlers that pass on to the others, too, what the own session tells. @returns {Handlers} */
	#relaying() {
		const { handlers } = this;
		const tell = (/** @type {keyof Handlers} */ call, /** @type {any[]} */ ...args) => this.#post({ what: "told", call, args });
		return {
			onState: (state, problem) => {
				if (!this.leading) return;
				if (state === "elsewhere" && this.channel) {
					this.#yield(problem);
					return;
				}
				tell("onState", state, this.session.retryAt, told(problem));
				this.#become(state, problem);
			},
			onWelcome: (welcome) => {
				this.members = welcome.members;
				this.held.clear();
				tell("onMembers", welcome.members);
				handlers.onWelcome(welcome);
			},
			onEntries: (entries) => {
				handlers.onEntries(entries);
				tell("onEntries", entries);
			},
			lastPosition: () => handlers.lastPosition(),
			onReset: () => {
				handlers.onReset();
				tell("onReset");
			},
			onHeld: (id, waitsFor) => {
				this.held.set(id, waitsFor);
				handlers.onHeld(id, waitsFor);
				tell("onHeld", id, waitsFor);
			},
			onReleased: (id) => {
				this.held.delete(id);
				handlers.onReleased(id);
				tell("onReleased", id);
			},
			onObserved: (seen) => {
				handlers.onObserved(seen);
				tell("onObserved", seen);
			},
			onUnobserved: (count) => {
				handlers.onUnobserved(count);
				tell("onUnobserved", count);
			},
			onMembers: (members) => {
				this.members = members;
				handlers.onMembers(members);
				tell("onMembers", members);
			},
			onSaid: (said) => {
				handlers.onSaid(said);
				tell("onSaid", said);
			},
			onPlaced: (id) => {
				handlers.onPlaced(id);
				tell("onPlaced", id);
			},
			onRefused: (said, problem) => {
				this.#refused(said, problem);
				tell("onRefused", said, told(problem));
			},
			save: () => handlers.save(),
		};
	}

	/** Gives way to another connection that has the membership: another page here, or one that cannot be asked. @param {Problem} [problem] */
	#yield(problem) {
		this.leading = false;
		this.session.stop();
		this.state = "connecting";
		this.#post({ what: "who" });
		clearTimeout(this.timer);
		this.timer = setTimeout(() => {
			this.#post({ what: "told", call: "onState", args: ["elsewhere", 0, told(problem)] });
			this.#become("elsewhere", problem);
		}, 4 * ANSWER);
	}
}
