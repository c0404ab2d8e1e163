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

struct File {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

macro_rules! files {
    ($($path:literal $kind:literal $file:literal)*) => {
        &[$(File { path: $path, kind: $kind, content: include_bytes!(concat!("../../web/", $file)) }),*]
    };
}

/// All of them. What a module imports must be here.
const FILES: &[File] = files! {
    "/" "text/html; charset=utf-8" "index.html"
    "/style.css" "text/css; charset=utf-8" "style.css"
    "/icon.svg" "image/svg+xml" "icon.svg"
    "/app.js" "text/javascript; charset=utf-8" "app.js"
    "/causality.js" "text/javascript; charset=utf-8" "causality.js"
    "/chat.js" "text/javascript; charset=utf-8" "chat.js"
    "/composer.js" "text/javascript; charset=utf-8" "composer.js"
    "/connection.js" "text/javascript; charset=utf-8" "connection.js"
    "/diagram.js" "text/javascript; charset=utf-8" "diagram.js"
    "/element.js" "text/javascript; charset=utf-8" "element.js"
    "/following.js" "text/javascript; charset=utf-8" "following.js"
    "/inspector.js" "text/javascript; charset=utf-8" "inspector.js"
    "/lab" "text/html; charset=utf-8" "lab.html"
    "/lab.css" "text/css; charset=utf-8" "lab.css"
    "/lab.js" "text/javascript; charset=utf-8" "lab.js"
    "/memory.js" "text/javascript; charset=utf-8" "memory.js"
    "/notify.js" "text/javascript; charset=utf-8" "notify.js"
    "/onlooker.js" "text/javascript; charset=utf-8" "onlooker.js"
    "/room.js" "text/javascript; charset=utf-8" "room.js"
    "/run.js" "text/javascript; charset=utf-8" "run.js"
    "/sharing.js" "text/javascript; charset=utf-8" "sharing.js"
    "/text.js" "text/javascript; charset=utf-8" "text.js"
    "/timeline.js" "text/javascript; charset=utf-8" "timeline.js"
};

pub(super) fn routes() -> Router {
    let plain = FILES.iter().fold(Router::new(), |router, file| {
        let tag = tag(file.content);
        router.route(file.path, get(async move |headers: HeaderMap| answer(file, &tag, &headers)))
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
        fixed(CONTENT_TYPE, file.kind),
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
    use super::*;

    #[test]
    fn all_that_the_page_needs_is_in_the_binary() {
        let text = |file: &File| String::from_utf8(file.content.to_vec()).expect("UTF-8");
        let here = |path: &str| FILES.iter().any(|file| file.path == path);
        let mut imports = 0;
        for file in FILES.iter().filter(|file| file.path.ends_with(".js")) {
            for line in text(file).lines().filter(|line| line.contains(" from \"") && !line.contains(" * ")) {
                let name = line.split(" from \"./").nth(1).unwrap_or_else(|| panic!("{}: {line}", file.path));
                let name = name.trim_end_matches("\";");
                assert!(here(&format!("/{name}")), "{} imports {name}", file.path);
                imports += 1;
            }
        }
        assert!(imports > 10);
        for page in FILES.iter().filter(|file| file.kind.starts_with("text/html")) {
            for start in ["href=\"", "src=\""] {
                for rest in text(page).split(start).skip(1) {
                    let name = rest.split('"').next().unwrap_or_default();
                    // From where the page is: a proxy may have put it below a path.
                    assert!(!name.starts_with('/'), "{} names {name}", page.path);
                    let name = name.trim_start_matches("./");
                    assert!(name.starts_with('#') || here(&format!("/{name}")), "{} names {name}", page.path);
                }
            }
        }
        let on_disk = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/web")).expect("the folder");
        let modules = on_disk.filter(|entry| {
            let name = entry.as_ref().expect("an entry").file_name().into_string().expect("a name");
            name.ends_with(".js") && !name.contains(".config.")
        });
        assert_eq!(modules.count(), FILES.iter().filter(|file| file.path.ends_with(".js")).count());
    }

    /// The file and all that it loads.
    fn loaded(path: &str) -> Vec<&'static File> {
        let mut paths = vec![path.to_owned()];
        let mut files: Vec<&File> = Vec::new();
        while let Some(path) = paths.pop() {
            if files.iter().any(|file| file.path == path) {
                continue;
            }
            let file = FILES.iter().find(|file| file.path == path).expect("it is here");
            files.push(file);
            let text = std::str::from_utf8(file.content).expect("UTF-8");
            for line in text.lines().filter(|line| !line.contains(" * ")) {
                let module = line.split(" from \"./").nth(1).map(|rest| rest.trim_end_matches("\";"));
                let named = ["<link", "<script"].iter().any(|tag| line.contains(tag));
                let file =
                    |rest: &str| rest.split('"').next().filter(|name| name.contains('.')).map(str::to_owned);
                let named = ["href=\"", "src=\""]
                    .iter()
                    .filter(|_| named)
                    .find_map(|start| line.split(start).nth(1).and_then(file));
                paths.extend(module.map(str::to_owned).or(named).map(|name| format!("/{name}")));
            }
        }
        files
    }

    #[test]
    fn the_pages_are_light_and_all_ours() {
        for (path, modules) in [("/", 11), ("/lab", 11)] {
            let files = loaded(path);
            let bytes: usize = files.iter().map(|file| file.content.len()).sum();
            assert!(bytes <= 300_000, "{path}: {bytes} bytes");
            assert!(files.iter().filter(|file| file.path.ends_with(".js")).count() >= modules, "{path}");
            let page = std::str::from_utf8(files[0].content).expect("UTF-8");
            for banned in ["<style", "style=", "onclick", "src=\"http", "href=\"http", "//cdn"] {
                assert!(!page.contains(banned), "{banned}");
            }
            assert_eq!(page.matches("<script").count(), 1);
        }
    }
}
