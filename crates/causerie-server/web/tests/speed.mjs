// How fast the page is in Chromium, for docs/evidence/benchmarks-page.md:
//
//   cargo build --release -p causerie && node tests/speed.mjs ../../../target/release/causerie
//
// It measures and judges nothing but that no key is lost. Environment: CHROMIUM, another browser than /usr/bin/chromium.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { endings, startServer } from "./programs.mjs";

const MANY = 50_000;
const RATE = 200;
const SECONDS = 15;
const TALKERS = 4;

const folder = await mkdtemp(join(tmpdir(), "causerie-speed-"));
const { address } = await startServer(folder);
/** Processes that talk, each of its own, as other people's are. */
async function openPage() {
	const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
	endings.push(() => browser.close());
	const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
	page.setDefaultTimeout(120_000);
	await page.goto(`http://${address}/lab`);
	return page;
}
const [page, others] = [await openPage(), await openPage()];

/** @typedef {{room: string, total: number, rate: number | null, talkers: number}} Load */
/** Says a load of messages in a room; without a rate as fast as they are stored. @param {Load} load */
const talk = (load) => others.evaluate(async ({ room, total, rate, talkers }) => {
	await fetch("/api/rooms", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: room }) });
	let [sent, stored] = [0, 0];
	/** @type {() => void} */
	let more = () => {};
	const sockets = await Promise.all(Array.from({ length: talkers }, (_, i) => new Promise((resolve) => {
		const socket = new WebSocket(`ws://${location.host}/api/rooms/${room}/ws`);
		socket.onopen = () => socket.send(JSON.stringify({ type: "join", name: `Talker ${i}` }));
		socket.onmessage = ({ data }) => {
			const { type } = JSON.parse(data);
			if (type === "welcome") resolve(socket);
			stored += Number(type === "ack");
			more();
		};
	})));
	const begun = performance.now();
	await new Promise((/** @type {(done: void) => void} */ resolve) => {
		more = () => {
			const allowed = rate === null ? stored + 500 : ((performance.now() - begun) / 1_000) * rate;
			for (; sent < Math.min(total, allowed); sent += 1) {
				sockets[sent % talkers].send(JSON.stringify({ type: "say", id: `m${sent}`, text: `message ${sent} ${"and so on ".repeat(sent % 9)}` }));
			}
			if (stored === total) resolve();
		};
		setInterval(more, 10);
		more();
	});
	for (const socket of sockets) socket.close();
}, load);

/** @param {string} text */
const shows = (text) => page.waitForFunction((begins) => [...document.querySelectorAll("#lines .text")].some(({ textContent }) => textContent?.startsWith(begins)), text);

/** @param {number[]} times in milliseconds */
function told(times) {
	times.sort((a, b) => a - b);
	const at = (/** @type {number} */ part) => times[Math.min(times.length - 1, Math.floor(times.length * part))]?.toFixed(0) ?? "-";
	return `median ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)} ms`;
}

/** Measures pauses between frames, and the time from input to its frame, while something is done. @param {string} what @param {() => Promise<unknown>} act */
async function measure(what, act) {
	await page.evaluate(() => {
		/** @type {any} */
		const measured = { frames: [], inputs: [], going: true };
		/** @type {any} */ (globalThis).measured = measured;
		let last = performance.now();
		const frame = () => {
			const now = performance.now();
			measured.frames.push(now - last);
			last = now;
			if (measured.going) requestAnimationFrame(frame);
		};
		requestAnimationFrame(frame);
		measured.observer = new PerformanceObserver((list) => {
			for (const { name, duration } of list.getEntries()) if (name === "keydown" || name === "pointerover") measured.inputs.push(duration);
		});
		measured.observer.observe({ type: "event", durationThreshold: 16 });
	});
	await act();
	const { frames, inputs } = await page.evaluate(() => {
		const { measured } = /** @type {any} */ (globalThis);
		measured.going = false;
		measured.observer.disconnect();
		return { frames: measured.frames, inputs: measured.inputs };
	});
	console.log(`${what}: ${frames.length} frames, ${told(frames)} apart${inputs.length ? `; ${inputs.length} inputs of 16 ms or more until their frame: ${told(inputs)}` : ""}`);
}

await talk({ room: "long", total: MANY, rate: null, talkers: 1 });
let begun = Date.now();
await page.goto(`http://${address}/#long`);
await shows(`message ${MANY - 1} `);
console.log(`${MANY} messages: the last one is shown ${Date.now() - begun} ms after the page was asked for`);
begun = Date.now();
await page.evaluate(() => new Promise((/** @type {(done: void) => void} */ resolve) => {
	const step = () => {
		if (document.querySelector("#beginning")?.textContent === "The beginning of this room.") return resolve();
		/** @type {HTMLElement} */ (document.querySelector("#scroller")).scrollTop = 0;
		requestAnimationFrame(step);
	};
	step();
}));
const took = Date.now() - begun;
console.log(`paging back to the first: ${took} ms, ${(took / (MANY / 200)).toFixed(0)} ms a page; ${await page.evaluate(() => document.getElementsByTagName("*").length)} elements in the document`);
for (const pixels of [120, 2_000]) {
	await measure(`scrolling by ${pixels} pixels a frame`, () => page.evaluate((by) => new Promise((/** @type {(done: void) => void} */ resolve) => {
		let frames = 0;
		const step = () => {
			/** @type {HTMLElement} */ (document.querySelector("#scroller")).scrollTop += by;
			frames += 1;
			if (frames < 300) requestAnimationFrame(step);
			else resolve();
		};
		requestAnimationFrame(step);
	}), pixels));
}

await page.goto("about:blank");
const total = RATE * 3 * SECONDS;
const talking = talk({ room: "fast", total, rate: RATE, talkers: TALKERS });
await page.goto(`http://${address}/#fast`);
await page.fill("#join-name", "Zoe");
await page.click("#join button");
await page.waitForFunction(() => document.querySelector("#state")?.textContent === "connected");
const until = Date.now() + 1_000 * SECONDS;
let text = "";
await measure(`${RATE} messages a second, typing`, async () => {
	while (Date.now() < until) {
		const word = "the quick brown fox ";
		await page.type("#composer-text", word, { delay: 60 });
		text += word;
	}
});
assert.equal(await page.inputValue("#composer-text"), text, "no key is lost");
console.log(`  ${text.length} keys, none lost`);
await measure(`${RATE} messages a second, pointing`, async () => {
	for (let n = 0; Date.now() < until + 1_000 * SECONDS; n += 1) {
		await page.mouse.move(850 + ((n * 37) % 450), 300 + ((n * 53) % 400));
		await page.waitForTimeout(30);
	}
});
await talking;
await shows(`message ${total - 1} `);
for (const end of endings.reverse()) await end();
await rm(folder, { recursive: true, force: true });
process.exit();
