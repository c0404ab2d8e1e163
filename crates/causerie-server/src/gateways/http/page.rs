//! The pages for people, the chat and the lab: the files of `web/`, as they are in the binary. Who takes gzip gets gzip.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, REFERRER_POLICY,
    VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::compression::CompressionLayer;

/// Scripts and styles come from here only, none stand in the page, and no script can make markup of a text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

/// A file of `web/`.
struct File {
    /// Its path there.
    name: &'static str,
    content: &'static [u8],
}

macro_rules! files {
    ($($name:literal)*) => {
        &[$(File { name: $name, content: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/", $name)) }),*]
    };
}

/// All files that are served. `web/` has others beside them, such as tests and what the tests need.
const FILES: &[File] = files! {
    "index.html" "style.css" "icon.svg" "app.js" "lighting.js" "page.js" "state.js"
    "chat/actions.js" "chat/banner.js" "chat/calls.js" "chat/composer.js" "chat/entrance.js" "chat/lines.js"
    "chat/list.js" "chat/log.js" "chat/search.js" "chat/sidebar.js"
    "lab.html" "lab.css" "lab/lab.js" "lab/run.js"
    "lib/element.js" "lib/following.js" "lib/memory.js" "lib/notify.js" "lib/shapes.js" "lib/text.js"
    "log/causality.js" "log/fold.js" "log/room.js" "log/timeline.js"
    "picture/diagram.js" "picture/inspector.js" "picture/pane.js"
    "wire/connection.js" "wire/onlooker.js" "wire/sharing.js"
};

impl File {
    /// Returns the address: that of a page is without the ending.
    fn path(&self) -> String {
        match self.name {
            "index.html" => "/".into(),
            name => format!("/{}", name.strip_suffix(".html").unwrap_or(name)),
        }
    }

    fn kind(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        }
    }
}

pub(super) fn routes() -> Router {
    let plain = FILES.iter().fold(Router::new(), |router, file| {
        let tag = tag(file.content);
        router.route(&file.path(), get(async move |headers: HeaderMap| answer(file, &tag, &headers)))
    });
    plain.layer(CompressionLayer::new())
}

fn answer(file: &File, tag: &HeaderValue, asked: &HeaderMap) -> Response {
    let fixed = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    let headers = [
        (ETAG, tag.clone()),
        // Kept, and asked about each time: the modules of two versions must not meet.
        fixed(CACHE_CONTROL, "no-cache"),
        fixed(CONTENT_SECURITY_POLICY, POLICY),
        fixed(REFERRER_POLICY, "no-referrer"),
        fixed(CONTENT_TYPE, file.kind()),
        fixed(VARY, "accept-encoding"),
    ];
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let is_known = known.flat_map(|tags| tags.split(',')).any(|known| {
        let known = known.trim();
        let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
        known == "*" || tag.to_str().is_ok_and(|tag| opaque(tag) == opaque(known))
    });
    match is_known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, file.content).into_response(),
    }
}

/// A name for this content: its FNV-1a hash. Nobody gains anything by finding another content of the same name. Weak,
/// since the same name stands for it compressed.
fn tag(content: &[u8]) -> HeaderValue {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = content.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    HeaderValue::from_str(&format!("W/\"{hash:016x}\"")).expect("digits and quotes")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn text(file: &File) -> &'static str {
        std::str::from_utf8(file.content).expect("UTF-8")
    }

    /// Returns the name of what a file names by its place beside it.
    fn beside(file: &File, named: &str) -> String {
        let mut parts: Vec<&str> = file.name.split('/').collect();
        parts.pop();
        for part in named.split('/') {
            match part {
                "." => {}
                ".." => {
                    parts.pop().expect("inside of web/");
                }
                _ => parts.push(part),
            }
        }
        parts.join("/")
    }

    /// Returns the names of the modules that a script imports, and of the files that a page names.
    fn names(file: &File) -> Vec<String> {
        let starts: &[&str] = match file.kind() {
            "text/javascript; charset=utf-8" => &[" from \""],
            "text/html; charset=utf-8" => &["href=\"", "src=\""],
            _ => &[],
        };
        let mut found = Vec::new();
        for line in text(file).lines().filter(|line| !line.contains(" * ")) {
            for start in starts {
                for rest in line.split(start).skip(1) {
                    let name = rest.split('"').next().unwrap_or_default();
                    // From where the page is: a proxy may have put it below a path.
                    assert!(!name.starts_with('/'), "{} names {name}", file.name);
                    match name {
                        "./" => found.push("index.html".into()),
                        "lab" => found.push("lab.html".into()),
                        _ if name.starts_with('#') => {}
                        _ => found.push(beside(file, name)),
                    }
                }
            }
        }
        found
    }

    fn scripts(folder: &Path) -> usize {
        let mut count = 0;
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            if path.is_dir() && name != "node_modules" && name != "tests" {
                count += scripts(&path);
            }
            count += usize::from(name.ends_with(".js") && !name.contains(".config."));
        }
        count
    }

    #[test]
    fn all_that_the_page_needs_is_in_the_binary() {
        let mut imports = 0;
        for file in FILES {
            for name in names(file) {
                assert!(FILES.iter().any(|file| file.name == name), "{} names {name}", file.name);
                imports += 1;
            }
        }
        assert!(imports > 30, "{imports}");
        let served = FILES.iter().filter(|file| file.name.ends_with(".js")).count();
        assert_eq!(scripts(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/web"))), served);
    }

    /// Returns a page and all that it loads.
    fn loaded(page: &str) -> Vec<&'static File> {
        let mut open = vec![page.to_owned()];
        let mut files: Vec<&File> = Vec::new();
        while let Some(name) = open.pop() {
            // The other page is named, and not loaded.
            if files.iter().any(|file| file.name == name) || (name.ends_with(".html") && name != page) {
                continue;
            }
            let file = FILES.iter().find(|file| file.name == name).expect("it is here");
            files.push(file);
            open.extend(names(file));
        }
        files
    }

    #[test]
    fn the_pages_are_light_and_all_ours() {
        for page in ["index.html", "lab.html"] {
            let files = loaded(page);
            let bytes: usize = files.iter().map(|file| file.content.len()).sum();
            assert!(bytes <= 300_000, "{page}: {bytes} bytes");
            assert!(files.iter().filter(|file| file.name.ends_with(".js")).count() >= 11, "{page}");
            let page = text(files[0]);
            for banned in ["<style", "style=", "onclick", "src=\"http", "href=\"http", "//cdn"] {
                assert!(!page.contains(banned), "{banned}");
            }
            assert_eq!(page.matches("<script").count(), 1);
        }
    }
}
