// Randomised tests: `SEED=n` replays one run, and a failure prints the command for it.

/**
 * Returns a source of numbers below 1 from a seed (mulberry32's construction: a Weyl sequence, mixed).
 * @param {number} seed
 */
export function random(seed) {
	let state = seed >>> 0;
	const next = () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let mixed = Math.imul(state ^ (state >>> 15), state | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
	return {
		next,
		/** @param {number} n */
		below: (n) => Math.floor(next() * n),
		/** @param {number} p */
		chance: (p) => next() < p,
		/** @template T @param {T[]} items @returns {T} */
		pick: (items) => items[Math.floor(next() * items.length)],
	};
}

/** @typedef {ReturnType<typeof random>} Random */

/**
 * Runs a test for each seed.
 * @param {number} count
 * @param {string} file the test's file, for the command that replays it
 * @param {(random: Random, seed: number) => void} test
 */
export function forSeeds(count, file, test) {
	const given = process.env.SEED;
	const seeds = given === undefined ? Array.from({ length: count }, (_, seed) => seed) : [Number(given)];
	for (const seed of seeds) {
		try {
			test(random(seed), seed);
		} catch (error) {
			console.error(`replay: SEED=${seed} node --test ${file}`);
			throw error;
		}
	}
}

/**
 * Returns a room's messages in the order of its log: members who deliver what others have said at random times, and stamp what
 * they say with their frontiers. `known` tells of each message all that its author had delivered: the oracle.
 * @param {Random} random
 * @param {number} members
 * @param {number} count
 */
export function randomRoom(random, members, count) {
	/** @typedef {{id: string, author: string, seq: number, deps: string[], known: Set<string>}} Said */
	/** @type {Said[]} */
	const log = [];
	/** @type {{name: string, seq: number, delivered: Set<string>, at: number}[]} */
	const all = Array.from({ length: members }, (_, i) => ({ name: `0.${i}`, seq: 0, delivered: new Set(), at: 0 }));
	const byId = new Map();
	while (log.length < count) {
		const member = random.pick(all);
		if (random.chance(0.5)) {
			// Reads on in the log: a prefix of it is causally closed.
			const to = member.at + random.below(log.length - member.at + 1);
			for (; member.at < to; member.at += 1) member.delivered.add(log[member.at].id);
			continue;
		}
		const known = new Set(member.delivered);
		const covered = new Set();
		for (const id of known) for (const earlier of byId.get(id).known) covered.add(earlier);
		const own = `${member.name}#${member.seq}`;
		const deps = [...known].filter((id) => !covered.has(id) && id !== own).sort();
		member.seq += 1;
		const said = { id: `${member.name}#${member.seq}`, author: member.name, seq: member.seq, deps, known };
		member.delivered.add(said.id);
		byId.set(said.id, said);
		log.push(said);
	}
	return log;
}
