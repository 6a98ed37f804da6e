//! The console: static files in the binary, for a browser that then talks to the public API like any other client.
//!
//! The page is asked for anew each time and names the other files under a path with the digest of them all, so that
//! they can be kept for ever and never mix with those of another version.
//!
//! **Invariant:** only the paths of [`PAGES`] answer with the page; everything else that is not there is a 404, above
//! all below `/api` and `/v1`.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use freehold_domain::{Error, ErrorCode};
use sha2::{Digest, Sha256};

use super::App;
use super::reply::Refusal;

/// Paths that are pages of the console. A segment in braces is any.
const PAGES: &[&str] = &[
    "/",
    "/login",
    "/signup",
    "/verify",
    "/forgot",
    "/reset",
    "/invite",
    "/prices",
    "/playground",
    "/keys",
    "/usage",
    "/responses",
    "/limits",
    "/billing",
    "/billing/{invoice}",
    "/team",
    "/trail",
    "/account",
    "/operator",
    "/operator/models",
    "/operator/tenants",
    "/operator/tenants/{tenant}",
    "/operator/admission",
    "/operator/billing",
    "/operator/billing/{invoice}",
    "/operator/revenue",
];

/// What a page of the console may load and do: its own files and this service, nothing inline.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
const FOR_EVER: &str = "public, max-age=31536000, immutable";

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        /// Every file but the page, by its path below the digest.
        const FILES: &[(&str, &[u8])] = &[$(($path, include_bytes!(concat!("../../console/", $path)))),*];
    };
}

files![
    "css/base.css",
    "css/pages.css",
    "css/parts.css",
    "icon.svg",
    "js/api.js",
    "js/code.js",
    "js/dialog.js",
    "js/dom.js",
    "js/format.js",
    "js/icons.js",
    "js/main.js",
    "js/metrics.js",
    "js/pages/account.js",
    "js/pages/admission.js",
    "js/pages/billing.js",
    "js/pages/charges.js",
    "js/pages/invoice.js",
    "js/pages/keys.js",
    "js/pages/limits.js",
    "js/pages/login.js",
    "js/pages/models.js",
    "js/pages/password.js",
    "js/pages/playground.js",
    "js/pages/prices.js",
    "js/pages/responses.js",
    "js/pages/revenue.js",
    "js/pages/service.js",
    "js/pages/signup.js",
    "js/pages/start.js",
    "js/pages/tax.js",
    "js/pages/team.js",
    "js/pages/tenant.js",
    "js/pages/tenants.js",
    "js/pages/trail.js",
    "js/pages/usage.js",
    "js/pages/welcome.js",
    "js/parts.js",
    "js/plot.js",
    "js/prose.js",
    "js/router.js",
    "js/shell.js",
    "js/stream.js",
    "js/theme.js",
];

const PAGE: &str = include_str!("../../console/index.html");

/// What is made of the files once.
struct Built {
    digest: String,
    page: String,
    page_etag: HeaderValue,
}

static BUILT: LazyLock<Built> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (path, bytes) in FILES {
        hash.update(path);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    let digest: String = hex(&hash.finalize());
    let page = PAGE.replace("{assets}", &format!("/console/{digest}"));
    let etag = format!("\"{}\"", hex(&Sha256::digest(&page)));
    Built { page_etag: HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"page\"")), digest, page }
});

/// The first 16 bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The routes.
pub fn routes() -> Router<App> {
    let pages = PAGES.iter().fold(Router::new(), |router, path| router.route(path, get(page)));
    pages.route("/console/{digest}/{*path}", get(file))
}

async fn page(request: HeaderMap) -> Response {
    let known = request.get_all(IF_NONE_MATCH).iter().any(|tag| *tag == BUILT.page_etag);
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { BUILT.page.as_str().into_response() };
    let headers = guarded(response.headers_mut(), "text/html; charset=utf-8");
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ETAG, BUILT.page_etag.clone());
    response
}

async fn file(Path((digest, path)): Path<(String, String)>) -> Result<Response, Refusal> {
    let found = FILES.binary_search_by_key(&path.as_str(), |(name, _)| name).ok().filter(|_| digest == BUILT.digest);
    let Some(index) = found else {
        return Err(Error::new(ErrorCode::NotFound, "The console has no such file in this version: load the page again.").into());
    };
    let mut response = FILES[index].1.into_response();
    let headers = guarded(response.headers_mut(), content_type(&path));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    Ok(response)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Adds the type and what keeps a page from being turned against the one who looks at it.
fn guarded<'a>(headers: &'a mut HeaderMap, content_type: &'static str) -> &'a mut HeaderMap {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("permissions-policy", HeaderValue::from_static("camera=(), geolocation=(), microphone=()"));
    headers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn on_disk(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                on_disk(&path, root, found);
            } else {
                found.insert(path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").to_owned());
            }
        }
    }

    #[test]
    fn every_file_is_in_the_binary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        let mut found = BTreeSet::new();
        on_disk(&root, &root, &mut found);
        assert!(found.remove("index.html"));
        assert_eq!(FILES.iter().map(|(path, _)| (*path).to_owned()).collect::<BTreeSet<_>>(), found);
        assert!(FILES.is_sorted_by_key(|(path, _)| *path), "the table is searched by halves");
        assert!(FILES.iter().all(|(path, _)| content_type(path) != "application/octet-stream"));
    }

    #[test]
    fn the_browser_and_the_service_know_the_same_pages() {
        let (_, main) = FILES.iter().find(|(path, _)| *path == "js/main.js").expect("main.js");
        let text = std::str::from_utf8(main).expect("UTF-8");
        let known: BTreeSet<String> = text
            .split("{ path: \"")
            .skip(1)
            .map(|rest| rest.split('"').next().expect("an end"))
            .map(|path| path.split('/').map(|part| part.strip_prefix(':').map_or(part.to_owned(), |name| format!("{{{name}}}"))))
            .map(|parts| parts.collect::<Vec<_>>().join("/"))
            .collect();
        assert_eq!(known, PAGES.iter().map(|path| (*path).to_owned()).collect());
    }

    #[test]
    fn nothing_is_inline_and_nothing_is_foreign() {
        for (path, bytes) in FILES.iter().chain([&("index.html", PAGE.as_bytes())]) {
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            for forbidden in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "new Function", "document.write", "<style", " style=\""]
            {
                assert!(!text.contains(forbidden), "{path} has {forbidden}");
            }
            assert!(!text.contains("<script>"), "{path} has an inline script");
            let foreign = text.match_indices("https://").filter(|(at, _)| !text[*at..].starts_with("https://example.com"));
            assert_eq!(foreign.count(), 0, "{path} names another host");
        }
    }
}
