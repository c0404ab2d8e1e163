// The page by https, under a name that is not this machine's, and with a certificate that nobody vouches for:
//
//   node tests/encrypted.mjs PATH-TO-CAUSERIE FOLDER-FOR-SCREENSHOTS chromium|firefox
//
// Environment: CHROMIUM or FIREFOX, another browser than /usr/bin/chromium or /usr/bin/firefox-esr.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { launch } from "puppeteer-core";

import { PATIENCE, endings, log, makeRoom, pictures, startNative, startServer, until } from "./programs.mjs";

const NAME = "chat.test";
const which = process.argv[4] ?? "chromium";
const folder = await mkdtemp(join(tmpdir(), `causerie-encrypted-${which}-`));
/** @type {import("puppeteer-core").Browser | undefined} */
let browser;

function start() {
	const common = { headless: true, acceptInsecureCerts: true, defaultViewport: { width: 1440, height: 900 }, timeout: 4 * PATIENCE };
	return which === "firefox"
		? launch({ ...common, browser: "firefox", executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr", extraPrefsFirefox: { "network.dns.localDomains": NAME } })
		: launch({ ...common, browser: "chrome", executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", `--host-resolver-rules=MAP ${NAME} 127.0.0.1`] });
}

async function test() {
	const { address } = await startServer(folder, "0", "--tls", "self-signed", "--tls-name", NAME);
	await makeRoom(address, "lobby");
	const started = await start();
	browser = started;
	endings.push(() => started.close());
	console.log(`by https in ${await started.version()}`);
	const page = await started.newPage();
	page.setDefaultTimeout(PATIENCE);
	/** @type {string[]} */
	const troubles = [];
	page.on("pageerror", (error) => troubles.push(String(error)));
	page.on("console", (message) => {
		if (message.type() === "error") troubles.push(message.text());
	});
	const has = () => page.evaluate(() => ({ secure: isSecureContext, digests: typeof globalThis.crypto.subtle?.digest }));
	const at = `${NAME}:${new URL(`http://${address}`).port}`;

	// By the same name in clear text it is not, so the browser does not take this name for its own machine's.
	await page.goto(`http://${at}/`);
	assert.deepEqual(await has(), { secure: false, digests: "undefined" });
	const answer = await page.goto(`https://${at}/#lobby`);
	assert.equal(answer?.status(), 200);
	assert.deepEqual(await has(), { secure: true, digests: "function" });

	await page.waitForSelector("#join:not([hidden])");
	await page.type("#join-name", "Ann");
	await page.keyboard.press("Enter");
	// If a certificate were asked of it, the WebSocket would not open before somebody has chosen one.
	await until("the connection", async () => (await page.$eval("#state", ({ textContent }) => textContent)) === "connected");
	const bob = startNative(address, "Bob");
	const shown = () => page.$$eval("#lines .message > .text", (texts) => texts.map((text) => text.textContent ?? ""));
	/** @type {string[]} */
	const said = [];
	for (let round = 0; round < 5; round += 1) {
		said.push(`Ann ${round}`, `Bob ${round}`);
		await page.type("#composer-text", `Ann ${round}`);
		await page.keyboard.press("Enter");
		bob.say(`Bob ${round}`);
	}
	await until("all that was said", async () => (await shown()).length === said.length);
	await until("Bob to hear Ann", () => said.every((text) => text.startsWith("Bob") || bob.heard.some((line) => line.includes(text))));
	const texts = (await log(address, "lobby")).flatMap((/** @type {any} */ { kind, text }) => (kind === "text" ? [text] : []));
	assert.deepEqual([...texts].sort(), [...said].sort());
	assert.deepEqual(await shown(), texts, "the page shows the log's order");
	assert.deepEqual(troubles, []);
}

try {
	await test();
	console.log(`encrypted: all of it works in ${which}`);
} catch (error) {
	for (const [n, page] of (await browser?.pages() ?? []).entries()) {
		if (!pictures) break;
		await mkdir(pictures, { recursive: true });
		await page.screenshot({ path: join(pictures, `failed-encrypted-${which}-${n}.png`) }).catch(() => {});
	}
	throw error;
} finally {
	for (const end of endings.reverse()) await end();
	await rm(folder, { recursive: true, force: true });
}
// What still listens must not keep us.
process.exit();
