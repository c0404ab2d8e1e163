// The page in a real browser, with a real server and native clients:
//
//   node tests/browser.mjs PATH-TO-CAUSERIE [FOLDER-FOR-SCREENSHOTS]
//
// Waits for what must come, and never for a time. Environment: CHROMIUM, another browser than /usr/bin/chromium.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { accessible, choose, fits, inChromium, join_ as joinAt, live, openPage as openPageAt, picture, say, sees, shown } from "./pages.mjs";
import { PATIENCE, TRAIN, log as logAt, makeRoom, startNative as startNativeAt, startServer, until } from "./programs.mjs";

/** Starts a native client that speaks and listens in a pipe. @param {string} name @param {string} [link] */
const startNative = (name, link) => startNativeAt(address, name, link);
/** Returns the whole log of a room. @param {string} room */
const log = (room) => logAt(address, room);

/** @param {import("playwright-core").BrowserContextOptions} [options] */
const openPage = (options) => openPageAt(browser, address, options);
/** @param {Page} page @param {string} name @param {string} [room] */
const join_ = (page, name, room) => joinAt(page, address, name, room);

/** @typedef {import("playwright-core").Page} Page */

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {string} */
let address;

/** @param {import("./pages.mjs").World} world */
async function test({ folder, browser: started }) {
	browser = started;
	const server = await startServer(folder);
	address = server.address;
	const version = await fetch(`http://${address}/`);
	assert.equal(version.status, 200);
	await makeRoom(address, "lobby");

	console.log("two pages and a native client talk");
	const ann = await openPage();
	const raj = await openPage({ colorScheme: "dark" });
	await join_(ann.page, "Ann");
	await join_(raj.page, "Raj");
	assert.ok(await ann.page.locator("#composer-text").evaluate((text) => text.clientHeight >= 20), "a line fits into the message field");
	const bob = startNative("Bob");
	await until("Bob to be in", async () => (await log("lobby")).some((/** @type {any} */ { kind, author }) => kind === "joined" && author === "Bob"));
	const said = [];
	for (let round = 0; round < 5; round += 1) {
		for (const [name, speak] of /** @type {const} */ ([["Ann", (/** @type {string} */ text) => say(ann.page, text)], ["Raj", (/** @type {string} */ text) => say(raj.page, text)], ["Bob", bob.say]])) {
			said.push(`${name} ${round}`);
			await speak(`${name} ${round}`);
		}
	}
	for (const text of said) await Promise.all([sees(ann.page, text), sees(raj.page, text)]);
	const texts = (await log("lobby")).flatMap((/** @type {any} */ { kind, text }) => (kind === "text" ? [text] : []));
	assert.deepEqual([...texts].sort(), [...said].sort());
	assert.deepEqual(await shown(ann.page), texts, "Ann sees the log's order");
	assert.deepEqual(await shown(raj.page), texts, "Raj sees the log's order");
	const notBob = texts.filter((/** @type {string} */ text) => !text.startsWith("Bob"));
	await until("Bob to hear all", () => bob.heard.length === notBob.length);
	assert.deepEqual(bob.heard.map((heard) => heard.split(" : ")[1]).sort(), [...notBob].sort());

	console.log("replies, reactions, edits, deletions, topic");
	const question = ann.page.locator("#lines .message", { hasText: "Ann 0" });
	await raj.page.locator("#lines .message", { hasText: "Ann 0" }).hover();
	await raj.page.locator("#lines .message", { hasText: "Ann 0" }).locator('[data-action="reply"]').click();
	await say(raj.page, "an answer");
	await sees(ann.page, "an answer");
	assert.match(await ann.page.locator("#lines .message", { hasText: "an answer" }).locator(".quote").innerText(), /Ann Ann 0/u);
	await raj.page.locator("#lines .message", { hasText: "Bob 1" }).hover();
	await raj.page.locator("#lines .message", { hasText: "Bob 1" }).locator('[data-action="react"]').click();
	await raj.page.locator("#picker button").first().click();
	await ann.page.locator("#lines .message", { hasText: "Bob 1" }).locator(".reaction").waitFor();
	await question.first().hover();
	await question.first().locator('[data-action="edit"]').click();
	await say(ann.page, "Ann zero");
	await sees(raj.page, "Ann zero (edited)");
	ann.page.on("dialog", (dialog) => void dialog.accept());
	await ann.page.locator("#lines .message", { hasText: "Ann 1" }).hover();
	await ann.page.locator("#lines .message", { hasText: "Ann 1" }).locator('[data-action="delete"]').click();
	await sees(raj.page, "deleted");
	await say(ann.page, "/topic what happened before what");
	await until("the topic", async () => (await raj.page.innerText("#topic")) === "what happened before what");
	await say(ann.page, "/me waves");
	await sees(raj.page, "Ann waves");

	console.log("dots and arrows are the recorded dependencies");
	const bad = startNative("Eve", "delay=0..400ms,loss=30%,seed=7");
	let count = 0;
	// Until the weather has been bad once.
	await until("a message to be held", async () => {
		if (count < 400) bad.say(TRAIN[(count += 1) % TRAIN.length]);
		return (await ann.page.locator("#diagram .event.hold").count()) > 0;
	});
	await picture(ann.page, "held");
	bob.say("what is this?");
	await until("all of Eve's to be there", async () => (await log("lobby")).filter((/** @type {any} */ { author, kind }) => author === "Eve" && kind === "text").length === count);
	await say(ann.page, "that was it");
	await sees(ann.page, "that was it");
	console.log("what native clients deliver and hold is drawn at their columns");
	const eve = (await log("lobby")).find((/** @type {any} */ { author }) => author === "Eve").member;
	let asked = 0;
	// Until one of two has overtaken the other on the way to Eve, and both have been delivered there.
	await until("a hollow dot at Eve's column, and a dashed line down to its delivery", async () => {
		if (asked < 100) for (const word of ["ready?", "go!"]) bob.say(`${word} ${(asked += 1)}`);
		return ann.page.evaluate((at) => [...document.querySelectorAll(`#diagram .event.hold[data-at="${at}"]`)].some((hollow) => {
			const { id } = /** @type {SVGElement} */ (hollow).dataset;
			const delivered = document.querySelector(`#diagram .event.deliver[data-at="${at}"][data-id="${id}"]`);
			const dashed = document.querySelector(`#diagram .held[data-at="${at}"][data-to="${id}"]`);
			// It bends back to the column where it is delivered.
			return delivered !== null && (dashed?.getAttribute("d")?.match(/Q/gu)?.length ?? 0) === 2;
		}), eve);
	});
	await ann.page.click("#follow");
	const held = await ann.page.evaluate((at) => {
		const ids = [...document.querySelectorAll(`#diagram .event.hold[data-at="${at}"]`)].map((hollow) => /** @type {SVGElement} */ (hollow).dataset.id);
		const delivered = (/** @type {string | undefined} */ id) => document.querySelector(`#diagram .event.deliver[data-at="${at}"][data-id="${id}"]`);
		const arrows = (/** @type {string | undefined} */ id) =>
			[...document.querySelectorAll(`#diagram .arrow[data-at="${at}"][data-to="${id}"]`)].map(({ classList }) => classList[1]);
		return ids.filter(delivered).map((id) => ({ id, arrows: arrows(id) }));
	}, eve);
	for (const { id, arrows } of held) assert.deepEqual(arrows, ["arrival"], `one arrow to where ${id} was received, and none to where it was delivered`);
	await picture(ann.page, "arrivals");

	console.log("the rule is told for the member whose event is clicked");
	const clicked = held[held.length - 1].id;
	for (const kind of ["hold", "deliver"]) {
		await choose(ann.page, `.event.${kind}[data-at="${eve}"][data-id="${clicked}"]`, /at Eve/u);
		assert.match(await ann.page.innerText("#details p.fails"), /^At Eve it was received early and held for \d+ ms: [1-9]\d* conditions? failed\. It waited for /u);
		assert.ok((await ann.page.locator("#details tr.fails").count()) >= 1);
		// The room itself, and all who are in it, whether or not the author had delivered anything of them.
		assert.equal(await ann.page.locator("#details tbody tr").count(), 1 + 4);
		await ann.page.locator("#details .close").click();
	}
	await choose(ann.page, `.event.send[data-id="${clicked}"]`, /at the server/u);
	assert.equal(await ann.page.locator("#details tr.fails").count(), 0);
	await ann.page.locator("#details .chip", { hasText: /at Eve: held \d+ ms/u }).click();
	await until("the rule at Eve", async () => /at Eve/u.test(await ann.page.locator("#details caption").innerText()));
	await picture(ann.page, "rule-at-a-member");
	await ann.page.locator("#details .close").click();
	await ann.page.click("#follow");

	console.log("whoever only looks sees what is held and what arrives; the picture stops at the first that is held");
	const onlooker = await openPage();
	await onlooker.page.goto(`http://${address}/?hold#lobby`);
	await onlooker.page.waitForSelector("#diagram .event.send");
	await until("the picture to stop", async () => {
		if (asked < 300) for (const word of ["ready?", "go!"]) bob.say(`${word} ${(asked += 1)}`);
		return (await onlooker.page.innerText("#follow")) === "Paused";
	});
	await onlooker.page.locator("#details p.fails").waitFor();
	assert.match(await onlooker.page.locator("#diagram .event").last().getAttribute("class") ?? "", /hold/u);
	await picture(onlooker.page, "onlooker");
	await onlooker.page.click("#follow");
	await until("deliveries at Eve", async () => (await onlooker.page.locator(`#diagram .event.deliver[data-at="${eve}"]`).count()) > 0);
	assert.deepEqual((await (await fetch(`http://${address}/api/rooms/lobby`)).json()).members.length, 4, "nobody has come in");
	await onlooker.context.close();
	await until("all of Bob's to be there", async () => (await log("lobby")).filter((/** @type {any} */ { text }) => /^(?:ready\?|go!) /u.test(text)).length === asked);
	await ann.page.uncheck("#arrivals");
	await ann.page.selectOption("#window", "300");
	const records = await log("lobby");
	await until("all dots", async () => (await ann.page.locator("#diagram .event.send").count()) === records.length);
	const drawn = await ann.page.evaluate(() => ({
		dots: [...document.querySelectorAll("#diagram .event.send")].map((dot) => /** @type {SVGElement} */ (dot).dataset.id ?? ""),
		arrows: [...document.querySelectorAll("#diagram .arrow.cause")].map((arrow) => {
			const { from, to } = /** @type {SVGElement} */ (arrow).dataset;
			return `${from} ${to}`;
		}),
		holds: [...document.querySelectorAll("#diagram .event.hold")].map((dot) => /** @type {SVGElement} */ (dot).dataset.id ?? ""),
	}));
	assert.deepEqual(drawn.dots, records.map((/** @type {any} */ { id }) => id), "a dot for each record, in order");
	assert.deepEqual(drawn.arrows.sort(), records.flatMap((/** @type {any} */ { id, deps }) => deps.map((/** @type {string} */ dep) => `${dep} ${id}`)).sort());
	assert.ok(drawn.holds.length > 0 && drawn.holds.every((id) => drawn.dots.includes(id)), "what was held was delivered");

	console.log("choosing: the stamp, the conditions, the relation");
	await ann.page.locator("#lines .message", { hasText: "that was it" }).locator(".text").click();
	await ann.page.locator("#details table.rule").waitFor();
	assert.equal(await ann.page.locator("#details tr.fails").count(), 0);
	await choose(ann.page, `.event.hold[data-id="${drawn.holds[0]}"]`, /at the server/u);
	await ann.page.locator("#details tr.fails").first().waitFor();
	assert.match(await ann.page.innerText("#details p.fails"), /At the server it was received early and held for \d+ ms: [1-9].* It waited for /u);
	await picture(ann.page, "chosen");
	await ann.page.locator("#lines .message", { hasText: "that was it" }).locator(".text").click();
	await ann.page.locator("#lines .message", { hasText: "what is this?" }).locator(".text").click({ modifiers: ["Shift"] });
	assert.match(await ann.page.innerText("#details .relation"), /is causally after/u);
	await picture(ann.page, "compared");
	if (await ann.page.isVisible("#to-end")) await ann.page.click("#to-end");
	await ann.page.selectOption("#window", "60");
	await ann.page.check("#arrivals");

	console.log("what others write is text");
	const nasty = '<img src=x onerror="globalThis.owned=1"><script>globalThis.owned=1</script>javascript:alert(1)';
	bob.say(nasty);
	await sees(ann.page, nasty);
	const evil = await openPage();
	await join_(evil.page, "<b onclick=x>M</b>");
	await say(evil.page, "/topic <i>t</i>");
	await until("the topic as text", async () => (await ann.page.innerText("#topic")) === "<i>t</i>");
	await say(evil.page, "http://example.invalid/<b> and http://example.invalid/x\"onclick=y");
	await sees(ann.page, "http://example.invalid/<b> and http://example.invalid/x\"onclick=y");
	for (const { page } of [ann, raj]) {
		const found = await page.evaluate(() => ({
			owned: /** @type {any} */ (globalThis).owned,
			markup: document.querySelectorAll("#chat img, #chat script, #chat b, #chat i, #picture img, #picture b, [onclick], [onerror]").length,
			links: [...document.querySelectorAll("#lines a")].map((a) => a.getAttribute("href")),
		}));
		assert.equal(found.owned, undefined);
		assert.equal(found.markup, 0);
		assert.ok(found.links.every((href) => href?.startsWith("http://example.invalid/")));
	}
	await evil.context.close();

	console.log("the server is killed and comes back");
	// Whoever reads further up stays there.
	if (await raj.page.isVisible("#to-end")) await raj.page.click("#to-end");
	await server.kill();
	await ann.page.waitForFunction(() => document.querySelector("#state")?.textContent === "no connection");
	await say(ann.page, "said without a server");
	await ann.page.locator("#outbox .outgoing", { hasText: "said without a server" }).waitFor();
	await ann.page.fill("#composer-text", "not sent yet");
	await startServer(folder, address.split(":")[1]);
	for (const { page } of [ann, raj]) {
		await page.click("#banner button", { timeout: 2_000 }).catch(() => {});
		await live(page);
		await sees(page, "said without a server");
	}
	await until("the outbox to be empty", async () => (await ann.page.locator("#outbox .outgoing").count()) === 0);
	await say(raj.page, "welcome back");
	await sees(ann.page, "welcome back");
	const after = (await log("lobby")).filter((/** @type {any} */ { text }) => text === "said without a server");
	assert.equal(after.length, 1, "said once");
	assert.equal(await ann.page.inputValue("#composer-text"), "not sent yet");

	console.log("a reload keeps the order, the membership and the unsent text");
	const before = await shown(ann.page);
	await ann.page.reload();
	await live(ann.page);
	await sees(ann.page, "welcome back");
	const again = await shown(ann.page);
	const overlap = Math.min(before.length, again.length);
	assert.deepEqual(again.slice(-overlap), before.slice(-overlap));
	assert.equal(await ann.page.inputValue("#composer-text"), "not sent yet");
	assert.ok(!(await log("lobby")).some((/** @type {any} */ { kind, author }) => kind === "left" && author === "Ann"));
	const twin = await ann.context.newPage();
	await twin.goto(`http://${address}/#lobby`);
	await live(twin);
	await say(twin, "from another window");
	await Promise.all([sees(ann.page, "from another window"), sees(twin, "from another window")]);
	assert.equal(await ann.page.innerText("#state"), "connected");
	await twin.close();

	console.log("50,000 messages: few in the document, all within reach");
	await makeRoom(address, "long");
	const many = 50_000;
	const { token } = await (await fetch(`http://${address}/api/rooms/long/members`, { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"name":"Max"}' })).json();
	const tell = (/** @type {number} */ n) => fetch(`http://${address}/api/rooms/long/messages`, {
		method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` }, body: JSON.stringify({ id: `m${n}`, text: `number ${n}` }),
	});
	await raj.page.evaluate(([whose, count]) => new Promise((resolve, reject) => {
		const socket = new WebSocket(`ws://${location.host}/api/rooms/long/ws`);
		let [sent, stored] = [0, 0];
		const send = (/** @type {object} */ event) => socket.send(JSON.stringify(event));
		const more = () => {
			for (; sent < count && sent < stored + 500; sent += 1) send({ type: "say", id: `m${sent}`, text: `number ${sent}` });
		};
		socket.onopen = () => send({ type: "resume", token: whose });
		socket.onmessage = ({ data }) => {
			const { type } = JSON.parse(data);
			stored += Number(type === "ack");
			if (type === "error") reject(new Error(data));
			if (type === "welcome" || type === "ack") more();
			if (stored === count) resolve(socket.close());
		};
	}), /** @type {[string, number]} */ ([token, many]));
	// Whoever comes and reads sees the newest, though earlier ones are fetched at once.
	const reader = await openPage();
	for (let visit = 0; visit < 3; visit += 1) {
		await reader.page.goto(`http://${address}/lab`);
		await reader.page.goto(`http://${address}/#long`);
		await sees(reader.page, `number ${many - 1}`);
	}
	await reader.context.close();
	await join_(ann.page, "Ann", "long");
	// Whoever points at a message: what is before it is all there is, and more comes all the time.
	await sees(ann.page, `number ${many - 1}`);
	await ann.page.locator("#lines .message", { hasText: `number ${many - 1}` }).hover();
	// What is drawn stays, however many come before it.
	await ann.page.waitForSelector("#diagram .event.send");
	await ann.page.evaluate(() => document.querySelector("#diagram .event.send")?.setAttribute("data-marked", ""));
	const inDocument = () => ann.page.locator("#lines > *").count();
	assert.ok((await inDocument()) < 150, "only what is in sight is in the document");
	// Page after page, as somebody who scrolls up.
	await until("the beginning", async () => {
		await ann.page.evaluate(() => { /** @type {HTMLElement} */ (document.querySelector("#scroller")).scrollTop = 0; });
		return (await ann.page.innerText("#beginning")) === "The beginning of this room.";
	}, 10 * PATIENCE);
	assert.equal(await ann.page.locator("#diagram .event[data-marked]").count(), 1, "the picture was not drawn anew");
	await ann.page.evaluate(() => { /** @type {HTMLElement} */ (document.querySelector("#scroller")).scrollTop = 0; });
	await until("the first line", async () => (await ann.page.locator('#lines > [aria-posinset="1"]').count()) === 1);
	assert.ok((await inDocument()) < 150);
	await ann.page.click("#search-button");
	await ann.page.fill("#search-words", '"number 1234"');
	await ann.page.press("#search-words", "Enter");
	await ann.page.locator("#hits button").first().click();
	await ann.page.locator("#lines .found", { hasText: "number 1234" }).waitFor();
	await ann.page.click("#to-end");
	await say(ann.page, "at the end");
	await sees(ann.page, "at the end");

	console.log("the end stays in sight, however fast it grows, until its reader scrolls up");
	const scroller = ann.page.locator("#scroller");
	const fromEnd = () => scroller.evaluate((at) => at.scrollHeight - at.scrollTop - at.clientHeight);
	/** Says messages as fast as the server takes them. @param {number} from @param {number} to */
	const burst = async (from, to) => {
		for (let n = from; n < to; n += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => tell(n + i)));
	};
	await burst(many, many + 1_000);
	await sees(ann.page, `number ${many + 999}`);
	await until("the end", async () => (await fromEnd()) < 8);
	assert.ok(await ann.page.isHidden("#to-end"));
	// What comes and goes behind the lines scrolls them, too; that is no reader.
	await scroller.evaluate(async (at) => {
		const grown = (/** @type {number} */ height) => {
			const element = document.createElement("p");
			element.style.height = `${height}px`;
			at.append(element);
			return element;
		};
		const scrolled = () => new Promise((resolve) => at.addEventListener("scroll", resolve, { once: true }));
		const first = grown(300);
		at.scrollTop = at.scrollHeight;
		await scrolled();
		first.remove();
		at.scrollTop += 0;
		const second = grown(100);
		await scrolled();
		second.remove();
	});
	// Nor is who writes a text of several lines: with each key its height is measured.
	await ann.page.fill("#composer-text", "a text of several lines ".repeat(20));
	await ann.page.type("#composer-text", "and another word");
	await ann.page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
	assert.ok(await ann.page.isHidden("#to-end"));
	await ann.page.fill("#composer-text", "");
	await burst(many + 1_000, many + 1_100);
	await sees(ann.page, `number ${many + 1_099}`);
	await until("the end again", async () => (await fromEnd()) < 8);
	assert.ok(await ann.page.isHidden("#to-end"));
	await scroller.hover();
	await ann.page.mouse.wheel(0, -600);
	await ann.page.waitForSelector("#to-end:not([hidden])");
	const read = await shown(ann.page);
	await burst(many + 1_100, many + 1_200);
	await until("the news to be counted", async () => /^100 new/u.test(await ann.page.innerText("#to-end")));
	assert.ok((await shown(ann.page)).some((text) => read.includes(text)), "whoever reads further up stays there");
	assert.ok(!(await shown(ann.page)).includes(`number ${many + 1_199}`));
	await ann.page.click("#to-end");
	await sees(ann.page, `number ${many + 1_199}`);

	console.log("by keyboard alone");
	const keys = await openPage({ reducedMotion: "reduce" });
	const { page } = keys;
	await page.goto(`http://${address}/`);
	await page.waitForSelector("#room-list a");
	/** Presses Tab until an element has the focus. @param {string} selector */
	const tabTo = async (selector) => {
		for (let i = 0; i < 80; i += 1) {
			if (await page.evaluate((at) => document.activeElement?.matches(at) ?? false, selector)) return;
			await page.keyboard.press("Tab");
		}
		throw new Error(`Tab does not lead to ${selector}`);
	};
	await tabTo("#create-name");
	await page.keyboard.type("keys");
	await page.keyboard.press("Enter");
	await page.waitForFunction(() => document.querySelector("#room-name")?.textContent === "keys");
	await page.waitForSelector("#join:not([hidden])");
	await tabTo("#join-name");
	await page.keyboard.type("Kay");
	await page.keyboard.press("Enter");
	await live(page);
	await tabTo("#composer-text");
	await page.keyboard.type("one");
	await page.keyboard.press("Enter");
	await sees(page, "one");
	await page.keyboard.type("two");
	await page.keyboard.press("Enter");
	await sees(page, "two");
	await page.keyboard.press("ArrowUp");
	await page.keyboard.type(" and a half");
	await page.keyboard.press("Enter");
	await sees(page, "two and a half (edited)");
	const onFirst = async () => /Kay: one/u.test(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? ""));
	await tabTo("#scroller");
	await page.keyboard.press("ArrowUp");
	await page.keyboard.press("ArrowUp");
	await until("the first message to have the focus", onFirst);
	await page.keyboard.press("+");
	await page.keyboard.press("ArrowRight");
	await page.keyboard.press("Enter");
	await page.locator("#lines .reaction").waitFor();
	await until("the first message to have the focus", onFirst);
	await page.keyboard.press("r");
	await page.keyboard.type("a reply");
	await page.keyboard.press("Enter");
	await sees(page, "a reply");
	await tabTo("#diagram .event.send [role=button]");
	await page.keyboard.press("ArrowUp");
	await page.keyboard.press("ArrowUp");
	await page.keyboard.press("Enter");
	await page.locator("#details table.rule").waitFor();
	await page.keyboard.press("ArrowDown");
	await page.keyboard.press("Shift+Enter");
	await page.locator("#details .relation").waitFor();

	console.log("axe finds nothing serious");
	await raj.page.bringToFront();
	await accessible(raj.page, "dark");
	await picture(raj.page, "dark");
	await ann.page.bringToFront();
	await ann.page.goto(`http://${address}/#lobby`);
	await live(ann.page);
	await sees(ann.page, "welcome back");
	await ann.page.locator("#lines .message", { hasText: "welcome back" }).locator(".text").click();
	await ann.page.click("#members-button");
	await accessible(ann.page, "light, a message chosen, the members open");
	await ann.page.click("#members-button");
	await ann.page.click("#table-button");
	await until("the rows", async () => (await ann.page.locator("#diagram-table tbody tr").count()) > 10);
	await accessible(ann.page, "the table");
	await ann.page.click("#table-button");

	console.log("pause, step, fold, export");
	await ann.page.uncheck("#arrivals");
	await ann.page.click("#follow");
	await say(raj.page, "while paused");
	await sees(ann.page, "while paused");
	const last = async () => (await ann.page.locator("#diagram .event.send [role=button]").last().getAttribute("aria-label")) ?? "";
	assert.doesNotMatch(await last(), /while paused/u);
	await ann.page.click("#forward");
	await until("the next event", async () => /while paused/u.test(await last()));
	await ann.page.click("#follow");
	await ann.page.selectOption("#window", "30");
	await until("30 events", async () => (await ann.page.locator("#diagram .event").count()) === 30);
	const everything = await log("lobby");
	await until("what is folded to be counted", async () =>
		Number(/▴ (\d+) earlier/u.exec(await ann.page.innerText("#folded"))?.[1]) >= everything.length - 30);
	for (const [button, ending, has] of /** @type {const} */ ([["#export-svg", ".svg", "<svg"], ["#export-shiviz", ".log", "(?<event>.*)"]])) {
		const [download] = await Promise.all([ann.page.waitForEvent("download"), ann.page.click(button)]);
		assert.ok(download.suggestedFilename().endsWith(ending));
		const content = await readFile(await download.path(), "utf8");
		assert.ok(content.startsWith(has), content.slice(0, 80));
	}
	await ann.page.selectOption("#window", "60");

	console.log("on a phone");
	await ann.page.setViewportSize({ width: 390, height: 780 });
	await ann.page.click('.panes [data-pane="chat"]');
	await picture(ann.page, "phone");
	await fits(ann.page);
	await ann.page.click('.panes [data-pane="picture"]');
	await ann.page.locator("#diagram .event.send").last().waitFor();
	await accessible(ann.page, "the picture on a phone");
	await picture(ann.page, "phone-picture");

	for (const { troubles } of [ann, raj, keys, evil]) assert.deepEqual(troubles, []);
}

await inChromium("page", test);
