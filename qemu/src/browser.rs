//! A real browser without a window: Chromium, told what to do over a pipe.
//!
//! It speaks the Chrome DevTools Protocol: a JSON object each way, ended by a zero
//! byte, on descriptors 3 and 4. What a person would see as an error (a message in
//! the console, a file that does not load) is an event there, and every event since
//! the start is kept, so that none is missed between two questions.

use crate::neighbour::Server;
use crate::{Context, Failure, OrFail, tools};
use command_fds::{CommandFdExt, FdMapping};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Where Chromium reads what it is told, and where it answers.
const THEIR_FDS: [i32; 2] = [3, 4];
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// The window.
const WIDTH: u32 = 1240;
const HEIGHT: u32 = 900;

/// How a page is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Scheme {
    /// Its word in a style sheet.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A browser with one tab.
pub struct Browser {
    server: Server,
    to: PipeWriter,
    from: Receiver<Value>,
    events: Vec<Value>,
    session: Option<String>,
    last_id: u64,
}

impl Browser {
    /// Starts it, with all that it keeps in the scenario's folder.
    pub fn start(context: &Context) -> Result<Self, Failure> {
        let folder = context.folder().join("browser");
        fs::create_dir_all(&folder).or_fail(format_args!("cannot make {}", folder.display()))?;
        let (their_input, to) = std::io::pipe().or_fail("no pipe for the browser")?;
        let (from, their_output) = std::io::pipe().or_fail("no pipe for the browser")?;
        let mut command = tools::CHROMIUM.command(context.debs())?;
        command
            // There is nothing here to keep it away from.
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run", "--mute-audio"])
            .args(["--disable-background-networking", "--disable-extensions"])
            .args(["--hide-scrollbars", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", folder.display()))
            .env("HOME", &folder)
            .env("FONTCONFIG_FILE", fonts(context, &folder)?)
            .fd_mappings(vec![
                FdMapping {
                    parent_fd: their_input.into(),
                    child_fd: THEIR_FDS[0],
                },
                FdMapping {
                    parent_fd: their_output.into(),
                    child_fd: THEIR_FDS[1],
                },
            ])
            .or_fail("two descriptors for the browser have one number")?;
        let server = Server::start(context, "chromium", &mut command)?;
        // The ends live in the command; Chromium must hold the only ones.
        drop(command);
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || listen(from, &sender));
        let mut browser = Self {
            server,
            to,
            from: messages,
            events: Vec::new(),
            session: None,
            last_id: 0,
        };
        browser.open_tab()?;
        Ok(browser)
    }

    fn open_tab(&mut self) -> Result<(), Failure> {
        let tab = self.ask("Target.createTarget", json!({"url": "about:blank"}))?;
        let target = &tab["targetId"];
        let session = self.ask(
            "Target.attachToTarget",
            json!({"targetId": target, "flatten": true}),
        )?;
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.ask(&format!("{domain}.enable"), json!({}))?;
        }
        self.be_wide(WIDTH)
    }

    /// Gives the window another width.
    pub fn be_wide(&mut self, width: u32) -> Result<(), Failure> {
        let size = json!({
            "width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": false
        });
        self.ask("Emulation.setDeviceMetricsOverride", size)
            .map(drop)
    }

    /// Has its user prefer `scheme`.
    pub fn prefer(&mut self, scheme: Scheme) -> Result<(), Failure> {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme.word()});
        self.ask(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        )
        .map(drop)
    }

    /// Goes to `url` and waits until all of it is there.
    pub fn go(&mut self, url: &str) -> Result<(), Failure> {
        let before = self.loads();
        let went = self.ask("Page.navigate", json!({ "url": url }))?;
        if let Some(error) = went["errorText"].as_str() {
            return Err(self
                .server
                .failure(format!("{url} can not be opened: {error}")));
        }
        self.wait_for_load(before)
    }

    /// How often a page has been loaded so far.
    pub fn loads(&self) -> usize {
        self.of("Page.loadEventFired").count()
    }

    /// Waits until more than `before` pages have been loaded.
    pub fn wait_for_load(&mut self, before: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while self.loads() <= before {
            self.next(deadline, "a page")?;
        }
        Ok(())
    }

    /// The value of a JavaScript expression on the page.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value, Failure> {
        let asked = json!({"expression": expression, "returnByValue": true});
        let answer = self.ask("Runtime.evaluate", asked)?;
        match answer.get("exceptionDetails") {
            None => Ok(answer["result"]["value"].clone()),
            Some(details) => Err(Failure::new(format!("{expression}: {details}"))),
        }
    }

    /// Writes a picture of the whole page to `path`.
    pub fn picture(&mut self, path: &Path) -> Result<(), Failure> {
        let asked = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.ask("Page.captureScreenshot", asked)?;
        let text = answer["data"].as_str().unwrap_or_default();
        let bytes = from_base64(text).or_fail("the picture is no base64")?;
        fs::write(path, bytes).or_fail(format_args!("cannot write {}", path.display()))
    }

    /// What went wrong on the pages so far, as its console would show it.
    pub fn complaints(&self) -> Vec<String> {
        let messages = self.of("Log.entryAdded").map(|event| &event["entry"]);
        let bad = messages.filter(|entry| entry["level"] == "error" || entry["level"] == "warning");
        let failed = self.of("Network.loadingFailed");
        let thrown = self.of("Runtime.exceptionThrown");
        let said = self.of("Runtime.consoleAPICalled");
        bad.chain(failed)
            .chain(thrown)
            .chain(said)
            .map(Value::to_string)
            .collect()
    }

    /// What was asked of the network so far; what a page has in itself is not.
    pub fn requests(&self) -> Vec<String> {
        let urls = self
            .of("Network.requestWillBeSent")
            .filter_map(|event| event["request"]["url"].as_str());
        urls.filter(|url| !url.starts_with("data:"))
            .map(str::to_owned)
            .collect()
    }

    /// The parameters of every event called `method`.
    fn of(&self, method: &str) -> impl Iterator<Item = &Value> {
        let named = self
            .events
            .iter()
            .filter(move |event| event["method"] == method);
        named.map(|event| &event["params"])
    }

    /// Asks for `method`, and waits for the answer.
    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        if let Err(error) = self.to.write_all(&bytes) {
            return Err(self
                .server
                .failure(format!("{method} can not be asked: {error}")));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.next(deadline, method)?;
            if message["id"] == id {
                return match message.get("error") {
                    None => Ok(message["result"].clone()),
                    Some(error) => Err(self.server.failure(format!("{method}: {error}"))),
                };
            }
        }
    }

    /// The next message; an event is kept as well.
    fn next(&mut self, deadline: Instant, what: &str) -> Result<Value, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let message = self.from.recv_timeout(left).map_err(|error| {
            self.server.failure(match error {
                RecvTimeoutError::Timeout => format!("no {what} within {PATIENCE:?}"),
                RecvTimeoutError::Disconnected => format!("it ended before {what}"),
            })
        })?;
        if message.get("method").is_some() {
            self.events.push(message.clone());
        }
        Ok(message)
    }
}

/// Hands on what Chromium says until it ends, or nobody wants to know.
fn listen(from: PipeReader, sender: &mpsc::Sender<Value>) {
    for bytes in BufReader::new(from).split(0) {
        let message = bytes.ok().and_then(|bytes| {
            let text: Value = serde_json::from_slice(&bytes).ok()?;
            Some(text)
        });
        if message.is_none_or(|message| sender.send(message).is_err()) {
            return;
        }
    }
}

/// What a style sheet's general families are here.
const FAMILIES: [(&str, &str); 2] = [
    ("serif", "Liberation Serif"),
    ("monospace", "Liberation Mono"),
];

/// And what any other is, and none.
const ANY_OTHER: &str = "<match><edit name=\"family\" mode=\"append_last\">\
                         <string>Liberation Sans</string></edit></match>";

/// Says which fonts it may use, and where that is said.
fn fonts(context: &Context, folder: &Path) -> Result<PathBuf, Failure> {
    let fonts = tools::FONTS.root(context.debs())?.join("usr/share/fonts");
    let aliases: String = FAMILIES
        .iter()
        .map(|(general, ours)| {
            format!(
                "<alias><family>{general}</family><prefer><family>{ours}</family></prefer></alias>"
            )
        })
        .collect();
    let text = format!(
        "<?xml version=\"1.0\"?><fontconfig><dir>{}</dir><cachedir>{}</cachedir>{aliases}\
         {ANY_OTHER}</fontconfig>\n",
        fonts.display(),
        folder.join("fonts").display()
    );
    let path = folder.join("fonts.conf");
    fs::write(&path, text).or_fail(format_args!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The bytes that `text` stands for (RFC 4648, 4).
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.as_bytes().chunks(4) {
        let padding = four.iter().rev().take_while(|&&byte| byte == b'=').count();
        if four.len() < 4 || padding > 2 {
            return None;
        }
        let mut bits = 0_u32;
        for &byte in &four[..4 - padding] {
            bits = bits << 6 | u32::from(digit(byte)?);
        }
        bits <<= 6 * padding;
        bytes.extend(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::from_base64;

    #[test]
    fn base64_of_every_length_is_read_and_nonsense_is_not() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(from_base64("+/8A"), Some(vec![0xfb, 0xff, 0]));
        for bad in ["Z", "Zg=", "Z===", "Zm9v!AAA"] {
            assert_eq!(from_base64(bad), None, "{bad}");
        }
    }
}
