//! The layers as they are meant: what may know what.

use super::house::{House, Layer};
use super::{javascript, rust};

/// Crates, and those of ours that each may depend on. (`cbcast` has `cbcast-sim` for its tests, which depends on `cbcast`: the
/// one circle between crates, and none of what is published.)
pub(super) const CRATES: &[(&str, &[&str])] = &[
    ("cbcast", &[]),
    ("cbcast-sim", &["cbcast"]),
    ("causerie-core", &["cbcast"]),
    ("causerie-gateway", &["causerie-core", "cbcast"]),
    ("causerie-store", &["causerie-core", "cbcast"]),
    ("causerie-client", &["causerie-core", "cbcast"]),
    ("causerie-bench", &["causerie-core", "cbcast"]),
    ("causerie-server", &["causerie-gateway", "causerie-core", "causerie-store", "cbcast", "cbcast-sim"]),
    (
        "causerie",
        &[
            "causerie-bench",
            "causerie-client",
            "causerie-core",
            "causerie-gateway",
            "causerie-server",
            "causerie-store",
            "cbcast",
            "cbcast-sim",
        ],
    ),
];

/// A layer of one part.
const fn one(parts: &'static [&'static str]) -> Layer {
    Layer { parts, may_mix: true }
}

/// A layer whose parts know nothing of each other.
const fn apart(parts: &'static [&'static str]) -> Layer {
    Layer { parts, may_mix: false }
}

/// A crate of which only circles are looked for.
const fn free(folder: &'static str) -> House {
    House { folder, ending: ".rs", imports: rust::imports, layers: &[] }
}

pub(super) const HOUSES: &[House] = &[
    free("crates/cbcast/src"),
    free("crates/cbcast-sim/src"),
    free("crates/causerie-store/src"),
    free("crates/causerie-bench/src"),
    free("crates/causerie-client/src"),
    free("crates/causerie-gateway/src"),
    free("bench/peers/src"),
    free("xtask/src"),
    House {
        folder: "crates/causerie-core/src",
        ending: ".rs",
        imports: rust::imports,
        layers: &[
            one(&["lib"]),
            apart(&["room", "session", "timeline", "link"]),
            one(&["log"]),
            one(&["wire"]),
            one(&["content", "key", "id"]),
        ],
    },
    House {
        folder: "crates/causerie-server/src",
        ending: ".rs",
        imports: rust::imports,
        layers: &[
            one(&["lib"]),
            one(&["door"]),
            one(&["gateways"]),
            apart(&["gateways/native", "gateways/classic", "gateways/http", "gateways/irc"]),
            one(&["gateways/membership", "gateways/refusal", "gateways/way"]),
            one(&["server"]),
            one(&["rooms"]),
            one(&["error"]),
            apart(&["journal", "fanout", "certificates"]),
            one(&["net", "metrics", "lockdown", "settings", "clock"]),
        ],
    },
    House {
        folder: "crates/causerie/src",
        ending: ".rs",
        imports: rust::imports,
        layers: &[
            one(&["main"]),
            one(&["commands"]),
            apart(&["lines", "tui"]),
            one(&["tui/run"]),
            one(&["tui/terminal"]),
            // What changes knows nothing of what is drawn.
            one(&["tui/view", "tui/overlay"]),
            one(&[
                "tui/update",
                "tui/keys",
                "tui/enter",
                "tui/search",
                "tui/rooms",
                "tui/deletion",
                "tui/scroll",
            ]),
            one(&["tui/links", "tui/diagram", "tui/causality", "tui/command"]),
            one(&["tui/layout"]),
            one(&["tui/model"]),
            one(&[
                "tui/room",
                "tui/places",
                "tui/editor",
                "tui/holds",
                "tui/stability",
                "tui/text",
                "tui/theme",
                "tui/samples",
            ]),
            one(&["config", "entrance", "log", "told", "wording", "when", "address"]),
        ],
    },
    House {
        folder: "crates/causerie-server/web",
        ending: ".js",
        imports: javascript::imports,
        layers: &[
            one(&["tests", "eslint.config"]),
            one(&["app"]),
            // The page of the lab is another than the chat's.
            apart(&["lighting", "lab"]),
            apart(&["chat", "picture"]),
            apart(&["state", "page"]),
            one(&["log"]),
            one(&["wire"]),
            one(&["lib"]),
        ],
    },
];
