import js from "@eslint/js";
import globals from "globals";

export default [
	{ ignores: ["node_modules/"] },
	js.configs.recommended,
	{
		files: ["**/*.js"], ignores: ["tests/"],
		languageOptions: { globals: globals.browser },
		rules: {
			eqeqeq: "error",
			"no-var": "error",
			"prefer-const": "error",
			// Whatever others write is text: there is no way for markup into the page.
			"no-restricted-properties": ["error", ...["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe"].map((property) => ({ property }))],
			"no-restricted-globals": ["error", "event", "name", "status"],
			"no-eval": "error",
			"no-implied-eval": "error",
		},
	},
	{ files: ["tests/*.{js,mjs}", "eslint.config.js"], languageOptions: { globals: { ...globals.node, ...globals.browser } } },
];
