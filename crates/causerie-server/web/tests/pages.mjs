// What the tests in Chromium do with pages.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { PATIENCE, endings, pictures, until } from "./programs.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export async function startChromium() {
	const started = await chromium.launch({
		executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
		args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
	});
	endings.push(() => started.close());
	return started;
}

/** @typedef {{folder: string, browser: import("playwright-core").Browser}} World a folder for a server's data, and a browser */

/**
 * Runs a test in Chromium. If it fails, pictures are taken of what was open; whatever comes of it, what it has started ends.
 * @param {string} name
 * @param {(world: World) => Promise<void>} test
 */
export async function inChromium(name, test) {
	const folder = await mkdtemp(join(tmpdir(), `causerie-${name}-`));
	const browser = await startChromium();
	try {
		await test({ folder, browser });
		console.log(`${name}: all of it works`);
	} catch (error) {
		for (const [n, page] of browser.contexts().flatMap((context) => context.pages()).entries()) await picture(page, `failed-${name}-${n}`);
		throw error;
	} finally {
		for (const end of endings.reverse()) await end();
		await rm(folder, { recursive: true, force: true });
	}
	// What still listens must not keep us.
	process.exit();
}

/**
 * @param {import("playwright-core").Browser} browser
 * @param {string} address of the server, or of what stands before it
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openPage(browser, address, options = {}) {
	const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
	const page = await context.newPage();
	/** @type {string[]} */
	const troubles = [];
	watch(page, address, troubles);
	return { page, context, troubles };
}

/** Gathers what goes wrong in a page. @param {Page} page @param {string} address @param {string[]} troubles */
export function watch(page, address, troubles) {
	page.setDefaultTimeout(PATIENCE);
	page.on("pageerror", (error) => troubles.push(error.message));
	page.on("console", (message) => {
		// A connection that was cut is told there, too.
		if (message.type() === "error" && !/WebSocket|ERR_CONNECTION|Failed to load resource/u.test(message.text())) troubles.push(message.text());
	});
	page.on("request", (request) => {
		const { protocol, host } = new URL(request.url());
		if (host !== address && protocol !== "blob:" && protocol !== "data:") troubles.push(`third party: ${request.url()}`);
	});
}

/** @typedef {import("playwright-core").Page} Page */

/**
 * Chooses an event in the picture. Clicks again where it moved below the pointer: it may still be laying itself out.
 * @param {Page} page
 * @param {string} event in the picture
 * @param {RegExp} told by the caption of its rule
 */
export async function choose(page, event, told) {
	await until(`the rule of ${event}`, async () => {
		const patience = { timeout: 2_000 };
		// It may also be gone from under the pointer when the click comes.
		const chosen = page.locator(`#diagram ${event} path`).click({ force: true, ...patience });
		const rule = page.locator("#details caption", { hasText: told });
		return chosen.then(() => rule.waitFor(patience)).then(() => true, () => false);
	});
}

/** @param {Page} page @param {string} address @param {string} name @param {string} [room] */
export async function join_(page, address, name, room = "lobby") {
	await page.goto(`http://${address}/#${room}`);
	await page.fill("#join-name", name);
	await page.click("#join button");
	await live(page);
}

/** @param {Page} page */
export const live = (page) => page.waitForFunction(() => document.querySelector("#state")?.textContent === "connected");

/** @param {Page} page @param {string} text */
export async function say(page, text) {
	await page.fill("#composer-text", text);
	await page.press("#composer-text", "Enter");
}

/** Returns the lines of the chat, in order. @param {Page} page */
export const shown = (page) => page.evaluate(() =>
	[...document.querySelectorAll("#lines .message > .text")].map((text) => text.textContent ?? ""));

/** @param {Page} page @param {string} text */
export const sees = (page, text) => until(`“${text}” to be shown`, async () => (await shown(page)).includes(text));

/** @param {Page} page @param {string} name */
export async function picture(page, name) {
	if (!pictures) return;
	await mkdir(pictures, { recursive: true });
	await page.screenshot({ path: join(pictures, `${name}.png`) });
}

/** Waits until a window that has another size now is laid out. @param {Page} page */
export const fits = (page) =>
	until("nothing to be wider than the window", () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));

/** @param {Page} page @param {string} where */
export async function accessible(page, where) {
	// What is concurrent with the message that is pointed at fades on purpose.
	await page.mouse.move(1, 1);
	await page.evaluate(() => document.activeElement instanceof HTMLElement && document.activeElement.blur());
	await page.waitForFunction(() => !document.querySelector("#lines.hovered"));
	await page.waitForFunction(() => document.getAnimations().every(({ playState, effect }) => playState !== "running" || effect?.getTiming().iterations === Infinity));
	await page.evaluate(axe);
	const { violations } = await page.evaluate(() => /** @type {any} */ (globalThis).axe.run());
	const serious = violations.filter((/** @type {any} */ { impact }) => impact === "serious" || impact === "critical");
	const told = serious.map((/** @type {any} */ { id, nodes }) => `${id}: ${nodes.map((/** @type {any} */ node) => `${node.html} ${node.failureSummary}`).join("\n")}`);
	assert.deepEqual(told, [], where);
}
