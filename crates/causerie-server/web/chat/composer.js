// The field where one writes: what stands in it, what it is about, its commands, and what came back unsaid.

import { byId } from "../lib/element.js";
import { save } from "../lib/memory.js";
import { isSaid } from "../log/timeline.js";
import { emit, on, state } from "../state.js";
import { quoted } from "./lines.js";

/** @typedef {import("../log/room.js").Room} Room */
/** @typedef {import("../lib/memory.js").Outgoing} Outgoing */
/** @typedef {{reply?: string, edit?: string}} Context what is being written, if it is about something */

/** The field where one writes, with what stands around it. */
export class Composer {
	constructor() {
		this.form = byId("composer", HTMLFormElement);
		this.text = byId("composer-text", HTMLTextAreaElement);
		this.problem = byId("composer-problem", HTMLElement);
		this.contextLine = byId("context", HTMLElement);
		this.contextWords = byId("context-words", HTMLElement);
		this.help = byId("help", HTMLElement);
		this.scroller = byId("scroller", HTMLElement);
		/** @type {Context} */
		this.context = {};
		/** @type {ReturnType<typeof setTimeout> | undefined} */
		this.drafting = undefined;
		byId("context-cancel", HTMLButtonElement).addEventListener("click", () => this.cancel());
		byId("help-close", HTMLButtonElement).addEventListener("click", () => this.showHelp(false));
		this.help.addEventListener("keydown", ({ key }) => {
			if (key === "Escape") this.showHelp(false);
		});
		this.form.addEventListener("submit", (event) => {
			event.preventDefault();
			this.#submit();
		});
		this.text.addEventListener("input", () => {
			this.fit();
			clearTimeout(this.drafting);
			this.drafting = setTimeout(() => this.keep(), 300);
		});
		this.text.addEventListener("keydown", (event) => this.#press(event));
	}

	/** Takes a key that means more than a character. @param {KeyboardEvent} event */
	#press(event) {
		if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
			event.preventDefault();
			this.form.requestSubmit();
		} else if (event.key === "Escape" && (this.context.reply || this.context.edit)) {
			this.cancel();
		} else if (event.key === "ArrowUp" && this.text.value === "" && state.current) {
			const { timeline, me } = state.current;
			const own = timeline.lines.findLast((entry) => entry.kind !== "gap" && isSaid(entry) && entry.member === me && !timeline.fold.isDeleted(entry.id));
			if (!own || own.kind === "gap") return;
			event.preventDefault();
			emit("act", "edit", own.id, undefined);
		}
	}

	/** Shows the draft of another room. @param {Room} room */
	open(room) {
		this.context = {};
		this.text.value = room.memory.draft ?? "";
		this.problem.textContent = "";
		this.help.hidden = true;
		this.showContext();
		this.fit();
	}

	/** Remembers what is written and not sent. What is being changed stands where it stood. */
	keep() {
		const room = state.current;
		if (!room) return;
		room.memory.draft = this.context.edit ? "" : this.text.value;
		save();
	}

	/** Makes the field as high as its text, up to a limit. */
	fit() {
		// While it is measured the lines have more room: what the browser scrolls for that, it scrolls back.
		const { scrollTop } = this.scroller;
		this.text.style.height = "auto";
		this.text.style.height = `${Math.min(this.text.scrollHeight + 2, 200)}px`;
		this.scroller.scrollTop = scrollTop;
	}

	/** Shows the message that is answered or changed. */
	showContext() {
		const room = state.current;
		const id = this.context.reply ?? this.context.edit;
		this.contextLine.hidden = id === undefined;
		if (id === undefined || !room) return;
		const { author, text } = quoted(room, id);
		this.contextWords.textContent = this.context.edit ? `Changing: ${text}` : `To ${author}: ${text}`;
	}

	/** Begins to write about a message. @param {Context} context @param {string} [text] */
	write(context, text) {
		this.context = context;
		if (text !== undefined) this.text.value = text;
		this.showContext();
		this.fit();
		this.text.focus();
	}

	/** Ends writing about a message; what was to be changed stays as it was. */
	cancel() {
		this.write({}, this.context.edit ? "" : undefined);
	}

	/** Opens the help, or closes it. @param {boolean} on */
	showHelp(on) {
		this.help.hidden = !on;
		if (on) this.help.focus();
		else this.text.focus();
	}

	/**
	 * Tells that something was not said, and will not be as it is, and puts it into the field again, if nothing else stands there.
	 * @param {Outgoing} said
	 * @param {string} why
	 * @returns {boolean} whether it does
	 */
	takeBack(said, why) {
		this.problem.textContent = `Not said: ${why}`;
		if (said.text === undefined || this.text.value !== "" || this.context.edit) return false;
		this.mend(said);
		return true;
	}

	/** Puts into the field what was to be said. @param {Outgoing} said */
	mend({ kind, text = "", to, of }) {
		this.keep();
		const command = kind === "action" ? "/me " : kind === "topic" ? "/topic " : "";
		const plain = text.startsWith("/") && kind !== "edit" ? `/${text}` : text;
		this.write(kind === "edit" ? { edit: of } : kind === "reply" ? { reply: to } : {}, command ? command + text : plain);
		this.keep();
	}

	/** Says what is written, or obeys it. */
	#submit() {
		const room = state.current;
		const text = this.text.value.trim();
		if (!room || !text) return;
		const { reply, edit } = this.context;
		const command = edit ? null : /^\/(?!\/)(\S*)\s*/u.exec(text);
		const rest = text.slice(command?.[0].length ?? 0);
		const plain = text.startsWith("//") && !edit ? text.slice(1) : text;
		this.problem.textContent = "";
		/** @type {import("../lib/memory.js").Body | null} */
		let body = null;
		if (command?.[1] === "help") {
			// It tells, and says nothing.
		} else if (command && !["me", "topic"].includes(command[1])) {
			this.problem.textContent = `There is no /${command[1]}. /help tells what there is; a text that begins with a slash begins with two.`;
			return;
		} else if (command?.[1] === "me" && rest === "") {
			this.problem.textContent = "/me wants to know what you do: /me waves";
			return;
		} else if (command) body = { kind: command[1] === "me" ? "action" : "topic", text: rest };
		else if (edit) body = { kind: "edit", of: edit, text: plain };
		else if (reply) body = { kind: "reply", to: reply, text: plain };
		else body = { kind: "text", text: plain };
		// Before it is said: what is refused at once stands in the field again.
		this.write({}, "");
		this.keep();
		if (!body) {
			this.showHelp(true);
			return;
		}
		emit("said");
		room.session.say(body);
	}
}

export const composer = new Composer();

on("room", (room) => composer.open(room));
on("lines", ({ reworded }) => {
	if (reworded.size > 0) composer.showContext();
});
on("refused", ({ said, problem, own }) => {
	if (own && composer.takeBack(said, problem.message)) state.current?.session.dismiss(said.id);
});
