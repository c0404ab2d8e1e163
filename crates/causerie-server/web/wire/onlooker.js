// Whoever has not joined reads along: the log as it grows, what is held, and what members observe. Nobody is told of it.

import { eventsOf, follow, roomPath } from "./connection.js";

/** Pauses before connecting again, in milliseconds: doubled each time. */
const PAUSE_MIN = 500;
const PAUSE_MAX = 10_000;

/** A reader of a room who is no member of it. */
export class Onlooker {
	/**
	 * @param {string} room
	 * @param {import("./connection.js").Following} handlers
	 */
	constructor(room, handlers) {
		this.room = room;
		this.handlers = handlers;
		/** @type {WebSocket | null} */
		this.socket = null;
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.timer = undefined;
		this.pause = PAUSE_MIN;
		/** @type {string | undefined} the epoch of the log that is read */
		this.epoch = undefined;
		/** End of the queue of events: one is taken after the other, also where something has to be fetched in between. */
		this.queue = Promise.resolve();
		this.looking = false;
	}

	/** Begins to look, or ends it. @param {boolean} looking */
	look(looking) {
		if (looking === this.looking) return;
		this.looking = looking;
		clearTimeout(this.timer);
		const { socket } = this;
		this.socket = null;
		socket?.close();
		this.pause = PAUSE_MIN;
		if (looking) this.#connect();
	}

	/** Connects at once, without waiting for the pause to end. */
	hurry() {
		if (!this.looking || this.socket) return;
		clearTimeout(this.timer);
		this.#connect();
	}

	#connect() {
		const url = new URL(`${roomPath(this.room)}/ws`, location.href);
		url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
		const socket = new WebSocket(url);
		this.socket = socket;
		socket.addEventListener("open", () => {
			socket.send(JSON.stringify({ type: "watch", after: this.handlers.lastPosition(), held: true, observed: true, batch: true }));
		});
		socket.addEventListener("message", ({ data }) => {
			const events = eventsOf(data);
			this.queue = this.queue.then(() => this.#hearAll(socket, events)).catch((error) => {
				// What cannot be understood now, is told again.
				console.error(error);
				socket.close();
			});
		});
		socket.addEventListener("close", () => {
			if (this.socket !== socket) return;
			this.socket = null;
			this.timer = setTimeout(() => this.#connect(), this.pause * (0.75 + Math.random() / 2));
			this.pause = Math.min(2 * this.pause, PAUSE_MAX);
		});
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
		const { handlers } = this;
		if (event.type !== "watching") {
			await follow(this.room, event, handlers);
			return;
		}
		const isNew = (this.epoch ?? event.epoch) !== event.epoch;
		this.epoch = event.epoch;
		this.pause = PAUSE_MIN;
		if (isNew || handlers.lastPosition() > event.position) handlers.onReset();
		handlers.onMembers(event.members);
	}
}
