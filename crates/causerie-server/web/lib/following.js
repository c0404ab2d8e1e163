// Whether the newest at a scroller's end stays in sight.

/** Pixels that a browser may move what it scrolls by itself. */
const SLACK = 4;

/** A scroller's stay at its end, until the reader scrolls up. What only a change of sizes has moved, no reader has. */
export class Following {
	/**
	 * @param {HTMLElement} scroller
	 * @param {number} near so many pixels from the end are the end
	 */
	constructor(scroller, near) {
		this.scroller = scroller;
		this.near = near;
		this.atEnd = true;
		this.top = 0;
		this.sizes = "";
		scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
		scroller.addEventListener("wheel", ({ deltaY }) => {
			if (deltaY < 0 && scroller.scrollTop > 0) this.atEnd = false;
		}, { passive: true });
	}

	#sizes() {
		return `${this.scroller.scrollHeight} ${this.scroller.clientHeight}`;
	}

	#scrolled() {
		const { scrollTop, clientHeight, scrollHeight } = this.scroller;
		const moved = this.sizes === this.#sizes() ? scrollTop - this.top : 0;
		if (moved < -SLACK) this.atEnd = false;
		else if (moved >= 0 && scrollHeight - scrollTop - clientHeight < this.near) this.atEnd = true;
		this.top = this.atEnd ? Math.max(this.top, scrollTop) : scrollTop;
	}

	/** Notes that the scroller has been laid out, and is where it should be. */
	laidOut() {
		this.top = this.scroller.scrollTop;
		this.sizes = this.#sizes();
	}
}
