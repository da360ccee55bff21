//! A real browser: Chromium, if it is installed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Names of the program.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Examines a page at several widths: its headings, content that is too wide, and charts that are too narrow.
const PROBE: &str = r#"<!doctype html><meta charset="utf-8"><body>FRAMES<pre id="found"></pre><script>
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, root = page.documentElement;
    const texts = (selector) => [...page.querySelectorAll(selector)].map((it) => it.textContent.trim());
    page.querySelectorAll("details").forEach((it) => it.open = true);
    const wide = [...page.querySelectorAll("article")].flatMap((article) => {
      const edge = article.getBoundingClientRect();
      return [...article.querySelectorAll("*")].filter((it) => !it.closest(".scroll")).filter((it) => {
        const own = it.getBoundingClientRect();
        return own.width > 0 && (own.right > edge.right + 1 || own.left < edge.left - 1);
      }).map((it) => article.id + ": " + it.outerHTML.slice(0, 120));
    });
    const flat = [...page.querySelectorAll("svg[role=img]")].filter((it) => it.getBoundingClientRect().width < 100);
    return {
      width: frame.clientWidth, inner: root.clientWidth, scroll: root.scrollWidth, wide,
      flat: flat.map((it) => it.textContent.slice(0, 80)),
      headings: texts("h1, h2, h3"), scripts: page.querySelectorAll("script, img, iframe").length,
      background: page.defaultView.getComputedStyle(page.body).backgroundColor,
    };
  });
  document.getElementById("found").textContent = JSON.stringify(seen);
});
</script></body>"#;

/// A browser, and a temporary directory.
pub struct Browser {
    program: String,
    directory: TempDir,
}

impl Browser {
    /// Returns the browser that `CLERK_LAKE_CHROMIUM` names, or else the first that works. Prints a message if there is
    /// none.
    #[expect(clippy::disallowed_methods, reason = "a setting of the tests, not of the program")]
    pub fn find() -> Option<Self> {
        let named = std::env::var("CLERK_LAKE_CHROMIUM").ok().filter(|name| !name.is_empty());
        let candidates: Vec<String> = named.map_or_else(|| NAMES.map(str::to_owned).to_vec(), |name| vec![name]);
        let works =
            |name: &&String| Command::new(name.as_str()).arg("--version").output().is_ok_and(|it| it.status.success());
        let Some(program) = candidates.iter().find(works) else {
            let _ = writeln!(std::io::stderr(), "skipped: there is no {}", candidates.join(", no "));
            return None;
        };
        Some(Self { program: program.clone(), directory: tempfile::tempdir().expect("a directory") })
    }

    /// Opens `page`. Returns the document after loading, and the log.
    pub fn open(&self, page: &Path, more: &[&str]) -> (String, String) {
        let mut command = Command::new(&self.program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]);
        command.args(["--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"]);
        command.arg(format!("--user-data-dir={}", self.directory.path().join("profile").display()));
        command.args(more).arg(format!("file://{}", page.display()));
        let done = command.output().expect("the browser runs");
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&done.stdout), console(&text(&done.stderr)))
    }

    /// Examines `page` in frames of these widths. Returns the findings for each width, and the log.
    pub fn look(&self, page: &Path, widths: &[u32], more: &[&str]) -> (Vec<Value>, String) {
        let frame = |width: &u32| {
            let source = page.display();
            format!("<iframe src=\"file://{source}\" style=\"border:0;width:{width}px;height:900px\"></iframe>")
        };
        let frames: String = widths.iter().map(frame).collect();
        let probe = self.file("probe.html", &PROBE.replace("FRAMES", &frames));
        let (document, logged) = self.open(&probe, more);
        let begin = document.find("<pre id=\"found\">").expect("the probe is there") + "<pre id=\"found\">".len();
        let found = &document[begin..begin + document[begin..].find("</pre>").expect("it ends")];
        let seen = serde_json::from_str(&super::page::plain(found)).unwrap_or_else(|error| panic!("{error}: {found}"));
        (seen, logged)
    }

    /// Writes a page.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

/// Returns the lines of the log that come from pages.
fn console(text: &str) -> String {
    text.lines().filter(|line| line.contains("CONSOLE")).flat_map(|line| [line, "\n"]).collect()
}
