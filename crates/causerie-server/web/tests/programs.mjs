// What the tests in browsers start: servers and native clients, as processes of their own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";

/** The program, and where pictures go. */
export const [binary, pictures] = process.argv.slice(2);
assert.ok(binary, `usage: node ${process.argv[1]} PATH-TO-CAUSERIE [FOLDER-FOR-SCREENSHOTS]`);

export const PATIENCE = 30_000;
/** Messages that somebody says whose link is bad. */
export const TRAIN = ["and you?", "I am on the train", "a tunnel again", "lunch at one?", "did you get that?", "hello?", "there it is"];

/** Functions that end what was started, the last first. @type {(() => unknown)[]} */
export const endings = [];

/** @param {string} data @param {string} [port] @param {string[]} options */
export async function startServer(data, port = "0", ...options) {
	const child = spawn(binary, ["serve", "--listen", `127.0.0.1:${port}`, "--data", data, ...options], { stdio: ["ignore", "pipe", "pipe"] });
	endings.push(() => child.kill("SIGKILL"));
	let told = "";
	const address = await new Promise((resolve, reject) => {
		child.stderr.on("data", (bytes) => (told += bytes));
		child.stdout.on("data", (bytes) => {
			told += bytes;
			const found = /listening on (127\.0\.0\.1:\d+)/u.exec(told);
			if (found) resolve(found[1]);
		});
		child.on("exit", () => reject(new Error(`the server ended: ${told}`)));
	});
	const ended = new Promise((resolve) => child.on("exit", resolve));
	return { address, kill: () => (child.kill("SIGKILL"), ended) };
}

/** Starts a native client that speaks and listens in a pipe. @param {string} address @param {string} name @param {string} [link] */
export function startNative(address, name, link) {
	const child = spawn(binary, ["chat", address, "--room", "lobby", "--name", name, "--plain", ...(link ? ["--link", link] : [])]);
	endings.push(() => child.kill("SIGKILL"));
	const client = { heard: /** @type {string[]} */ ([]), notices: "", say: (/** @type {string} */ text) => child.stdin.write(`${text}\n`) };
	let rest = "";
	child.stdout.on("data", (bytes) => {
		const lines = (rest + bytes).split("\n");
		rest = lines.pop() ?? "";
		client.heard.push(...lines);
	});
	child.stderr.on("data", (bytes) => (client.notices += bytes));
	return client;
}

/** @param {string} what @param {() => unknown} condition @param {number} [patience] */
export async function until(what, condition, patience = PATIENCE) {
	const end = Date.now() + patience;
	while (!(await condition())) {
		if (Date.now() > end) throw new Error(`waited ${patience} ms for ${what}`);
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
}

/** Returns the whole log of a room. @param {string} address @param {string} room */
export const log = async (address, room) =>
	(await (await fetch(`http://${address}/api/rooms/${room}/messages?after=0&limit=1000`)).json()).messages;

/** @param {string} address @param {string} name */
export const makeRoom = (address, name) =>
	fetch(`http://${address}/api/rooms`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name }) });
