// Everything that knows the wire (docs/api.md): questions over HTTP, and a session for each room over a WebSocket that
// comes back by itself. What was said is kept until the server has placed it, and said again with the same id.

/**
 * @typedef {object} LogRecord an entry of the log, as the server writes it
 * @property {"text" | "action" | "notice" | "reply" | "edit" | "delete" | "reaction" | "topic" | "joined" | "left" | "unknown"} kind
 * @property {number} position
 * @property {string} id
 * @property {string[]} deps
 * @property {string} time for people; nothing is ordered by it
 * @property {string} member
 * @property {string} author
 * @property {string} [text] as it reads today; not there if it was deleted
 * @property {boolean} [edited]
 * @property {string} [to]
 * @property {string} [of]
 * @property {string} [symbol]
 * @property {boolean} [set]
 * @property {string} [reason]
 * @property {boolean} [deleted] then the server does not tell the text
 */
/** @typedef {{kind: "gap", from: number, to: number, why: string}} Gap positions that cannot be read */
/** @typedef {LogRecord | Gap} Entry */
/** @typedef {{name: string, port: number | null, members: number}} RoomInfo */
/** @typedef {{member: string, name: string}} Member */
/** @typedef {{epoch: string, topic: string | null, first: number, position: number, members: Member[]}} RoomDetails */
/** @typedef {{epoch: string, from: number, to: number, end: number, messages: Entry[]}} Page */

/**
 * Observation of a message by a member that runs a group of its own.
 * @typedef {{member: string, message: string, what: "held" | "delivered", waits_for?: string, held_ms?: number, clock?: {[member: string]: number}}} Seen
 */

/** @typedef {import("../lib/memory.js").Outgoing} Outgoing */
/** @typedef {import("../lib/memory.js").Membership} Membership */

/**
 * @typedef {"idle" | "connecting" | "live" | "waiting" | "elsewhere" | "closed" | "refused" | "foreign"} State idle:
 *   nobody has joined; elsewhere: another page has taken the membership; refused: the server does not want us as we are;
 *   foreign: it takes nothing from pages that have this page's address
 */

/**
 * @typedef {object} Handlers
 * @property {(state: State, problem?: Problem) => void} onState
 * @property {(welcome: {room: string, epoch: string, member: string, members: Member[]}) => void} onWelcome
 * @property {(entries: Entry[]) => void} onEntries some of the log, in order
 * @property {() => number} lastPosition the last position that is at hand
 * @property {() => void} onReset the log is another one now
 * @property {(id: string, waitsFor: string) => void} onHeld
 * @property {(id: string) => void} onReleased
 * @property {(seen: Seen) => void} onObserved
 * @property {(count: number) => void} onUnobserved members have observed more than is told
 * @property {(members: Member[]) => void} onMembers
 * @property {(said: Outgoing) => void} onSaid it is in the outbox
 * @property {(id: string) => void} onPlaced it is not in the outbox any more
 * @property {(said: Outgoing, problem: Problem) => void} onRefused for good: it is not in the outbox any more
 * @property {() => void} save the membership has changed
 * @property {() => void} [refresh] another page may have changed it
 */

/** @typedef {Pick<Handlers, "onEntries" | "lastPosition" | "onReset" | "onHeld" | "onReleased" | "onObserved" | "onUnobserved" | "onMembers">} Following what everybody is told who follows a room */

/** A refusal by the server. */
export class Problem extends Error {
	/** @param {{code?: string, message?: string, suggestion?: string}} told */
	constructor({ code = "unreachable", message = "the server does not answer", suggestion }) {
		super(message);
		this.code = code;
		this.suggestion = suggestion;
	}
}

/** Pauses before connecting again, in milliseconds: doubled each time. */
const PAUSE_MIN = 250;
const PAUSE_MAX = 10_000;
/** Silence after which a server is asked, in milliseconds; one that does not answer for half of it is gone. */
const SILENCE = 20_000;
/** Entries of a page of the log. */
export const PAGE = 200;

/**
 * @param {string} path
 * @param {{method?: string, body?: unknown, token?: string}} [options]
 * @returns {Promise<any>}
 */
async function ask(path, { method = "GET", body, token } = {}) {
	/** @type {{[name: string]: string}} */
	const headers = {};
	if (body !== undefined) headers["Content-Type"] = "application/json";
	if (token !== undefined) headers.Authorization = `Bearer ${token}`;
	let response;
	try {
		response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
	} catch {
		throw new Problem({});
	}
	const answer = await response.json().catch(() => ({ message: `the server answers ${response.status}`, code: "unknown" }));
	if (!response.ok) throw new Problem(answer);
	return answer;
}

/** Returns a room's address from where the page came: a proxy may have put the server below a path. @param {string} room */
export const roomPath = (room) => `api/rooms/${encodeURIComponent(room)}`;

/** @returns {Promise<RoomInfo[]>} */
export const listRooms = async () => (await ask("api/rooms")).rooms;
/** @param {string} name @returns {Promise<{key?: string}>} the key is told this once: it closes the room */
export const createRoom = (name) => ask("api/rooms", { method: "POST", body: { name } });
/** @param {string} room @param {string} key */
export const closeRoom = (room, key) => ask(roomPath(room), { method: "DELETE", token: key });
/** @param {string} room @returns {Promise<RoomDetails>} */
export const describeRoom = (room) => ask(roomPath(room));

/**
 * @param {string} room
 * @param {{before?: number, after?: number, limit?: number}} [part] the last ones, if neither
 * @returns {Promise<Page>}
 */
export function readPage(room, { before, after, limit = PAGE } = {}) {
	const query = new URLSearchParams({ limit: String(limit) });
	if (before !== undefined) query.set("before", String(before));
	if (after !== undefined) query.set("after", String(after));
	return ask(`${roomPath(room)}/messages?${query}`);
}

/** @param {string} room @param {string} words @returns {Promise<{messages: LogRecord[], complete?: boolean}>} the newest first; not complete while the server makes its index anew */
export async function search(room, words) {
	const query = new URLSearchParams({ q: words, limit: "50" });
	return ask(`${roomPath(room)}/search?${query}`);
}

/**
 * Reads what lies between what is at hand and this position.
 * @param {string} room
 * @param {Pick<Handlers, "lastPosition" | "onEntries">} handlers
 * @param {number} position
 */
export async function fillUpTo(room, { lastPosition, onEntries }, position) {
	for (let last = lastPosition(); position > last + 1; last = lastPosition()) {
		const page = await readPage(room, { after: last, limit: 1000 });
		if (page.to <= last) throw new RangeError(`nothing behind ${last}`);
		onEntries(page.messages);
	}
}

export const randomHex = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Returns the events of a server's message: one, or a batch of records. @param {string} data @returns {any[]} */
export const eventsOf = (data) => [JSON.parse(data)].flat();

/** Returns an entry of the log, of a server's event. @param {any} event @returns {Entry} */
function entryOf({ type, ...entry }) {
	return type === "gap" ? { kind: "gap", ...entry } : entry;
}

/**
 * Hands over what everybody is told who follows a room, members and others.
 * @param {string} room
 * @param {any} event
 * @param {Following} handlers
 */
export async function follow(room, event, handlers) {
	switch (event.type) {
		case "message":
		case "joined":
		case "left":
		case "gap": {
			const entry = entryOf(event);
			// A join is told from itself on; what was said between the page that we have read and it is fetched.
			await fillUpTo(room, handlers, entry.kind === "gap" ? entry.from : entry.position);
			handlers.onEntries([entry]);
			break;
		}
		case "members":
			handlers.onMembers(event.members);
			break;
		case "held":
			handlers.onHeld(event.message, event.waits_for);
			break;
		case "released":
			handlers.onReleased(event.message);
			break;
		case "observed":
			handlers.onObserved(event);
			break;
		case "unobserved":
			handlers.onUnobserved(event.count);
			break;
		default:
		// "pong", "held_more", "shutting_down", and what later servers say: nothing to do.
	}
}

/** A membership of one room. */
export class Session {
	/**
	 * @param {string} room
	 * @param {Membership} membership changed in place
	 * @param {Handlers} handlers
	 */
	constructor(room, membership, handlers) {
		this.room = room;
		this.membership = membership;
		this.handlers = handlers;
		/** @type {State} */
		this.state = "idle";
		this.name = "";
		/** @type {WebSocket | null} */
		this.socket = null;
		this.pause = PAUSE_MIN;
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.timer = undefined;
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.heartbeat = undefined;
		this.retryAt = 0;
		/** Last position that was at hand when the server was asked. */
		this.askedAt = 0;
		/** End of the queue of events: one is taken after the other, also where something has to be fetched in between. */
		this.queue = Promise.resolve();
		/** @type {Entry[]} not handed over yet */
		this.entries = [];
		this.stopped = false;
		/** @type {number | undefined} limit of a message's bytes, once the server has told it */
		this.bytesMax = undefined;
	}

	/** Comes in, or comes back. @param {string} name */
	start(name) {
		this.name = name;
		this.stopped = false;
		this.pause = PAUSE_MIN;
		this.#connect();
	}

	/** Ends the session for good. */
	stop() {
		this.stopped = true;
		clearTimeout(this.timer);
		clearTimeout(this.heartbeat);
		const { socket } = this;
		this.socket = null;
		socket?.close();
	}

	/** Connects at once, without waiting for the pause to end. */
	hurry() {
		if (this.state !== "waiting") return;
		this.pause = PAUSE_MIN;
		this.#connect();
	}

	/** Leaves the room; the server tells the others. */
	leave() {
		this.#send({ type: "leave" });
		this.membership.token = undefined;
		this.membership.nonce = undefined;
		this.handlers.save();
	}

	/** Says a message; with the same id again, it is the same message. @param {Outgoing} said */
	say(said) {
		const { membership, handlers } = this;
		if (!membership.outbox.some(({ id }) => id === said.id)) {
			membership.outbox.push(said);
			handlers.onSaid(said);
			handlers.save();
		}
		this.#utter(said);
	}

	/** Sends a message, unless the server could not read it: that leaves the outbox here, as it would end the connection or hang for ever. @param {Outgoing} said */
	#utter(said) {
		const text = JSON.stringify({ type: "say", ...said });
		const bytes = new TextEncoder().encode(text).length;
		if (/\p{Surrogate}/u.test(`${said.text}${said.symbol}`)) {
			this.#refuse(said, new Problem({ code: "malformed", message: "half of a character is in it, as of an emoji that was cut" }));
		} else if (bytes > (this.bytesMax ?? bytes)) {
			this.#refuse(said, new Problem({ code: "too_long", message: `it is too long: ${bytes} bytes as it is sent, where the server takes ${this.bytesMax}` }));
		} else if (this.state === "live" && this.socket?.readyState === WebSocket.OPEN) this.socket.send(text);
	}

	/** @param {Outgoing} said @param {Problem} problem */
	#refuse(said, problem) {
		this.placed(said.id);
		this.handlers.onRefused(said, problem);
	}

	/** @param {State} state @param {Problem} [problem] */
	#become(state, problem) {
		this.state = state;
		this.handlers.onState(state, problem);
	}

	/** @param {object} event */
	#send(event) {
		if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
	}

	#connect() {
		clearTimeout(this.timer);
		if (this.stopped) return;
		this.socket?.close();
		this.#become("connecting");
		const url = new URL(`${roomPath(this.room)}/ws`, location.href);
		url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
		const socket = new WebSocket(url);
		this.socket = socket;
		const mine = (/** @type {(event: any) => void} */ then) => (/** @type {any} */ event) => {
			if (this.socket === socket) then(event);
		};
		socket.addEventListener("open", mine(() => this.#enter()));
		socket.addEventListener("close", mine(() => this.#lost()));
		socket.addEventListener("message", mine(({ data }) => {
			this.#listen();
			const events = eventsOf(data);
			this.queue = this.queue.then(() => this.#hearAll(socket, events)).catch((error) => {
				// What cannot be understood now, is told again.
				console.error(error);
				if (this.socket === socket) socket.close();
			});
		}));
		this.#listen();
	}

	/** Notices a server that is gone without a word. */
	#listen() {
		clearTimeout(this.heartbeat);
		this.heartbeat = setTimeout(() => {
			this.#send({ type: "ping" });
			this.heartbeat = setTimeout(() => this.#lost(), SILENCE / 2);
		}, SILENCE);
	}

	#enter() {
		const { membership } = this;
		this.askedAt = this.handlers.lastPosition();
		if (membership.token) {
			this.#send({ type: "resume", token: membership.token, after: this.askedAt, held: true, observed: true, batch: true });
			return;
		}
		// The same nonce again is the same join, whatever became of the answer.
		membership.nonce ??= randomHex();
		this.handlers.save();
		this.#send({ type: "join", name: this.name, nonce: membership.nonce, held: true, observed: true, batch: true });
	}

	#lost() {
		clearTimeout(this.heartbeat);
		const { socket } = this;
		this.socket = null;
		socket?.close();
		if (this.stopped || ["elsewhere", "closed", "refused", "foreign", "idle"].includes(this.state)) return;
		// Not all at once, after a server that comes back.
		const pause = this.pause * (0.75 + Math.random() / 2);
		this.pause = Math.min(2 * this.pause, PAUSE_MAX);
		this.retryAt = Date.now() + pause;
		this.#become("waiting");
		this.timer = setTimeout(() => this.#check(), pause);
	}

	/** Asks why a WebSocket was refused, which it does not tell: the same question, without asking for one. */
	async #check() {
		/** @type {unknown} */
		const problem = await ask(`${roomPath(this.room)}/ws`, { method: "POST" }).catch((error) => error);
		if (this.stopped || this.state !== "waiting") return;
		const code = problem instanceof Problem ? problem.code : "";
		if (code === "not_a_websocket") this.#connect();
		else if (code === "no_such_room") this.#become("closed", /** @type {Problem} */ (problem));
		else if (code === "foreign_origin" || code === "wrong_host") this.#become("foreign", /** @type {Problem} */ (problem));
		else this.#lost();
	}

	/** @param {WebSocket} socket @param {any[]} events */
	async #hearAll(socket, events) {
		for (const event of events) {
			if (this.socket !== socket) return;
			await this.#hear(event);
		}
	}

	/** @param {any} event */
	async #hear(event) {
		const { handlers, membership } = this;
		switch (event.type) {
			case "welcome": {
				const isNew = membership.epoch !== undefined && membership.epoch !== event.epoch;
				Object.assign(membership, { token: event.token, member: event.member, epoch: event.epoch, nonce: undefined });
				handlers.save();
				// What has come since it was asked, it may not have known yet.
				if (isNew || this.askedAt > event.position) handlers.onReset();
				this.pause = PAUSE_MIN;
				this.bytesMax = event.bytes_max;
				handlers.onWelcome(event);
				this.#become("live");
				for (const said of [...membership.outbox]) this.#utter(said);
				break;
			}
			case "ack":
				this.placed(event.id);
				break;
			case "parted":
				this.#become("idle");
				this.socket?.close();
				break;
			case "error":
				await this.#troubled(new Problem(event), event.id);
				break;
			default:
				await follow(this.room, event, handlers);
		}
	}

	/** @param {string} id of the outbox */
	placed(id) {
		const { outbox } = this.membership;
		const index = outbox.findIndex((said) => said.id === id);
		if (index < 0) return;
		outbox.splice(index, 1);
		this.handlers.onPlaced(id);
		this.handlers.save();
	}

	/**
	 * @param {Problem} problem
	 * @param {string} [id] of what was not said
	 */
	async #troubled(problem, id) {
		const { membership, handlers } = this;
		switch (problem.code) {
			case "wrong_token":
			case "expired":
				if (id === undefined) await this.#joinAnew();
				break;
			case "superseded":
				this.#become("elsewhere", problem);
				break;
			case "room_closed":
			case "no_such_room":
				this.#become("closed", problem);
				break;
			case "storage_full":
				// It waits in the outbox; whoever comes back says it again.
				if (id !== undefined) setTimeout(() => this.#again(id), 2_000);
				break;
			default: {
				const said = membership.outbox.find((other) => other.id === id);
				if (said) {
					this.#refuse(said, problem);
				} else if (this.state === "connecting") {
					membership.nonce = undefined;
					handlers.save();
					this.#become("refused", problem);
					this.socket?.close();
				}
			}
		}
	}

	/** @param {string} id */
	#again(id) {
		const said = this.membership.outbox.find((other) => other.id === id);
		if (said) this.#utter(said);
	}

	/** Ends the membership. What was taken under it was said; the rest is said by the new member. */
	async #joinAnew() {
		const { membership } = this;
		const { token } = membership;
		// Who was never told its token has said nothing.
		for (const said of token === undefined ? [] : [...membership.outbox]) {
			try {
				await ask(`${roomPath(this.room)}/messages`, { method: "POST", body: said, token });
				this.placed(said.id);
			} catch (error) {
				if (!(error instanceof Problem) || error.code === "unreachable") throw error;
			}
		}
		Object.assign(membership, { token: undefined, member: undefined, nonce: undefined });
		this.handlers.save();
		this.#connect();
	}
}
