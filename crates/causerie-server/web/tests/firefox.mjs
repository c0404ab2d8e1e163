// The page's main path in Firefox, with a real server and native clients:
//
//   node tests/firefox.mjs PATH-TO-CAUSERIE [FOLDER-FOR-SCREENSHOTS]
//
// What browsers have in common is tested in browser.mjs. Environment: FIREFOX, another browser than /usr/bin/firefox-esr.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { launch } from "puppeteer-core";

import { PATIENCE, TRAIN, endings, log, pictures, startNative, startServer, until } from "./programs.mjs";

const folder = await mkdtemp(join(tmpdir(), "causerie-firefox-"));
/** @type {import("puppeteer-core").Browser | undefined} */
let browser;

/** @param {import("puppeteer-core").Page} page @param {string} name */
async function picture(page, name) {
	if (!pictures) return;
	await mkdir(pictures, { recursive: true });
	await page.screenshot({ path: join(pictures, `firefox-${name}.png`) });
}

async function test() {
	const { address } = await startServer(folder);
	const started = await launch({
		browser: "firefox", executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr", headless: true, defaultViewport: null,
		args: ["--width=1440", "--height=900"], timeout: 4 * PATIENCE,
	});
	browser = started;
	endings.push(() => started.close());
	console.log(`in ${await started.version()}`);
	const page = await started.newPage();
	page.setDefaultTimeout(PATIENCE);
	/** @type {string[]} */
	const troubles = [];
	page.on("pageerror", (error) => troubles.push(String(error)));
	page.on("console", (message) => {
		if (message.type() === "error") troubles.push(message.text());
	});
	/** @param {string} selector */
	const count = (selector) => page.$$eval(selector, (found) => found.length);
	const shown = () => page.$$eval("#lines .message > .text", (texts) => texts.map((text) => text.textContent ?? ""));

	console.log("joining, and talking with native clients");
	await page.goto(`http://${address}/`);
	await page.waitForSelector("#create-name");
	await page.type("#create-name", "lobby");
	await page.keyboard.press("Enter");
	await page.waitForSelector("#join:not([hidden])");
	await page.type("#join-name", "Ann");
	await page.keyboard.press("Enter");
	// The driver's own waiting for functions makes them of text, which the page's policy forbids.
	await until("the connection", async () => (await page.$eval("#state", ({ textContent }) => textContent)) === "connected");
	const bob = startNative(address, "Bob");
	const eve = startNative(address, "Eve", "delay=0..400ms,loss=30%,seed=7");
	await page.type("#composer-text", "is anybody there?");
	await page.keyboard.press("Enter");
	await until("Bob to hear it", () => bob.heard.some((line) => line.includes("is anybody there?")));
	bob.say("<b>I am</b>");
	await until("his answer", async () => (await shown()).includes("<b>I am</b>"));

	console.log("the picture: dots, messages held at the server and at a member");
	let said = 0;
	await until("a message to be held at the server, and one at Eve", async () => {
		if (said < 300) {
			eve.say(TRAIN[said % TRAIN.length]);
			for (const word of ["ready?", "go!"]) bob.say(word);
			said += 1;
		}
		const at = (await log(address, "lobby")).find((/** @type {any} */ { author }) => author === "Eve")?.member;
		return at !== undefined && (await count(`#diagram .event.hold[data-at="${at}"]`)) >= 1 && (await count('#diagram .event.hold[data-at="0.0"]')) >= 1;
	});
	await picture(page, "held");
	await page.type("#composer-text", "enough");
	await page.keyboard.press("Enter");
	await until("all to be there", async () => (await log(address, "lobby")).length >= 6 + 3 * said);
	await page.click("#arrivals");
	await page.select("#window", "300");
	const records = (await log(address, "lobby")).map((/** @type {any} */ { id }) => id).slice(-30);
	await until("a dot for each record, in order", async () => {
		const dots = await page.$$eval("#diagram .event.send", (found) => found.map((dot) => /** @type {SVGElement} */ (dot).dataset.id));
		return JSON.stringify(dots.slice(-30)) === JSON.stringify(records);
	});
	// One that is on the screen, and not by the driver's own click: this browser scrolls SVG elsewhere.
	const dot = await page.$$eval("#diagram .event.send [role=button]", (dots) => {
		const places = dots.map((dot) => {
			const { x, y, width, height } = dot.getBoundingClientRect();
			return { dot, x: x + width / 2, y: y + height / 2 };
		});
		const seen = places.findLast(({ dot, x, y }) => dot.contains(document.elementFromPoint(x, y)));
		return seen && { x: seen.x, y: seen.y };
	});
	assert(dot, "a dot is on the screen");
	await page.mouse.click(dot.x, dot.y);
	await page.waitForSelector("#details table.rule");
	await picture(page, "chosen");

	console.log("the lab: an answer that overtakes its question");
	await page.goto(`http://${address}/lab`);
	await page.waitForSelector("#presets a");
	const second = await page.evaluateHandle(() => [...document.querySelectorAll("#presets a")].find((link) => link.textContent?.startsWith("2.")));
	await /** @type {import("puppeteer-core").ElementHandle<Element>} */ (second.asElement()).click();
	await until("one message to be held, and delivered too early without causal order", async () =>
		(await count('[data-order="causal"] .event.hold')) === 1 && (await count('[data-order="arrival"] .event.hold')) === 0
		&& /^1 delivered before/u.test(await page.$eval("#arrival-verdict", ({ textContent }) => textContent ?? "")));
	await picture(page, "lab");
	assert.deepEqual(troubles, []);
}

try {
	await test();
	console.log("the page works in Firefox");
} catch (error) {
	for (const [n, page] of (await browser?.pages() ?? []).entries()) await picture(page, `failed-${n}`).catch(() => {});
	throw error;
} finally {
	for (const end of endings.reverse()) await end();
	await rm(folder, { recursive: true, force: true });
}
// What still listens must not keep us.
process.exit();
